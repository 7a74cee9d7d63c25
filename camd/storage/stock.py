"""Taking stock: what a crash, a lost index or somebody's hands left in the folder, made right.

Nothing is deleted, and what camd did not write is left alone (I5); one unreadable file spoils
only itself (I6).
"""

from __future__ import annotations

import enum
import errno
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

import attrs

from camd.model import Segment, SegmentState, SessionId
from camd.storage.catalog import Catalog
from camd.storage.disk import Disk
from camd.storage.naming import is_plain, is_recording
from camd.storage.records import Record, SegmentNoted, SegmentRemoved
from camd.storage.recovery import Recovered, recover

MOST_FINDINGS = 1000  # in a report; all are counted
_SETTLED = (SegmentState.OPEN, SegmentState.SEALED)


# Of a file that is none, or not ours to read: it is so until a person changes that.
_LASTING = (errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENXIO)


def is_passing(error: OSError) -> bool:
    """Whether an error may be over the next time, although the file was not changed."""
    return error.errno not in (*_LASTING, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class FileOutcome(enum.Enum):
    """What was found out about a file, and done."""

    SEALED = "sealed"  # interrupted; sealed in place
    ADOPTED = "adopted"  # sealed, and the index did not know it
    RENAMED = "renamed"  # known under a name that is gone
    COPY = "copy"  # the same segment as another file that is there; left alone
    EMPTY = "empty"  # camd's, and nothing whole in it; left alone
    FOREIGN = "foreign"  # not camd's; left alone
    UNREADABLE = "unreadable"  # left alone, looked at again at the next start
    MISSING = "missing"  # the index knows it, and it is gone
    UNFINISHED = "unfinished"  # what was left of a Matroska file; removed


@attrs.frozen
class ReconcileFinding:
    """What became of one file."""

    filename: str
    outcome: FileOutcome
    detail: str = ""
    torn_bytes: int = 0  # behind its last whole fragment, cut off
    frames: int = 0
    bytes_changed: int = 0  # of what the index counts
    passing: bool = False  # the disk refused, and may not the next time


@attrs.frozen
class RecoveryReport:
    """What was found in a folder. `ended` is None while the search goes on."""

    began: datetime
    ended: datetime | None
    dry_run: bool
    files: int  # that were looked at or missed
    counts: dict[FileOutcome, int]
    findings: tuple[ReconcileFinding, ...]  # the first MOST_FINDINGS
    tries: int = 1
    trouble: str = ""  # why it failed or is not complete, and is tried again; "" otherwise

    @classmethod
    def of(
        cls,
        findings: Iterable[ReconcileFinding],
        began: datetime,
        ended: datetime | None,
        *,
        dry_run: bool = False,
        tries: int = 1,
    ) -> RecoveryReport:
        """Sum findings up."""
        found = tuple(findings)
        counts = Counter(finding.outcome for finding in found)
        listed = found[:MOST_FINDINGS]
        return cls(began, ended, dry_run, len(found), dict(counts), listed, tries)

    @property
    def counted(self) -> dict[str, int]:
        """How many files had which outcome, by its name; those without any are left out."""
        return {outcome.value: number for outcome, number in self.counts.items()}


@attrs.frozen
class FolderDifference:
    """What is to be looked at: names in the folder, and names in the index without a file."""

    suspects: tuple[str, ...]
    missing: tuple[str, ...]


def compare_folder(
    names: Iterable[str], known: Iterable[str], interrupted: Iterable[str]
) -> FolderDifference:
    """Compare the names in a folder with those in the index.

    Suspects come with camd's own names first, so that of two files with the same content the one
    whose name fits is the original. A name that nobody could ask for is left alone.
    """
    there, known = set(names), set(known)
    unknown = {name for name in there - known if is_plain(name) and name.endswith(".mp4")}
    suspects = (unknown | set(interrupted)) & there
    in_order = sorted(suspects, key=lambda name: (not is_recording(name), len(name), name))
    return FolderDifference(tuple(in_order), tuple(sorted(known - there)))


Originals = dict[tuple[SessionId, int], Segment]  # by session and number


def in_batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut a list into pieces of `size`."""
    return (names[at : at + size] for at in range(0, len(names), size))


def inspect_file(
    disk: Disk, path: Path, *, repair: bool = True
) -> Recovered | ReconcileFinding | None:
    """Make one file right; a Finding when it cannot be, None when it is being written, or gone.

    Blocks on the disk. Without `repair` nothing is written.
    """
    name = path.name
    try:
        recovered = recover(disk, path, repair=repair)
    except (BlockingIOError, FileNotFoundError):
        return None
    except OSError as error:
        why = error.strerror or str(error)
        return ReconcileFinding(name, FileOutcome.UNREADABLE, why, passing=is_passing(error))
    if recovered is None:
        return ReconcileFinding(
            name, FileOutcome.EMPTY if is_recording(name) else FileOutcome.FOREIGN, "left alone"
        )
    return recovered


class ReconcileTarget(Protocol):
    """Where findings are noted: an Archive, or a copy in memory that forgets them."""

    catalog: Catalog
    lasting: ClassVar[bool]

    def note(self, *records: Record) -> None:
        """Take records over. Raises OSError, sqlite3.Error."""


@attrs.define(eq=False)
class Reconciler:
    """Compares a folder with its archive, and puts into the archive what was found.

    For the archive's thread. Without `repair` nothing is written, and findings say what would be;
    a copy of the archive in memory is told all the same, so that they are the very same ones.
    """

    disk: Disk
    folder: Path
    archive: ReconcileTarget
    repair: bool = True

    @property
    def _notes(self) -> bool:
        return self.repair or not self.archive.lasting

    def compare(self, growing: Container[str] = ()) -> FolderDifference:
        """Find out what is to be looked at; `growing` is being recorded at the moment.

        Raises OSError, sqlite3.Error.
        """
        catalog = self.archive.catalog
        gone = {segment.filename for segment in catalog.segments_in(SegmentState.MISSING)}
        broken = catalog.segments_in(SegmentState.OPEN, SegmentState.INTERRUPTED)
        return compare_folder(
            (name for name in self.disk.names(self.folder) if name not in growing),
            (name for name in catalog.filenames() if name not in gone and name not in growing),
            (segment.filename for segment in broken if segment.filename not in growing),
        )

    def settle(self, found: Iterable[Recovered | ReconcileFinding]) -> list[ReconcileFinding]:
        """Put what was found into the archive, all at once. Raises OSError, sqlite3.Error."""
        fresh: Originals = {}
        settled = [each for one in found if (each := self._settle(one, fresh)) is not None]
        if self._notes:
            self.archive.note(*(record for _, records in settled for record in records))
        return [finding for finding, _ in settled]

    def _settle(
        self, found: Recovered | ReconcileFinding, fresh: Originals
    ) -> tuple[ReconcileFinding, list[Record]] | None:
        """Say what a file is to the archive, and what the archive is to be told; None: nothing.

        `fresh` is what the archive is about to be told of other files.
        """
        if isinstance(found, ReconcileFinding):
            return self._lost(found)
        segment, catalog = found.segment, self.archive.catalog
        known = catalog.segment(segment.filename)
        if known is not None and known.state in _SETTLED:
            return None  # it was recorded while the search went on
        place = (segment.session_id, segment.number)
        twin = fresh.get(place) or catalog.segment_of_session(*place)
        fresh.setdefault(place, segment)
        if twin is not None and twin.filename != segment.filename:
            return self._twin_of(segment, twin)
        if known is not None and not known.certain:  # a sync failed, for good
            segment = attrs.evolve(segment, certain=False)
        before = known.size_bytes if known and known.state is not SegmentState.MISSING else 0
        finding = ReconcileFinding(
            segment.filename,
            FileOutcome.ADOPTED if found.adopted else FileOutcome.SEALED,
            found.note,
            found.torn_bytes,
            segment.frames,
            segment.size_bytes - before,
        )
        return finding, [SegmentNoted(segment)]

    def _lost(self, found: ReconcileFinding) -> tuple[ReconcileFinding, list[Record]]:
        """Take a file out of the index that was counted, and of which nothing reached the disk."""
        known = self.archive.catalog.segment(found.filename)
        if known is None or found.outcome is not FileOutcome.EMPTY:
            return found, []
        lost = SegmentRemoved.of(known, "nothing of it reached the disk")
        return attrs.evolve(found, bytes_changed=-known.size_bytes), [lost]

    def _twin_of(self, segment: Segment, twin: Segment) -> tuple[ReconcileFinding, list[Record]]:
        """Say what a file is that holds a segment which is known by another name."""
        if self.disk.exists(self.folder / twin.filename):
            return ReconcileFinding(
                segment.filename, FileOutcome.COPY, f"a copy of {twin.filename}"
            ), []
        if twin.size_bytes == segment.size_bytes:
            segment = attrs.evolve(segment, sha256=twin.sha256, certain=twin.certain)
        finding = ReconcileFinding(
            segment.filename,
            FileOutcome.RENAMED,
            f"was {twin.filename}",
            frames=segment.frames,
            bytes_changed=segment.size_bytes - twin.size_bytes,
        )
        moved = SegmentRemoved.of(twin, f"is called {segment.filename} now")
        return finding, [SegmentNoted(segment), moved]

    def miss(self, names: Iterable[str]) -> list[ReconcileFinding]:
        """Mark files as missing that the index knows, and that really are not there.

        Raises sqlite3.Error.
        """
        catalog, findings = self.archive.catalog, list[ReconcileFinding]()
        for name in names:
            segment = catalog.segment(name)
            if segment is None or self.disk.exists(self.folder / name):
                continue
            if self._notes:
                catalog.put_segment(attrs.evolve(segment, state=SegmentState.MISSING))
            lost = -segment.size_bytes
            findings.append(
                ReconcileFinding(
                    name, FileOutcome.MISSING, "removed outside of camd", 0, segment.frames, lost
                )
            )
        return findings


def reconcile_folder(
    taker: Reconciler, progress: Callable[[ReconcileFinding], None] = lambda _: None
) -> list[ReconcileFinding]:
    """Do all of it in this thread, for a folder that no service has.

    Raises OSError, sqlite3.Error.
    """
    findings: list[ReconcileFinding] = []

    def take(found: list[ReconcileFinding]) -> None:
        findings.extend(found)
        for finding in found:
            progress(finding)

    stock = taker.compare()
    for name in stock.suspects:
        found = inspect_file(taker.disk, taker.folder / name, repair=taker.repair)
        take(taker.settle([] if found is None else [found]))
    take(taker.miss(stock.missing))
    return findings
