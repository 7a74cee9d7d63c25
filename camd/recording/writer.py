"""Write what one camera delivers into the segments of one session, and count every frame.

Frames that it cannot write go into the gap ledger (I4), and the session is reported as recording
only while bytes become durable (I7).
"""

from __future__ import annotations

import errno

import attrs
import structlog
import trio

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    ClockStepped,
    EndOfStream,
)
from camd.clock import Clock
from camd.model import Gap, GapCause, RecordingEventKind, Segment, SegmentState
from camd.mp4.fragments import Init
from camd.mp4.h26x.reheader import can_share_file
from camd.mp4.segment import SegmentError
from camd.recording.convert import MkvConversions
from camd.recording.recording_queue import (
    ClockSteppedWhileDown,
    QueueDrop,
    QueueItem,
    RecordingQueue,
)
from camd.recording.reports import SessionReports
from camd.recording.rules.durability import WriteBackoff
from camd.recording.rules.ledger import FrameLoss, SessionLedger
from camd.recording.rules.rotation import Rotation
from camd.recording.segment_writer import SegmentBeginning, SegmentWriter, open_segment
from camd.storage.rules.admission import SpaceNeed
from camd.storage.segment_file import FileHarm, FileHarmedError
from camd.storage.storage import Storage

log = structlog.get_logger("camd.recorder")

NEXT_FRAGMENT = 1.2  # times the length of a fragment: until then the next one has come


