"""Storage as the rest of the daemon sees it: room, segments being written, and the archive.

Admission and status are decided at once from what is known; only what touches the disk waits,
in threads of its own, and never on the event loop.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from camd.clock import now
from camd.config.schema import StorageConfig
from camd.errors import (
    FILE_IN_USE,
    FILE_LEASED,
    FILE_NOT_FOUND,
    INVALID_PARAMS,
    STORAGE_UNRESPONSIVE,
    ErrorKind,
    Refusal,
)
from camd.model import (
    Event,
    Gap,
    GapPage,
    RecordingPage,
    RecordingQuery,
    Segment,
    SegmentState,
    Session,
    SessionPage,
    StorageStatus,
    StoredFile,
)
from camd.mp4.boxes import MediaError
from camd.mp4.inspect import HEAD_SIZE, read_segment_head
from camd.runtime.broadcast import Fanout, Published
from camd.storage.disk import Disk, PosixDisk
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.index.worker import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    READ_TIMEOUT_SECONDS,
    IndexWorker,
)
from camd.storage.recovery.file_recovery import parts_in
from camd.storage.recovery.reconcile import BackgroundReconcile, FileOutcome, RecoveryReport
from camd.storage.removal import Pin, Pins, Removal, Remover
from camd.storage.rules.clock_trust import FootageArrival
from camd.storage.rules.journal_records import GapNoted, SegmentNoted, SegmentRemoved, SessionNoted
from camd.storage.rules.levels import Thresholds
from camd.storage.rules.naming import is_plain, part_of, with_extension
from camd.storage.space import SpaceMonitor
from camd.storage.timed_disk import TimedDisk
from camd.storage.volume import Volume

log = structlog.get_logger("camd.storage")

T = TypeVar("T")

WRITER_THREADS = 64  # more than any camera count, so that hung writers do not starve the others


@attrs.frozen
class GrowingSegment:
    """A segment that is being written, and how much of it a power cut would leave."""

    segment: Segment
    durable_bytes: int
    over: bool = False  # it grows no more, and the index has to be told


@attrs.define(eq=False)
class Storage:
    """The recordings volume: its level, its files, and what is known about them."""

    folder: Path
    disk: Disk
    space: SpaceMonitor
    index_worker: IndexWorker = attrs.field(init=False)
    _reconcile: BackgroundReconcile = attrs.field(init=False)
    _writers: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, WRITER_THREADS), init=False
    )
    _growing: dict[str, GrowingSegment] = attrs.field(factory=dict, init=False)
    converting: set[str] = attrs.field(factory=set, init=False)  # MP4s of which an MKV is made
    _leases: Counter[str] = attrs.field(factory=Counter, init=False)

    def __attrs_post_init__(self) -> None:
        self.index_worker = IndexWorker(self.disk, self.folder, self.space)
        self._reconcile = BackgroundReconcile(
            *(self.disk, self.folder, self.index_worker, self.space, self.on_disk, self.leased),
            growing=lambda: frozenset(self._growing),
        )
        self.index_worker.on_settled = self._settled

    @property
    def status(self) -> StorageStatus:
        """The latest word; never waits."""
        return self.space.status

    @property
    def published(self) -> Published[StorageStatus]:
        """The status as of each sample, for those who wait for a level."""
        return self.space.published

    @property
    def recovery(self) -> RecoveryReport | None:
        """What the last search of the folder found; None before it has begun."""
        return self._reconcile.report

    # --- writing, for recorders ---

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Run `work` in a writer's thread and wait for it, however long; never abandoned.

        It is timed, and hanging shows as a level. Raises what `work` raises, OSError as a rule.
        """
        with self.space.operation():
            return await trio.to_thread.run_sync(work, limiter=self._writers)

    def growing(self, segment: Segment, durable_bytes: int) -> None:
        """Say how far an open segment has come; costs nothing and touches no disk."""
        self._growing[segment.filename] = GrowingSegment(segment, durable_bytes)

    async def note_segment(self, segment: Segment) -> None:
        """Put a segment into the archive as it is now."""
        before = self._growing.get(segment.filename)
        if before is not None and segment.state is not SegmentState.OPEN:
            # It is shown as it is, whatever the index says until it has been told.
            sealed = segment.state is SegmentState.SEALED
            durable_bytes = segment.size_bytes if sealed else before.durable_bytes
            self._growing[segment.filename] = GrowingSegment(segment, durable_bytes, over=True)
        if segment.state is SegmentState.SEALED:
            await self.index_worker.note(SegmentNoted(segment))
        else:
            if segment.state is SegmentState.INTERRUPTED:
                self._reconcile.search_again()
            await self.index_worker.write(lambda index: index.note_open(segment), derivable=True)

    def _settled(self) -> None:
        """The index knows everything: it says what files are that do not grow any more."""
        for name, growing in list(self._growing.items()):
            if growing.over:
                del self._growing[name]

    async def note_replaced(self, old: str, new: Segment) -> None:
        """Put `new` into the archive in place of the file `old`, which is to go; pins stay.

        Returns when that is durable: however long the disk refuses.
        """

        def replace(index: RecordingIndex) -> None:
            Pins.of(self.disk, self.folder).carry_over(old, new.filename, now())
            index.accept(SegmentNoted(new), SegmentRemoved(old, f"became {new.filename}"))

        await self.index_worker.write(replace)
        await self.index_worker.wait_settled()

    async def note_session(self, session: Session) -> None:
        """Put a session's facts into the archive."""
        await self.index_worker.note(_noted(session))

    def note_session_soon(self, session: Session) -> None:
        """Put a session's facts into the archive as soon as that works; never waits."""
        self.index_worker.write_soon(lambda index: index.accept(_noted(session)))

    async def note_gaps(self, gaps: Sequence[Gap]) -> None:
        """Write entries into the ledger."""
        if gaps:
            await self.index_worker.note(*map(GapNoted, gaps))

    # --- reading, for clients ---

    async def list_recordings(self, query: RecordingQuery) -> RecordingPage:
        """List segments, newest first. Raises Refusal when the volume does not answer."""
        page = await self.index_worker.read(lambda index: index.catalog.page(query))
        fresh = tuple(
            self._growing[s.filename].segment if s.filename in self._growing else s
            for s in page.segments
        )
        return RecordingPage(fresh, page.total)

    async def recording(self, filename: str) -> tuple[Segment, tuple[Gap, ...]]:
        """Look a segment up, with its session's ledger. Raises Refusal: no such file."""
        segment = await self.find(filename)
        gaps = await self.index_worker.read(lambda index: index.catalog.gaps(segment.session_id))
        return segment, gaps

    async def sessions(self, query: RecordingQuery) -> SessionPage:
        """List sessions with what they hold, newest first. Raises Refusal.

        A running session's newest file counts as far as it was when it began.
        """
        return await self.index_worker.read(lambda index: index.catalog.sessions_page(query))

    async def gaps(self, query: RecordingQuery) -> GapPage:
        """List ledger entries, newest first. Raises Refusal."""
        return await self.index_worker.read(lambda index: index.catalog.gaps_page(query))

    async def unfinished_sessions(self) -> tuple[Session, ...]:
        """Read what the last life of the daemon left unfinished, newest first.

        Waits until its files have been made right, and until the index can be read.
        """
        await self._reconcile.done.wait()
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return await self.index_worker.read(
                    lambda index: index.catalog.unfinished_sessions()
                )
            except Refusal as refusal:
                log.error("sessions_unknown", error=refusal.message)
            await trio.sleep(delay)
            delay = min(LONGEST_RETRY_SECONDS, delay * 2)

    async def stored_file(self, filename: str) -> StoredFile:
        """Find a recording that may be read. Raises Refusal: no such file, or not a file name."""
        segment = await self.find(filename)
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

    @contextmanager
    def leased(self, filename: str) -> Iterator[None]:
        """Keep a file from being removed while the block runs: it is being read."""
        self._leases[filename] += 1
        try:
            yield
        finally:
            self._leases[filename] -= 1
            if not self._leases[filename]:
                del self._leases[filename]

    def busy(self, segment: Segment) -> ErrorKind | None:
        """Say why a file cannot be removed at the moment; may be asked in any thread."""
        unsettled = segment.state is SegmentState.INTERRUPTED and self._reconcile.searching
        if segment.filename in self._growing or segment.state is SegmentState.OPEN or unsettled:
            return FILE_IN_USE
        return FILE_LEASED if segment.filename in self._leases else None

    async def find(self, filename: str) -> Segment:
        """Look a segment up by a name from outside. Raises Refusal: no such file, no file name."""
        if not is_plain(filename):
            raise Refusal(
                INVALID_PARAMS,
                "Invalid params: filename is not a plain file name",
                errors=[{"path": "filename", "message": "must be a file name without a path"}],
            )
        if filename in self._growing:
            return self._growing[filename].segment
        segment = await self.index_worker.read(lambda index: index.catalog.segment(filename))
        if segment is None and filename.endswith(".mkv"):
            # An MKV is made when its segment is sealed; until it is there the MP4 stands for it.
            name = with_extension(filename, "mp4")
            growing = self._growing.get(name)
            segment = growing.segment if growing else await self._promised(name)
        if segment is None:
            raise Refusal(FILE_NOT_FOUND, filename=filename)
        return segment

    async def arrival(self, segment: Segment) -> FootageArrival | None:
        """Read when a recording's last frame arrived; None when its file does not tell it."""
        return await self.on_disk(lambda: arrival_of(self.disk, self.folder, segment))

    async def miss(self, filename: str) -> None:
        """Take note that a file is gone without camd having removed it, if that is so."""
        await self._reconcile.mark_missing([filename])

    async def _promised(self, name: str) -> Segment | None:
        """Look up an MP4 of which an MKV is to be made."""

        def look(index: RecordingIndex) -> Segment | None:
            wished = index.catalog.awaits_mkv(name)
            return index.catalog.segment(name) if wished else None

        return await self.index_worker.read(look)

    async def knows(self, filename: str) -> bool:
        """Whether the index has a file of this name. Raises Refusal."""
        return (
            await self.index_worker.read(lambda index: index.catalog.segment(filename)) is not None
        )

    async def unconverted(self) -> tuple[Segment, ...]:
        """List the MP4s of which an MKV was asked for that was never made, oldest first.

        Waits until what a crash left has been made right; removes what is left of MKVs that were
        being made. Empty when the index cannot be read.
        """
        await self._reconcile.done.wait()
        await self.on_disk(self._remove_parts)
        try:
            return await self.index_worker.read(lambda index: index.catalog.to_convert())
        except Refusal as refusal:
            log.error("conversions_unknown", error=refusal.message)
            return ()

    async def superseded(self) -> tuple[str, ...]:
        """Name the MP4s that are still there beside the MKV that has taken their place.

        A kill right before the removal leaves them. Waits until the folder has been searched.
        """
        await self._reconcile.done.wait()
        findings = self._reconcile.report.findings if self._reconcile.report else ()
        return tuple(
            each.filename
            for each in findings
            if each.outcome is FileOutcome.COPY
            and each.detail == f"a copy of {with_extension(each.filename, 'mkv')}"
        )

    def _remove_parts(self) -> None:
        """Remove the MKVs that were not finished, but for those that are being made now."""
        busy = {part_of(name) for name in tuple(self.converting)}
        for name in parts_in(self.folder):
            if Path(name).name not in busy:
                with suppress(OSError):
                    self.disk.unlink(self.folder / name)
                    log.info("part_removed", file=name)

    # --- pins and removals ---

    @property
    def _pins(self) -> Pins:
        return Pins.of(self.disk, self.folder)

    async def pins(self, filenames: Sequence[str]) -> dict[str, Pin]:
        """Look up which recordings are pinned. Raises Refusal when the volume does not answer."""
        return await self.index_worker.read(lambda _: self._pins.among(filenames, now()))

    async def pin(self, filename: str, pin: Pin) -> Segment:
        """Pin a recording; durable when this returns. Raises Refusal."""
        segment = await self.find(filename)
        await self._change(lambda _: self._pins.put(segment.filename, pin))
        log.info("pinned", filename=segment.filename, by=pin.by, reason=pin.reason)
        return segment

    async def unpin(self, filename: str) -> Segment:
        """Take a recording's pin away, if it has one. Raises Refusal."""
        segment = await self.find(filename)
        await self._change(lambda _: self._pins.drop(segment.filename))
        log.info("unpinned", filename=segment.filename)
        return segment

    async def remove(self, filenames: Sequence[str], why: str) -> list[Removal]:
        """Remove recordings, and say of each what became of it.

        The archive is theirs meanwhile, so few at a time. What has begun is done to its end,
        also when the caller is cancelled. Raises Refusal when the archive cannot be used.
        """

        def remove(index: RecordingIndex) -> list[Removal]:
            remover = Remover(*(self.disk, self.folder, index, self._pins, self.busy), now=now())
            return remover.remove(filenames, why)

        answers = await self._change(remove)
        for answer in answers:
            self.space.stored_bytes -= answer.freed_bytes
            if answer.removed:
                log.info("removed", filename=answer.filename, why=why)
            if answer.detail:
                log.error("removal_failed", filename=answer.filename, error=answer.detail)
        return answers

    async def remove_one(self, filename: str, why: str) -> Removal:
        """Remove one recording by a name from outside. Raises Refusal when it stays."""
        segment = await self.find(filename)
        (answer,) = await self.remove([segment.filename], why)
        if answer.refused is not None:
            raise answer.refusal()
        return answer

    async def _change(self, work: Callable[[RecordingIndex], T]) -> T:
        try:
            return await self.index_worker.run(work)
        except (OSError, sqlite3.Error) as error:
            self.space.suspect()
            raise Refusal(STORAGE_UNRESPONSIVE, f"It could not be done: {error}") from error

    async def _bounded(self, work: Callable[[], T], filename: str) -> T:
        with trio.move_on_after(READ_TIMEOUT_SECONDS):
            try:
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
            except (FileNotFoundError, NotADirectoryError):
                raise Refusal(FILE_NOT_FOUND, filename=filename) from None
            except OSError as error:
                self.space.suspect()
                raise Refusal(STORAGE_UNRESPONSIVE, "The file cannot be read") from error
        raise Refusal(STORAGE_UNRESPONSIVE)


