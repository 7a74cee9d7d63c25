"""The archive's one thread, as the event loop sees it: asked with patience, never in parallel.

An index that turns out to be damaged is put aside and rebuilt, while clients are told to wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from camd.errors import STORAGE_MISSING, STORAGE_UNRESPONSIVE, Refusal
from camd.storage.archive import FOLDER, INDEX, Archive, FolderInUseError, file_id
from camd.storage.disk import Disk
from camd.storage.guard import Guard
from camd.storage.records import Record

log = structlog.get_logger("camd.storage")

T = TypeVar("T")

PATIENCE_SECONDS = 10.0


@attrs.define(eq=False)
class Clerk:
    """Keeps the archive of the folder that is there now. The guard is told of every failure.

    `opened` grows whenever there is another archive, or another index in it: then somebody has
    to take stock.
    """

    disk: Disk
    recordings: Path
    guard: Guard
    opened: int = attrs.field(default=0, init=False)
    in_use: FolderInUseError | None = attrs.field(default=None, init=False)
    _archive: Archive | None = attrs.field(default=None, init=False)
    _stale: list[Archive] = attrs.field(factory=list, init=False)  # of folders that are gone
    _damaged: bool = attrs.field(default=False, init=False)
    _one: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, 1), init=False)

    # --- which archive ---

    def look(self) -> None:
        """Open the archive of the folder that is there now, if it is not open already.

        Blocks, and is called in one thread at a time, any thread. A folder that was lost and came
        back, or another one in its place, has another archive. Raises OSError.
        """
        folder = self.recordings / FOLDER
        folder.mkdir(mode=0o750, exist_ok=True)
        if self._archive is not None and file_id(folder) == self._archive.folder_id:
            if not (folder / INDEX).exists():
                self._damaged = True
            return
        try:
            archive = Archive.open(self.disk, self.recordings)
        except FolderInUseError as error:
            self.in_use = error
            raise
        except sqlite3.Error as error:
            log.error("index_cannot_be_opened", error=str(error))
            return
        if self._archive is not None:
            self._stale.append(self._archive)
        self._archive, self._damaged, self.in_use = archive, False, None
        self.opened += 1

    def _repaired(self, archive: Archive) -> Archive:
        """Do in the archive's thread what has to be done before it is used."""
        while self._stale:
            self._stale.pop().close()
        if self._damaged and archive is self._archive:
            self._damaged = False
            archive.begin_again()
            self.opened += 1
        archive.catch_up()
        archive.flush()
        return archive

    async def close(self) -> None:
        """Close the archive; a caller who gives up leaves that to the thread."""

        def close() -> None:
            for archive in (*self._stale, self._archive):
                if archive is not None:
                    archive.close()

        await trio.to_thread.run_sync(close, limiter=self._one, abandon_on_cancel=True)

    # --- asking ---

    async def ask(self, work: Callable[[Archive], T], *, abandon: bool = False) -> T:
        """Let `work` have the archive, in its thread; waits as long as the disk likes.

        When the index turns out to be damaged, it is rebuilt and `work` done again.
        Raises Refusal when there is no archive, and what `work` raises.
        """
        try:
            return await self._ask(work, abandon)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            log.error("index_damaged", error=str(error))
            self._damaged = True
        return await self._ask(work, abandon)

    async def _ask(self, work: Callable[[Archive], T], abandon: bool) -> T:
        if self._archive is None:
            raise Refusal(STORAGE_MISSING)
        archive = self._archive
        with self.guard.operation():
            return await trio.to_thread.run_sync(
                lambda: work(self._repaired(archive)),
                limiter=self._one,
                abandon_on_cancel=abandon,
            )

    async def read(self, read: Callable[[Archive], T]) -> T:
        """Look something up. Raises Refusal when that fails or takes too long."""
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                return await self.ask(read, abandon=True)
            except sqlite3.Error as error:
                self.guard.suspect()
                raise Refusal(STORAGE_UNRESPONSIVE, "The index cannot be read") from error
        raise Refusal(STORAGE_UNRESPONSIVE)

    async def note(self, *records: Record) -> None:
        """Write facts down. A failure is logged: files tell their own story, no footage is lost."""
        await self.tell(lambda archive: archive.note(*records))

    async def tell(self, write: Callable[[Archive], None]) -> None:
        """Let `write` change the archive; a failure is logged."""
        try:
            await self.ask(write)
        except (OSError, sqlite3.Error, Refusal) as error:
            log.error("archive_write_failed", error=str(error))
            self.guard.suspect(error if isinstance(error, OSError) else None)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error says that the database itself is broken, and not the disk or the query."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
