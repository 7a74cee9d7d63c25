"""One camera: the actor that owns its child, its feed and its session.

Requests come through a mailbox, and so does what the world did; each is answered in one
synchronous step, by the machine and the book. Whatever takes time is a task that reports back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import attrs
import structlog
import trio

from camd.camera import machine as m
from camd.camera.active import (
    SHUTDOWN,
    Active,
    Admitted,
    Began,
    Changed,
    Over,
    Report,
    TimeIsUp,
)
from camd.camera.capture import Capture
from camd.camera.children import Children, SourceEnded
from camd.camera.factory import SessionFactory
from camd.camera.feed import Feed
from camd.camera.sessions import Moment, SessionBook
from camd.clock import boot_id, monotonic, now
from camd.config.schema import CameraConfig, Config, RecordingConfig
from camd.errors import (
    ALREADY_RECORDING,
    NOT_RECORDING,
    RECORDING_FAILED,
    SHUTTING_DOWN,
    SOURCE_UNAVAILABLE,
    Refusal,
)
from camd.model import (
    CameraChanged,
    CameraId,
    CameraState,
    CameraStatus,
    Event,
    RecordingChanged,
    RecordingNews,
    RecordingWish,
    Session,
    SessionState,
    Trouble,
)
from camd.runtime.fanout import Fanout
from camd.runtime.mailbox import ActorGoneError, Ask, Mailbox
from camd.runtime.published import Published
from camd.runtime.supervise import supervise
from camd.storage.actor import Storage

log = structlog.get_logger("camd.camera")

STOP_PATIENCE_SECONDS = 4.0  # for frames in flight; then the session ends with what there is
CLOSE_PATIENCE_SECONDS = 15.0
CRASHED = Trouble(
    "internal_error",
    "The camera's own task failed and is being restarted",
    "Look for the traceback in the service's log.",
)


@attrs.frozen
class StartRecording:
    """Begin a session."""

    wish: RecordingWish


@attrs.frozen
class Resume:
    """Continue a session that another life of the daemon began; answered with whether."""

    session: Session


@attrs.frozen
class StopRecording:
    """End the session; answered when its files are sealed and durable."""


@attrs.frozen
class Reconfigure:
    """Use other recording settings, for the running session too."""

    recording: RecordingConfig


@attrs.frozen
class Close:
    """End the session and the child; answered when both are gone."""


@attrs.frozen
class PatienceOver:
    """Frames in flight took too long to come."""

    active: Active


Message = (
    StartRecording
    | StopRecording
    | Resume
    | Resume
    | Reconfigure
    | Close
    | SourceEnded
    | PatienceOver
    | Report
    | m.Event
)


@attrs.define(eq=False)
class Camera:
    """A configured camera. Status is an attribute; everything else is asked for."""

    config: CameraConfig
    _all: Config
    _storage: Storage
    _events: Fanout[Event]
    _capture: Capture
    _factory: SessionFactory = attrs.field(init=False)
    _mailbox: Mailbox[Message] = attrs.field(factory=Mailbox, init=False)
    _children: Children = attrs.field(init=False)
    _active: Active | None = attrs.field(default=None, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _closing: list[Ask[Message]] = attrs.field(factory=list, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _faulted: bool = attrs.field(default=False, init=False)
    _restarts: int = attrs.field(default=0, init=False)
    _published: Published[CameraStatus] = attrs.field(init=False)
    revision: int = attrs.field(default=0, init=False)  # grows with every published status

    def __attrs_post_init__(self) -> None:
        self._factory = SessionFactory(
            self.config.id, self._all, self._all.recording, self._storage, self._capture
        )
        self._children = self._new_children()
        self._published = Published(self.status)

    def _new_children(self) -> Children:
        feed = Feed(self._factory.ring())
        return Children(self._capture, self._all.ffmpeg, self._mailbox.tell, feed)

    # --- the handle ---

    @property
    def _stays_on(self) -> bool:
        """Whether it captures although nobody records: pre-roll is what came before a start."""
        return self.config.always_on or bool(self._all.recording.preroll)

    @property
    def camera_id(self) -> CameraId:
        """The camera's id, stable across restarts."""
        return self.config.id

    @property
    def capture(self) -> Capture:
        """The camera's way to FFmpeg: which device it has, and what that is asked for."""
        return self._capture

    @property
    def published(self) -> Published[CameraStatus]:
        """The status as of each change, for those who wait for one."""
        return self._published

    @property
    def status(self) -> CameraStatus:
        """The latest word, counters included; never waits."""
        trouble = CRASHED if self._faulted else self._children.machine.trouble
        return CameraStatus(
            camera_id=self.config.id,
            device=self.config.device or self.config.id,
            name=self.config.name or self.config.id,
            identity=self.config.id,
            state=CameraState.FAULTED if self._faulted else self._children.machine.state,
            trouble=trouble,
            video=self._children.feed.video,
            wanted=self._capture.wanted,
            session=self._active.snapshot() if self._active else None,
            bytes_captured=self._children.feed.bytes_captured,
            streaming_since=self._children.feed.began_at,
            restarts=self._restarts,
        )

    async def start_recording(self, wish: RecordingWish) -> Session:
        """Begin a session; returns when its first frames are on disk.

        With the key of the running session, returns that one. Raises Refusal: recording
        already (−1006), no room (−1008, −1010), source not available (−32006).
        """
        session: Session = await self._ask(StartRecording(wish))
        return session

    async def resume(self, session: Session) -> bool:
        """Continue a session under its own id; False when another one runs already."""
        resumed: bool = await self._ask(Resume(session))
        return resumed

    async def stop_recording(self) -> Session:
        """End the session; returns when its files are sealed and durable (I8).

        Raises Refusal when there is none. However many ask, all get the same session.
        """
        session: Session = await self._ask(StopRecording())
        return session

    async def reconfigure(self, recording: RecordingConfig) -> None:
        """Apply rotation and format; a running session goes on untouched."""
        await self._ask(Reconfigure(recording))

    async def close(self) -> None:
        """End session and child in order; bounded."""
        with trio.move_on_after(CLOSE_PATIENCE_SECONDS):
            try:
                await self._mailbox.ask(Close())
            except ActorGoneError:
                return

    async def _ask(self, message: Message) -> Any:
        try:
            return await self._mailbox.ask(message)
        except ActorGoneError:
            kind = SHUTTING_DOWN if self._closed else RECORDING_FAILED
            raise Refusal(kind, camera_id=self.camera_id, cause="restarting") from None

    # --- the loop ---

    async def serve(self) -> None:
        """Live until closed; a bug ends the session, is logged, and the camera starts anew."""
        await supervise(f"camera {self.camera_id}", self._live, self._crashed)

    async def _live(self) -> None:
        with self._mailbox.opened():
            async with trio.open_nursery() as nursery:
                self._nursery = self._children.nursery = nursery
                self._faulted = False
                self._publish()
                if self._stays_on:
                    self._step(m.Wanted())
                while not (self._closing and self._active is None and self._children.gone):
                    self._handle(await self._mailbox.receive())
                self._closed = True
                nursery.cancel_scope.cancel()
            for ask in self._closing:
                ask.answer(None)

    def _crashed(self) -> None:
        if self._active is not None:
            book = self._active.book
            book.ended, book.state, book.reason = now(), SessionState.ENDED, "internal_error"
            self._tell(self._active, RecordingNews.ERROR, "", "internal_error")
            self._storage.guard.release(book.session_id)
        self._mailbox = Mailbox()
        self._children = self._new_children()
        self._active = None
        self._faulted, self._restarts = True, self._restarts + 1
        self._publish()

    def _handle(self, ask: Ask[Message]) -> None:
        match ask.request:
            case StartRecording(wish):
                self._start(wish, ask)
            case StopRecording():
                self._stop(ask)
            case Resume(session):
                ask.answer(self._resume(session))
            case Reconfigure(recording):
                self._factory.recording = recording
                if self._active is not None:
                    self._active.recorder.rotation = self._factory.rotation()
                ask.answer(None)
            case Close():
                self._closing.append(ask)
                self._end_session(SHUTDOWN)
                self._step(m.Unwanted())
            case SourceEnded(queues):
                if self._active is not None and self._active.queue in queues:
                    self._end_session("source_ended")
            case PatienceOver(active):
                active.give_up_waiting()
            case Admitted() | Began() | Over() | Changed() | TimeIsUp() as report:
                if report.active is self._active:
                    self._hear(report, report.active)
            case event:
                self._step(event)
        self._publish()

    def _go(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task)

    def _step(self, event: m.Event) -> None:
        self._children.step(event)
        machine = self._children.machine
        if self._active is not None and not machine.has_child:
            self._child_is_gone(self._active, machine.trouble)

    def _child_is_gone(self, active: Active, trouble: Trouble | None) -> None:
        """A session that has not begun is refused, one that ends is finished, others wait."""
        if active.ending:
            active.finish()
        elif trouble is not None and active.book.state is SessionState.STARTING:
            active.refuse(
                Refusal(
                    SOURCE_UNAVAILABLE,
                    trouble.message,
                    suggestion=trouble.suggestion,
                    camera_id=self.camera_id,
                    cause=trouble.cause,
                )
            )

    # --- the session ---

    def _start(self, wish: RecordingWish, ask: Ask[Message]) -> None:
        active = self._active
        if self._closing:
            ask.refuse(Refusal(SHUTTING_DOWN, camera_id=self.camera_id))
        elif active is not None and wish.key is not None and wish.key == active.book.wish.key:
            active.join(ask)
        elif active is not None:
            owner, session_id = active.book.wish.owner, active.book.session_id
            ask.refuse(
                Refusal(
                    ALREADY_RECORDING,
                    camera_id=self.camera_id,
                    session_id=session_id,
                    owner=owner,
                )
            )
        else:
            self._children.feed.look_at_clock()
            self._run_session(self._factory.new_book(wish)).join(ask)

    def _resume(self, session: Session) -> bool:
        if self._active is not None or self._closing:
            return False
        book = SessionBook.resumed(session, Moment(now(), monotonic(), boot_id()))
        active = self._run_session(book)
        active.recorder.resume()
        self._go(active.keep_time)
        log.info("session_resumed", camera=self.camera_id, session=book.session_id)
        return True

    def _run_session(self, book: SessionBook) -> Active:
        self._active = active = self._factory.make(book, self._mailbox.tell, self._tell)
        rate = self._children.feed.bytes_per_second or self._capture.expected_bytes_per_second
        self._go(partial(active.run, rate, self._factory.rotation()))
        return active

    def _hear(self, report: Report, active: Active) -> None:
        match report:
            case Admitted():
                if not active.queue.finished:
                    since = active.book.started - timedelta(
                        seconds=active.book.wish.preroll_seconds
                    )
                    self._children.feed.attach(active.queue, since)
                    self._step(m.Wanted())
            case Began():
                active.answer_starts()
                self._tell(active, RecordingNews.STARTED, active.book.segments[0].filename, "")
                self._go(active.keep_time)
            case TimeIsUp():
                self._end_session("duration")
            case Over():
                self._session_over(active)

    def _stop(self, ask: Ask[Message]) -> None:
        if self._active is None:
            ask.refuse(Refusal(NOT_RECORDING, camera_id=self.camera_id))
            return
        self._active.await_end(ask)
        self._end_session("stopped")

    def _end_session(self, reason: str) -> None:
        """Take what is still in flight, then seal: all frames until now belong to the session."""
        active = self._active
        if active is None or active.ending:
            return
        active.ending = True
        active.book.end_for(reason, self._children.feed.look_at_clock())
        if not self._children.machine.has_child:
            active.finish()
            return
        if self._stays_on and not self._closing:
            active.queue.finish_after_next()
        else:
            self._step(m.Unwanted())
        self._go(partial(self._lose_patience, active))

    async def _lose_patience(self, active: Active) -> None:
        await trio.sleep(STOP_PATIENCE_SECONDS)
        await self._mailbox.tell(PatienceOver(active))

    def _session_over(self, active: Active) -> None:
        self._active = None
        self._children.feed.detach(active.queue)
        began = bool(active.book.segments)
        active.answer_all()
        if began:
            last = active.book.segments[-1].filename
            self._tell(active, RecordingNews.STOPPED, last, active.book.reason)
        if not self._stays_on or self._closing:
            self._step(m.Unwanted())

    # --- what others hear ---

    def _tell(self, active: Active, news: RecordingNews, filename: str, reason: str) -> None:
        device = self.config.device or self.config.id
        changed = RecordingChanged(news, device, active.snapshot(), filename, reason)
        self._events.publish(changed)
        self._publish()

    def _publish(self) -> None:
        before, status = self._published.value, self.status
        self.revision += 1
        self._published.publish(status)
        if _gist(before) != _gist(status):
            self._events.publish(CameraChanged(status))


def _gist(status: CameraStatus) -> tuple[object, ...]:
    """What of a status is worth telling everybody; counters are not."""
    session, video = status.session, status.video
    return (
        status.state,
        status.trouble,
        (video.codec, video.width, video.height) if video else None,
        (session.session_id, session.state, session.healthy) if session else None,
    )
