"""One camera: the actor that owns its binding, its capture and its recording session.

Requests come through a mailbox, and so does what happens to the device and the capture; each is
handled in one synchronous step. Whatever takes time runs as a task and reports to the mailbox.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from camd.camera.camera_messages import (
    CameraMessage,
    Close,
    DeviceBound,
    Ping,
    ResumeRecording,
    SessionOver,
    StartRecording,
    StartTimedOut,
    StopRecording,
)
from camd.capture.consumer import DiscardingConsumer
from camd.capture.controls import CameraControls
from camd.capture.hub import StreamHub, preroll_buffer
from camd.capture.planner import CapturePlanner
from camd.capture.rules import state as m
from camd.capture.rules.timestamps import StreamTimeline
from camd.capture.supervisor import (
    CaptureEnvironment,
    CaptureSupervisor,
    SourceEnded,
    WarningsChanged,
)
from camd.clock import Clock
from camd.config.schema import CameraConfig, Config, RecordingConfig
from camd.errors import (
    ALREADY_RECORDING,
    NOT_RECORDING,
    RECORDING_FAILED,
    SHUTTING_DOWN,
    Refusal,
)
from camd.model import (
    CameraChanged,
    CameraId,
    CameraState,
    CameraStatus,
    DeviceBinding,
    Event,
    Problem,
    ProblemKind,
    RecordingRequest,
    Segment,
    ServedStream,
    Session,
)
from camd.model.problems import CAMERA_RESTARTS, NO_PICTURE_YET, UNPLUGGED, WAITING_FOR_KEY_FRAME
from camd.model.schedule_values import ScheduleStatus
from camd.recording.factory import SessionFactory
from camd.recording.session import SHUTDOWN, RecordingSession, refusal_for
from camd.runtime.actor import ActorGoneError, Mailbox, MailboxRequest, supervise
from camd.runtime.broadcast import Fanout, LatestValue
from camd.storage.rules.clock_trust import RecordingEndMoment
from camd.storage.storage import Storage

log = structlog.get_logger("camd.camera")

CLOSE_TIMEOUT_SECONDS = 15.0


@attrs.define(eq=False, kw_only=True)
class Camera:
    """A camera. Its status is an attribute; everything else is asked for."""

    config: CameraConfig
    _daemon_config: Config
    _storage: Storage
    _events: Fanout[Event]
    planner: CapturePlanner
    clock: Clock
    _environment: CaptureEnvironment = attrs.field(
        default=attrs.Factory(
            lambda camera: CaptureEnvironment(clock=camera.clock), takes_self=True
        )
    )
    controls: CameraControls = attrs.field(
        default=attrs.Factory(
            lambda camera: CameraControls(camera.config.id, camera.config.controls), takes_self=True
        )
    )
    hub: StreamHub = attrs.field(init=False)
    sessions: SessionFactory = attrs.field(init=False)
    _mailbox: Mailbox[CameraMessage] = attrs.field(factory=Mailbox, init=False)
    _supervisor: CaptureSupervisor | None = attrs.field(default=None, init=False)
    _session: RecordingSession | None = attrs.field(default=None, init=False)
    _starts: list[MailboxRequest[Any]] = attrs.field(
        factory=list, init=False
    )  # wait for a session's end
    _untuned: tuple[str, ...] = attrs.field(default=(), init=False)  # why controls were not set
    _offered: LatestValue[DeviceBinding | None] = attrs.field(init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _closing: list[MailboxRequest[CameraMessage]] = attrs.field(factory=list, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _faulted: bool = attrs.field(default=False, init=False)
    _restarts: int = attrs.field(default=0, init=False)
    _published: LatestValue[CameraStatus] = attrs.field(init=False)
    revision: int = attrs.field(default=0, init=False)  # grows with every published status
    _served: ServedStream | None = attrs.field(default=None, init=False)
    _schedule: ScheduleStatus | None = attrs.field(default=None, init=False)
    _no_program: Problem | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._offered = LatestValue(self.binding)
        self.sessions = SessionFactory(
            camera_id=self.config.id,
            config=self._daemon_config,
            recording=self._daemon_config.recording,
            storage=self._storage,
            planner=self.planner,
            events=self._events,
            clock=self.clock,
        )
        self._begin_anew()
        self._published = LatestValue(self.status)

    def _begin_anew(self) -> None:
        self._mailbox = Mailbox()
        self._supervisor = self._session = None
        self._starts = []
        timeline = StreamTimeline() if self.planner.source.live else None
        recording = self.sessions.recording
        self.hub = StreamHub(
            preroll_buffer(recording),
            timeline,
            fragment_seconds=recording.fragment.total_seconds(),
            clock=self.clock,
        )

    # --- the handle ---

    @property
    def camera_id(self) -> CameraId:
        """The camera's id, stable across restarts."""
        return self.config.id

    @property
    def device(self) -> str:
        """The device that clients see: the node it has now, else the configured one."""
        named = self.config.source.node
        return self.config.device or str(self.node or named or self.config.id)

    @property
    def name(self) -> str:
        """The name that people see: the configured one, else that of the device."""
        own = self.binding.name if self.binding is not None else ""
        return self.config.name or own or self.config.id

    @property
    def binding(self) -> DeviceBinding | None:
        """The device that it has; None: no camera of this machine, or devices are not watched."""
        return self.planner.binding

    @property
    def node(self) -> Path | None:
        """The node that it has now, None without one."""
        if self.binding is None:
            return self.config.source.node
        return self.planner.device.node if self.planner.device is not None else None

    @property
    def published(self) -> LatestValue[CameraStatus]:
        """The status as of each change, to wait for."""
        return self._published

    @property
    def status(self) -> CameraStatus:
        """The status as of now, counters included; never waits."""
        capture, hub, session = self.capture, self.hub, self._running
        return CameraStatus(
            camera_id=self.config.id,
            device=self.device,
            name=self.name,
            identity=(self.binding.identity if self.binding else "") or self.config.id,
            state=CameraState.FAULTED if self._faulted else capture.state,
            problem=CAMERA_RESTARTS if self._faulted else capture.problem or self._obstacle,
            video=hub.video,
            wanted=self.planner.wanted,
            session=session.reports.snapshot() if session else None,
            bytes_captured=hub.bytes_captured,
            streaming_since=hub.began_at,
            restarts=self._restarts,
            warnings=(*self.planner.warnings, *self._untuned, *hub.warnings.value),
            source_clock_offset=hub.source_clock.offset_seconds,
            served=self._served,
            schedule=self._schedule,
            preroll_seconds=self._daemon_config.recording.preroll.total_seconds(),
        )

    @property
    def _obstacle(self) -> Problem | None:
        """Problem a start would hit now, or the last one hit; None while it is in use."""
        if self.capture.state is not CameraState.IDLE:
            return None
        return self.planner.obstacle or self._no_program or self.capture.past

    async def start_recording(self, request: RecordingRequest) -> Session:
        """Begin a session; returns when its first frames are durable.

        With the key of the running session, returns that one. Raises Refusal: recording
        already (−1006), not enough space (−1008, −1010), volume unusable (−1014 to −1018), source
        not available (−32006), nothing that the camera offers fits its configuration (−32008).
        """
        session: Session = await self._ask(StartRecording(request))
        return session

    async def resume(self, session: Session, arrival: RecordingEndMoment | None = None) -> bool:
        """Continue a session under its own id; False when another one runs already.

        `arrival` is that of its last frame, where its newest file tells it.
        """
        resumed: bool = await self._ask(ResumeRecording(session, arrival))
        return resumed

    async def stop_recording(self) -> Session:
        """End the session; returns when its files are sealed and durable (I8).

        Raises Refusal when there is none. However many ask, all get the same session.
        """
        session: Session = await self._ask(StopRecording())
        return session

    def reconfigure(self, recording: RecordingConfig) -> None:
        """Use other recording settings: for later sessions, and the rotation for this one too."""
        self.sessions.recording = recording
        if self._running is not None:
            self._running.use_rotation(self.sessions.rotation())

    def bind_device(self, binding: DeviceBinding) -> None:
        """Use this device from now on, or wait for one; never waits itself."""
        if self._offered.value != binding:
            self._offered.publish(binding)

    def show_served(self, served: ServedStream | None) -> None:
        """Show in the status what a media server serves of this camera; None: nothing."""
        if self._served != served:
            self._served = served
            self._publish()

    def show_schedule(self, schedule: ScheduleStatus | None) -> None:
        """Show in the status how its schedules stand; None: it has none."""
        if self._schedule != schedule:
            self._schedule = schedule
            self._publish()

    def show_program(self, problem: Problem | None) -> None:
        """Show in the status that there is no FFmpeg to capture with; None: there is."""
        if self._no_program != problem:
            self._no_program = problem
            self._publish()

    async def close(self, reason: str = SHUTDOWN) -> None:
        """End the session, for this reason, and the capture; bounded."""
        with trio.move_on_after(CLOSE_TIMEOUT_SECONDS):
            try:
                await self._post(Close(reason))
            except ActorGoneError:
                self._closed = True  # its actor restarts: there is nothing to end

    async def ping(self) -> None:
        """Return when the actor has answered, or is being restarted, or is closed."""
        with suppress(ActorGoneError):
            await self._post(Ping())

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
        """Ask the loop. Raises ActorGoneError, at once while the restart after a crash is due."""
        if self._faulted:
            raise ActorGoneError
        return await self._mailbox.ask(message)

    # --- the loop ---

    async def serve(self) -> None:
        """Run until closed; a crash ends the session, is logged, and the actor is restarted."""
        await supervise(f"camera {self.camera_id}", self._serve_once, self._crashed)

    async def _serve_once(self) -> None:
        if self._closed:
            return
        with self._mailbox.opened():
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._supervisor = supervisor = self._new_supervisor(nursery)
                self._faulted = False
                self.planner.binding = self._offered.value
                nursery.start_soon(self._follow_bindings, self.binding)
                nursery.start_soon(supervisor.follow_demand)
                if self.binding is not None and self.binding.device is None:
                    supervisor.step(m.DeviceLost(self.binding.problem or UNPLUGGED))
                self._publish()
                nursery.start_soon(self.planner.prepare)
                if self.config.always_on or self._daemon_config.recording.preroll:
                    nursery.start_soon(self._stay_on)
                while not (self._closing and self._running is None and supervisor.gone):
                    self._handle(await self._mailbox.receive())
                self._closed = True
                nursery.cancel_scope.cancel()
            for ask in self._closing:
                ask.answer(None)

    def _new_supervisor(self, nursery: trio.Nursery) -> CaptureSupervisor:
        return CaptureSupervisor(
            planner=self.planner,
            ffmpeg=self._daemon_config.ffmpeg,
            tell=self._mailbox.tell,
            hub=self.hub,
            environment=self._environment,
            tune=self._tune,
            nursery=nursery,
        )

    def _crashed(self) -> None:
        if self._session is not None and not self._session.over:
            self._session.crashed()
        self._begin_anew()
        self._faulted, self._restarts = True, self._restarts + 1
        self._publish()

    def _handle(self, ask: MailboxRequest[CameraMessage]) -> None:
        match ask.request:
            case StartRecording(request):
                self._start(request, ask)
            case StopRecording():
                self._stop(ask)
            case ResumeRecording(session, arrival):
                ask.answer(self._resume(session, arrival))
            case DeviceBound(binding):
                self._rebind(binding)
            case Close(reason):
                self._closing.append(ask)
                self._close(reason)
            case Ping():
                ask.answer(None)
                return
            case StartTimedOut(session):
                if session is self._running:
                    self._give_up_start(session)
            case SessionOver(session):
                self._forget(session)
            case SourceEnded(consumers, process):
                if self._running is not None and self._running.queue in consumers:
                    self._running.end("source_ended")
                self._step(process)
            case WarningsChanged():
                pass  # they are in the status that is published below
            case m.DemandBegan() if self._closing:
                pass  # it was sent before the camera was closed
            case event:
                self._step(event)
        self._publish()

    async def _stay_on(self) -> None:
        """Need the capture for as long as the camera runs."""
        async with self.hub.attach(DiscardingConsumer()):
            await trio.sleep_forever()

    def _close(self, reason: str) -> None:
        """End the session and the capture, whoever is attached."""
        if self._running is not None:
            self._running.end(reason, hurry=True)
        self.hub.close()
        self._step(m.DemandEnded())

    # --- the session ---

    @property
    def _running(self) -> RecordingSession | None:
        """The session, until everything of it is sealed."""
        return None if self._session is None or self._session.over else self._session

    def _start(self, request: RecordingRequest, ask: MailboxRequest[Any]) -> None:
        """Begin a session, join the one with the same key, or refuse.

        While the one with that key is ending, the start waits for its end and begins another.
        """
        session, camera_id = self._running, self.config.id
        if self._closing:
            ask.refuse(Refusal(SHUTTING_DOWN, camera_id=camera_id))
        elif session is None:
            self.hub.look_at_clock()
            session = self._begin(self.sessions.new(request, hub=self.hub, device=self.device))
            session.join(ask)
            self._go(partial(self._bound_start, session))
        elif request.key is None or request.key != session.ledger.request.key:
            owner, session_id = session.ledger.request.owner, session.ledger.session_id
            ask.refuse(
                Refusal(ALREADY_RECORDING, camera_id=camera_id, session_id=session_id, owner=owner)
            )
        elif session.ending:
            self._starts.append(ask)
        else:
            session.join(ask)

    def _resume(self, session: Session, arrival: RecordingEndMoment | None) -> bool:
        if self._running is not None or self._closing:
            return False
        self._begin(self.sessions.resumed(session, arrival, hub=self.hub, device=self.device))
        return True

    def _begin(self, session: RecordingSession) -> RecordingSession:
        self._session = session
        self._go(partial(self._record, session))
        self._go(partial(self._publish_changes, session))
        return session

    async def _record(self, session: RecordingSession) -> None:
        await session.run()
        await self._mailbox.tell(SessionOver(session))

    async def _publish_changes(self, session: RecordingSession) -> None:
        """Publish the camera's status whenever that of its session changes."""
        seen = session.reports.published.value
        while not session.over:
            seen = await session.reports.published.wait_until(partial(operator.is_not, seen))
            self._publish()

    async def _bound_start(self, session: RecordingSession) -> None:
        """Let a start wait only so long for its first frame."""
        with trio.move_on_after(self.sessions.answer_timeout.total_seconds()) as timeout:
            await session.begun.wait()
        if timeout.cancelled_caught:
            await self._mailbox.tell(StartTimedOut(session))

    def _give_up_start(self, session: RecordingSession) -> None:
        """Refuse a start that waits for the first frame, or for a key frame while others arrive."""
        if session.begun.is_set():
            return
        if self.capture.state is not CameraState.STREAMING:
            self._step(m.AwaitingKeyFrame(self.capture.problem or NO_PICTURE_YET))
        elif session.awaits_key_frame:
            session.refuse(refusal_for(WAITING_FOR_KEY_FRAME, self.config.id))

    def _stop(self, ask: MailboxRequest[Any]) -> None:
        if self._running is None:
            ask.refuse(Refusal(NOT_RECORDING, camera_id=self.config.id))
            return
        self._running.await_end(ask)
        self._running.end("stopped")

    def _forget(self, session: RecordingSession) -> None:
        """Drop a session that is over; starts that waited for its end begin another."""
        if session is self._session:
            self._session = None
        waiting, self._starts = self._starts, []
        for ask in waiting:
            self._start(ask.request.request, ask)

    def file_replaced(self, made: Segment) -> None:
        """Note that a file of the running session was converted by `PendingConversions`."""
        session = self._running
        if session is not None and session.ledger.session_id == made.session_id:
            session.ledger.replace(made)

    # --- the capture ---

    @property
    def capture(self) -> m.CaptureState:
        """The state of the capture."""
        return m.CaptureState() if self._supervisor is None else self._supervisor.state

    def _step(self, event: m.CaptureEvent) -> None:
        """Let the capture take an event; a session that has not begun is refused if it fails."""
        assert self._supervisor is not None
        self._supervisor.step(event)
        if self._running is not None:
            waits = isinstance(event, m.AwaitingKeyFrame)
            problem = (
                event.problem if isinstance(event, m.AwaitingKeyFrame) else self.capture.problem
            )
            self._running.capture_changed(problem, failed=waits or not self.capture.has_process)

    async def _follow_bindings(self, binding: DeviceBinding | None) -> None:
        """Put each new binding into the mailbox."""
        while True:
            binding = await self._offered.wait_until(partial(operator.is_not, binding))
            if binding is not None:
                await self._mailbox.tell(DeviceBound(binding))

    def _rebind(self, binding: DeviceBinding) -> None:
        """Use another binding. A change of device is a loss first, so that its capture ends."""
        before = self.planner.device
        self.planner.binding, after = binding, binding.device
        if self._running is not None:
            self._running.use_device(self.device)
        if after is None:
            self._step(m.DeviceLost(binding.problem or UNPLUGGED))
        elif before is None or before.plug_id != after.plug_id:
            if before is not None:
                self._step(m.DeviceLost(UNPLUGGED))
            self.planner.contents.forget()
            self._use_device()
        elif before.problem is not None and after.problem is None:  # such as a permission
            self._use_device()

    def _use_device(self) -> None:
        """Find the program and the encoder, and start the capture if it is needed."""
        self._go(self.planner.prepare)
        self._step(m.DeviceAppeared())

    async def _tune(self) -> None:
        """Set the configured controls; a failure is a warning."""
        if self.node is not None:
            why = await self.controls.apply(self.node)
            if why and why != self._untuned:
                log.warning("controls_not_set", camera=self.camera_id, why=why)
            self._untuned = why

    # --- tasks and status ---

    def _go(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task)

    def _publish(self) -> None:
        before, status = self._published.value, self.status
        self.revision += 1
        self._published.publish(status)
        if _without_counters(before) != _without_counters(status):
            self._events.publish(CameraChanged(status))


def _without_counters(status: CameraStatus) -> tuple[object, ...]:
    """The part of a status whose change is an event; counters are not."""
    session, video = status.session, status.video
    return (
        status.state,
        status.problem,
        status.device,
        status.identity,
        status.warnings,
        (video.codec, video.width, video.height) if video else None,
        (session.session_id, session.state, session.healthy) if session else None,
        status.served.addresses if status.served else None,
        status.schedule,
    )