@attrs.define(eq=False, kw_only=True)
class SessionWriter:
    """One session's writer. `rotation` may be replaced while it runs."""

    ledger: SessionLedger
    queue: RecordingQueue
    storage: Storage
    reports: SessionReports
    conversions: MkvConversions
    rotation: Rotation
    sync_seconds: float | None  # None: only when a segment is sealed
    end_on_storage_error: bool
    clock: Clock
    _init: Init | None = attrs.field(default=None, init=False)
    _open: SegmentWriter | None = attrs.field(default=None, init=False)
    _sync_due: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    _backoff: WriteBackoff = attrs.field(factory=WriteBackoff, init=False)
    _finishing: bool = attrs.field(default=False, init=False)
    done: bool = attrs.field(default=False, init=False)  # everything is sealed and accounted for
    refused_by: GapCause | None = attrs.field(default=None, init=False)  # before the first frame

    async def write_beginning(self) -> None:
        """Write until the first frames are durable, or the input is over."""
        while not (self._finishing or self.ledger.segments):
            await self._write_next()

    async def write_until_end(self) -> None:
        """Write until the input is over; then seal, and enter what is missing into the ledger."""
        while not self._finishing:
            await self._write_next()
        await self.reports.store(self.ledger.enter_found_drops(capture_over=True))
        await self._seal()
        await self.reports.store(self.ledger.finish(self.ledger.until or self.clock.now()))
        self.done = True

    async def write_queued(self) -> None:
        """Write and seal what is queued, when the task was interrupted before it was done.

        Frames that were being written at that moment go into the ledger.
        """
        if self.done:
            return
        if self.ledger.lose_in_hand(self.clock.now(), "was interrupted"):
            await self._seal()
        self.queue.put(EndOfStream())
        await self.write_until_end()

    async def _write_next(self) -> None:
        """Take the next item, or sync when none comes in time."""
        item: QueueItem | None = None
        with trio.move_on_after(self._until_sync()):
            item = await self.queue.get()
        if isinstance(item, EndOfStream):
            self._finishing = True
        elif item is None:
            await self._sync()
        else:
            await self._take(item)

    @property
    def _number(self) -> int:
        """The number of the next segment."""
        return self.ledger.segments[-1].number + 1 if self.ledger.segments else 0

    async def _take(self, item: QueueItem) -> None:
        match item:
            case CaptureBegan(init):
                self._init = init
            case CapturedFragment():
                self._init = item.init or self._init
                if self.ledger.segments or self._began_with(item):
                    self.ledger.took(item.fragment.frames)
                    await self._capture(item)
            case QueueDrop(start, end, frames):
                self.ledger.took(frames)
                await self._seal()
                why = "dropped the oldest frames in memory"
                self.ledger.lose(FrameLoss(start, end, frames, GapCause.STORAGE_SLOW, why))
                await self.reports.store(self.ledger.enter_losses())
            case ClockSteppedWhileDown(by, moment):
                await self.reports.store(self.ledger.clock_found(by, moment))
            case ClockStepped(by, moment):
                await self.reports.store(self.ledger.clock_stepped(by, moment))
            case CaptureEnded():
                await self.reports.store(self.ledger.enter_found_drops(capture_over=True))
                await self._seal()
                await self.reports.store(self.ledger.enter_losses())
                self.ledger.capture_ended(item)
                if item.cause is not None:
                    self.reports.wait_for(item.reason)

    def _began_with(self, captured: CapturedFragment) -> bool:
        """Whether a session without a file begins here, or has lost frames that are counted.

        A session begins with a key frame; frames before that are not part of it.
        """
        return captured.fragment.starts_with_sync or self.ledger.frames_captured > 0

    # --- fragments ---

    async def _capture(self, captured: CapturedFragment) -> None:
        """Write a fragment, or count it as lost."""
        fragment = captured.fragment
        level = self.storage.published.value.level
        stopped_by = self._backoff.stopped_by(level, self.clock.monotonic())
        if stopped_by is not None:
            await self._pause(stopped_by, level.value)
            self.ledger.lose_fragment(captured, stopped_by, "paused until storage is usable again")
            return
        try:
            if self._open is not None and fragment.starts_with_sync and self._due(captured):
                await self._rotate()
            if self._open is None:
                if not fragment.frames:
                    return  # sound before the first frame is not part of the session
                if not fragment.starts_with_sync:
                    cause = self.ledger.latest_cause
                    self.ledger.lose_fragment(captured, cause, "waited for the next key frame")
                    return
                await self._begin(captured)
            else:
                await self._append(captured)
        except OSError as error:
            if error.errno != errno.EFBIG or not await self._go_on_in_another(captured):
                await self._write_failed(error, captured)
        except SegmentError as error:
            await self._does_not_fit(error, captured)
        except FileHarmedError as error:
            await self._harmed(error.harm)
            await self._capture(captured)

    def _due(self, captured: CapturedFragment) -> bool:
        """Whether a new segment is due: by time, by size, or by another header or clock."""
        assert self._open is not None
        assert self._init is not None
        fragment = captured.fragment
        if not can_share_file(self._open.file.index.init, self._init):
            return True
        if self.ledger.clock_was_set or self._open.file.ends_before(fragment):
            return True
        return self.rotation.due(
            number=self._open.number,
            seconds=fragment.start_seconds - self._open.begin_seconds,
            size_bytes=self._open.file.size_bytes,
            next_bytes=fragment.size_bytes,
            frame_seconds=fragment.duration_seconds / max(1, fragment.frames),
        )

    async def _begin(self, captured: CapturedFragment) -> None:
        """Open a segment with a fragment that starts with a key frame. Raises OSError.

        The first fragment of a segment is synced at once: "started" means durable (I7), and a
        power cut just after a rotation leaves no file without footage (I1).
        """
        assert self._init is not None
        start = self.ledger.start_of(captured)
        # The entry for what is missing before the file is stored before the file is created: after
        # a crash in between, another entry follows; the other way round there would be a gap
        # without an entry (I4).
        await self.reports.store(self.ledger.begin(start, captured.fragment))
        self._open = await open_segment(
            storage=self.storage,
            ledger=self.ledger,
            beginning=SegmentBeginning(self._init, captured.fragment, start, self._number),
            clock=self.clock,
        )
        account, dropped = self._wrote(captured, self._open.file.size_bytes)
        self._synced()
        await self.reports.announce(account)
        await self.reports.store(dropped)
        self._backoff.worked()

    async def _append(self, captured: CapturedFragment) -> None:
        """Append to the open segment, and sync when that is due before the next fragment comes.

        Raises OSError when the fragment is not in the file; a sync that fails is handled here.
        """
        assert self._open is not None
        next_at = self.clock.monotonic() + NEXT_FRAGMENT * captured.fragment.duration_seconds
        due = self._sync_due is not None and next_at >= self._sync_due
        before = self._open.file.size_bytes
        failure = await self._open.append(self.storage, captured.fragment, sync=due)
        _, dropped = self._wrote(captured, self._open.file.size_bytes - before)
        if failure is None and due:
            self._synced()
        elif self._sync_due is None and self.sync_seconds is not None:
            self._sync_due = self.clock.monotonic() + self.sync_seconds
        await self.reports.store(dropped)
        if failure is not None:
            await self._write_failed(failure, None)
        else:
            self._backoff.worked()

    def _wrote(self, captured: CapturedFragment, grown: int) -> tuple[Segment, list[Gap]]:
        """Account for a fragment that is in the file; return the entries that it completes."""
        assert self._open is not None
        self.storage.space.wrote(self.ledger.session_id, grown)
        account = self._open.account(SegmentState.OPEN)
        dropped = self.ledger.wrote(
            captured, account, size_bytes=grown, monotonic=self.clock.monotonic()
        )
        self.storage.growing(account, self._open.file.synced_bytes)
        return account, dropped

    async def _does_not_fit(self, error: SegmentError, captured: CapturedFragment) -> None:
        """Begin another file: a fragment cannot follow in this one (a long gap, other tracks)."""
        log.warning("segment_ended", session=self.ledger.session_id, why=str(error))
        begun = self._open is not None
        await self._seal()
        if begun and captured.fragment.starts_with_sync:
            await self._capture(captured)
        else:
            self.ledger.lose_fragment(captured, GapCause.ENCODER_EXIT, str(error))

    async def _go_on_in_another(self, captured: CapturedFragment) -> bool:
        """Write a fragment that the open file may not grow by; False when there is no such file.

        Nothing is lost where a group of pictures begins with it, or the newest one in the file
        can be moved into the next.
        """
        if self._open is None:
            return False
        log.info("file_size_limit_met", session=self.ledger.session_id, file=self._open.name)
        opened = self._open
        if captured.fragment.starts_with_sync:
            await self._seal()
        else:
            moved = await self._split(opened)
            await (self._seal_file(opened) if moved else self._seal())
            if not moved:
                why = "a file may not become so large; waited for the next key frame"
                self.ledger.lose_fragment(captured, GapCause.STORAGE_ERROR, why)
                return True
        await self._capture(captured)
        return True

    async def _split(self, opened: SegmentWriter, harm: FileHarm | None = None) -> bool:
        """Move the newest GOP of a file into the next one, which is open then."""
        before = opened.file.size_bytes
        try:
            init = opened.file.index.init  # of what is in the file, not of the next fragment
            moved = await opened.split(
                storage=self.storage,
                ledger=self.ledger,
                init=init,
                number=self._number,
                harm=harm,
            )
        except OSError as error:
            log.error("split_failed", file=opened.name, error=str(error))
            return False
        if moved is None:
            return False
        self._open = moved
        self.ledger.replace(opened.account(SegmentState.OPEN))
        account = moved.account(SegmentState.OPEN)
        self.ledger.replace(account)
        grown = moved.file.size_bytes + opened.file.size_bytes - before
        self.storage.space.wrote(self.ledger.session_id, grown)
        self.storage.growing(account, moved.file.synced_bytes)
        await self.reports.announce(account)
        return True

    # --- durability ---

    def _until_sync(self) -> float:
        """Seconds until what was written must be synced, even if no item comes."""
        return (
            float("inf")
            if self._sync_due is None
            else max(0.0, self._sync_due - self.clock.monotonic())
        )

    async def _sync(self) -> None:
        assert self._open is not None
        file = self._open.file
        try:
            await self.storage.on_disk(file.sync)
        except OSError as error:
            await self._write_failed(error, None)
        else:
            self._synced()
            self.storage.growing(self._open.account(SegmentState.OPEN), file.synced_bytes)

    def _synced(self) -> None:
        self._sync_due = None
        self.ledger.synced(self.clock.monotonic())

    async def _rotate(self) -> None:
        """Seal, and reserve space for the next minute of a session without an end."""
        assert self._open is not None
        need = SpaceNeed(self._open.bytes_per_second, None)
        await self._seal()
        if self.ledger.request.duration is None:
            self.storage.space.reserve(self.ledger.session_id, need.bytes)

    async def _seal(self) -> None:
        """Seal the open segment, if any; a failure is an event, and leaves a playable file."""
        while self._open is not None:
            opened, self._open, self._sync_due = self._open, None, None
            await self._seal_file(opened)

    async def _seal_file(self, opened: SegmentWriter) -> None:
        """Seal one file; frames that do not fit go into another one, which is open then."""
        before, state = opened.file.size_bytes, SegmentState.SEALED
        try:
            error = await opened.seal(self.storage)
        except FileHarmedError as harmed:
            await self._close_harmed(opened, harmed.harm)
            return
        if error is not None and error.errno == errno.EFBIG:
            if self._open is None and await self._split(opened):
                before = opened.file.size_bytes
                error = await opened.seal(self.storage)
            if error is not None:
                await opened.close(self.storage)
        if error is None:
            self.ledger.synced(self.clock.monotonic())
        else:
            state = SegmentState.INTERRUPTED
            self.reports.tell(
                RecordingEventKind.ERROR, opened.name, f"seal failed: {error.strerror}"
            )
        self.storage.space.wrote(self.ledger.session_id, opened.file.size_bytes - before)
        account = opened.account(state)
        self.ledger.replace(account)
        await self.storage.note_segment(account)
        await self.reports.store(self.ledger.enter_found_drops())
        self.reports.compare_sums()
        if state is SegmentState.SEALED:
            self.conversions.add(account)

    # --- files that another program removed, moved or truncated ---

    async def _harmed(self, harm: FileHarm) -> None:
        """Go on in another file, at once where the newest frames can still be read."""
        assert self._open is not None
        opened, self._open, self._sync_due = self._open, None, None
        if harm is not FileHarm.TRUNCATED:
            await self._split(opened, harm)
        await self._close_harmed(opened, harm)

    async def _close_harmed(self, opened: SegmentWriter, harm: FileHarm) -> None:
        """Account for what is left of a file, and enter the rest into the ledger."""
        log.error("open_file_changed_outside", file=opened.name, what=harm.value)
        until, frames = opened.end, opened.file.index.frames - opened.file.frames_moved
        before = opened.file.size_bytes
        left = await opened.close_harmed(self.storage, harm)
        there = 0 if left.state is SegmentState.MISSING else left.size_bytes
        self.storage.space.stored_bytes += there - before
        self.ledger.replace(left)
        if lost := frames - left.frames:
            self.ledger.unwrote(lost)
            start = left.end if left.frames else left.start
            action = f"{opened.name} {harm.value} by somebody else; began a new file"
            loss = FrameLoss(start, until, lost, GapCause.FILE_REMOVED, action)
            await self.reports.store([self.ledger.enter_loss(loss)])
        await self.storage.note_segment(left)
        self.reports.tell_error(f"{opened.name} {harm.value}")
        if left.state is SegmentState.SEALED:
            self.conversions.add(left)
        if self._open is None:
            self.ledger.latest_cause = GapCause.FILE_REMOVED
            self.reports.wait_for(f"the file {harm.value}")
        else:
            self._synced()
        self.reports.compare_sums()

    # --- problems ---

    async def _pause(self, cause: GapCause, reason: str) -> None:
        if self._backoff.paused is not None:
            return
        self._backoff.paused = cause
        await self._seal()
        self.reports.wait_for(f"storage: {reason}")
        self.reports.tell_error(f"storage: {reason}")
        if self.ledger.first_frame_at is None:
            self.refused_by = cause
            self.queue.put(EndOfStream())
        elif self.end_on_storage_error:
            self.ledger.end_for(cause.value, self.clock.now())
            self.queue.put(EndOfStream())

    async def _write_failed(self, error: OSError, captured: CapturedFragment | None) -> None:
        """Seal the file, count the fragment as lost, and try again later."""
        cause = self._backoff.failed(error, self.clock.monotonic())
        log.error("write_failed", session=self.ledger.session_id, error=str(error))
        self.storage.space.suspect(error)
        await self._pause(cause, error.strerror or "error")
        if captured is not None:
            self.ledger.lose_fragment(captured, cause, "sealed the file, tried again later")
