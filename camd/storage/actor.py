"""Storage as the rest of the daemon sees it: room, segments being written, and the catalog.

Admission and status are decided at once from what is known; only what touches the disk waits,
in threads of its own, and never on the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from camd.config.schema import StorageConfig
from camd.errors import (
    FILE_NOT_FOUND,
    INVALID_PARAMS,
    STORAGE_MISSING,
    STORAGE_UNRESPONSIVE,
    Refusal,
)
from camd.model import (
    Event,
    Gap,
    RecordingPage,
    RecordingQuery,
    Segment,
    SegmentState,
    Session,
    SessionId,
    StorageStatus,
    StoredFile,
)
from camd.runtime.fanout import Fanout
from camd.runtime.published import Published
from camd.storage.catalog import Catalog
from camd.storage.disk import Disk, PosixDisk
from camd.storage.guard import Guard
from camd.storage.levels import Thresholds
from camd.storage.naming import is_plain, with_extension
from camd.storage.recovery import Recovered, find_unknown, hash_file, recover
from camd.storage.volume import Volume
from camd.storage.watched import WatchedDisk

log = structlog.get_logger("camd.storage")

T = TypeVar("T")

CATALOG_PATIENCE_SECONDS = 10.0
WRITER_THREADS = 64  # more than any camera count, so that hung writers do not starve the others


@attrs.frozen
class Growing:
    """A segment that is being written, and how much of it a power cut would leave."""

    segment: Segment
    durable_bytes: int


@attrs.define(eq=False)
class Storage:
    """The recordings volume: its level, its files, and what is known about them."""

    folder: Path
    disk: Disk
    guard: Guard
    _catalog: Catalog | None = attrs.field(default=None, init=False)
    _index_file: tuple[int, int] | None = attrs.field(default=None, init=False)  # device, inode
    _stock_taken: trio.Event = attrs.field(factory=trio.Event, init=False)
    _strays: list[str] = attrs.field(factory=list, init=False)  # left by a crash, not read yet
    _stale: list[Catalog] = attrs.field(factory=list, init=False)  # of folders that are gone
    _writers: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, WRITER_THREADS), init=False
    )
    _one: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, 1), init=False)
    _growing: dict[str, Growing] = attrs.field(factory=dict, init=False)

    @property
    def status(self) -> StorageStatus:
        """The latest word on the volume; never waits."""
        return self.guard.status

    @property
    def published(self) -> Published[StorageStatus]:
        """The status as of each sample, for those who wait for a level."""
        return self.guard.published

    # --- writing, for recorders ---

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Run `work` in a writer's thread and wait for it, however long; never abandoned.

        It is timed, and hanging shows as a level. Raises what `work` raises, OSError as a rule.
        """
        with self.guard.operation():
            return await trio.to_thread.run_sync(work, limiter=self._writers)

    def growing(self, segment: Segment, durable_bytes: int) -> None:
        """Say how far an open segment has come; costs nothing and touches no disk."""
        self._growing[segment.filename] = Growing(segment, durable_bytes)

    async def note_segment(self, segment: Segment) -> None:
        """Put a segment into the catalog as it is now."""
        if segment.state is not SegmentState.OPEN:
            self._growing.pop(segment.filename, None)
        await self._note(lambda catalog: catalog.put_segment(segment))

    async def note_replaced(self, old: str, new: Segment) -> None:
        """Put `new` into the catalog in place of the file `old`, which is gone."""

        def replace(catalog: Catalog) -> None:
            catalog.put_segment(new)
            catalog.drop_segment(old)

        await self._note(replace)

    async def note_session(self, session: Session) -> None:
        """Put a session's facts into the catalog."""
        await self._note(lambda catalog: catalog.put_session(session))

    async def note_gaps(self, gaps: Sequence[Gap]) -> None:
        """Write entries into the ledger."""
        await self._note(lambda catalog: catalog.put_gaps(gaps))

    async def _note(self, write: Callable[[Catalog], None]) -> None:
        try:
            await self._ask(write)
        except (sqlite3.Error, Refusal) as error:
            # The files tell their own story; a catalog that cannot be written costs no footage.
            log.error("catalog_write_failed", error=str(error))
            self.guard.suspect()

    # --- reading, for clients ---

    async def list_recordings(self, query: RecordingQuery) -> RecordingPage:
        """List segments, newest first. Raises Refusal when the volume does not answer."""
        page = await self._read(lambda catalog: catalog.page(query))
        fresh = tuple(
            self._growing[s.filename].segment if s.filename in self._growing else s
            for s in page.segments
        )
        return RecordingPage(fresh, page.total)

    async def recording(self, filename: str) -> tuple[Segment, tuple[Gap, ...]]:
        """Look a segment up, with its session's ledger. Raises Refusal: no such file."""
        segment = await self._find(filename)
        gaps = await self._read(lambda catalog: catalog.gaps(segment.session_id))
        return segment, gaps

    async def session_gaps(self, session_id: SessionId) -> tuple[Gap, ...]:
        """Read a session's ledger."""
        return await self._read(lambda catalog: catalog.gaps(session_id))

    async def unfinished_sessions(self) -> tuple[Session, ...]:
        """Read what the last life of the daemon left unfinished, newest first.

        Waits until its files have been made right; empty when the index cannot be read.
        """
        await self._stock_taken.wait()
        try:
            return await self._read(lambda catalog: catalog.unfinished_sessions())
        except Refusal as refusal:
            log.error("sessions_unknown", error=refusal.message)
            return ()

    async def stored_file(self, filename: str) -> StoredFile:
        """Find a recording that may be read. Raises Refusal: no such file, or not a file name."""
        segment = await self._find(filename)
        path = self.folder / segment.filename
        growing = self._growing.get(segment.filename)
        sealed = segment.state is SegmentState.SEALED
        size, modified = await self._bounded(lambda: _facts(path), segment.filename)
        return StoredFile(
            path=path,
            filename=segment.filename,
            size_bytes=size if growing is None else min(size, growing.durable_bytes),
            sealed=sealed,
            modified=modified,
        )

    async def _find(self, filename: str) -> Segment:
        if not is_plain(filename):
            raise Refusal(
                INVALID_PARAMS,
                "Invalid params: filename is not a plain file name",
                errors=[{"path": "filename", "message": "must be a file name without a path"}],
            )
        if filename in self._growing:
            return self._growing[filename].segment
        segment = await self._read(lambda catalog: catalog.segment(filename))
        if segment is None and filename.endswith(".mkv"):
            # An MKV is made when its segment is sealed; until then the MP4 stands for it.
            growing = self._growing.get(with_extension(filename, "mp4"))
            segment = growing.segment if growing else None
        if segment is None:
            raise Refusal(FILE_NOT_FOUND, filename=filename)
        return segment

    # --- the catalog's thread ---

    async def _read(self, read: Callable[[Catalog], T]) -> T:
        with trio.move_on_after(CATALOG_PATIENCE_SECONDS):
            try:
                return await self._ask(read, abandon=True)
            except sqlite3.Error as error:
                self.guard.suspect()
                raise Refusal(STORAGE_UNRESPONSIVE, "The index cannot be read") from error
        raise Refusal(STORAGE_UNRESPONSIVE)

    async def _ask(self, work: Callable[[Catalog], T], *, abandon: bool = False) -> T:
        if self._catalog is None:
            raise Refusal(STORAGE_MISSING)
        catalog = self._catalog

        def in_thread() -> T:
            self._close_stale()
            return work(catalog)

        return await trio.to_thread.run_sync(
            in_thread, limiter=self._one, abandon_on_cancel=abandon
        )

    async def _bounded(self, work: Callable[[], T], filename: str) -> T:
        with trio.move_on_after(CATALOG_PATIENCE_SECONDS):
            try:
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
            except (FileNotFoundError, NotADirectoryError):
                raise Refusal(FILE_NOT_FOUND, filename=filename) from None
            except OSError as error:
                self.guard.suspect()
                raise Refusal(STORAGE_UNRESPONSIVE, "The file cannot be read") from error
        raise Refusal(STORAGE_UNRESPONSIVE)

    def _open_catalog(self) -> None:
        """Open the catalog of the folder that is there now; runs in the probe's thread.

        A folder that was lost and came back, or another one in its place, has another index.
        """
        index = self.folder / ".camd" / "index.sqlite"
        if self._catalog is not None and _file_id(index) == self._index_file:
            return
        index.parent.mkdir(mode=0o750, exist_ok=True)
        try:
            catalog = Catalog.open(index)
            interrupted = [segment.filename for segment in catalog.interrupt_open_segments()]
            known = {*catalog.filenames(), *self._growing}
            self.guard.stored_bytes = catalog.total_bytes()
        except sqlite3.Error as error:
            log.error("catalog_cannot_be_opened", error=str(error))
            return
        if self._catalog is not None:
            self._stale.append(self._catalog)
        self._catalog, self._index_file = catalog, _file_id(index)
        self._strays = [*interrupted, *find_unknown(self.folder, known)]

    async def _take_stock(self) -> None:
        """Make right what a crash left, and put it into the index; beside normal service.

        Hashes come last: they take reading every file whole.
        """
        strays, self._strays = self._strays, []
        segments = []
        for name in strays:
            try:
                if (segment := await self._take_in(name)) is not None:
                    segments.append(segment)
            except (OSError, Refusal) as error:
                log.error("recovery_failed", filename=name, error=str(error))
        self._stock_taken.set()
        for segment in segments:
            try:
                await self._hash(segment)
            except OSError as error:
                log.error("hash_failed", filename=segment.filename, error=str(error))

    async def _take_in(self, name: str) -> Segment | None:
        """Make one file right and put it into the index, without its hash."""
        path = self.folder / name

        def work() -> Recovered | None:
            return recover(self.disk, path, modified=_facts(path)[1])

        recovered = await self.on_disk(work)
        if recovered is None:
            # Not one whole fragment of it reached the disk: what the index counted is lost.
            log.warning("file_left_alone", filename=name)
            await self._note(lambda catalog: catalog.drop_segment(name))
            return None
        segment, torn = recovered.segment, recovered.torn_bytes
        log.warning("recovered", filename=name, note=recovered.note, torn_bytes=torn)
        known = await self._read(lambda catalog: catalog.segment(name))
        self.guard.stored_bytes += segment.size_bytes - (known.size_bytes if known else 0)
        await self.note_segment(segment)
        return segment

    async def _hash(self, segment: Segment) -> None:
        # Only reading, it may be left behind.
        digest = await trio.to_thread.run_sync(
            hash_file, self.disk, self.folder / segment.filename, abandon_on_cancel=True
        )
        await self.note_segment(attrs.evolve(segment, sha256=digest))

    def _close_stale(self) -> None:
        while self._stale:
            self._stale.pop().close()

    def _close(self) -> None:
        self._close_stale()
        if self._catalog is not None:
            self._catalog.close()


