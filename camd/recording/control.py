"""The session that a camera has, or none: who may begin it, what ends it, and who hears of it.

Synchronous: the camera's loop calls it, and what it wants done it asks of its `CameraPort`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import attrs
import structlog
import trio

from camd.capture.consumer import CaptureQueue, ClockFound
from camd.capture.hub import StreamHub
from camd.capture.rules import state as m
from camd.clock import boot_id, monotonic, now
from camd.errors import (
    ALREADY_RECORDING,
    NOT_RECORDING,
    RECORDING_FAILED,
    SHUTTING_DOWN,
    SOURCE_UNAVAILABLE,
    UNSUPPORTED,
    Refusal,
)
from camd.model import (
    CameraState,
    Problem,
    RecordingEventKind,
    RecordingRequest,
    Session,
    SessionState,
)
from camd.model.problems import NO_PICTURE_YET, STALLED, WAITING_FOR_KEY_FRAME
from camd.recording.factory import SessionFactory
from camd.recording.rules.book import BootMoment, SessionBook
from camd.recording.rules.ledger import ResumePoint
from camd.recording.session import (
    DurationElapsed,
    RecordingSession,
    SessionAdmitted,
    SessionBegan,
    SessionChanged,
    SessionOver,
    SessionReport,
)
from camd.runtime.actor import Ask
from camd.storage.rules.clock_trust import FootageArrival

log = structlog.get_logger("camd.camera")

INTERNAL_ERROR = "internal_error"  # why a session ended in which camd itself failed
STOP_PATIENCE_SECONDS = 4.0  # for frames in flight; then the session ends with what there is


@attrs.frozen
class DrainTimedOut:
    """Frames in flight took too long to come."""

    active: RecordingSession


@attrs.frozen
class StartTimedOut:
    """A start has waited long enough for its first frame."""

    active: RecordingSession


class CameraPort(Protocol):
    """What a desk needs of its camera."""

    @property
    def feed(self) -> StreamHub:
        """What the camera delivers."""

    @property
    def machine(self) -> m.CaptureState:
        """Where the camera stands."""

    @property
    def stays_on(self) -> bool:
        """Whether the camera captures although nobody records."""

    @property
    def expected_bytes_per_second(self) -> float:
        """What a session will need, before anything was measured."""

    def step(self, event: m.CaptureEvent) -> None:
        """Tell the machine."""

    def go(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task of the camera."""

    async def tell(self, message: SessionReport | DrainTimedOut | StartTimedOut) -> None:
        """Put a message into the camera's mailbox."""

    def announce(
        self, session: Session, news: RecordingEventKind, filename: str, reason: str
    ) -> None:
        """Tell everybody who listens."""


