"""The recordings volume as the rest of the daemon sees it: space, files, index and recovery.

Admission and status are answered at once from what is known. Everything that touches the disk runs
in threads, never on the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import attrs
import structlog
import trio

from camd.clock import Clock
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
    CameraId,
    Event,
    Gap,
    GapPage,
    ReadableRecording,
    RecordingPage,
    RecordingQuery,
    Segment,
    SegmentState,
    Session,
    SessionPage,
    StorageStatus,
)
from camd.mp4.boxes import MediaError
from camd.mp4.inspect import HEAD_SIZE, read_segment_head
from camd.runtime.broadcast import Fanout, LatestValue
from camd.runtime.folders.folder_lock import FolderInUseError, FolderRefusedError
from camd.storage.disk import Disk, PosixDisk
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.index.worker import IndexWorker
from camd.storage.leases import FileLeases
from camd.storage.recovery.file_recovery import parts_in
from camd.storage.recovery.reconcile import BackgroundReconcile, FileOutcome, RecoveryReport
from camd.storage.removal import Pin, Pins, Removal, Remover
from camd.storage.rules.clock_trust import RecordingEndMoment
from camd.storage.rules.io_stats import DurationHistogram
from camd.storage.rules.journal_records import (
    GapNoted,
    SegmentNoted,
    SegmentRemovalNoted,
    SessionNoted,
)
from camd.storage.rules.levels import Thresholds
from camd.storage.rules.naming import is_plain, part_of, with_extension
from camd.storage.rules.timings import STORAGE_LIMITS, StorageLimits
from camd.storage.space import SpaceMonitor
from camd.storage.timed_disk import TimedDisk
from camd.storage.volume import Volume

log = structlog.get_logger("camd.storage")

T = TypeVar("T")

WRITER_THREADS = 64  # more than there are cameras: those that hang keep none from others


@attrs.frozen
class GrowingSegment:
    """A segment that is being written, and how much of it would survive a power cut."""

    segment: Segment
    durable_bytes: int
    finished: bool = False  # complete, but not in the index yet


@attrs.define(eq=False)
class Storage:
    """One recordings folder: its status, its files, and the index of them."""

    folder: Path
    disk: Disk
    space: SpaceMonitor
    clock: Clock = attrs.field(kw_only=True)
    limits: StorageLimits = attrs.field(default=STORAGE_LIMITS, kw_only=True)
    events: Fanout[Event] = attrs.field(factory=Fanout, kw_only=True)
    index_worker: IndexWorker = attrs.field(init=False)
    _reconcile: BackgroundReconcile = attrs.field(init=False)
    _writers: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, WRITER_THREADS), init=False
    )
    _growing: dict[str, GrowingSegment] = attrs.field(factory=dict, init=False)
    converting: set[str] = attrs.field(factory=set, init=False)  # MP4s being converted to MKV
    _leases: FileLeases = attrs.field(factory=FileLeases, init=False)

    def __attrs_post_init__(self) -> None:
        self.index_worker = IndexWorker(
            self.disk,
            self.folder,
            self.space,
            on_all_written=self._forget_finished,
            limits=self.limits,
        )
        self._reconcile = BackgroundReconcile(
            disk=self.disk,
            folder=self.folder,
            index_worker=self.index_worker,
            space=self.space,
            on_disk=self.on_disk,
            leased=self.leased,
            growing=lambda: frozenset(self._growing),
            events=self.events,
            clock=self.clock,
            limits=self.limits,
        )

    @property
    def status(self) -> StorageStatus:
        """The present status; never waits."""
        return self.space.status

    @property
    def published(self) -> LatestValue[StorageStatus]:
        """The status after each sample, to wait for a level."""
        return self.space.published

    @property
    def sync_histogram(self) -> DurationHistogram:
        """How long syncs took since the start; never waits."""
        return self.space.timer.stats.sync_counter.histogram

    @property
    def recovery(self) -> RecoveryReport | None:
        """The report of the latest search of the folder; None before the first."""
        return self._reconcile.report

    @property
    def searching(self) -> bool:
        """Whether recordings may still be found: the latest search of the folder is not over."""
        return self._reconcile.searching

    # --- writing ---

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Run `work` in a writer thread and wait for it, however long it takes.

        It is timed, and a hang shows as a level. Raises what `work` raises, usually OSError.
        """
        with self.space.operation():
            return await trio.to_thread.run_sync(work, limiter=self._writers)

    def growing(self, segment: Segment, durable_bytes: int) -> None:
        """Note the progress of an open segment, in memory only."""
        self._growing[segment.filename] = GrowingSegment(segment, durable_bytes)

    @property
    def growing_segments(self) -> Mapping[str, GrowingSegment]:
        """The segments that are being written, or are not in the index yet, by filename."""
        return MappingProxyType(self._growing)

    async def note_segment(self, segment: Segment) -> None:
        """Write a segment's present state into the index."""
        before = self._growing.get(segment.filename)
        if before is not None and segment.state is not SegmentState.OPEN:
            # Listings show this state until the index has it.
            sealed = segment.state is SegmentState.SEALED
            durable_bytes = segment.size_bytes if sealed else before.durable_bytes
            self._growing[segment.filename] = GrowingSegment(segment, durable_bytes, finished=True)
        if segment.state is SegmentState.SEALED:
            await self.index_worker.note(SegmentNoted(segment))
        else:
            if segment.state is SegmentState.INTERRUPTED:
                self._reconcile.search_again()
            await self.index_worker.write(lambda index: index.note_open(segment), derivable=True)

    def _forget_finished(self) -> None:
        """Drop finished segments from memory: the index has them all now."""
        for name, growing in list(self._growing.items()):
            if growing.finished:
                del self._growing[name]

    async def note_replaced(self, old: str, new: Segment) -> None:
        """Put `new` into the index in place of the file `old`, which will be removed; pins move on.

        Returns when that is durable, however long the disk refuses.
        """

        def replace(index: RecordingIndex) -> None:
            Pins.of(self.disk, self.folder).carry_over(old, new.filename, self.clock.now())
            index.accept(SegmentNoted(new), SegmentRemovalNoted(old, f"became {new.filename}"))

        await self.index_worker.write(replace)
        await self.index_worker.wait_all_written()

    async def note_session(self, session: Session) -> None:
        """Write a session into the index."""
        await self.index_worker.note(_session_record(session))

    def note_session_soon(self, session: Session) -> None:
        """Write a session into the index as soon as that works; never waits."""
        self.index_worker.write_soon(lambda index: index.accept(_session_record(session)))

    async def note_gaps(self, gaps: Sequence[Gap]) -> None:
        """Write gaps into the ledger."""
        if gaps:
            await self.index_worker.note(*map(GapNoted, gaps))

    # --- reading ---

    async def list_recordings(self, query: RecordingQuery) -> RecordingPage:
        """List segments, newest first. Raises Refusal when the disk hangs."""
        page = await self.index_worker.read(lambda index: index.database.page(query))
        fresh = tuple(
            self._growing[s.filename].segment if s.filename in self._growing else s
            for s in page.segments
        )
        return RecordingPage(fresh, page.total)

    async def recording(self, filename: str) -> tuple[Segment, tuple[Gap, ...]]:
        """Find a segment, with its session's gaps. Raises Refusal: no such file."""
        segment = await self.find(filename)
        gaps = await self.index_worker.read(lambda index: index.database.gaps(segment.session_id))
        return segment, gaps

    async def sessions(self, query: RecordingQuery) -> SessionPage:
        """List sessions with their sums, newest first. Raises Refusal.

        The newest file of a running session counts with its size at the time it was opened.
        """
        return await self.index_worker.read(lambda index: index.database.sessions_page(query))

    async def gaps(self, query: RecordingQuery) -> GapPage:
        """List gaps, newest first. Raises Refusal."""
        return await self.index_worker.read(lambda index: index.database.gaps_page(query))

    async def unfinished_sessions(self) -> tuple[Session, ...]:
        """Return the sessions that the last run of the daemon left unfinished, newest first.

        Waits for the recovery of their files, and until the index can be read.
        """
        await self._reconcile.done.wait()
        failures = 0
        while True:
            try:
                return await self.index_worker.read(
                    lambda index: index.database.unfinished_sessions()
                )
            except Refusal as refusal:
                log.error("sessions_not_read", error=refusal.message)
            failures += 1
            await trio.sleep(self.limits.write_retry.after(failures))

    async def unfinished_since(self, camera_id: CameraId) -> datetime | None:
        """Return when the oldest session of a camera that has not ended began. Raises Refusal."""
        return await self.index_worker.read(
            lambda index: index.database.unfinished_since(camera_id)
        )

    async def stored_file(self, filename: str) -> ReadableRecording:
        """Find a recording that can be read. Raises Refusal: no such file, or not a file name."""
        segment = await self.find(filename)
        path = self.folder / segment.filename
        growing = self._growing.get(segment.filename)
        sealed = segment.state is SegmentState.SEALED
        size, modified = await self._bounded(lambda: _size_and_time(path), segment.filename)
        return ReadableRecording(
            path=path,
            filename=segment.filename,
            size_bytes=size if growing is None else min(size, growing.durable_bytes),
            sealed=sealed,
            modified=modified,
        )

    def leased(self, filename: str) -> AbstractContextManager[None]:
        """Keep a file from being removed while the block runs, because it is being read."""
        return self._leases.hold(filename)

    @property
    def leased_files(self) -> frozenset[str]:
        """The files that are being read."""
        return self._leases.filenames

    def busy(self, segment: Segment) -> ErrorKind | None:
        """Return why a file cannot be removed now, None when it can; callable in any thread."""
        unexamined = segment.state is SegmentState.INTERRUPTED and self._reconcile.searching
        if segment.filename in self._growing or segment.state is SegmentState.OPEN or unexamined:
            return FILE_IN_USE
        return FILE_LEASED if segment.filename in self._leases else None

    async def find(self, filename: str) -> Segment:
        """Find a segment by a name from outside. Raises Refusal: unknown, or not a file name."""
        if not is_plain(filename):
            raise Refusal(
                INVALID_PARAMS,
                "Invalid params: filename is not a plain file name",
                errors=[{"path": "filename", "message": "must be a file name without a path"}],
            )
        if filename in self._growing:
            return self._growing[filename].segment
        # Until an MKV has been made, its MP4 is returned.
        mp4 = with_extension(filename, "mp4") if filename.endswith(".mkv") else None
        growing = self._growing.get(mp4) if mp4 is not None else None
        segment = await self.index_worker.read(lambda index: _find_either(index, filename, mp4))
        if growing is not None and (segment is None or segment.filename != filename):
            return growing.segment
        if segment is None:
            raise Refusal(FILE_NOT_FOUND, filename=filename)
        return segment

    async def arrival(self, segment: Segment) -> RecordingEndMoment | None:
        """Read when a recording's last frame arrived; None when its file does not say."""
        return await self.on_disk(lambda: arrival_of(self.disk, self.folder, segment))

    async def note_missing(self, filename: str) -> None:
        """Mark a file as missing if it is gone and camd did not remove it.

        Raises Refusal when the disk does not say whether it is.
        """
        try:
            await self._reconcile.mark_missing([filename])
        except (OSError, sqlite3.Error) as error:
            self.space.suspect()
            raise Refusal(STORAGE_UNRESPONSIVE, filename=filename) from error

    async def knows(self, filename: str) -> bool:
        """Return whether the index has a file of this name. Raises Refusal."""
        return (
            await self.index_worker.read(lambda index: index.database.segment(filename)) is not None
        )

    async def unconverted(self) -> tuple[Segment, ...]:
        """List the MP4s whose MKV was requested and never made, oldest first.

        Waits for recovery, and removes partial MKVs. Empty when the index cannot be read.
        """
        await self._reconcile.done.wait()
        await self.on_disk(self._remove_parts)
        try:
            return await self.index_worker.read(lambda index: index.database.to_convert())
        except Refusal as refusal:
            log.error("conversions_not_read", error=refusal.message)
            return ()

    async def superseded(self) -> tuple[str, ...]:
        """Name the MP4s that still exist beside the MKV made from them.

        A kill just before the removal leaves them. Waits for recovery.
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
        """Remove partial MKVs, except those that are being written now."""
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
        """Return the pins of those recordings that have one. Raises Refusal."""
        return await self.index_worker.read(lambda _: self._pins.among(filenames, self.clock.now()))

    async def pin(self, filename: str, pin: Pin) -> Segment:
        """Pin a recording; durable when this returns. Raises Refusal."""
        segment = await self.find(filename)
        await self._change(lambda _: self._pins.put(segment.filename, pin))
        log.info("pinned", filename=segment.filename, by=pin.by, reason=pin.reason)
        return segment

    async def unpin(self, filename: str) -> Segment:
        """Remove a recording's pin, if it has one. Raises Refusal."""
        segment = await self.find(filename)
        await self._change(lambda _: self._pins.drop(segment.filename))
        log.info("unpinned", filename=segment.filename)
        return segment

    async def remove(self, filenames: Sequence[str], why: str) -> list[Removal]:
        """Remove recordings and return an outcome for each.

        The index is locked meanwhile, so pass few at a time. What has begun is completed even when
        the caller is cancelled. Raises Refusal when the index cannot be used.
        """

        def remove(index: RecordingIndex) -> list[Removal]:
            now = self.clock.now()
            remover = Remover(self.disk, self.folder, index, self._pins, self.busy, now=now)
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
        """Remove one recording by a name from outside. Raises Refusal when it is kept."""
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
        with trio.move_on_after(self.limits.read_timeout_seconds):
            try:
                return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
            except (FileNotFoundError, NotADirectoryError):
                raise Refusal(FILE_NOT_FOUND, filename=filename) from None
            except OSError as error:
                self.space.suspect()
                raise Refusal(STORAGE_UNRESPONSIVE, "The file cannot be read") from error
        raise Refusal(STORAGE_UNRESPONSIVE)


