"""Recordings of the capture nodes of this machine; skipped where there are none.

Run as root or a member of the group `video`: `python -m pytest tests/hardware`. With slow
processors (an emulated one, say) set CAMD_TEST_TIMEOUT_FACTOR, which multiplies the time limits.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

import pytest
import trio

from camd.camera.cameras import open_cameras
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, Config, FfmpegConfig, StorageConfig
from camd.errors import SOURCE_UNAVAILABLE, Refusal
from camd.ffmpeg.binary import find_ffmpeg
from camd.model import CameraId, Event, RecordingRequest, SegmentState
from camd.runtime.broadcast import Fanout
from camd.sources import V4l2Source
from camd.storage.storage import open_storage

TIMEOUT_FACTOR = float(os.environ.get("CAMD_TEST_TIMEOUT_FACTOR", "1"))
VIDIOC_QUERYCAP = 0x80685600  # _IOR('V', 0, struct v4l2_capability), 104 bytes
CAP_VIDEO_CAPTURE, CAP_DEVICE_CAPS = 0x1, 0x80000000
SECONDS = 3.0


def _captures(node: Path) -> bool:
    """Whether a node is a camera by its device capabilities (V4L2 API, VIDIOC_QUERYCAP)."""
    try:
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        answer = fcntl.ioctl(fd, VIDIOC_QUERYCAP, bytes(104))
    except OSError:
        return False
    finally:
        os.close(fd)
    whole, device = struct.unpack_from("<II", answer, 84)
    return bool((device if whole & CAP_DEVICE_CAPS else whole) & CAP_VIDEO_CAPTURE)


NODES = [node for node in sorted(Path("/dev").glob("video*")) if _captures(node)]


def _config(folder: Path, node: Path) -> Config:
    timeout_factor = FfmpegConfig().start_timeout * TIMEOUT_FACTOR
    return Config(
        storage=StorageConfig(folder / "recordings", state_dir=folder, block_percent=95),
        ffmpeg=FfmpegConfig(start_timeout=timeout_factor, stall_timeout=timeout_factor),
        cameras=(CameraConfig(CameraId("camera0"), V4l2Source(node)),),
    )


@pytest.mark.timeout(120 * TIMEOUT_FACTOR)
@pytest.mark.skipif(not NODES, reason="this machine has no V4L2 capture node that may be opened")
@pytest.mark.parametrize("node", NODES, ids=str)
async def test_a_camera_records(tmp_path: Path, node: Path) -> None:
    """A real camera's frames are all in sealed files, at the times at which they were captured."""
    events = Fanout[Event]()
    config = _config(tmp_path, node)
    with trio.fail_after(100 * TIMEOUT_FACTOR):
        async with (
            open_storage(config.storage, events, clock=SYSTEM_CLOCK) as storage,
            open_cameras(config, storage=storage, events=events, clock=SYSTEM_CLOCK) as cameras,
        ):
            camera = cameras.find(str(node))
            begun = trio.current_time()
            await camera.start_recording(RecordingRequest("tester"))
            await trio.sleep(SECONDS)
            session = await camera.stop_recording()
            elapsed = trio.current_time() - begun
        program = await find_ffmpeg(config.ffmpeg.path)
        (segment,) = session.segments
        path = str(storage.folder / segment.filename)
        played = await trio.run_process(
            [str(program.path), *f"-v error -i {path} -fps_mode passthrough -f null -".split()],
            capture_stderr=True,
        )
    assert segment.state is SegmentState.SEALED
    assert session.frames_captured == session.frames_written == segment.frames > 0
    assert SECONDS * 0.8 <= segment.duration_seconds <= elapsed
    assert played.stderr == b""


@pytest.mark.skipif(not NODES, reason="this machine has no V4L2 capture node that may be opened")
async def test_a_node_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A camera that is not plugged in is a refusal that says so, at once."""
    events = Fanout[Event]()
    config = _config(tmp_path, Path("/dev/video-none"))
    with trio.fail_after(30 * TIMEOUT_FACTOR):
        async with (
            open_storage(config.storage, events, clock=SYSTEM_CLOCK) as storage,
            open_cameras(config, storage=storage, events=events, clock=SYSTEM_CLOCK) as cameras,
        ):
            with pytest.raises(Refusal) as refused:
                await cameras.find("camera0").start_recording(RecordingRequest("tester"))
    assert refused.value.kind is SOURCE_UNAVAILABLE
    assert refused.value.data["cause"] == "not_found"
