"""What a verification can find, what a user should do, and the comparison of one file. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

from camd.clock import to_unix_micros
from camd.model import Segment, SegmentState
from camd.mp4.segment_metadata import SegmentMetadata
from camd.storage.rules.naming import may_be_footage


class FindingKind(enum.Enum):
    """What can be wrong."""

    DAMAGED = "damaged"
    HASH = "hash"
    SIZE = "size"
    CONTENT = "content"
    IDENTITY = "identity"
    UNREADABLE = "unreadable"
    INTERRUPTED = "interrupted"
    STATE = "state"
    MISSING = "missing"  # a file given by name
    REMOVED = "removed"  # by another program than camd
    UNKNOWN = "unknown"
    COPY = "copy"
    RENAMED = "renamed"
    EMPTY = "empty"
    OVERLAP = "overlap"
    UNCOVERED = "uncovered_spans"
    SUMS = "sums"
    INDEX = "index"
    JOURNAL = "journal"
    FOREIGN = "foreign"
    UNHASHED = "unhashed"
    UNACCOUNTED = "unaccounted"
    TORN = "torn"
    UNFINISHED = "unfinished"
    UNDECODABLE = "undecodable"

    @property
    def harmless(self) -> bool:
        """Whether nothing is lost and nothing has to be done."""
        return self in (
            *(
                FindingKind.FOREIGN,
                FindingKind.UNHASHED,
                FindingKind.UNACCOUNTED,
                FindingKind.TORN,
                FindingKind.REMOVED,
            ),
            FindingKind.UNFINISHED,
        )


@attrs.frozen
class Finding:
    """One thing that is wrong, and what to do about it."""

    subject: str  # a file, a session, or a part of the index
    fault: FindingKind
    text: str
    advice: str


RESTORE = "Put it back from a copy if there is one; otherwise keep it: players show what is left."
TRY = "Nothing of it is lost; players that read parameter sets in the stream (FFmpeg) may show it."
RECOVER = "It is repaired when the service starts, or by `camd recover` while it is stopped."
REINDEX = "Stop the service and run `camd recover --reindex`."
REPORT = "No footage is lost by this message alone; keep the files, and report it."


# --- One file compared with the index

_SAME_SECONDS = 0.001  # a smaller difference of durations comes from rounding
_OPEN = (SegmentState.OPEN, SegmentState.INTERRUPTED)


class FileKind(enum.Enum):
    """What kind of file it is."""

    SEALED = "sealed"
    INTERRUPTED = "interrupted"  # an unsealed segment that nobody writes
    MATROSKA = "matroska"
    EMPTY = "empty"  # no byte, or no whole fragment
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    BUSY = "busy"  # being recorded
    GONE = "gone"


@attrs.frozen
class FileContents:
    """What a file holds. Fields that its kind of file does not have are None, or empty."""

    filename: str
    shape: FileKind
    size_bytes: int = 0
    read_bytes: int = 0
    broken: str = ""  # what is wrong with its structure, or why it cannot be read
    identity: SegmentMetadata | None = None
    frames: int = 0
    duration_seconds: float = 0.0
    decoded_seconds: float = 0.0  # until when its frames are decoded
    whole_bytes: int = 0  # where the last whole fragment ends
    sha256: str | None = None  # None: not computed
    why_undecodable: str = ""  # why its header does not fit its pictures
    damaged_at: int | None = None  # where the first damaged fragment begins


def compare_file(
    seen: FileContents, known: Segment | None, twin: str | None = None
) -> list[Finding]:
    """Compare a file with what the index knows of it.

    `twin` is another indexed file with the same segment, with "-" before its name when it is gone.
    """

    def finding(fault: FindingKind, text: str, advice: str) -> list[Finding]:
        return [Finding(seen.filename, fault, text, advice)]

    if known is not None and known.state is SegmentState.MISSING and not known.frames:
        known = None  # removed while it was recorded: the ledger has its frames
    match seen.shape:
        case FileKind.BUSY:
            return []
        case FileKind.UNREADABLE if known is None and not may_be_footage(seen.filename):
            return finding(FindingKind.FOREIGN, "is no recording of camd's", "It is left alone.")
        case FileKind.GONE:
            return finding(FindingKind.REMOVED, *_removed(known)) if known else []
        case FileKind.UNREADABLE:
            return finding(
                FindingKind.UNREADABLE,
                f"cannot be read: {seen.broken}",
                "Check its permissions, and the disk (dmesg, smartctl).",
            )
        case FileKind.FOREIGN if known is None:
            return finding(FindingKind.FOREIGN, "is no recording of camd's", "It is left alone.")
        case FileKind.EMPTY if known is None:
            return finding(
                FindingKind.EMPTY,
                "holds no footage",
                "Nothing can be saved; it may be removed by hand.",
            )
        case FileKind.FOREIGN | FileKind.EMPTY:
            what = "is empty" if seen.size_bytes == 0 else "is no recording any more"
            return finding(FindingKind.DAMAGED, f"{what}, and the index knows one", RESTORE)
    if seen.broken:
        return finding(FindingKind.DAMAGED, seen.broken, RESTORE)
    found = (
        finding(FindingKind.UNDECODABLE, seen.why_undecodable, TRY) if seen.why_undecodable else []
    )
    if known is None:
        return [*finding(*_unknown_file(seen, twin)), *found]
    return [*_compare_state(seen, known), *_compare_content(seen, known), *found]


def _removed(known: Segment) -> tuple[str, str]:
    at = f"{known.frames} frames from {known.start:%Y-%m-%d %H:%M:%S}"
    return (
        f"was removed outside of camd ({at})",
        "Put it back, under any name, or let camd forget it: `camd rm`.",
    )


def _unknown_file(seen: FileContents, twin: str | None) -> tuple[FindingKind, str, str]:
    """Return the finding for a whole recording that the index does not know by this name."""
    if twin is not None and twin.startswith("-"):
        text = f"is {twin[1:]}, renamed"
        return FindingKind.RENAMED, text, f"Name it {twin[1:]} again, or: {RECOVER}"
    if twin is not None:
        return (
            FindingKind.COPY,
            f"is a copy of {twin}",
            "It is left alone; remove it if it is not needed.",
        )
    if seen.shape is FileKind.MATROSKA:
        return (
            FindingKind.UNKNOWN,
            "is in neither index nor journal",
            "It plays, but cannot be listed: MKV files carry no camd metadata.",
        )
    if seen.shape is FileKind.INTERRUPTED:
        return FindingKind.INTERRUPTED, "was interrupted and is not sealed", RECOVER
    return FindingKind.UNKNOWN, "is not in the index", RECOVER


def _compare_state(seen: FileContents, known: Segment) -> Iterator[Finding]:
    """Compare a file's state in the index with the file."""
    if seen.shape is FileKind.INTERRUPTED:
        if known.state is SegmentState.SEALED:
            text = "is not sealed, and the index has it as sealed"
            yield Finding(seen.filename, FindingKind.STATE, text, REINDEX)
            return
        torn = seen.size_bytes - seen.whole_bytes
        rest = f"; its last {torn} bytes are not whole" if torn else ""
        text = f"was interrupted and is not sealed{rest}"
        yield Finding(seen.filename, FindingKind.INTERRUPTED, text, RECOVER)
    elif known.state is SegmentState.MISSING:
        yield Finding(seen.filename, FindingKind.STATE, "is here, and listed as missing", RECOVER)
    elif known.state in _OPEN:
        text = f"is sealed, and listed as {known.state.value}"
        yield Finding(seen.filename, FindingKind.STATE, text, RECOVER)


