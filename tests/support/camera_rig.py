"""Camera actors on fakes: FFmpeg and the disk are in memory, the clock is the test's."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import attrs
import pytest
import trio
from support.fake_disk import MemoryDisk
from support.fake_ffmpeg import (
    Behaviour,
    FakeLauncher,
)
from support.media_streams import EPOCH, FPS, frames_in

from camd import clock
from camd.camera.bindings import DeviceBinder
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.capture.planner import CapturePlanner
from camd.capture.rules.state import STEADY_SECONDS
from camd.capture.supervisor import CaptureEnvironment
from camd.clock import SYSTEM_CLOCK, Clock
from camd.config.schema import (
    CameraConfig,
    Config,
    DiscoveryConfig,
    FfmpegConfig,
    RecordingConfig,
    StorageConfig,
)
from camd.devices.binding_store import BindingStore
from camd.devices.matching.identity import RememberedCamera
from camd.ffmpeg.binary import FFmpegBinary
from camd.ffmpeg.encoder_trial import UntriedEncoders
from camd.model import (
    CameraChanged,
    CameraId,
    CameraState,
    Device,
    DeviceBinding,
    Event,
    Gap,
    RecordingChanged,
    RecordingRequest,
    Segment,
    SegmentState,
    Session,
)
from camd.mp4.inspect import sealed_moov_offset, summarise_segment
from camd.runtime.broadcast import Fanout, LatestValue
from camd.runtime.path_lookup import BoundedFileCalls
from camd.sources import SyntheticSource, V4l2Source
from camd.storage.rules.levels import Thresholds, Usage, level_of
from camd.storage.space import SpaceMonitor
from camd.storage.storage import Storage

T = TypeVar("T")

FOLDER = Path("/disk")
VOLUME_BYTES = 10**12
CAMERA = CameraId("camera0")
RECORDING = RecordingConfig()
REQUEST, OTHER_REQUEST = RecordingRequest("ann"), RecordingRequest("bob")


@attrs.define(eq=False)
class Wall:
    """A wall clock that follows the test's clock, and that a test may set."""

    ahead: timedelta = timedelta(0)  # of the time since EPOCH

    def step(self, **by: float) -> None:
        """Set the clock forward, or back by a negative time."""
        self.ahead += timedelta(**by)

    def now(self, _: object = None) -> datetime:
        """Read the clock."""
        return at(trio.current_time()) + self.ahead

    @property
    def clock(self) -> Clock:
        """All clocks of a machine that has this wall clock; they run with the test's clock."""
        return Clock(
            now=self.now,
            monotonic=trio.current_time,
            boottime=trio.current_time,
            boot_id=lambda: "boot",
            synchronised=lambda: True,
        )


def jump_clocks(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """Make wall time and monotonic time follow the test's clock."""
    wall = Wall()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=trio.current_time))
    monkeypatch.setattr(clock, "datetime", SimpleNamespace(now=wall.now))
    return wall


def at(seconds: float) -> datetime:
    """Return the wall time so many seconds after the test began."""
    return EPOCH.astimezone(UTC) + timedelta(seconds=seconds)


# --- storage ------------------------------------------------------------------------------


@attrs.define(eq=False)
class MemorySpaceMonitor(SpaceMonitor):
    """A space monitor that takes a sample only when asked; each takes `seconds`."""

    seconds: float = 0.0

    async def refresh(self) -> None:
        """Take a sample."""
        await trio.sleep(self.seconds)
        self.look()

    def look(self) -> None:
        """Sample the disk, and set the level."""
        self._usage = self._disk.usage(self.folder)
        self._judge(level_of(self._usage, self._thresholds, self._level))

    def free_reserve(self) -> None:
        """Do nothing: this volume has no reserve file."""