def _file_id(path: Path) -> tuple[int, int] | None:
    with suppress(FileNotFoundError):
        facts = path.stat()
        return facts.st_dev, facts.st_ino
    return None


def _facts(path: Path) -> tuple[int, datetime]:
    facts = path.stat()
    return facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC)


@asynccontextmanager
async def open_storage(
    config: StorageConfig, events: Fanout[Event], disk: Disk | None = None
) -> AsyncIterator[Storage]:
    """Run the storage actor while the block runs; the level is known when it begins.

    The recordings folder is created when it can be; when it cannot, or is lost later, that is a
    level and not an error. A volume that hangs delays the start by the probe's patience.
    """
    disk = disk or PosixDisk()
    thresholds = Thresholds(config.warn_percent, config.block_percent)
    guard = Guard(config.recordings_dir, disk, thresholds, events)
    volume = Volume(config.recordings_dir, config.state_dir, config.require_mount, disk)
    watched = WatchedDisk(disk, guard.watch, volume.confirm)
    storage = Storage(config.recordings_dir, watched, guard)

    def prepare() -> None:
        volume.claim()
        storage._open_catalog()

    guard.identify, guard.prepare = volume.identify, prepare
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(guard.serve)
            await guard.refresh()
            nursery.start_soon(storage._take_stock)
            yield storage
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(CATALOG_PATIENCE_SECONDS):
            await trio.to_thread.run_sync(
                storage._close, limiter=storage._one, abandon_on_cancel=True
            )