@attrs.define(eq=False)
class SessionControl:
    """The one session of one camera."""

    factory: SessionFactory
    floor: CameraPort
    active: RecordingSession | None = attrs.field(default=None, init=False)
    closing: bool = attrs.field(default=False, init=False)
    _later: list[tuple[RecordingRequest, Ask[Any]]] = attrs.field(factory=list, init=False)

    # --- what is asked for ---

    def start(self, wish: RecordingRequest, ask: Ask[Any]) -> None:
        """Begin a session, join the one that has the wish's key, or refuse.

        While the one with that key is ending, the start waits for its end, and begins another.
        """
        active, camera_id = self.active, self.factory.camera_id
        if self.closing:
            ask.refuse(Refusal(SHUTTING_DOWN, camera_id=camera_id))
        elif active is not None and wish.key is not None and wish.key == active.book.wish.key:
            if active.ending:
                self._later.append((wish, ask))
            else:
                active.join(ask)
        elif active is not None:
            owner, session_id = active.book.wish.owner, active.book.session_id
            ask.refuse(
                Refusal(ALREADY_RECORDING, camera_id=camera_id, session_id=session_id, owner=owner)
            )
        else:
            self.floor.feed.look_at_clock()
            active = self._run(self.factory.new_book(wish))
            active.join(ask)
            self.floor.go(partial(self._bound_start, active))

    def resume(self, session: Session, arrival: FootageArrival | None) -> bool:
        """Continue a session of an earlier life; False when another one runs already.

        `arrival` is that of its last frame, where its newest file tells it.
        """
        if self.active is not None or self.closing:
            return False
        moment = BootMoment(now(), monotonic(), boot_id())
        book = SessionBook.resumed(session, moment)
        there = ResumePoint.of(book, moment, arrival)
        active = self._run(book)
        active.recorder.resume(there)
        if there.untold:
            active.queue.put(ClockFound(there.untold, moment.wall))
        self.floor.go(active.keep_time)
        log.info("session_resumed", camera=book.camera_id, session=book.session_id)
        return True

    def stop(self, ask: Ask[Any]) -> None:
        """End the session; `ask` is answered when everything is sealed."""
        if self.active is None:
            ask.refuse(Refusal(NOT_RECORDING, camera_id=self.factory.camera_id))
            return
        self.active.await_end(ask)
        self.end("stopped")

    def close(self, reason: str) -> None:
        """End the session, and begin no other."""
        self.closing = True
        if self.active is not None:
            self.active.hurry()
        self.end(reason)

    def use_rotation(self) -> None:
        """Cut a running session as the configuration says now."""
        if self.active is not None:
            self.active.recorder.rotation = self.factory.rotation()

    # --- what happens ---

    def hear(self, message: SessionReport | DrainTimedOut | StartTimedOut) -> None:
        """Take what a session's tasks report; what is left of an older session is ignored."""
        active = message.active
        if isinstance(message, StartTimedOut):
            if active is self.active and active.book.state is SessionState.STARTING:
                self._give_up_start(active)
        elif isinstance(message, DrainTimedOut):
            active.give_up_waiting(self.floor.machine.problem or STALLED)
        elif active is self.active:
            self._hear(message, active)

    def _give_up_start(self, active: RecordingSession) -> None:
        """Refuse a start that waits for pictures, or in the midst of them for a key frame."""
        machine = self.floor.machine
        if machine.state is not CameraState.STREAMING:
            self.floor.step(m.ChildWaits(machine.problem or NO_PICTURE_YET))
        elif self.floor.feed.awaits_key_frame(active.queue):
            active.refuse(_refusal(WAITING_FOR_KEY_FRAME, self.factory.camera_id))

    def child_is_gone(self, problem: Problem | None) -> None:
        """A session that has not begun is refused, one that ends is finished, others wait."""
        active = self.active
        if active is None:
            return
        if active.ending:
            active.finish()
        elif problem is not None and active.book.state is SessionState.STARTING:
            active.refuse(_refusal(problem, self.factory.camera_id))

    def child_waits(self, problem: Problem) -> None:
        """The source delivers without a key frame: a session that has not begun is refused."""
        active = self.active
        if active and not active.ending and active.book.state is SessionState.STARTING:
            active.refuse(_refusal(problem, self.factory.camera_id))

    def source_ended(self, queues: Sequence[CaptureQueue]) -> None:
        """A source that plays once has been played, into `queues`.

        A session that waits for room goes on with what is played next.
        """
        active = self.active
        if active is not None and active.admitted and active.queue in queues:
            self.end("source_ended")

    def crash(self) -> None:
        """The camera's loop failed: its session will not be finished any more.

        Its tasks have sealed and noted it already, and could not know why they had to.
        """
        if self.active is not None:
            active, self.active = self.active, None
            book, storage = active.book, self.factory.storage
            book.ended = book.ended or now()
            book.state, book.reason = SessionState.ENDED, INTERNAL_ERROR
            if book.segments:
                storage.note_session_soon(active.snapshot())
            self._tell(active, RecordingEventKind.ERROR, "", INTERNAL_ERROR)
            storage.space.release(book.session_id)
        waiting, self._later = self._later, []
        for _, ask in waiting:
            ask.refuse(
                Refusal(RECORDING_FAILED, camera_id=self.factory.camera_id, cause=INTERNAL_ERROR)
            )

    def end(self, reason: str) -> None:
        """Take what is still in flight, then seal: all frames until now belong to the session."""
        active, floor = self.active, self.floor
        if active is None or active.ending:
            return
        active.ending = True
        active.book.end_for(reason, floor.feed.look_at_clock())
        if not floor.machine.has_child:
            active.finish()
            return
        if (floor.stays_on or not active.admitted) and not self.closing:
            active.queue.finish_after_next()
        else:
            floor.step(m.Unwanted())
        floor.go(partial(self._lose_patience, active))

    async def _bound_start(self, active: RecordingSession) -> None:
        await trio.sleep(self.factory.answer_timeout.total_seconds())
        await self.floor.tell(StartTimedOut(active))

    async def _lose_patience(self, active: RecordingSession) -> None:
        await trio.sleep(STOP_PATIENCE_SECONDS)
        await self.floor.tell(DrainTimedOut(active))

    def _run(self, book: SessionBook) -> RecordingSession:
        floor = self.floor
        self.active = active = self.factory.make(book, floor.tell, self._tell)
        # Before there is room: what is captured while storage thinks is wanted, and is kept.
        preroll = timedelta(seconds=book.wish.preroll_seconds)
        floor.feed.attach(active.queue, book.started - preroll)
        rate = floor.feed.bytes_per_second or floor.expected_bytes_per_second
        floor.go(partial(active.run, rate, self.factory.rotation()))
        return active

    def _hear(self, report: SessionReport, active: RecordingSession) -> None:
        match report:
            case SessionAdmitted():
                active.admitted = True
                if not active.ending and not active.queue.finished:
                    self.floor.step(m.Wanted())
            case SessionBegan():
                active.answer_starts()
                self._tell(active, RecordingEventKind.STARTED, active.book.segments[0].filename, "")
                self.floor.go(active.keep_time)
            case DurationElapsed():
                self.end("duration")
            case SessionOver():
                self._session_over(active)
            case SessionChanged():
                pass  # the camera publishes its status after every message

    def _begin_later(self) -> None:
        """Let those begin who waited for the end of a session with their key."""
        waiting, self._later = self._later, []
        for wish, ask in waiting:
            self.start(wish, ask)

    def _session_over(self, active: RecordingSession) -> None:
        self.active = None
        self.floor.feed.detach(active.queue)
        began = bool(active.book.segments)
        active.answer_all()
        if began:
            last = active.book.segments[-1].filename
            self._tell(active, RecordingEventKind.STOPPED, last, active.book.reason)
        if not self.floor.stays_on or self.closing:
            self.floor.step(m.Unwanted())
        self._begin_later()

    def _tell(
        self, active: RecordingSession, news: RecordingEventKind, filename: str, reason: str
    ) -> None:
        self.floor.announce(active.snapshot(), news, filename, reason)


def _refusal(problem: Problem, camera_id: str) -> Refusal:
    """Say to whoever wanted to record why the camera does not deliver."""
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
