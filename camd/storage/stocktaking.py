"""Takes stock of every folder that appears, beside normal service, and tells what was found."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from camd.clock import now
from camd.errors import Refusal
from camd.model import StorageStatus
from camd.storage.archive import Archive
from camd.storage.clerk import Clerk
from camd.storage.disk import Disk
from camd.storage.guard import Guard
from camd.storage.recovery import Recovered, hash_file
from camd.storage.stock import Finding, RecoveryReport, Stocktaker, in_batches, inspect_file

log = structlog.get_logger("camd.recovery")

BATCH = 64  # files that are looked at between two notes: each note waits for the disk

OnDisk = Callable[[Callable[[], Any]], Awaitable[Any]]


@attrs.define(eq=False)
class Stocktaking:
    """One folder's searches, one after the other.

    `taken` is set when the first search is over, or when there is nothing to search.
    """

    disk: Disk
    folder: Path
    clerk: Clerk
    guard: Guard
    on_disk: OnDisk
    leased: Callable[[str], AbstractContextManager[None]]
    growing: Callable[[], Container[str]]  # what is being recorded at the moment
    report: RecoveryReport | None = attrs.field(default=None, init=False)
    _of: int = attrs.field(default=0, init=False)  # of which opening stock was taken last
    taken: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def searching(self) -> bool:
        """Whether files may be under repair: the latest search is not over."""
        return self.report is None or self.report.ended is None

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take stock whenever there is another archive, or another index in it."""
        task_status.started()
        while True:
            await self.guard.published.wait_until(self._due)
            self._of = self.clerk.opened
            await self._take()

    def _due(self, status: StorageStatus) -> bool:
        return status.level.writable and self.clerk.opened != self._of

    async def _take(self) -> None:
        """Search the folder once, and hash afterwards: that takes reading files whole."""
        try:
            await self._search()
            self.taken.set()
            # Read now what the first listing would have to wait for.
            await self.clerk.ask(lambda archive: archive.catalog.timeline())
            await self._hash_all()
        except (OSError, sqlite3.Error, Refusal) as error:
            log.error("recovery_failed", error=str(error))
            self.guard.suspect()
        self.taken.set()

    async def _search(self) -> None:
        began, findings = now(), list[Finding]()
        self.report = RecoveryReport.of(findings, began, None)
        self.guard.stored_bytes = await self.clerk.ask(lambda a: a.catalog.total_bytes())
        stock = await self.clerk.ask(lambda archive: self._taker(archive).compare(self.growing()))
        self._of = self.clerk.opened  # it may have been rebuilt just now
        for names in in_batches(stock.suspects, BATCH):
            findings += await self._look_at(names)
            self.report = RecoveryReport.of(findings, began, None)
        for names in in_batches(stock.missing, BATCH):
            findings += await self._miss(names)
        self.report = RecoveryReport.of(findings, began, now())
        log.info("recovery_over", counts=self.report.counted)
        self.guard.suspect()  # the next sample tells what the recordings take now

    async def _look_at(self, names: Sequence[str]) -> list[Finding]:
        def inspect() -> list[Recovered | Finding]:
            found = (inspect_file(self.disk, self.folder / name) for name in names)
            return [each for each in found if each is not None]

        inspected = await self.on_disk(inspect)
        return self._told(await self.clerk.ask(lambda a: self._taker(a).settle(inspected)))

    async def _miss(self, names: Sequence[str]) -> list[Finding]:
        return self._told(await self.clerk.ask(lambda a: self._taker(a).miss(names)))

    def _told(self, findings: list[Finding]) -> list[Finding]:
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

    def _taker(self, archive: Archive) -> Stocktaker:
        return Stocktaker(self.disk, self.folder, archive)

    async def _hash_all(self) -> None:
        """Hash what was recovered without a hash; what goes wrong with one file stays with it."""
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
                continue
            hashed = attrs.evolve(segment, sha256=digest)
            await self.clerk.tell(lambda archive, new=hashed: archive.note_hash(new))  # type: ignore[misc]
