"""Camera actors on fakes: FFmpeg and the disk are in memory, and the clock jumps."""

from __future__ import annotations

import errno
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
from camd.capture.rules.state import SETTLED_SECONDS
from camd.capture.supervisor import CaptureEnvironment
from camd.config.schema import (
    CameraConfig,
    Config,
    DiscoveryConfig,
    FfmpegConfig,
    RecordingConfig,
    StorageConfig,
)
from camd.devices.binding_store import BindingStore
from camd.devices.matching.identity import KnownCamera
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
    TestSource,
    V4l2Source,
)
from camd.mp4.inspect import sealed_moov_offset, summarise
from camd.runtime.broadcast import Fanout, Published
from camd.runtime.path_lookup import PathLookup
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
    """The wall clock, which somebody may set."""

    ahead: timedelta = timedelta(0)  # of where it would be

    def step(self, **by: float) -> None:
        """Set it by so much; back when negative."""
        self.ahead += timedelta(**by)

    def now(self, _: object = None) -> datetime:
        """Say what it shows."""
        return at(trio.current_time()) + self.ahead


def jump_clocks(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """Let wall time and monotonic time run with the test's clock."""
    wall = Wall()
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=trio.current_time))
    monkeypatch.setattr(clock, "datetime", SimpleNamespace(now=wall.now))
    return wall


def at(seconds: float) -> datetime:
    """Name the moment so long after the test began."""
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
        """Classify what the disk says now."""
        self._usage = self._disk.usage(self.folder)
        self._judge(level_of(self._usage, self._thresholds, self._level))

    def free_reserve(self) -> None:
        """Give nothing: there is none."""


@attrs.define(eq=False)
class MemoryStorage(Storage):
    """Storage without threads; what would go into the catalog is in lists."""

    segments: dict[str, Segment] = attrs.field(factory=dict)
    sessions: list[Session] = attrs.field(factory=list)
    gaps: list[Gap] = attrs.field(factory=list)
    seconds: float = 0.0  # how long the disk takes for everything

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Do the work after the time that it takes, like a thread that is never abandoned."""
        await trio.lowlevel.checkpoint()
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
        """Which files are said to be written at the moment."""
        return list(self._growing)


# --- the rig ----------------------------------------------------------------------------


@attrs.frozen
class Node:
    """A device node that can be unplugged."""

    there: list[bool] = attrs.field(factory=lambda: [True])

    def exists(self) -> bool:
        """Say whether it is plugged in."""
        return self.there[-1]

    def __str__(self) -> str:
        return "/dev/video0"


class ImmediateLookup(PathLookup):
    """Looks at fake nodes without a thread, for which an autojump clock would not wait."""

    async def ask(self, look: Callable[[], T], otherwise: T) -> T:
        """Look."""
        return look()


@attrs.define(eq=False)
class EndingSourcePlanner(CapturePlanner):
    """A camera whose source has an end."""

    @property
    def may_end(self) -> bool:
        """Say that it has an end."""
        return True


@attrs.define(eq=False)
class CameraRig:
    """Everything around one camera."""

    camera: Camera
    storage: MemoryStorage
    space: MemorySpaceMonitor
    disk: MemoryDisk
    launcher: FakeLauncher
    heard: list[Event]

    def fill(self, percent: float) -> None:
        """Let so much of the volume be used, and let the space monitor see it."""
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
        """What clients were told about recordings, PROGRESS left out."""
        words = [
            f"{event.kind.name} {event.reason}".strip()
            for event in self.heard
            if isinstance(event, RecordingChanged)
        ]
        return [word for word in words if not word.startswith("PROGRESS")]

    @property
    def states(self) -> list[str]:
        """Which states the camera was told to be in, repetitions left out."""
        states: list[str] = []
        for event in self.heard:
            if isinstance(event, CameraChanged) and [event.status.state.value] != states[-1:]:
                states.append(event.status.state.value)
        return states

    def data(self, segment: Segment) -> bytes:
        """Read a file back."""
        return bytes(self.disk.files[FOLDER / segment.filename].data)

    def check(self, session: Session) -> None:
        """Compare an ended session's account with what is on the disk, and with the ledger."""
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
                assert summarise(data[:65536], data[offset:]).frames == frames
            assert self.storage.segments[segment.filename] == segment
        assert self.disk.open_files == 0
        assert self.storage.still_growing == []
        assert self.storage.status.promised_bytes == 0

    def pictures(self, session: Session) -> bytes:
        """Join what the files of a session show."""
        return b"".join(frames_in(self.data(segment))[1] for segment in session.segments)