@attrs.define(eq=False)
class MemoryStorage(Storage):
    """Storage without threads; lists take the place of the index."""

    segments: dict[str, Segment] = attrs.field(factory=dict)
    sessions: list[Session] = attrs.field(factory=list)
    gaps: list[Gap] = attrs.field(factory=list)
    seconds: float = 0.0  # duration of each operation of the disk
    calls: int = 0  # operations

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Do the work after `seconds`; it cannot be cancelled, like the work of a thread."""
        await trio.lowlevel.checkpoint()
        self.calls += 1
        with trio.CancelScope(shield=True):
            await trio.sleep(self.seconds)
        return work()

    async def note_segment(self, segment: Segment) -> None:
        """Remember a segment."""
        await trio.lowlevel.checkpoint()
        if segment.state is not SegmentState.OPEN:
            self._growing.pop(segment.filename, None)
        self.segments[segment.filename] = segment

    async def note_session(self, session: Session) -> None:
        """Remember a session."""
        await trio.lowlevel.checkpoint()
        self.sessions.append(session)

    def note_session_soon(self, session: Session) -> None:
        """Remember a session."""
        self.sessions.append(session)

    async def note_gaps(self, gaps: Sequence[Gap]) -> None:
        """Remember entries of the ledger."""
        await trio.lowlevel.checkpoint()
        self.gaps += gaps

    @property
    def still_growing(self) -> list[str]:
        """Names of the files that are being recorded."""
        return list(self._growing)


# --- the rig ----------------------------------------------------------------------------


@attrs.frozen
class Node:
    """A device node that can be unplugged."""

    there: list[bool] = attrs.field(factory=lambda: [True])

    def stat(self) -> os.stat_result:
        """Stat it; raise FileNotFoundError when it is unplugged."""
        if not self.there[-1]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return Path(os.devnull).stat()

    def __str__(self) -> str:
        return "/dev/video0"


class ImmediateLookup(BoundedFileCalls):
    """Looks at fake nodes without a thread: an autojump clock does not wait for threads."""

    async def ask(self, look: Callable[[], T], otherwise: T) -> T:
        """Return the result at once."""
        return look()


@attrs.define(eq=False)
class EndingSource(SyntheticSource):
    """A synthetic source that has an end."""

    may_end = True


@attrs.define(eq=False)
class CameraRig:
    """One camera with everything that it uses."""

    camera: Camera
    storage: MemoryStorage
    space: MemorySpaceMonitor
    disk: MemoryDisk
    launcher: FakeLauncher
    heard: list[Event]

    def fill(self, percent: float) -> None:
        """Set the used share of the volume, and take a sample."""
        self.disk.volume = usage(percent)
        self.space.look()

    async def until(self, state: CameraState) -> None:
        """Wait until the camera is in `state`."""
        await self.camera.published.wait_until(lambda status: status.state is state)

    async def idle(self) -> None:
        """Wait until no session runs."""
        await self.camera.published.wait_until(lambda status: status.session is None)

    @property
    def events_told(self) -> list[str]:
        """The recording events that clients were sent, without PROGRESS."""
        words = [
            f"{event.kind.name} {event.reason}".strip()
            for event in self.heard
            if isinstance(event, RecordingChanged)
        ]
        return [word for word in words if not word.startswith("PROGRESS")]

    @property
    def states(self) -> list[str]:
        """The states that clients were sent, without repetitions."""
        states: list[str] = []
        for event in self.heard:
            if isinstance(event, CameraChanged) and [event.status.state.value] != states[-1:]:
                states.append(event.status.state.value)
        return states

    def data(self, segment: Segment) -> bytes:
        """Read a file from the disk."""
        return bytes(self.disk.files[FOLDER / segment.filename].data)

    def check(self, session: Session) -> None:
        """Check that the counters of an ended session agree with its files and its gaps."""
        ledgered = sum(gap.frames for gap in session.gaps if gap.exact)
        assert session.frames_captured == session.frames_written + ledgered
        assert sum(segment.frames for segment in session.segments) == session.frames_written
        assert list(session.gaps) == self.storage.gaps
        assert {FOLDER / segment.filename for segment in session.segments} == set(self.disk.files)
        pictures = b""
        for segment in session.segments:
            data = self.data(segment)
            frames, more = frames_in(data)
            pictures += more
            assert frames == segment.frames > 0
            if segment.state is SegmentState.SEALED:
                assert len(data) == segment.size_bytes
                offset = sealed_moov_offset(data[:48])
                assert offset is not None
                assert summarise_segment(data[:65536], data[offset:]).frames == frames
            assert self.storage.segments[segment.filename] == segment
        assert self.disk.open_files == 0
        assert self.storage.still_growing == []
        assert self.storage.status.promised_bytes == 0

    def pictures(self, session: Session) -> bytes:
        """Join the pictures in the files of a session."""
        return b"".join(frames_in(self.data(segment))[1] for segment in session.segments)


def usage(percent: float) -> Usage:
    """Return the usage of a volume of which so much is used."""
    return Usage(VOLUME_BYTES, VOLUME_BYTES - round(VOLUME_BYTES * percent / 100))


def memory_storage(events: Fanout[Event] | None = None) -> MemoryStorage:
    """Make storage in memory, of which 10 % is used."""
    disk = MemoryDisk(volume=usage(10))
    space = MemorySpaceMonitor(FOLDER, disk, Thresholds(), events or Fanout(), clock=SYSTEM_CLOCK)
    space.look()
    return MemoryStorage(FOLDER, disk, space, clock=SYSTEM_CLOCK)


@asynccontextmanager
async def open_camera_rig(
    *behaviours: Behaviour,
    node: Node | None = None,
    always_on: bool = False,
    once: bool = False,
    recording: RecordingConfig = RECORDING,
    durability: str = "1s",
    binding: DeviceBinding | None = None,
    wall: Wall | None = None,
    queue_bytes: int | None = None,
    steady_seconds: float = STEADY_SECONDS,
) -> AsyncIterator[CameraRig]:
    """Run a camera while the block runs.

    Its FFmpeg processes do what `behaviours` say; later ones deliver without end.
    """
    synthetic = EndingSource if once else SyntheticSource
    source = synthetic(320, 180, FPS) if node is None else V4l2Source(node)
    config = Config(
        storage=StorageConfig(durability=durability),
        recording=recording,
        ffmpeg=FfmpegConfig(stall_timeout=timedelta(seconds=3), start_timeout=timedelta(seconds=5)),
    )
    events: Fanout[Event] = Fanout()
    heard: list[Event] = []
    storage = memory_storage(events)
    disk, space = storage.disk, storage.space
    launcher = FakeLauncher(deque(behaviours))
    camera_config = CameraConfig(CAMERA, source, always_on=always_on)
    clock = (wall or Wall()).clock
    planner = CapturePlanner(
        camera_config, config, find_program, launcher.launch, binding=binding, clock=clock
    )
    planner.looks = ImmediateLookup()
    environment = CaptureEnvironment(clock=clock, jitter=no_jitter, steady_seconds=steady_seconds)
    camera = Camera(
        config=camera_config,
        daemon_config=config,
        storage=storage,
        events=events,
        planner=planner,
        environment=environment,
        clock=clock,
    )
    camera.sessions.queue_bytes = queue_bytes or camera.sessions.queue_bytes
    with events.subscribed(heard.append):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(camera.serve)  # noqa: ASYNC113 - its mailbox takes calls already
            yield CameraRig(camera, storage, space, disk, launcher, heard)
            await camera.close()
            nursery.cancel_scope.cancel()
    assert launcher.most_alive <= 1
    assert launcher.alive == 0


def no_jitter() -> float:
    """Let each rest last exactly as long as the state table says."""
    return 1.0


async def find_program() -> FFmpegBinary:
    """Return a program that is never run."""
    await trio.lowlevel.checkpoint()
    return FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1))


# --- all cameras of a machine ---------------------------------------------------------


@attrs.define(eq=False)
class FakeMonitor:
    """A device monitor whose devices the test plugs in."""

    present: LatestValue[tuple[Device, ...]] = attrs.field(
        factory=lambda: LatestValue[tuple[Device, ...]](())
    )
    all_queried: trio.Event = attrs.field(factory=trio.Event)
    method: str = "by hand"

    def plug(self, *devices: Device) -> None:
        """Plug in these devices, and unplug all others."""
        self.present.publish(devices)
        self.all_queried.set()


@attrs.define(eq=False)
class MemoryBindings:
    """The file of known cameras, in memory."""

    known: tuple[RememberedCamera, ...] = ()
    seconds: float = 0.0  # duration of saving
    full: bool = False

    async def load(self) -> tuple[RememberedCamera, ...]:
        """Return the known cameras."""
        await trio.lowlevel.checkpoint()
        return self.known

    async def save(self, known: tuple[RememberedCamera, ...]) -> None:
        """Keep the known cameras, or fail when the disk is full."""
        await trio.sleep(self.seconds)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.known = known


@attrs.define(eq=False)
class FakeFfmpegCameras(Cameras):
    """All cameras of a machine; their FFmpeg processes are fakes."""

    launcher: FakeLauncher = attrs.field(factory=FakeLauncher)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._environment = attrs.evolve(self._environment, jitter=no_jitter)

    def add(self, config: CameraConfig, binding: DeviceBinding | None = None) -> Camera:
        """Start a camera with a fake FFmpeg."""
        camera = super().add(config, binding)
        for each in filter(None, (camera, self.preview(config.id))):
            each.planner.launch = self.launcher.launch
            each.planner.abilities = UntriedEncoders()
        return camera


@attrs.define(eq=False)
class CamerasRig:
    """The cameras of a machine with everything that they use."""

    cameras: FakeFfmpegCameras
    bindings: DeviceBinder
    monitor: FakeMonitor
    kept: MemoryBindings
    storage: MemoryStorage
    heard: list[Event]

    async def camera(self, camera_id: str) -> Camera:
        """Wait until a camera is there."""
        while (camera := self.cameras.get(CameraId(camera_id))) is None:
            await trio.lowlevel.checkpoint()
        return camera

    async def until(self, camera_id: str, state: CameraState) -> Camera:
        """Wait until a camera is in a state."""
        camera = await self.camera(camera_id)
        await camera.published.wait_until(lambda status: status.state is state)
        return camera


@asynccontextmanager
async def open_cameras_rig(
    *devices: Device,
    entries: tuple[CameraConfig, ...] = (),
    kept: MemoryBindings | None = None,
    auto: bool = True,
    wall: Wall | None = None,
) -> AsyncIterator[CamerasRig]:
    """Run the cameras of a machine with these devices while the block runs."""
    events, heard = Fanout[Event](), list[Event]()
    config = Config(cameras=entries, discovery=DiscoveryConfig(v4l2=auto))
    storage = memory_storage(events)
    monitor, kept = FakeMonitor(), kept or MemoryBindings()
    monitor.plug(*devices)
    with events.subscribed(heard.append):
        async with trio.open_nursery() as nursery:
            cameras = FakeFfmpegCameras(
                config=config,
                storage=storage,
                events=events,
                nursery=nursery,
                clock=(wall or Wall()).clock,
                find_program=find_program,
            )
            for camera in entries:
                local = isinstance(camera.source, V4l2Source)
                cameras.add(camera, DeviceBinding(camera.id, None) if local else None)
            store = BindingStore(kept.load, kept.save)
            await nursery.start(store.serve)
            binder = DeviceBinder(config=config, cameras=cameras, monitor=monitor, store=store)
            await binder.begin()
            nursery.start_soon(binder.follow)
            yield CamerasRig(cameras, binder, monitor, kept, storage, heard)
            await cameras.close()
            nursery.cancel_scope.cancel()
    assert cameras.launcher.alive == 0
