"""Takes stock of every folder that appears, beside normal service, and tells what was found.

Whatever the disk refuses is tried again, more and more rarely, for as long as the service runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from camd.clock import monotonic, now
from camd.errors import Refusal
from camd.model import StorageStatus
from camd.storage.archive import RecordingIndex
from camd.storage.clerk import IndexWorker
from camd.storage.disk import Disk
from camd.storage.guard import SpaceMonitor
from camd.storage.recovery import Recovered, hash_file
from camd.storage.stock import (
    ReconcileFinding,
    Reconciler,
    RecoveryReport,
    in_batches,
    inspect_file,
    is_passing,
)

log = structlog.get_logger("camd.recovery")

FIRST_RETRY_SECONDS = 1.0  # until what the disk refused is tried again; then twice as long …
LONGEST_RETRY_SECONDS = 300.0  # … and so on
PATIENCE_SECONDS = 15.0  # so long sessions of another life wait for the search
BATCH = 64  # files that are looked at between two notes: each note waits for the disk

OnDisk = Callable[[Callable[[], Any]], Awaitable[Any]]


@attrs.define(eq=False)
class BackgroundReconcile:
    """One folder's searches, one after the other.

    `taken` is set when the first search is over, or has failed for so long that recording should
    not wait for it any more, or when there is nothing to search.
    """

    disk: Disk
    folder: Path
    clerk: IndexWorker
    guard: SpaceMonitor
    on_disk: OnDisk
    leased: Callable[[str], AbstractContextManager[None]]
    growing: Callable[[], Container[str]]  # what is being recorded at the moment
    report: RecoveryReport | None = attrs.field(default=None, init=False)
    _of: int = attrs.field(default=0, init=False)  # of which opening stock was taken last
    _again: bool = attrs.field(default=False, init=False)  # a file could not be sealed
    _searched: bool = attrs.field(default=False, init=False)  # but for the files that follow
    _unread: tuple[str, ...] = attrs.field(default=(), init=False)  # the disk refused to read them
    taken: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def searching(self) -> bool:
        """Whether files may be under repair: the latest search is not over."""
        return self.report is None or self.report.ended is None

    def look_again(self) -> None:
        """Search once more as soon as the volume can be written: a file was left unsealed."""
        self._again = True

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take stock whenever there is another archive, or another index in it."""
        task_status.started()
        while True:
            await self.guard.published.wait_until(self._due)
            await self._take()

    def _due(self, status: StorageStatus) -> bool:
        return status.level.writable and (self._again or self.clerk.opened != self._of)

    async def _take(self) -> None:
        """Search until nothing is left to be tried again, or all has to be searched anew."""
        self._of, self._again, self._searched, self._unread = self.clerk.opened, False, False, ()
        delay, begun = FIRST_RETRY_SECONDS, monotonic()
        while not await self._tried():
            if monotonic() - begun >= PATIENCE_SECONDS:
                self.taken.set()  # sessions go on without, rather than never
            with trio.move_on_after(delay):
                await self.guard.published.wait_until(self._due)
                return
            delay = min(LONGEST_RETRY_SECONDS, delay * 2)
            await self.guard.published.wait_until(lambda status: status.level.writable)

    async def _tried(self) -> bool:
        """Do what is left to do; False when some of it has to be tried again.

        Hashing comes last: that takes reading files whole.
        """
        try:
            if not self._searched:
                await self._search()
                self._searched = True
            elif self._unread:
                await self._look_at_unread()
            self.taken.set()
            # Read now what the first listing would have to wait for.
            await self.clerk.ask(lambda archive: archive.catalog.timeline())
            hashed = await self._hash_all()
        except (OSError, sqlite3.Error, Refusal) as error:
            log.error("recovery_failed", error=str(error))
            self._tell(trouble=str(error))
            self.guard.suspect()
            return False
        return hashed and not self._unread

    def _tell(self, **news: Any) -> None:
        if self.report is not None:
            self.report = attrs.evolve(self.report, **news)

    async def _search(self) -> None:
        began, findings, self._unread = now(), list[ReconcileFinding](), ()
        tries = 1 + (self.report.tries if self.searching and self.report else 0)
        self.report = RecoveryReport.of(findings, began, None, tries=tries)
        self.guard.stored_bytes = await self.clerk.ask(lambda a: a.catalog.total_bytes())
        stock = await self.clerk.ask(lambda archive: self._taker(archive).compare(self.growing()))
        self._of = self.clerk.opened  # it may have been rebuilt just now
        for names in in_batches(stock.suspects, BATCH):
            findings += await self._look_at(names)
            self.report = RecoveryReport.of(findings, began, None, tries=tries)
        for names in in_batches(stock.missing, BATCH):
            findings += await self.miss(names)
        self._finish(findings)

    async def _look_at_unread(self) -> None:
        """Look again at the files that the disk refused to read."""
        assert self.report is not None
        names, older = self._unread, self.report.findings
        self._unread = ()
        self._tell(ended=None, tries=self.report.tries + 1)
        try:
            found = await self._look_at(names)
        except BaseException:
            self._unread = names
            raise
        fresh = {finding.filename for finding in found}
        self._finish([*(f for f in older if f.filename not in fresh), *found])

    def _finish(self, findings: list[ReconcileFinding]) -> None:
        assert self.report is not None
        self.report = RecoveryReport.of(findings, self.report.began, now(), tries=self.report.tries)
        if self._unread:
            self._tell(trouble=f"{len(self._unread)} files cannot be read yet")
        log.info("recovery_over", counts=self.report.counted)
        self.guard.suspect()  # the next sample tells what the recordings take now

    async def _look_at(self, names: Sequence[str]) -> list[ReconcileFinding]:
        def inspect() -> list[Recovered | ReconcileFinding]:
            found = (inspect_file(self.disk, self.folder / name) for name in names)
            return [each for each in found if each is not None]

        inspected = await self.on_disk(inspect)
        found = self._told(await self.clerk.ask(lambda a: self._taker(a).settle(inspected)))
        self._unread += tuple(finding.filename for finding in found if finding.passing)
        return found

    async def miss(self, names: Sequence[str]) -> list[ReconcileFinding]:
        """Take note of files that are gone; those that are there after all, are not."""
        return self._told(await self.clerk.ask(lambda a: self._taker(a).miss(names)))

    def _told(self, findings: list[ReconcileFinding]) -> list[ReconcileFinding]:
        for finding in findings:
            self.guard.stored_bytes += finding.bytes_changed
            log.warning(
                "file_found",
                filename=finding.filename,
                outcome=finding.outcome.value,
                detail=finding.detail,
                torn_bytes=finding.torn_bytes,
            )
        return findings

    def _taker(self, archive: RecordingIndex) -> Reconciler:
        return Reconciler(self.disk, self.folder, archive)

    async def _hash_all(self) -> bool:
        """Hash what was recovered without a hash; what goes wrong with one file stays with it.

        False when a file should be tried again.
        """
        whole = True
        for segment in await self.clerk.ask(lambda archive: archive.catalog.unhashed()):
            path = self.folder / segment.filename
            try:
                with self.leased(segment.filename):
                    # Only reading, it may be left behind.
                    digest = await trio.to_thread.run_sync(
                        hash_file, self.disk, path, abandon_on_cancel=True
                    )
            except OSError as error:
                log.error("hash_failed", filename=segment.filename, error=str(error))
                whole = whole and not is_passing(error)
                continue
            hashed = attrs.evolve(segment, sha256=digest)
            await self.clerk.tell(
                lambda archive, new=hashed: archive.note_hash(new),  # type: ignore[misc]
                told_by_files=True,
            )
        return whole
