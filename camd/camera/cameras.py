"""All cameras of the daemon: found by any of their names, started and stopped together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.camera.ffmpeg_finder import FFmpegFinder
from camd.capture.controls import CameraControls, ControlStore, load_controls
from camd.capture.planner import CapturePlanner, ProgramFinder
from camd.capture.source_cache import SOURCES_FILE, TIMEOUT_SECONDS, SourceCache
from camd.capture.supervisor import CaptureEnvironment
from camd.clock import Clock
from camd.config.schema import CameraConfig, Config, RecordingConfig
from camd.devices.holders import find_holders
from camd.devices.monitor import DeviceMonitor
from camd.devices.query import find_converters
from camd.errors import CAMERA_LIMIT, CAMERA_UNKNOWN, Refusal
from camd.ffmpeg.encoder_trial import EncoderTrials
from camd.model import CameraChanged, CameraId, CameraState, DeviceBinding, Event, Problem
from camd.model.ids import MAX_CAMERAS
from camd.model.problems import CAMERA_REMOVED, UNPLUGGED
from camd.runtime.broadcast import Fanout
from camd.runtime.path_lookup import BoundedFileCalls
from camd.runtime.pipe_poller import PipePoller
from camd.sources import SoundPlace, Source
from camd.storage.storage import Storage

log = structlog.get_logger("camd.cameras")

_LINK_LOOKS = 4  # at a time
_LINK_SECONDS = 2.0
REMOVED = "camera_removed"  # why a session ended: its camera has another id now


@attrs.define(eq=False, kw_only=True)
class Cameras:
    """Every camera: those of the first configuration, then the others in the order of coming."""

    _config: Config
    _storage: Storage
    _events: Fanout[Event]
    _nursery: trio.Nursery
    _clock: Clock
    find_program: ProgramFinder
    _controls: ControlStore = attrs.field(factory=ControlStore)
    _monitor: DeviceMonitor | None = None
    _pipes: PipePoller | None = None
    _memory: SourceCache = attrs.field(factory=SourceCache)
    _cameras: dict[CameraId, Camera] = attrs.field(factory=dict, init=False)
    left_out: tuple[CameraId, ...] = ()  # that were found, and are more than there may be
    _previews: dict[CameraId, Camera] = attrs.field(factory=dict, init=False)
    no_program: Problem | None = attrs.field(default=None, init=False)  # as `show_program` said
    _environment: CaptureEnvironment = attrs.field(init=False)
    encoders: EncoderTrials = attrs.field(
        default=attrs.Factory(
            lambda cameras: EncoderTrials(find_converters, cameras._config.ffmpeg.encoder),
            takes_self=True,
        ),
        init=False,
    )
    _links: BoundedFileCalls = attrs.field(
        factory=partial(BoundedFileCalls, _LINK_LOOKS, _LINK_SECONDS), init=False
    )

    def __attrs_post_init__(self) -> None:
        look_again = self._monitor.query_again if self._monitor is not None else None
        self._environment = CaptureEnvironment(
            clock=self._clock,
            find_holders=find_holders,
            neighbours=self._neighbours,
            look_again=look_again,
            pipes=self._pipes,
        )

    def __iter__(self) -> Iterator[Camera]:
        return iter(self._cameras.values())

    def __len__(self) -> int:
        return len(self._cameras)

    def find(self, name: str) -> Camera:
        """Look a camera up by id, device, node or known link. Raises Refusal (−32004)."""
        camera = self.get(CameraId(name))
        if camera is None:
            camera = next((c for c in self if name in _names(c)), None)
        if camera is None:
            raise Refusal(CAMERA_UNKNOWN, camera_id=name[:200])
        return camera

    async def locate(self, name: str) -> Camera:
        """Look a camera up as `find` does, else by where a link below /dev leads.

        Waits for the file system, for a bounded time. Raises Refusal (−32004).
        """
        try:
            return self.find(name)
        except Refusal:
            if not name.startswith("/dev/") or ".." in name.split("/"):
                raise
        nodes = {camera.camera_id: camera.node for camera in self if camera.node is not None}
        found = await self._links.ask(partial(_owner_of, name, nodes), None)
        return self.find(found or name)

    async def locate_also_former(
        self, name: str, has_footage: Callable[[CameraId], Awaitable[bool]]
    ) -> CameraId:
        """Return the id of a camera as `locate` finds it, or of a former one with footage.

        Raises Refusal (−32004), and what `has_footage` raises.
        """
        unknown: Refusal
        try:
            return (await self.locate(name)).camera_id
        except Refusal as refusal:
            unknown = refusal
        if not await has_footage(CameraId(name)):
            raise unknown
        return CameraId(name)

    def get(self, camera_id: CameraId) -> Camera | None:
        """Look a camera up by its id alone."""
        return self._cameras.get(camera_id)

    def preview(self, camera_id: CameraId) -> Camera | None:
        """Return the smaller stream of a camera, which is never recorded; None without one."""
        return self._previews.get(camera_id)

    def newest_files(self) -> dict[str, int]:
        """Name the newest file of every running session, with its size as last published."""
        sessions = [camera.status.session for camera in self]
        newest = [session.current for session in sessions if session is not None]
        return {segment.filename: segment.size_bytes for segment in newest if segment is not None}

    def add(self, config: CameraConfig, binding: DeviceBinding | None = None) -> Camera:
        """Start a camera's actor, and publish that it is there.

        Raises Refusal (−1022) when there are as many as there may be.
        """
        if config.id not in self._cameras and len(self) >= MAX_CAMERAS:
            raise Refusal(CAMERA_LIMIT, camera_id=config.id, max_cameras=MAX_CAMERAS)
        camera = self._start(config, binding, self._config, self._events)
        camera.show_program(self.no_program)
        self._cameras[config.id] = camera
        if config.preview is not None:
            preview = preview_of(config, config.preview)
            recording = attrs.evolve(self._config.recording, preroll=timedelta(0))
            quiet = attrs.evolve(self._config, recording=recording)
            self._previews[config.id] = self._start(preview, None, quiet, Fanout())
        self._events.publish(CameraChanged(camera.status))
        return camera

    def _start(
        self,
        camera: CameraConfig,
        binding: DeviceBinding | None,
        config: Config,
        events: Fanout[Event],
    ) -> Camera:
        planner = CapturePlanner(
            camera=camera,
            config=config,
            find_program=self.find_program,
            clock=self._clock,
            abilities=self.encoders,
            memory=self._memory,
            binding=binding,
        )
        started = Camera(
            config=camera,
            daemon_config=config,
            storage=self._storage,
            events=events,
            planner=planner,
            clock=self._clock,
            environment=self._environment,
            controls=CameraControls(camera.id, camera.controls, self._controls),
        )
        self._nursery.start_soon(started.serve)
        return started

    def remove(self, camera_id: CameraId, *, for_good: bool = True) -> None:
        """End a camera's actor, without waiting for it; its recordings stay.

        Its last status says that it was removed, unless there is another one with its id by then.
        `for_good`: its controls are forgotten too, since its id may be another camera's next.
        """
        camera, preview = self._cameras.pop(camera_id, None), self._previews.pop(camera_id, None)
        if preview is not None:
            self._nursery.start_soon(preview.close, REMOVED)
        if camera is not None:
            self._nursery.start_soon(self._close_removed, camera)
            if for_good:
                self._nursery.start_soon(self._controls.forget, camera_id)

    async def _close_removed(self, camera: Camera) -> None:
        await camera.close(REMOVED)
        if self.get(camera.camera_id) is None:
            last = attrs.evolve(camera.status, state=CameraState.ABSENT, problem=CAMERA_REMOVED)
            self._events.publish(CameraChanged(last))

    def _neighbours(self, camera_id: CameraId) -> Sequence[str]:
        """Name the other cameras that stream over the same USB bus."""
        bus = _bus(self.get(camera_id))
        return [
            other.name
            for other in self
            if other.camera_id != camera_id
            and bus is not None
            and _bus(other) == bus
            and other.status.state is CameraState.STREAMING
        ]

    def reconfigure(self, recording: RecordingConfig) -> None:
        """Apply recording settings to every camera, running sessions and later ones included."""
        self._config = attrs.evolve(self._config, recording=recording)
        for camera in self:
            camera.reconfigure(recording)

    def show_program(self, problem: Problem | None) -> None:
        """Let every camera show that there is no FFmpeg, also those to come; None: there is."""
        self.no_program = problem
        for camera in (*self, *self._previews.values()):
            camera.show_program(problem)

    async def close(self) -> None:
        """End all cameras at the same time; bounded."""
        async with trio.open_nursery() as nursery:
            for camera in (*self, *self._previews.values()):
                nursery.start_soon(camera.close)


def preview_of(camera: CameraConfig, source: Source) -> CameraConfig:
    """Return the entry by which the smaller stream of a camera is captured: without its sound."""
    return CameraConfig(
        CameraId(f"{camera.id}-preview"),
        source,
        audio="off" if source.sound_place is not SoundPlace.MICROPHONE else "",
        transport=camera.transport,
        tls_verify=camera.tls_verify,
    )


def _bus(camera: Camera | None) -> str | None:
    """The USB controller and speed that a camera is connected by."""
    device = camera.planner.device if camera is not None else None
    usb = device.usb if device is not None else None
    return usb.port.rpartition("-")[0] if usb is not None else None


def _names(camera: Camera) -> tuple[str, ...]:
    """Name a camera's device in every way; a node's names belong to whoever has the node now."""
    device = camera.planner.device
    links = device.links if device is not None else ()
    return tuple(str(name) for name in (camera.config.device, camera.node, *links) if name)


def _owner_of(link: str, nodes: Mapping[CameraId, Path]) -> CameraId | None:
    """Find the camera whose node a link leads to. Blocks."""
    with suppress(ValueError, OSError):  # such as a NUL in the name
        real = os.path.realpath(link)  # unlike Path.resolve, accepts links in a circle
        return next((who for who, node in nodes.items() if os.path.realpath(node) == real), None)
    return None


@asynccontextmanager
async def open_cameras(
    config: Config,
    *,
    storage: Storage,
    events: Fanout[Event],
    clock: Clock,
    monitor: DeviceMonitor | None = None,
    pipes: PipePoller | None = None,
) -> AsyncIterator[Cameras]:
    """Run one actor per configured camera while the block runs.

    With `monitor`, the cameras of this machine wait for a device until a `DeviceBinder` gives them
    one; without it, a V4L2 source is opened as it is configured. With `pipes`, the output of all
    processes is read in rounds. At its end, the block seals all sessions and ends all captures at
    the same time; bounded.
    """
    state_dir, controls = config.storage.state_dir, ControlStore()
    if monitor is not None:
        controls = await trio.to_thread.run_sync(load_controls, state_dir, abandon_on_cancel=True)
    memory = SourceCache(state_dir / SOURCES_FILE)
    await memory.load()
    async with trio.open_nursery() as nursery:
        cameras = Cameras(
            config=config,
            storage=storage,
            events=events,
            nursery=nursery,
            clock=clock,
            find_program=FFmpegFinder(path=config.ffmpeg.path, memory=memory).find,
            controls=controls,
            monitor=monitor,
            pipes=pipes,
            memory=memory,
        )
        await nursery.start(memory.serve)
        for camera in config.cameras:
            local = monitor is not None and camera.source.selector is not None
            cameras.add(
                camera, DeviceBinding(camera.id, None, problem=UNPLUGGED) if local else None
            )
        try:
            yield cameras
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(20):
                await cameras.close()
            with trio.CancelScope(shield=True), trio.move_on_after(TIMEOUT_SECONDS):
                await memory.save()
        nursery.cancel_scope.cancel()
