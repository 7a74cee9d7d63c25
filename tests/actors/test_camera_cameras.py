"""All cameras together: found by their names, closed at the same time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from support.camera_rig import REQUEST, Wall, find_program, memory_storage
from support.fake_ffmpeg import FakeLauncher, streams
from trio.testing import MockClock

from camd.camera.camera import Camera
from camd.camera.cameras import Cameras, open_cameras
from camd.config.schema import CameraConfig, Config, RecordingConfig
from camd.errors import Refusal
from camd.ffmpeg.encoder_trial import UntriedEncoders
from camd.model import CameraId, CameraState, Event
from camd.runtime.broadcast import Fanout
from camd.sources import SyntheticSource, V4l2Source

CONFIG = Config(
    cameras=(
        CameraConfig(CameraId("gate"), SyntheticSource(), device="camera7"),
        CameraConfig(CameraId("yard"), SyntheticSource()),
        CameraConfig(CameraId("hall"), V4l2Source(Path("/dev/no-such-video"))),
    )
)


async def test_cameras_are_found_by_id_device_and_node(clock: MockClock) -> None:
    """Each of its names leads to the camera; the order is the configuration's."""
    async with open_cameras(
        CONFIG, storage=memory_storage(), events=Fanout[Event](), clock=Wall().clock
    ) as cameras:
        assert [camera.camera_id for camera in cameras] == ["gate", "yard", "hall"]
        assert len(cameras) == 3
        assert cameras.find("gate") is cameras.find("camera7")
        assert cameras.find("/dev/no-such-video") is cameras.find("hall")


@pytest.mark.parametrize(
    "name", ["", "gat", "Gate", "/dev/other-video", "../gate", "x" * 5000, "/dev/\0"]
)
async def test_unknown_cameras_are_refused(clock: MockClock, name: str) -> None:
    """−32004, also for the empty name, which no camera has."""
    async with open_cameras(
        CONFIG, storage=memory_storage(), events=Fanout[Event](), clock=Wall().clock
    ) as cameras:
        with pytest.raises(Refusal) as caught:
            cameras.find(name)
        assert caught.value.kind.code == -32004
        assert len(str(caught.value.data["camera_id"])) <= 200


async def test_cameras_close_at_the_same_time(clock: MockClock) -> None:
    """Shutting down takes as long as the slowest camera, not as all of them together."""
    launcher = FakeLauncher()
    async with open_cameras(
        Config(), storage=memory_storage(), events=Fanout[Event](), clock=Wall().clock
    ) as cameras:
        await record_with(cameras, launcher, 8)
        await trio.sleep(1.2)
        before = trio.current_time()
    assert trio.current_time() - before < 1
    assert launcher.alive == 0


SHORT = RecordingConfig(rotation=timedelta(seconds=60))


async def test_recording_settings_reach_all_cameras_and_later_ones(clock: MockClock) -> None:
    """A reload applies to cameras that run, and to those that are added after it."""
    async with open_cameras(
        CONFIG, storage=memory_storage(), events=Fanout[Event](), clock=Wall().clock
    ) as cameras:
        cameras.add(CameraConfig(CameraId("late"), SyntheticSource()))
        cameras.reconfigure(SHORT)
        later = cameras.add(CameraConfig(CameraId("later"), SyntheticSource()))
        assert [camera.sessions.recording.rotation for camera in cameras] == [SHORT.rotation] * 5
        assert later._daemon_config == attrs.evolve(CONFIG, recording=SHORT)


async def test_a_camera_that_restarts_after_a_bug_does_not_hinder_a_reload(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers nothing meanwhile, and has the new settings when it runs again."""
    monkeypatch.setattr(Camera, "_handle", lambda self, ask: 1 / 0)
    with capture_logs():
        async with open_cameras(
            CONFIG, storage=memory_storage(), events=Fanout[Event](), clock=Wall().clock
        ) as cameras:
            gate = cameras.find("gate")
            with pytest.raises(Refusal):
                await gate.stop_recording()
            await gate.published.wait_until(lambda status: status.state is CameraState.FAULTED)
            gate.reconfigure(SHORT)
            assert gate.sessions.recording.rotation == SHORT.rotation


async def record_with(cameras: Cameras, launcher: FakeLauncher, count: int) -> None:
    """Add so many cameras and start recording with each."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            launcher.then(streams())
            camera = cameras.add(CameraConfig(CameraId(f"camera{number}"), SyntheticSource()))
            camera.planner.launch = launcher.launch
            camera.planner.find_program = find_program
            camera.planner.abilities = UntriedEncoders()
            nursery.start_soon(camera.start_recording, REQUEST)
