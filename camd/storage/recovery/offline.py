"""Recovery of a folder that no service has: in one thread, reported file by file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from camd.clock import Clock
from camd.runtime.file_presence import is_there
from camd.storage.disk import Disk, PosixDisk
from camd.storage.index.index_journal import IndexJournal
from camd.storage.index.memory_index import InMemoryIndex
from camd.storage.index.recording_index import FOLDER, INDEX, FileId, RecordingIndex, file_id
from camd.storage.read_only_disk import ReadOnlyDisk
from camd.storage.recovery.file_recovery import hash_file, parts_in
from camd.storage.recovery.reconcile import (
    FileOutcome,
    ReconcileFinding,
    Reconciler,
    ReconcileTarget,
    RecoveryReport,
    reconcile_folder,
)

_WORK = (
    *(FileOutcome.SEALED, FileOutcome.NEW_TO_INDEX, FileOutcome.RENAMED, FileOutcome.MISSING),
    FileOutcome.UNFINISHED,
)


@attrs.frozen
class HashingProgress:
    """The file that is being hashed, and how much of it has been read."""

    filename: str
    number: int
    total: int
    read_bytes: int = 0


@attrs.frozen
class OfflineResult:
    """What was done, or with `report.dry_run` would be done."""

    report: RecoveryReport
    hashed: int  # files that got a hash, or would get one
    unhashed: tuple[tuple[str, str], ...]  # unreadable files, and why
    new_index: bool = False  # it was made from journal and files, or would be
    index_lost: bool = False  # there was none that could be used

    @property
    def to_do(self) -> bool:
        """Whether something is left to do, or could not be done."""
        counts = self.report.counts
        work = self.index_lost or self.hashed or any(map(counts.get, _WORK))
        waiting = self.report.dry_run and work
        return bool(waiting or self.unhashed or counts.get(FileOutcome.UNREADABLE))


@attrs.frozen
class OfflineRecovery:
    """One recovery of one folder, with callbacks for findings and progress."""

    folder: Path
    dry_run: bool
    reindex: bool
    on_finding: Callable[[ReconcileFinding], None]
    on_hashing: Callable[[HashingProgress], None]
    clock: Clock = attrs.field(kw_only=True)

    def run(self) -> OfflineResult:
        """Run it; a dry run changes nothing, and may run beside a service.

        Blocks on the disk. Raises FolderInUseError, OSError when the folder is not there or cannot
        be written, sqlite3.Error when the index cannot be used.
        """
        if not stat.S_ISDIR(self.folder.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.folder))
        began = self.clock.now()
        before = file_id(self.folder / FOLDER / INDEX)
        with self._open_target() as (disk, target):
            lost = self._index_was_lost(target, before)
            reconciler = Reconciler(disk, self.folder, target, repair=not self.dry_run)
            findings = reconcile_folder(reconciler, self.on_finding) + self._clear_parts(disk)
            ended = self.clock.now()
            report = RecoveryReport.of(findings, began, ended, dry_run=self.dry_run)
            if isinstance(target, RecordingIndex):
                hashed, failed = self._hash_all(target)
            else:
                hashed, failed = len(target.database.unhashed()), []
        return OfflineResult(report, hashed, tuple(failed), lost or self.reindex, lost)

    def _index_was_lost(self, target: ReconcileTarget, before: FileId | None) -> bool:
        """Return whether there was no index that could be used; `before` is the file's id."""
        if isinstance(target, RecordingIndex):  # one that could not be used was set aside
            index = file_id(self.folder / FOLDER / INDEX)
            return before is None or (not self.reindex and index != before)
        present = InMemoryIndex.open(self.folder)
        present.close()
        return bool(present.index_problem)

    def _clear_parts(self, disk: Disk) -> list[ReconcileFinding]:
        """Remove partial Matroska files: their MP4s are there."""
        findings = []
        for name in parts_in(self.folder):
            finding = ReconcileFinding(name, FileOutcome.UNFINISHED)
            if not self.dry_run:
                try:
                    disk.unlink(self.folder / name)
                except OSError as error:
                    finding = ReconcileFinding(
                        name, FileOutcome.UNREADABLE, error.strerror or str(error)
                    )
            findings.append(finding)
            self.on_finding(finding)
        return findings

    @contextmanager
    def _open_target(self) -> Iterator[tuple[Disk, ReconcileTarget]]:
        """Open the index and the disk; for a dry run, a snapshot and a disk that only reads."""
        if self.dry_run:
            _refuse_unreadable(self.folder / FOLDER, but_index=self.reindex)
            snapshot = InMemoryIndex.open(self.folder, reindex=self.reindex)
            try:
                snapshot.database.interrupt()
                yield ReadOnlyDisk(), snapshot
            finally:
                snapshot.close()
            return
        disk = PosixDisk()
        index = RecordingIndex.open(disk, self.folder, reindex=self.reindex)
        try:
            index.catch_up()
            yield disk, index
        finally:
            index.close()

    def _hash_all(self, index: RecordingIndex) -> tuple[int, list[tuple[str, str]]]:
        """Hash files without a hash; an error affects only its file."""
        failed: list[tuple[str, str]] = []
        waiting = index.database.unhashed()
        for number, segment in enumerate(waiting, 1):
            at = HashingProgress(segment.filename, number, len(waiting))
            try:
                digest = hash_file(ReadOnlyDisk(self._counted(at)), self.folder / segment.filename)
            except OSError as error:
                failed.append((segment.filename, error.strerror or str(error)))
                continue
            index.note_hash(attrs.evolve(segment, sha256=digest))
            if index.problem is not None:
                raise index.problem
        return len(waiting) - len(failed), failed

    def _counted(self, at: HashingProgress) -> Callable[[int, float], None]:
        """Report how much of a file has been read."""
        read = 0

        def count(size_bytes: int, seconds: float) -> None:
            nonlocal read
            read += size_bytes
            self.on_hashing(attrs.evolve(at, read_bytes=read))

        self.on_hashing(at)
        return count


def _refuse_unreadable(folder: Path, *, but_index: bool) -> None:
    """Raise OSError where journal or index cannot be read; what a dry run says would be wrong."""
    if not is_there(folder):
        return
    journal = IndexJournal(ReadOnlyDisk(heed_locks=False), folder)
    files = [journal.path(number) for number in journal.numbers()]
    if not but_index and is_there(folder / INDEX):
        files.append(folder / INDEX)
    for file in files:
        os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
