"""A machine's cameras on a stage: what is plugged in is said, children are played."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from support.camera_stage import MemoryStorage, Studio, find_program, memory_storage

from camd.camera.bindings import DeviceBinder
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.config.schema import CameraConfig, Config, DiscoveryConfig
from camd.devices.binding_store import BindingStore
from camd.devices.matching.identity import KnownCamera
from camd.ffmpeg.encoder_trial import UntriedEncoders
from camd.model import CameraId, CameraState, Device, DeviceBinding, Event, V4l2Source
from camd.runtime.broadcast import Fanout, Published


@attrs.define(eq=False)
class FakeSurvey:
    """What is plugged in, as the test says."""

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
class KeptInMemory:
    """Where known cameras survive the service."""

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
class StudioCameras(Cameras):
    """A roster whose cameras play children."""

    studio: Studio = attrs.field(factory=Studio)

    def add(self, config: CameraConfig, binding: DeviceBinding | None = None) -> Camera:
        """Start a camera on the stage."""
        camera = super().add(config, binding)
        camera.planner.launch, camera.planner.find_program = self.studio.launch, find_program
        camera.planner.abilities = UntriedEncoders()
        return camera


@attrs.define(eq=False)
class House:
    """Everything around a machine's cameras."""

    cameras: StudioCameras
    bindings: DeviceBinder
    monitor: FakeSurvey
    kept: KeptInMemory
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
async def open_house(
    *devices: Device,
    entries: tuple[CameraConfig, ...] = (),
    kept: KeptInMemory | None = None,
    auto: bool = True,
) -> AsyncIterator[House]:
    """Run the cameras of a machine in which these devices are plugged in."""
    events, heard = Fanout[Event](), list[Event]()
    config = Config(cameras=entries, discovery=DiscoveryConfig(v4l2=auto))
    storage = memory_storage(events)
    monitor, kept = FakeSurvey(), kept or KeptInMemory()
    monitor.plug(*devices)
    with events.subscribed(heard.append):
        async with trio.open_nursery() as nursery:
            cameras = StudioCameras(config, storage, events, nursery)
            for camera in entries:
                local = isinstance(camera.source, V4l2Source)
                cameras.add(camera, DeviceBinding(camera.id, None) if local else None)
            store = BindingStore(kept.load, kept.save)
            await nursery.start(store.serve)
            cameras.binder = binder = DeviceBinder(config, cameras, monitor, store)
            await binder.begin()
            nursery.start_soon(binder.follow)
            yield House(cameras, binder, monitor, kept, storage, heard)
            await cameras.close()
            nursery.cancel_scope.cancel()
    assert cameras.studio.alive == 0
