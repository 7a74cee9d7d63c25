"""What can be wrong with a recordings folder, and what people are told to do about it. Pure."""

from __future__ import annotations

import enum

import attrs


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
    MISSING = "missing"  # a file that was asked for by name
    REMOVED = "removed"  # by another program than camd
    UNKNOWN = "unknown"
    COPY = "copy"
    RENAMED = "renamed"
    EMPTY = "empty"
    OVERLAP = "overlap"
    UNCOVERED = "uncovered"
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
    """One thing that is not as it should be: about what, what it is, and what to do."""

    subject: str  # a file, a session, or a part of the index
    fault: FindingKind
    text: str
    advice: str


RESTORE = "Put it back from a copy if there is one; else keep it, players show what is left."
TRY = "Nothing of it is lost; players that read parameter sets in the stream (FFmpeg) may show it."
RECOVER = "It is put right when the service starts, or by `camd recover` while it is stopped."
REINDEX = "Stop the service and run `camd recover --reindex`."
REPORT = "No footage is lost by this message alone; keep the files, and report it."
