"""All cameras together: found by their names, closed at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.camera_stage import ANN, Studio, films, find_program, jump_clocks, memory_storage
from trio.testing import MockClock

from camd.camera.encoders import Untried
from camd.camera.roster import Cameras, open_cameras
from camd.config.schema import CameraConfig, Config
from camd.errors import Refusal
from camd.model import CameraId, Event, TestSource, V4l2Source
from camd.runtime.fanout import Fanout

CONFIG = Config(
    cameras=(
        CameraConfig(CameraId("gate"), TestSource(), device="camera7"),
        CameraConfig(CameraId("yard"), TestSource()),
        CameraConfig(CameraId("hall"), V4l2Source(Path("/dev/no-such-video"))),
    )
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> MockClock:
    """Nothing here takes any time."""
    jump_clocks(monkeypatch)
    return autojump_clock


async def test_cameras_are_found_by_id_device_and_node(clock: MockClock) -> None:
    """Each of its names leads to the camera; the order is the configuration's."""
    async with open_cameras(CONFIG, memory_storage(), Fanout[Event]()) as cameras:
        assert [camera.camera_id for camera in cameras] == ["gate", "yard", "hall"]
        assert len(cameras) == 3
        assert cameras.find("gate") is cameras.find("camera7")
        assert cameras.find("/dev/no-such-video") is cameras.find("hall")


@pytest.mark.parametrize("name", ["", "gat", "Gate", "/dev/other-video", "../gate", "x" * 5000])
async def test_unknown_cameras_are_refused(clock: MockClock, name: str) -> None:
    """−32004, also for the empty name, which no camera has."""
    async with open_cameras(CONFIG, memory_storage(), Fanout[Event]()) as cameras:
        with pytest.raises(Refusal) as caught:
            cameras.find(name)
        assert caught.value.kind.code == -32004
        assert len(str(caught.value.data["camera_id"])) <= 200


async def test_cameras_close_at_the_same_time(clock: MockClock) -> None:
    """Shutting down takes as long as the slowest camera, not as all of them together."""
    studio = Studio()
    async with open_cameras(Config(), memory_storage(), Fanout[Event]()) as cameras:
        await record_with(cameras, studio, 8)
        await trio.sleep(1.2)
        before = trio.current_time()
    assert trio.current_time() - before < 1
    assert studio.alive == 0


async def record_with(cameras: Cameras, studio: Studio, count: int) -> None:
    """Add so many cameras and start recording with each."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            studio.then(films())
            camera = cameras.add(CameraConfig(CameraId(f"camera{number}"), TestSource()))
            camera.capture.launch = studio.launch
            camera.capture.find_program = find_program
            camera.capture.abilities = Untried()
            nursery.start_soon(camera.start_recording, ANN)