def _compare_content(seen: FileContents, known: Segment) -> Iterator[Finding]:
    """Compare a file's content with its content when it was sealed."""
    if known.state is not SegmentState.SEALED or seen.shape is FileKind.INTERRUPTED:
        return
    if seen.size_bytes != known.size_bytes:
        text = f"has {seen.size_bytes} bytes, and had {known.size_bytes}"
        yield Finding(seen.filename, FindingKind.SIZE, text, RESTORE)
    if seen.identity is not None:
        yield from _compare_metadata(seen, seen.identity, known)
    if known.sha256 is None:
        text, advice = "has no hash yet", "The service computes it, or `camd recover`."
        yield Finding(seen.filename, FindingKind.UNHASHED, text, advice)
    if seen.sha256 is None or seen.sha256 == known.sha256:
        return
    where = "" if seen.damaged_at is None else f", from byte {seen.damaged_at} on"
    yield Finding(
        seen.filename,
        FindingKind.HASH,
        f"is not what was recorded: its SHA-256 differs{where}",
        RESTORE,
    )


def _compare_metadata(
    seen: FileContents, metadata: SegmentMetadata, known: Segment
) -> Iterator[Finding]:
    """Compare an MP4's metadata and sample tables with the index."""
    told = (metadata.camera_id, metadata.session_id, metadata.number, metadata.start_micros)
    expected = (known.camera_id, known.session_id, known.number, to_unix_micros(known.start))
    if told != expected:
        text = f"is of {metadata.camera_id}, session {metadata.session_id}, file {metadata.number}"
        text = f"{text}; the index has another recording of this name"
        yield Finding(seen.filename, FindingKind.IDENTITY, text, REINDEX)
        return
    lengths = (seen.duration_seconds, seen.decoded_seconds)  # the latter by earlier versions
    apart = min(abs(length - known.duration_seconds) for length in lengths)
    if seen.frames != known.frames or apart > _SAME_SECONDS:
        text = (
            f"holds {seen.frames} frames in {seen.duration_seconds:.3f} s, and the index has "
            f"{known.frames} in {known.duration_seconds:.3f} s"
        )
        yield Finding(seen.filename, FindingKind.CONTENT, text, REINDEX)
