"""Reconciles a recordings folder with its index, after a crash, a lost index or changes by hand.

Nothing is deleted, and files of others are left alone (I5); an unreadable file affects only itself
(I6).
"""

from __future__ import annotations

import enum
import errno
import math
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

import attrs
import structlog
import trio

from camd.clock import Clock
from camd.errors import Refusal
from camd.model import (
    Event,
    SearchProgressed,
    Segment,
    SegmentState,
    SessionId,
    StorageStatus,
)
from camd.runtime.broadcast import Fanout
from camd.storage.disk import Disk
from camd.storage.index.index_database import IndexDatabase
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.index.worker import IndexWorker
from camd.storage.recovery.file_recovery import RecoveredFile, ensure_sealed, hash_file
from camd.storage.rules.journal_records import Record, SegmentNoted, SegmentRemovalNoted
from camd.storage.rules.naming import is_plain, is_recording
from camd.storage.rules.timings import StorageLimits
from camd.storage.space import SpaceMonitor

MAX_FINDINGS = 1000  # in a report; all are counted
NAMES_COMPARED = 10_000  # in one step
_IN_PLACE_STATES = (SegmentState.OPEN, SegmentState.SEALED)


# Errors that last until a person changes the file.
_LASTING = (errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENXIO)


def is_transient(error: OSError) -> bool:
    """Return whether an error may not occur the next time, with the file unchanged."""
    return error.errno not in (*_LASTING, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class FileOutcome(enum.Enum):
    """What was found out about a file, and done."""

    SEALED = "sealed"  # interrupted; sealed in place
    NEW_TO_INDEX = "adopted"  # sealed, and new to the index
    RENAMED = "renamed"  # indexed under a name that is gone
    COPY = "copy"  # the same segment as another file; left alone
    EMPTY = "empty"  # camd's, without a whole fragment; left alone
    FOREIGN = "foreign"  # not camd's; left alone
    UNREADABLE = "unreadable"  # left alone, tried again at the next start
    MISSING = "missing"  # indexed, and gone
    UNFINISHED = "unfinished"  # a partial Matroska file; removed


@attrs.frozen
class ReconcileFinding:
    """The outcome for one file."""

    filename: str
    outcome: FileOutcome
    detail: str = ""
    torn_bytes: int = 0  # truncated behind its last whole fragment
    frames: int = 0
    bytes_changed: int = 0  # of the size in the index
    passing: bool = False  # may work the next time


@attrs.frozen
class RecoveryReport:
    """The result of a search. `ended` is None while it goes on."""

    began: datetime
    ended: datetime | None
    dry_run: bool
    files: int  # inspected or missing
    counts: dict[FileOutcome, int]
    findings: tuple[ReconcileFinding, ...]  # the first MAX_FINDINGS
    tries: int = 1
    problem: str = ""  # why it failed or is incomplete, and is retried

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
        """Summarise findings."""
        found = tuple(findings)
        counts = Counter(finding.outcome for finding in found)
        listed = found[:MAX_FINDINGS]
        return cls(began, ended, dry_run, len(found), dict(counts), listed, tries)

    @property
    def counted(self) -> dict[str, int]:
        """The number of files by the name of their outcome."""
        return {outcome.value: number for outcome, number in self.counts.items()}


@attrs.frozen
class FolderDifference:
    """Names in the folder to inspect, and names in the index without a file."""

    suspects: tuple[str, ...]
    missing: tuple[str, ...]


@attrs.define(eq=False)
class FolderComparison:
    """Compares the names in a folder with those in the index, which come in parts. Pure.

    `growing` files are being recorded, and names that no client could ask for are not camd's: both
    are left alone.
    """

    _unseen: set[str]
    _growing: Container[str]
    _missing: list[str] = attrs.field(factory=list, init=False)

    @classmethod
    def of(cls, names: Iterable[str], growing: Container[str]) -> FolderComparison:
        """Begin with the names in the folder."""
        return cls({name for name in names if name not in growing}, growing)

    def take(self, known: Sequence[str]) -> None:
        """Take some names of the index."""
        absent = (name for name in known if name not in self._unseen)
        self._missing += (name for name in absent if name not in self._growing)
        self._unseen.difference_update(known)

    def difference(self, interrupted: Iterable[str]) -> FolderDifference:
        """Return what has to be inspected; `interrupted` files of the index are, if they are there.

        Names that camd gives come first, so that of two files with the same content the properly
        named one is the original.
        """
        suspects = {name for name in self._unseen if is_plain(name) and name.endswith(".mp4")}
        suspects |= {name for name in interrupted if name not in self._growing}
        suspects.difference_update(self._missing)
        in_order = sorted(suspects, key=lambda name: (not is_recording(name), len(name), name))
        return FolderDifference(tuple(in_order), tuple(sorted(self._missing)))


Originals = dict[tuple[SessionId, int], Segment]  # by session and number


def in_batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Split a sequence into pieces of `size`."""
    return (names[at : at + size] for at in range(0, len(names), size))


def recover_file(
    disk: Disk, path: Path, *, repair: bool = True
) -> RecoveredFile | ReconcileFinding | None:
    """Recover one file; a finding when that fails, None when it is being written, or gone.

    Blocks on the disk. Without `repair` nothing is written.
    """
    name = path.name
    try:
        recovered = ensure_sealed(disk, path, repair=repair)
    except (BlockingIOError, FileNotFoundError):
        return None
    except OSError as error:
        why = error.strerror or str(error)
        return ReconcileFinding(name, FileOutcome.UNREADABLE, why, passing=is_transient(error))
    if recovered is None:
        return ReconcileFinding(
            name, FileOutcome.EMPTY if is_recording(name) else FileOutcome.FOREIGN, "left alone"
        )
    return recovered


class ReconcileTarget(Protocol):
    """What findings are written to: the index, or a snapshot in memory."""

    database: IndexDatabase
    persistent: ClassVar[bool]

    def note(self, *records: Record) -> None:
        """Write records. Raises OSError, sqlite3.Error."""


@attrs.define(eq=False)
class Reconciler:
    """Compares a folder with its index, and writes into the index what was found.

    For the index's thread. Without `repair` nothing on disk changes; a snapshot in memory is
    updated all the same, so that the findings are identical.
    """

    disk: Disk
    folder: Path
    index: ReconcileTarget
    repair: bool = True

    @property
    def _writes(self) -> bool:
        return self.repair or not self.index.persistent

    def compare(self) -> FolderDifference:
        """Return what has to be inspected. Raises OSError, sqlite3.Error."""
        comparison, after = FolderComparison.of(self.disk.names(self.folder), ()), ""
        while (last := self.compare_names(comparison, after)) is not None:
            after = last
        return self.difference(comparison)

    def compare_names(self, comparison: FolderComparison, after: str) -> str | None:
        """Compare the next names of the index; return the last one, None at the end.

        Raises sqlite3.Error.
        """
        names = self.index.database.present_names(after, NAMES_COMPARED)
        comparison.take(names)
        return names[-1] if names else None

    def difference(self, comparison: FolderComparison) -> FolderDifference:
        """Return what has to be inspected, at the end of a comparison. Raises sqlite3.Error."""
        broken = self.index.database.segments_in(SegmentState.OPEN, SegmentState.INTERRUPTED)
        return comparison.difference(segment.filename for segment in broken)

    def write_findings(
        self, found: Iterable[RecoveredFile | ReconcileFinding]
    ) -> list[ReconcileFinding]:
        """Write the results of inspections into the index, all at once.

        Raises OSError, sqlite3.Error.
        """
        fresh: Originals = {}
        new = [each for one in found if (each := self._records_of(one, fresh)) is not None]
        if self._writes:
            self.index.note(*(record for _, records in new for record in records))
        return [finding for finding, _ in new]

    def _records_of(
        self, found: RecoveredFile | ReconcileFinding, fresh: Originals
    ) -> tuple[ReconcileFinding, list[Record]] | None:
        """Return the finding for a file and the records for the index; None: nothing to do.

        `fresh` are the segments about to be written for other files.
        """
        if isinstance(found, ReconcileFinding):
            return self._drop_empty(found)
        segment, database = found.segment, self.index.database
        known = database.segment(segment.filename)
        if known is not None and known.state in _IN_PLACE_STATES:
            return None  # recorded while the search went on
        place = (segment.session_id, segment.number)
        twin = fresh.get(place) or database.segment_of_session(*place)
        fresh.setdefault(place, segment)
        if twin is not None and twin.filename != segment.filename:
            return self._twin_of(segment, twin)
        if known is not None and not known.certain:  # a sync has failed
            segment = attrs.evolve(segment, certain=False)
        before = known.size_bytes if known and known.state is not SegmentState.MISSING else 0
        finding = ReconcileFinding(
            segment.filename,
            FileOutcome.NEW_TO_INDEX if found.was_sealed else FileOutcome.SEALED,
            found.note,
            found.torn_bytes,
            segment.frames,
            segment.size_bytes - before,
        )
        return finding, [SegmentNoted(segment)]

    def _drop_empty(self, found: ReconcileFinding) -> tuple[ReconcileFinding, list[Record]]:
        """Remove a file from the index of which nothing reached the disk."""
        known = self.index.database.segment(found.filename)
        if known is None or found.outcome is not FileOutcome.EMPTY:
            return found, []
        lost = SegmentRemovalNoted.of(known, "nothing of it reached the disk")
        return attrs.evolve(found, bytes_changed=-known.size_bytes), [lost]

    def _twin_of(self, segment: Segment, twin: Segment) -> tuple[ReconcileFinding, list[Record]]:
        """Return the finding for a segment that is indexed under another name."""
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
        moved = SegmentRemovalNoted.of(twin, f"is called {segment.filename} now")
        return finding, [SegmentNoted(segment), moved]

    def mark_missing(self, names: Iterable[str]) -> list[ReconcileFinding]:
        """Mark indexed files as missing that really are not there.

        Raises sqlite3.Error, and OSError when the disk does not say whether one is there.
        """
        database, findings = self.index.database, list[ReconcileFinding]()
        for name in names:
            segment = database.segment(name)
            if segment is None or self.disk.exists(self.folder / name):
                continue
            if self._writes:
                database.apply([SegmentNoted(attrs.evolve(segment, state=SegmentState.MISSING))])
            lost = -segment.size_bytes
            findings.append(
                ReconcileFinding(
                    name, FileOutcome.MISSING, "removed outside of camd", 0, segment.frames, lost
                )
            )
        return findings


def reconcile_folder(
    reconciler: Reconciler, progress: Callable[[ReconcileFinding], None] = lambda _: None
) -> list[ReconcileFinding]:
    """Reconcile a folder that no service has, in this thread. Raises OSError, sqlite3.Error."""
    findings: list[ReconcileFinding] = []

    def take(found: list[ReconcileFinding]) -> None:
        findings.extend(found)
        for finding in found:
            progress(finding)

    difference = reconciler.compare()
    for name in difference.suspects:
        found = recover_file(reconciler.disk, reconciler.folder / name, repair=reconciler.repair)
        take(reconciler.write_findings([] if found is None else [found]))
    take(reconciler.mark_missing(difference.missing))
    return findings


# --- Reconciling beside normal service

log = structlog.get_logger("camd.recovery")

BATCH = 64  # files inspected between two writes to the index

OnDisk = Callable[[Callable[[], Any]], Awaitable[Any]]


@attrs.define(eq=False)
class BackgroundReconcile:
    """Searches the folder whenever another index was opened, one search at a time.

    `done` is set when the first search is over, or has failed for so long that recording should not
    wait for it any more.
    """

    disk: Disk
    folder: Path
    index_worker: IndexWorker
    space: SpaceMonitor
    on_disk: OnDisk
    leased: Callable[[str], AbstractContextManager[None]]
    growing: Callable[[], Container[str]]  # files being recorded
    events: Fanout[Event]
    clock: Clock
    limits: StorageLimits
    report: RecoveryReport | None = attrs.field(default=None, init=False)
    _generation: int = attrs.field(default=0, init=False)  # of the index that was searched last
    _search_again: bool = attrs.field(default=False, init=False)  # a file could not be sealed
    _searched: bool = attrs.field(default=False, init=False)  # except for `_unread`
    _unread: tuple[str, ...] = attrs.field(default=(), init=False)  # files to retry
    _total: int = attrs.field(default=0, init=False)  # files that the search looks at
    _told_at: float = attrs.field(default=-math.inf, init=False)  # of the search, to clients
    done: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def searching(self) -> bool:
        """Whether files may be under repair: the latest search is not over."""
        return self.report is None or self.report.ended is None

    def search_again(self) -> None:
        """Search once more when the volume is writable: a file was left unsealed."""
        self._search_again = True

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Search whenever another index was opened or rebuilt, until cancelled."""
        task_status.started()
        while True:
            await self.space.published.wait_until(self._due)
            await self._run_until_complete()

    def _due(self, status: StorageStatus) -> bool:
        return status.level.writable and (
            self._search_again or self.index_worker.generation != self._generation
        )

    async def _run_until_complete(self) -> None:
        """Search until nothing has to be retried, or another search is due."""
        self._generation, self._search_again, self._searched, self._unread = (
            self.index_worker.generation,
            False,
            False,
            (),
        )
        failures, began = 0, self.clock.monotonic()
        while not await self._attempt():
            if self.clock.monotonic() - began >= self.limits.resume_timeout_seconds:
                self.done.set()  # let sessions resume without it
            failures += 1
            with trio.move_on_after(self.limits.search_retry.after(failures)):
                await self.space.published.wait_until(self._due)
                return
            await self.space.published.wait_until(lambda status: status.level.writable)

    async def _attempt(self) -> bool:
        """Do what is left to do; False when some of it has to be retried.

        Hashing comes last, because it reads whole files.
        """
        try:
            if not self._searched:
                await self._search()
                self._searched = True
            elif self._unread:
                await self._inspect_unread()
            self.done.set()
            await self.index_worker.run(lambda index: index.database.read_times())
            hashed = await self._hash_all()
        except (OSError, sqlite3.Error, Refusal) as error:
            log.error("recovery_failed", error=str(error))
            self._update_report(problem=str(error))
            if self.searching:
                self._tell()
            self.space.suspect()
            return False
        return hashed and not self._unread

    def _update_report(self, **changes: Any) -> None:
        if self.report is not None:
            self.report = attrs.evolve(self.report, **changes)

    async def _search(self) -> None:
        began, findings, self._unread = self.clock.now(), list[ReconcileFinding](), ()
        failed = self.report if self.searching else None
        tries = 1 + (failed.tries if failed is not None else 0)
        report = RecoveryReport.of(findings, began, None, tries=tries)
        problem = failed.problem if failed is not None else ""  # until this try gets further
        self.report = attrs.evolve(report, problem=problem)
        self.space.stored_bytes = await self.index_worker.run(lambda a: a.database.total_bytes())
        difference = await self._compare()
        self._generation = self.index_worker.generation  # may have been rebuilt just now
        self._total = len(difference.suspects) + len(difference.missing)
        for act, names in (
            (self._inspect, difference.suspects),
            (self.mark_missing, difference.missing),
        ):
            for some in in_batches(names, BATCH):
                self._tell_progress()
                findings += await act(some)
                self.report = RecoveryReport.of(findings, began, None, tries=tries)
        self._finish(findings)

    def _tell_progress(self) -> None:
        """Tell clients how far the search is, unless they were told a moment ago."""
        if self.clock.monotonic() - self._told_at >= self.limits.search_progress_seconds:
            self._tell()

    def _tell(self) -> None:
        assert self.report is not None
        files, counts, problem = self.report.files, self.report.counted, self.report.problem
        told = SearchProgressed(not self.searching, files, self._total, counts, problem)
        self._told_at = self.clock.monotonic()
        self.events.publish(told)

    async def _compare(self) -> FolderDifference:
        """Compare folder and index a part at a time, so that others may read the index meanwhile.

        What changes meanwhile is seen by the inspections before anything is noted.
        """
        growing, after = self.growing(), ""
        comparison = await self.on_disk(
            lambda: FolderComparison.of(self.disk.names(self.folder), growing)
        )

        def compare(index: RecordingIndex) -> str | None:
            return self._reconciler(index).compare_names(comparison, after)

        while (last := await self.index_worker.run(compare)) is not None:
            after = last
        return await self.index_worker.run(
            lambda index: self._reconciler(index).difference(comparison)
        )

    async def _inspect_unread(self) -> None:
        """Inspect again the files that the disk refused to read."""
        assert self.report is not None
        names, older = self._unread, self.report.findings
        self._unread = ()
        self._update_report(ended=None, tries=self.report.tries + 1)
        try:
            found = await self._inspect(names)
        except BaseException:
            self._unread = names
            raise
        fresh = {finding.filename for finding in found}
        self._finish([*(f for f in older if f.filename not in fresh), *found])

    def _finish(self, findings: list[ReconcileFinding]) -> None:
        assert self.report is not None
        began, tries = self.report.began, self.report.tries
        self.report = RecoveryReport.of(findings, began, self.clock.now(), tries=tries)
        if self._unread:
            self._update_report(problem=f"{len(self._unread)} files cannot be read yet")
        self._tell()
        log.info("recovery_over", counts=self.report.counted)
        self.space.suspect()  # publish the new sizes

    async def _inspect(self, names: Sequence[str]) -> list[ReconcileFinding]:
        def inspect() -> list[RecoveredFile | ReconcileFinding]:
            found = (recover_file(self.disk, self.folder / name) for name in names)
            return [each for each in found if each is not None]

        inspected = await self.on_disk(inspect)
        found = self._count_and_log(
            await self.index_worker.run(lambda a: self._reconciler(a).write_findings(inspected))
        )
        self._unread += tuple(finding.filename for finding in found if finding.passing)
        return found

    async def mark_missing(self, names: Sequence[str]) -> list[ReconcileFinding]:
        """Mark files as missing, except those that are there after all."""
        return self._count_and_log(
            await self.index_worker.run(lambda a: self._reconciler(a).mark_missing(names))
        )

    def _count_and_log(self, findings: list[ReconcileFinding]) -> list[ReconcileFinding]:
        for finding in findings:
            self.space.stored_bytes += finding.bytes_changed
            log.warning(
                "file_found",
                filename=finding.filename,
                outcome=finding.outcome.value,
                detail=finding.detail,
                torn_bytes=finding.torn_bytes,
            )
        return findings

    def _reconciler(self, index: RecordingIndex) -> Reconciler:
        return Reconciler(self.disk, self.folder, index)

    async def _hash_all(self) -> bool:
        """Hash recovered files; an error affects only its file.

        False when a file should be tried again.
        """
        whole = True
        for segment in await self.index_worker.run(lambda index: index.database.unhashed()):
            path = self.folder / segment.filename
            try:
                with self.leased(segment.filename):
                    # It only reads, so it may be abandoned.
                    digest = await trio.to_thread.run_sync(
                        hash_file, self.disk, path, abandon_on_cancel=True
                    )
            except OSError as error:
                log.error("hash_failed", filename=segment.filename, error=str(error))
                whole = whole and not is_transient(error)
                continue
            hashed = attrs.evolve(segment, sha256=digest)
            await self.index_worker.write(
                lambda index, new=hashed: index.note_hash(new),  # type: ignore[misc]
                derivable=True,
            )
        return whole
