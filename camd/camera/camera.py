"""One camera: the actor that owns its child, its feed, its seat and its session.

Requests come through a mailbox, and so does what the world did; each is answered in one
synchronous step, by the machine and the desk. Whatever takes time is a task that reports back.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from camd.capture.controls import CameraControls
from camd.capture.hub import StreamHub
from camd.capture.planner import CapturePlanner
from camd.capture.rules import state as m
from camd.capture.rules.timestamps import StreamTimeline
from camd.capture.supervisor import (
    CaptureEnvironment,
    CaptureSupervisor,
    SourceEnded,
    WarningsChanged,
)
from camd.config.schema import CameraConfig, Config, RecordingConfig
from camd.errors import RECORDING_FAILED, SHUTTING_DOWN, Refusal
from camd.model import (
    CameraChanged,
    CameraId,
    CameraState,
    CameraStatus,
    DeviceBinding,
    Event,
    Problem,
    ProblemKind,
    RecordingChanged,
    RecordingEventKind,
    RecordingRequest,
    Segment,
    Session,
    V4l2Source,
)
from camd.model.problems import CAMERA_RESTARTS, UNPLUGGED
from camd.recording.control import DrainTimedOut, SessionControl, StartTimedOut
from camd.recording.factory import SessionFactory
from camd.recording.session import (
    SHUTDOWN,
    DurationElapsed,
    SessionAdmitted,
    SessionBegan,
    SessionChanged,
    SessionOver,
    SessionReport,
)
from camd.runtime.actor import ActorGoneError, Ask, Mailbox, supervise
from camd.runtime.broadcast import Fanout, Published
from camd.storage.rules.clock_trust import FootageArrival
from camd.storage.storage import Storage

log = structlog.get_logger("camd.camera")

CLOSE_PATIENCE_SECONDS = 15.0


@attrs.frozen
class StartRecording:
    """Begin a session."""

    wish: RecordingRequest


@attrs.frozen
class Resume:
    """Continue a session that another life of the daemon began; answered with whether."""

    session: Session
    arrival: FootageArrival | None  # of its last frame, where that is known


@attrs.frozen
class StopRecording:
    """End the session; answered when its files are sealed and durable."""


@attrs.frozen
class Reconfigure:
    """Use other recording settings, for the running session too."""

    recording: RecordingConfig


@attrs.frozen
class DeviceBound:
    """The camera has this device now, or none."""

    binding: DeviceBinding


@attrs.frozen
class Close:
    """End the session and the child; answered when both are gone."""

    reason: str


CameraMessage = (
    StartRecording
    | StopRecording
    | Resume
    | Reconfigure
    | DeviceBound
    | Close
    | SourceEnded
    | WarningsChanged
    | DrainTimedOut
    | StartTimedOut
    | SessionReport
    | m.CaptureEvent
)


@attrs.define(eq=False)
class Camera:
    """A camera. Status is an attribute; everything else is asked for."""

    config: CameraConfig
    _all: Config
    _storage: Storage
    _events: Fanout[Event]
    capture: CapturePlanner
    _around: CaptureEnvironment = attrs.field(factory=CaptureEnvironment)
    binding: DeviceBinding | None = (
        None  # None: not a camera of this machine, or nobody looks what is there
    )
    settings: CameraControls = attrs.field(
        default=attrs.Factory(
            lambda camera: CameraControls(camera.config.id, camera.config.controls), takes_self=True
        )
    )
    _factory: SessionFactory = attrs.field(init=False)
    _mailbox: Mailbox[CameraMessage] = attrs.field(factory=Mailbox, init=False)
    _children: CaptureSupervisor = attrs.field(init=False)
    _desk: SessionControl = attrs.field(init=False)
    _untuned: tuple[str, ...] = attrs.field(default=(), init=False)  # what controls were not set
    _offered: Published[DeviceBinding | None] = attrs.field(init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _closing: list[Ask[CameraMessage]] = attrs.field(factory=list, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _faulted: bool = attrs.field(default=False, init=False)
    _restarts: int = attrs.field(default=0, init=False)
    _published: Published[CameraStatus] = attrs.field(init=False)
    revision: int = attrs.field(default=0, init=False)  # grows with every published status

    def __attrs_post_init__(self) -> None:
        self.capture.binding = lambda: self.binding
        self._offered = Published(self.binding)
        self._factory = SessionFactory(
            self.config.id, self._all, self._all.recording, self._storage, self.capture
        )
        self._begin_anew()
        self._published = Published(self.status)

    def _begin_anew(self) -> None:
        self._mailbox = Mailbox()
        feed = StreamHub(self._factory.ring(), StreamTimeline() if self.capture.live else None)
        self._children = CaptureSupervisor(
            *(self.capture, self._all.ffmpeg, self._mailbox.tell, feed),
            *(self._around, self._tune),
        )
        self._desk = SessionControl(self._factory, self)

    # --- the handle ---

    @property
    def camera_id(self) -> CameraId:
        """The camera's id, stable across restarts."""
        return self.config.id

    @property
    def device(self) -> str:
        """What clients see as device: the node it has, else the one it was configured by."""
        source = self.config.source
        path = source.path if isinstance(source, V4l2Source) else None
        return self.config.device or str(self.node or path or self.config.id)

    @property
    def name(self) -> str:
        """What people call it: as configured, else as the camera calls itself."""
        own = self.binding.name if self.binding is not None else ""
        return self.config.name or own or self.config.id

    @property
    def node(self) -> Path | None:
        """The node that it has now, None without one."""
        if self.binding is not None:
            return self.binding.device.node if self.binding.device is not None else None
        source = self.config.source
        return source.path if isinstance(source, V4l2Source) else None

    @property
    def published(self) -> Published[CameraStatus]:
        """The status as of each change, for those who wait for one."""
        return self._published

    @property
    def status(self) -> CameraStatus:
        """The latest word, counters included; never waits."""
        machine, feed, active = self._children.machine, self._children.feed, self._desk.active
        return CameraStatus(
            camera_id=self.config.id,
            device=self.device,
            name=self.name,
            identity=(self.binding.identity if self.binding else "") or self.config.id,
            state=CameraState.FAULTED if self._faulted else machine.state,
            problem=CAMERA_RESTARTS if self._faulted else machine.problem or self._obstacle,
            video=feed.video,
            wanted=self.capture.wanted,
            session=active.snapshot() if active else None,
            bytes_captured=feed.bytes_captured,
            streaming_since=feed.began_at,
            restarts=self._restarts,
            warnings=(*self.capture.warnings, *self._untuned, *feed.warnings.value),
            source_clock_offset=feed.source_clock.offset_seconds,
        )

    @property
    def _obstacle(self) -> Problem | None:
        """What would keep a camera that is not in use from delivering, or did so the last time."""
        if self.machine.state is not CameraState.IDLE:
            return None
        return self.capture.obstacle or self.machine.past

    async def start_recording(self, wish: RecordingRequest) -> Session:
        """Begin a session; returns when its first frames are on disk.

        With the key of the running session, returns that one. Raises Refusal: recording
        already (−1006), no room (−1008, −1010), source not available (−32006), nothing that the
        camera offers fits its configuration (−32008).
        """
        session: Session = await self._ask(StartRecording(wish))
        return session

    async def resume(self, session: Session, arrival: FootageArrival | None = None) -> bool:
        """Continue a session under its own id; False when another one runs already.

        `arrival` is that of its last frame, where its newest file tells it.
        """
        resumed: bool = await self._ask(Resume(session, arrival))
        return resumed

    async def stop_recording(self) -> Session:
        """End the session; returns when its files are sealed and durable (I8).

        Raises Refusal when there is none. However many ask, all get the same session.
        """
        session: Session = await self._ask(StopRecording())
        return session

    async def reconfigure(self, recording: RecordingConfig) -> None:
        """Apply rotation and format; a running session goes on untouched."""
        try:
            await self._post(Reconfigure(recording))
        except ActorGoneError:  # it begins anew after a bug, with these
            self._factory.recording = recording

    def bind_device(self, binding: DeviceBinding) -> None:
        """Use this device from now on, or wait for one; the loop hears of it in its turn."""
        if self._offered.value != binding:
            self._offered.publish(binding)

    async def close(self, reason: str = SHUTDOWN) -> None:
        """End session and child in order; bounded. The session says the reason."""
        with trio.move_on_after(CLOSE_PATIENCE_SECONDS):
            try:
                await self._post(Close(reason))
            except ActorGoneError:
                self._closed = True  # it waits after a bug: there is nothing to end

    async def _ask(self, message: CameraMessage) -> Any:
        try:
            return await self._post(message)
        except ActorGoneError:
            if self._closed:
                raise Refusal(SHUTTING_DOWN, camera_id=self.camera_id) from None
            raise Refusal(
                RECORDING_FAILED,
                CAMERA_RESTARTS.message,
                suggestion=CAMERA_RESTARTS.suggestion,
                camera_id=self.camera_id,
                cause=ProblemKind.RESTARTING,
            ) from None

    async def _post(self, message: CameraMessage) -> Any:
        """Ask the loop. Raises ActorGoneError at once while a bug's delay keeps it from living."""
        if self._faulted:
            raise ActorGoneError
        return await self._mailbox.ask(message)

    # --- the loop ---

    async def serve(self) -> None:
        """Live until closed; a bug ends the session, is logged, and the camera starts anew."""
        await supervise(f"camera {self.camera_id}", self._live, self._crashed)

    async def _live(self) -> None:
        if self._closed:
            return
        with self._mailbox.opened():
            async with trio.open_nursery() as nursery:
                self._nursery = self._children.nursery = nursery
                self._faulted = False
                self.binding = self._offered.value
                nursery.start_soon(self._follow_bindings, self.binding)
                if self.binding is not None and self.binding.device is None:
                    self._children.step(m.DeviceLost(self.binding.problem or UNPLUGGED))
                self._publish()
                nursery.start_soon(self.capture.prepare)
                if self.stays_on:
                    self.step(m.Wanted())
                while not (self._closing and self._desk.active is None and self._children.gone):
                    self._handle(await self._mailbox.receive())
                self._closed = True
                nursery.cancel_scope.cancel()
            for ask in self._closing:
                ask.answer(None)

    def _crashed(self) -> None:
        self._desk.crash()
        self._begin_anew()
        self._faulted, self._restarts = True, self._restarts + 1
        self._publish()

    def _handle(self, ask: Ask[CameraMessage]) -> None:
        match ask.request:
            case StartRecording(wish):
                self._desk.start(wish, ask)
            case StopRecording():
                self._desk.stop(ask)
            case Resume(session, arrival):
                ask.answer(self._desk.resume(session, arrival))
            case Reconfigure(recording):
                self._factory.recording = recording
                self._desk.use_rotation()
                ask.answer(None)
            case DeviceBound(binding):
                self._rebind(binding)
            case Close(reason):
                self._closing.append(ask)
                self._desk.close(reason)
                self.step(m.Unwanted())
            case SourceEnded(queues):
                self._desk.source_ended(queues)
            case WarningsChanged():
                pass  # the status that is published below has them
            case (
                DrainTimedOut()
                | StartTimedOut()
                | SessionAdmitted()
                | SessionBegan()
                | SessionOver()
                | SessionChanged()
                | DurationElapsed()
            ) as report:
                self._desk.hear(report)
            case event:
                self.step(event)
        self._publish()

    async def _follow_bindings(self, binding: DeviceBinding | None) -> None:
        """Take the latest seat to the loop, whenever it is another one."""
        while True:
            binding = await self._offered.wait_until(partial(operator.is_not, binding))
            if binding is not None:
                await self._mailbox.tell(DeviceBound(binding))

    def _rebind(self, binding: DeviceBinding) -> None:
        """Change seats: another device is a loss first, so that no child stays on the old one."""
        before = self.binding.device if self.binding is not None else None
        self.binding, after = binding, binding.device
        if after is None:
            self.step(m.DeviceLost(binding.problem or UNPLUGGED))
        elif before is None or before.plug_id != after.plug_id:
            if before is not None:
                self.step(m.DeviceLost(UNPLUGGED))
            self.capture.forget()
            self._use_device()
        elif before.problem is not None and after.problem is None:  # such as a permission
            self._use_device()

    def _use_device(self) -> None:
        """Use the device at once if it is needed, and be prepared if not."""
        self.go(self.capture.prepare)
        self.step(m.DeviceCame())

    async def _tune(self) -> None:
        """Set the controls that are wished for; a camera records without them as well."""
        if self.node is not None:
            why = await self.settings.apply(self.node)
            if why and why != self._untuned:
                log.warning("controls_not_set", camera=self.camera_id, why=why)
            self._untuned = why

    def file_replaced(self, made: Segment) -> None:
        """Tell a running session that one of its files, of an earlier life, has become another."""
        active = self._desk.active
        if active is not None and active.book.session_id == made.session_id:
            active.book.replace(made)

    # --- the desk's floor ---

    @property
    def feed(self) -> StreamHub:
        """What the camera delivers."""
        return self._children.feed

    @property
    def machine(self) -> m.CaptureState:
        """Where the camera stands."""
        return self._children.machine

    @property
    def stays_on(self) -> bool:
        """Whether it captures although nobody records: pre-roll is what came before a start."""
        return self.config.always_on or bool(self._all.recording.preroll)

    @property
    def expected_bytes_per_second(self) -> float:
        """What a session will need, before anything was measured."""
        return self.capture.expected_bytes_per_second

    def step(self, event: m.CaptureEvent) -> None:
        """Let the machine answer `event`; a session hears when no child is left."""
        self._children.step(event)
        if not self._children.machine.has_child:
            self._desk.child_is_gone(self._children.machine.problem)
        elif isinstance(event, m.ChildWaits):
            self._desk.child_waits(event.problem)

    def go(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task that ends with the camera's life."""
        assert self._nursery is not None
        self._nursery.start_soon(task)

    async def tell(self, message: SessionReport | DrainTimedOut | StartTimedOut) -> None:
        """Put a message into the mailbox."""
        await self._mailbox.tell(message)

    def announce(
        self, session: Session, news: RecordingEventKind, filename: str, reason: str
    ) -> None:
        """Tell everybody what happened to a session."""
        self._events.publish(RecordingChanged(news, self.device, session, filename, reason))
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
        status.problem,
        status.device,
        status.identity,
        status.warnings,
        (video.codec, video.width, video.height) if video else None,
        (session.session_id, session.state, session.healthy) if session else None,
    )