def usage(percent: float) -> Usage:
    """Describe a volume that is so full."""
    return Usage(VOLUME_BYTES, VOLUME_BYTES - round(VOLUME_BYTES * percent / 100))


def memory_storage(events: Fanout[Event] | None = None) -> MemoryStorage:
    """Make a volume in memory that is nearly empty."""
    disk = MemoryDisk(volume=usage(10))
    space = MemorySpaceMonitor(FOLDER, disk, Thresholds(), events or Fanout())
    space.look()
    return MemoryStorage(FOLDER, disk, space)


@asynccontextmanager
async def open_camera_rig(
    *behaviours: Behaviour,
    node: Node | None = None,
    always_on: bool = False,
    once: bool = False,
    recording: RecordingConfig = RECORDING,
    durability: str = "1s",
    binding: DeviceBinding | None = None,
    settled_seconds: float = SETTLED_SECONDS,
) -> AsyncIterator[CameraRig]:
    """Run a camera while the block runs; its children play `behaviours`, then film without end."""
    source = TestSource(320, 180, FPS) if node is None else V4l2Source(node)  # type: ignore[arg-type]
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
    planner = (EndingSourcePlanner if once else CapturePlanner)(
        camera_config, config, find_program, launcher.launch, binding=binding
    )
    planner.looks = ImmediateLookup()
    environment = CaptureEnvironment(jitter=no_jitter, settled_seconds=settled_seconds)
    camera = Camera(camera_config, config, storage, events, planner, environment=environment)
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
    """Find a program that is never run."""
    await trio.lowlevel.checkpoint()
    return FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1))


# --- all cameras of a machine ---------------------------------------------------------


@attrs.define(eq=False)
class FakeMonitor:
    """A device monitor: plugged in is what the test says."""

    present: Published[tuple[Device, ...]] = attrs.field(
        factory=lambda: Published[tuple[Device, ...]](())
    )
    settled: trio.Event = attrs.field(factory=trio.Event)
    method: str = "by hand"

    def plug(self, *devices: Device) -> None:
        """Let these be plugged in, and no others."""
        self.present.publish(devices)
        self.settled.set()


@attrs.define(eq=False)
class MemoryBindings:
    """The file of known cameras, in memory."""

    known: tuple[KnownCamera, ...] = ()
    seconds: float = 0.0  # that saving takes
    full: bool = False

    async def load(self) -> tuple[KnownCamera, ...]:
        """Return what was kept."""
        await trio.lowlevel.checkpoint()
        return self.known

    async def save(self, known: tuple[KnownCamera, ...]) -> None:
        """Keep it."""
        await trio.sleep(self.seconds)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.known = known


@attrs.define(eq=False)
class FakeFfmpegCameras(Cameras):
    """All cameras of a machine, each with fake FFmpegs."""

    launcher: FakeLauncher = attrs.field(factory=FakeLauncher)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._environment = attrs.evolve(self._environment, jitter=no_jitter)

    def add(self, config: CameraConfig, binding: DeviceBinding | None = None) -> Camera:
        """Start a camera with a fake FFmpeg."""
        camera = super().add(config, binding)
        camera.planner.launch, camera.planner.find_program = self.launcher.launch, find_program
        camera.planner.abilities = UntriedEncoders()
        return camera


@attrs.define(eq=False)
class CamerasRig:
    """Everything around a machine's cameras."""

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
) -> AsyncIterator[CamerasRig]:
    """Run the cameras of a machine in which these devices are plugged in."""
    events, heard = Fanout[Event](), list[Event]()
    config = Config(cameras=entries, discovery=DiscoveryConfig(v4l2=auto))
    storage = memory_storage(events)
    monitor, kept = FakeMonitor(), kept or MemoryBindings()
    monitor.plug(*devices)
    with events.subscribed(heard.append):
        async with trio.open_nursery() as nursery:
            cameras = FakeFfmpegCameras(config, storage, events, nursery)
            for camera in entries:
                local = isinstance(camera.source, V4l2Source)
                cameras.add(camera, DeviceBinding(camera.id, None) if local else None)
            store = BindingStore(kept.load, kept.save)
            await nursery.start(store.serve)
            cameras.binder = binder = DeviceBinder(config, cameras, monitor, store)
            await binder.begin()
            nursery.start_soon(binder.follow)
            yield CamerasRig(cameras, binder, monitor, kept, storage, heard)
            await cameras.close()
            nursery.cancel_scope.cancel()
    assert cameras.launcher.alive == 0
