"""One recording session, from the reservation of space to the receipt.

`RecordingSession.run` is the whole course of a session. Its camera starts it, tells it how the
capture goes (`capture_changed`) and when to end (`end`), and follows `reports.published`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs
import structlog
import trio

from camd.capture.consumer import CaptureEnded, EndOfStream
from camd.capture.hub import Attachment, StreamHub
from camd.clock import Clock
from camd.errors import (
    RECORDING_FAILED,
    SOURCE_UNAVAILABLE,
    STORAGE_CRITICAL,
    UNSUPPORTED,
    Refusal,
)
from camd.model import (
    GapCause,
    Problem,
    RecordingEventKind,
    SegmentState,
    Session,
    SessionState,
)
from camd.model.problems import STALLED
from camd.recording.convert import MkvConversions
from camd.recording.recording_queue import RecordingQueue
from camd.recording.reports import SessionReports
from camd.recording.rules.durability import AWAITS_CAMERA, AWAITS_DISK, judge_health
from camd.recording.rules.ledger import SessionLedger
from camd.recording.rules.rotation import Rotation
from camd.recording.writer import SessionWriter
from camd.runtime.actor import MailboxRequest
from camd.runtime.aligned_sleep import next_aligned
from camd.storage.rules.admission import SpaceNeed, space_facts
from camd.storage.storage import Storage

log = structlog.get_logger("camd.session")

SHUTDOWN = "shutdown"  # the session ended with the daemon; the next start continues it
INTERRUPTED = "interrupted"  # the same, when the daemon failed or was ended at once
INTERNAL_ERROR = "internal_error"  # the session ended because camd itself failed
TICK_SECONDS = 1.0
DRAIN_SECONDS = 4.0  # for frames in flight at a stop; then the session ends with what there is
INTERRUPTED_SECONDS = 5.0  # for what is queued when the task is interrupted
CLOSE_SECONDS = 10.0  # for that, and the session's row in the index
DURABILITY_SECONDS: dict[str, float | None] = {
    "1s": 1.0,
    "5s": 5.0,
    "30s": 30.0,
    "segment": None,
}


@attrs.frozen
class SessionSettings:
    """The configuration of a session, as it was when it began."""

    progress_seconds: float  # between two events that report its progress
    sync_seconds: float | None  # None: only when a segment is sealed
    stall_seconds: float  # for which a camera may deliver nothing
    resumable: bool  # the next start of the daemon continues it


@attrs.define(eq=False, kw_only=True)
class RecordingSession:
    """A session that runs, or is about to. Its camera decides when it ends."""

    ledger: SessionLedger
    queue: RecordingQueue
    hub: StreamHub
    storage: Storage
    reports: SessionReports
    writer: SessionWriter
    conversions: MkvConversions
    settings: SessionSettings
    clock: Clock
    expected_bytes_per_second: float
    over: bool = attrs.field(default=False, init=False)  # sealed, noted, and detached
    begun: trio.Event = attrs.field(factory=trio.Event, init=False)  # durable frames, or none ever
    _capture_problem: Problem | None = attrs.field(default=None, init=False)
    _end: trio.Event = attrs.field(factory=trio.Event, init=False)  # it is to end
    _timekeeping: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _told_health: tuple[SessionState, bool] | None = attrs.field(default=None, init=False)
    _attachment: Attachment | None = attrs.field(default=None, init=False)
    _refusal: Refusal | None = attrs.field(default=None, init=False)
    _starts: list[MailboxRequest[Any]] = attrs.field(factory=list, init=False)
    _stops: list[MailboxRequest[Any]] = attrs.field(factory=list, init=False)

    # --- the course of a session ---

    async def run(self) -> None:
        """Attach, reserve space, write until the end, seal, and answer; nothing runs afterwards.

        It attaches before it has space, so that what arrives meanwhile is kept.
        """
        since = self.ledger.started - timedelta(seconds=self.ledger.request.preroll_seconds)
        async with (
            self.hub.attach(self.queue, since=since, needs_capture=False) as self._attachment,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._end_input_when_told, self._attachment)
            if await self._reserve():
                if not (self.ending or self.queue.finished):
                    self._attachment.need_capture()
                try:
                    async with self.conversions.running():
                        if not self.ledger.segments:  # else an earlier run of the daemon began it
                            await self._begin()
                        nursery.start_soon(self._keep_time)
                        await self.writer.write_until_end()
                finally:
                    with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
                        await self._close()
            nursery.cancel_scope.cancel()
        self.over = True
        self._answer_all()

    async def _reserve(self) -> bool:
        """Reserve space, or refuse the start. A continued session is not refused, but waits."""
        space, session_id, need = self.storage.space, self.ledger.session_id, self._need()
        if self.ledger.first_frame_at is not None:
            space.reserve(session_id, need.bytes)
            return True
        try:
            admission = await space.admit(session_id, need)
        except Refusal as refusal:
            self._refusal = refusal
            return False
        self.ledger.warnings += admission.warnings
        self.ledger.fits_seconds = admission.fits_seconds
        return True

    async def _begin(self) -> None:
        """Write the first frames; answer whoever waits for them when they are durable."""
        await self.writer.write_beginning()
        if self.ledger.segments:
            self.ledger.healthy = self.ledger.durable_at is not None
            await self.storage.note_session(self.reports.snapshot())
            self.begun.set()
            self._answer(self._starts)
            self.reports.tell(RecordingEventKind.STARTED, self.ledger.segments[0].filename)

    async def _end_input_when_told(self, attachment: Attachment) -> None:
        """Once the session is to end, take the frames in flight; wait for them a limited time."""
        await self._end.wait()
        if not attachment.finishing:
            attachment.finish()
        await trio.sleep(DRAIN_SECONDS)
        problem = self._capture_problem or STALLED
        self.queue.put(CaptureEnded(problem.ledger_cause, problem.message))
        self.queue.put(EndOfStream())

    async def _close(self) -> None:
        """Seal what is open, give the space back, and store the final account."""
        with trio.move_on_after(INTERRUPTED_SECONDS):
            await self.writer.write_queued()
        self.storage.space.release(self.ledger.session_id)
        self._timekeeping.cancel()
        await self._close_ledger()

    async def _close_ledger(self) -> None:
        ledger = self.ledger
        if ledger.until is None:
            ledger.end_for(INTERRUPTED, self.clock.now())
        ledger.ended, ledger.state = self.clock.now(), SessionState.ENDED
        if ledger.segments:
            ledger.ended = ledger.segments[-1].end
            await self._look_hashes_up()
            await self.storage.note_session(self._final())
        self.reports.compare_sums()

    async def _look_hashes_up(self) -> None:
        """Complete the account of recovered segments, whose hashes were computed later."""
        for segment in self.ledger.segments:
            if segment.sha256 is None and segment.state is SegmentState.SEALED:
                with suppress(Refusal):
                    self.ledger.replace((await self.storage.recording(segment.filename))[0])

    def _final(self) -> Session:
        """The account to store: a session that ended with the daemon waits to be continued."""
        session = self.reports.snapshot()
        if self.settings.resumable and session.reason in (SHUTDOWN, INTERRUPTED):
            return attrs.evolve(session, state=SessionState.WAITING, end=None)
        return session

    def _need(self) -> SpaceNeed:
        """The space that the session needs for the rest of its time."""
        request, seconds = self.ledger.request, None
        preroll = request.preroll_seconds
        if request.duration is not None:
            seconds = request.duration.total_seconds()
        if self.ledger.first_frame_at is not None:
            elapsed = self.clock.monotonic() - self.ledger.first_frame_at
            seconds = None if seconds is None else max(0.0, seconds + preroll - elapsed)
            preroll = 0.0
        rate = self.hub.bytes_per_second or self.expected_bytes_per_second
        return SpaceNeed(rate, seconds, preroll, self.writer.rotation.max_seconds)

    # --- its handle ---

    @property
    def ending(self) -> bool:
        """Whether the session was told to end."""
        return self._end.is_set()

    @property
    def awaits_key_frame(self) -> bool:
        """Whether frames come, and none can be recorded before the next key frame."""
        return self._attachment is not None and self._attachment.awaits_key_frame

    def end(self, reason: str, *, hurry: bool = False) -> None:
        """End with the frames that were captured until now; `run` does the rest.

        With `hurry`, conversions that take long are left for the next start of the daemon.
        """
        if hurry:
            self.conversions.hurry()
        if not self.ending:
            self.ledger.end_for(reason, self.hub.look_at_clock().wall)
            self._end.set()
            if self._attachment is not None:  # now: another capture may begin before `run` goes on
                self._attachment.finish()

    def use_rotation(self, rotation: Rotation) -> None:
        """Begin segments as the configuration says now."""
        self.writer.rotation = rotation

    def use_device(self, device: str) -> None:
        """Name another device in events: the camera's binding has changed."""
        self.reports.device = device

    def capture_changed(self, problem: Problem | None, *, failed: bool) -> None:
        """Take the problem of the capture; when that failed, a session that has not begun is
        refused, and one that has waits for the next capture."""
        self._capture_problem = problem
        starting = self.ledger.state is SessionState.STARTING and not self.ending
        if failed and problem is not None and starting:
            self.refuse(refusal_for(problem, self.ledger.camera_id))

    def refuse(self, refusal: Refusal) -> None:
        """Give up before the first frame."""
        self._refusal = self._refusal or refusal
        self.queue.put(EndOfStream())

    def crashed(self) -> None:
        """End the account after a bug in the camera's actor, which cancelled `run`."""
        ledger = self.ledger
        ledger.ended = ledger.ended or self.clock.now()
        ledger.state, ledger.reason = SessionState.ENDED, INTERNAL_ERROR
        if ledger.segments:
            self.storage.note_session_soon(self.reports.snapshot())
        self.storage.space.release(ledger.session_id)
        self.reports.tell(RecordingEventKind.ERROR, filename="", reason=INTERNAL_ERROR)

    # --- who waits for an answer ---

    def join(self, ask: MailboxRequest[Any]) -> None:
        """Answer `ask` as soon as frames are durable."""
        if self.ledger.first_frame_at is None:
            self._starts.append(ask)
        else:
            ask.answer(self.reports.snapshot())

    def await_end(self, ask: MailboxRequest[Any]) -> None:
        """Answer `ask` when everything is sealed."""
        self._stops.append(ask)

    def _answer_all(self) -> None:
        self.begun.set()
        self._answer(self._starts)
        self._answer(self._stops)
        if self.ledger.segments:
            self.reports.tell(RecordingEventKind.STOPPED, reason=self.ledger.reason)

    def _answer(self, asks: list[MailboxRequest[Any]]) -> None:
        session = self.reports.snapshot()
        for ask in asks:
            if session.segments:
                ask.answer(session)
            else:
                ask.refuse(self._why_nothing())
        asks.clear()

    def _why_nothing(self) -> Refusal:
        if self._refusal is not None:
            return self._refusal
        camera_id, cause = self.ledger.camera_id, self.writer.refused_by
        if cause is not None:
            kind = STORAGE_CRITICAL if cause is GapCause.STORAGE_FULL else RECORDING_FAILED
            facts = space_facts(self.storage.status)
            return Refusal(kind, camera_id=camera_id, cause=cause.value, **facts)
        return Refusal(
            RECORDING_FAILED,
            "The recording ended before its first frame",
            camera_id=camera_id,
            cause=self.ledger.reason or "stopped",
        )

    # --- its time and its health ---

    async def _keep_time(self) -> None:
        """Watch the session's health, report progress, and end it when its duration is over."""
        if not self.ledger.segments:
            return
        end, progress_at = self._end_due(), self.clock.monotonic() + self.settings.progress_seconds
        with self._timekeeping:
            while self.clock.monotonic() < end:
                left = max(0.0, min(end, progress_at) - self.clock.monotonic())
                await trio.sleep_until(min(next_aligned(TICK_SECONDS), trio.current_time() + left))
                self._look_after_health()
                if self.clock.monotonic() >= progress_at:
                    progress_at += self.settings.progress_seconds
                    self.reports.tell(RecordingEventKind.PROGRESS)
            self.end("duration")

    def _end_due(self) -> float:
        """When the duration that was asked for is over, in monotonic seconds."""
        ledger, limit = self.ledger, self.ledger.request.duration
        assert ledger.first_frame_at is not None
        if limit is None:
            return float("inf")
        preroll = min(ledger.request.preroll_seconds, ledger.preroll_seconds)  # comes on top
        return ledger.first_frame_at + limit.total_seconds() + preroll

    def _look_after_health(self) -> None:
        """Report the session as healthy only while bytes become durable (I7)."""
        ledger = self.ledger
        health = judge_health(
            written_at=ledger.written_at,
            durable_at=ledger.durable_at,
            sync_seconds=self.settings.sync_seconds,
            time=self.clock.monotonic(),
            stall_seconds=self.settings.stall_seconds,
        )
        ledger.healthy = health.good
        if not health.written and ledger.state is SessionState.RECORDING:
            disk = self.queue.waiting_bytes > 0  # frames wait and are not written
            self.reports.wait_for(AWAITS_DISK if disk else AWAITS_CAMERA)
        if (status := (ledger.state, ledger.healthy)) != self._told_health:
            self._told_health = status
            self.reports.publish()


def refusal_for(problem: Problem, camera_id: str) -> Refusal:
    """Make a refusal of a start from the problem that keeps the camera from delivering."""
    kind = UNSUPPORTED if problem.possible else SOURCE_UNAVAILABLE
    facts = {"possible": list(problem.possible)} if problem.possible else {}
    return Refusal(
        kind,
        problem.message,
        suggestion=problem.suggestion,
        camera_id=camera_id,
        cause=problem.kind,
        **facts,
    )
