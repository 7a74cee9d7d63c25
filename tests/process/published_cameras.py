"""Cameras that are published to a double of MediaMTX, or to the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from structlog.testing import capture_logs
from support.fake_disk import roomy_disk
from support.ffmpeg_media import PROGRAMS

from camd.camera.camera import Camera
from camd.camera.cameras import Cameras, open_cameras
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import (
    CameraConfig,
    Config,
    DiscoveryConfig,
    FfmpegConfig,
    MediaMtxConfig,
    StorageConfig,
)
from camd.model import CameraId, Event, PublicationState, ServedStream
from camd.publish.publishing import open_streams
from camd.publish.streams import Streams
from camd.runtime.broadcast import Fanout
from camd.sources.synthetic import SyntheticSource
from camd.storage.storage import open_storage

PROGRAM = Path(str(PROGRAMS[0].values[0]))
PICTURES = SyntheticSource(320, 180, 15.0, audio=True)
GATE = CameraId("gate")


@attrs.define(eq=False)
class PublishedCameras:
    """Cameras and their streams."""

    cameras: Cameras
    streams: Streams
    folder: Path
    config: Config

    @property
    def camera(self) -> Camera:
        """The camera that most tests have."""
        return self.cameras.find(GATE)

    def reload(self, server: MediaMtxConfig | None) -> None:
        """Have another section [mediamtx], as a reload does."""
        self.config = attrs.evolve(self.config, mediamtx=server)
        self.streams.reconfigure(self.config)

    async def until_state(self, state: PublicationState, camera_id: CameraId = GATE) -> None:
        """Wait until a camera's publication is in a state."""
        while (publisher := self.streams.publisher(camera_id)) is None:
            await trio.lowlevel.checkpoint()  # it begins before anything is waited for
        await publisher.status.wait_until(lambda status: status.state is state)

    async def until_served(self) -> ServedStream:
        """Wait until viewers can have the camera's stream."""
        status = await self.camera.published.wait_until(lambda status: status.served is not None)
        assert status.served is not None
        return status.served

    async def until_address(self, rtsp: str) -> None:
        """Wait until viewers can have the camera's stream at an address."""
        await self.camera.published.wait_until(
            lambda status: status.served is not None and ("rtsp", rtsp) in status.served.addresses
        )

    async def until_not_served(self) -> None:
        """Wait until they cannot."""
        await self.camera.published.wait_until(lambda status: status.served is None)

    async def until_view(self, holds: Callable[[str], bool]) -> str:
        """Wait until the server's health is as a test wants it; return its details."""
        while (server := self.streams.server) is None:
            await trio.lowlevel.checkpoint()  # it is opened before anything is waited for
        await server.view.wait_until(lambda _: holds(self.streams.health()[0]))
        return self.streams.health()[1]


@asynccontextmanager
async def open_published(
    folder: Path,
    server: MediaMtxConfig | None,
    *cameras: CameraConfig,
) -> AsyncIterator[PublishedCameras]:
    """Run cameras, by default one that captures all the time, and publish them."""
    config = Config(
        storage=StorageConfig(recordings_dir=folder / "recordings", state_dir=folder / "state"),
        ffmpeg=FfmpegConfig(path=PROGRAM),
        discovery=DiscoveryConfig(v4l2=False),
        mediamtx=server,
        cameras=cameras or (CameraConfig(GATE, PICTURES, device="gate", always_on=True),),
    )
    events: Fanout[Event] = Fanout()
    with capture_logs() as lines:
        async with (
            open_storage(config.storage, events, roomy_disk(), clock=SYSTEM_CLOCK) as storage,
            open_cameras(
                config, storage=storage, events=events, clock=SYSTEM_CLOCK
            ) as cameras_open,
            open_streams(config, cameras_open, events, clock=SYSTEM_CLOCK) as streams,
        ):
            yield PublishedCameras(cameras_open, streams, folder / "recordings", config)
    crashed = [line for line in lines if line["event"] == "actor_crashed"]
    assert crashed == []