def _find_either(index: RecordingIndex, filename: str, mp4: str | None) -> Segment | None:
    """Find a segment, or the MP4 that is to become it: between two reads one becomes the other."""
    found = index.database.segment(filename)
    if found is None and mp4 is not None and index.database.awaits_mkv(mp4):
        return index.database.segment(mp4)
    return found


def _session_record(session: Session) -> SessionNoted:
    """Return a session's record: its files and gaps have records of their own."""
    return SessionNoted(attrs.evolve(session, segments=(), gaps=()))


def _size_and_time(path: Path) -> tuple[int, datetime]:
    facts = path.stat()
    return facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC)


def arrival_of(disk: Disk, folder: Path, segment: Segment) -> RecordingEndMoment | None:
    """Read from a file's head when its recording arrived; None when it does not say. Blocks."""
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
    return RecordingEndMoment(metadata.boot_id, metadata.monotonic_start + segment.duration_seconds)


def _make_storage(
    config: StorageConfig,
    events: Fanout[Event],
    disk: Disk,
    *,
    clock: Clock,
    limits: StorageLimits,
) -> Storage:
    folder = config.recordings_dir
    volume = Volume(folder, config.state_dir, config.require_mount, disk, clock=clock)

    def prepare() -> None:
        volume.claim()
        storage.index_worker.open_current()

    space = SpaceMonitor(
        folder,
        disk,
        Thresholds(config.warn_percent, config.block_percent),
        events,
        prepare=prepare,
        identify=volume.identify,
        clock=clock,
        limits=limits,
    )
    timed_disk = TimedDisk(disk, space.timer, volume.confirm)
    storage = Storage(folder, timed_disk, space, events=events, clock=clock, limits=limits)
    return storage


@asynccontextmanager
async def open_storage(
    config: StorageConfig,
    events: Fanout[Event],
    disk: Disk | None = None,
    *,
    clock: Clock,
    limits: StorageLimits = STORAGE_LIMITS,
) -> AsyncIterator[Storage]:
    """Run the recordings volume while the block runs; its level is known when it begins.

    The folder is created if possible. A folder that cannot be created, or is lost later, is a level
    and not an error. A volume that hangs delays the start by the timeout of a sample. Raises
    FolderRefusedError when another process has the folder, a newer camd has used it, or its format
    cannot be told.
    """
    storage = _make_storage(config, events, disk or PosixDisk(), clock=clock, limits=limits)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(storage.space.serve)
            await storage.space.refresh()
            match storage.index_worker.refusal:
                case FolderInUseError() as error:
                    advice = "stop that one, or give each service a storage.recordings_dir"
                    raise FolderInUseError(f"{error}; {advice} of its own")
                case FolderRefusedError() as error:
                    raise error
            await nursery.start(storage.index_worker.serve)
            nursery.start_soon(storage.index_worker.serve_times)
            await nursery.start(storage._reconcile.serve)
            yield storage
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(limits.read_timeout_seconds):
            await storage.index_worker.close()