def _noted(session: Session) -> SessionNoted:
    """Say what is noted of a session: its files and gaps have notes of their own."""
    return SessionNoted(attrs.evolve(session, segments=(), gaps=()))


def _facts(path: Path) -> tuple[int, datetime]:
    facts = path.stat()
    return facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC)


def arrival_of(disk: Disk, folder: Path, segment: Segment) -> FootageArrival | None:
    """Read when a recording arrived out of its head; None when it does not tell. Blocks."""
    try:
        file = disk.open(folder / segment.filename)
    except OSError:
        return None
    try:
        _, metadata = read_segment_head(file.read(0, HEAD_SIZE))
    except (OSError, MediaError):
        return None
    finally:
        file.close()
    return FootageArrival(metadata.boot_id, metadata.monotonic_start + segment.duration_seconds)


@asynccontextmanager
async def open_storage(
    config: StorageConfig, events: Fanout[Event], disk: Disk | None = None
) -> AsyncIterator[Storage]:
    """Run the storage actor while the block runs; the level is known when it begins.

    The recordings folder is created when it can be; when it cannot, or is lost later, that is a
    level and not an error. A volume that hangs delays the start by the probe's patience. Raises
    FolderInUseError when another process has the folder.
    """
    disk = disk or PosixDisk()
    thresholds = Thresholds(config.warn_percent, config.block_percent)
    space = SpaceMonitor(config.recordings_dir, disk, thresholds, events)
    volume = Volume(config.recordings_dir, config.state_dir, config.require_mount, disk)
    timed_disk = TimedDisk(disk, space.timer, volume.confirm)
    storage = Storage(config.recordings_dir, timed_disk, space)

    def prepare() -> None:
        volume.claim()
        storage.index_worker.open_current()

    space.identify, space.prepare = volume.identify, prepare
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(space.serve)
            await space.refresh()
            if storage.index_worker.in_use_error is not None:
                raise storage.index_worker.in_use_error
            await nursery.start(storage.index_worker.serve)
            await nursery.start(storage._reconcile.serve)
            yield storage
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(READ_TIMEOUT_SECONDS):
            await storage.index_worker.close()
