"""FFmpeg processes that hang or fork: each is ended in bounded time, and sessions go on."""

from __future__ import annotations

import gc
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from support.fake_disk import roomy_disk
from support.fake_ffmpeg import make_bad_ffmpeg
from support.ffmpeg_media import PROGRAMS

from camd.camera.camera import Camera
from camd.camera.cameras import open_cameras
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, Config, FfmpegConfig, StorageConfig
from camd.model import CameraId, CameraState, Event, GapCause, RecordingRequest, Session
from camd.runtime.broadcast import Fanout
from camd.runtime.child_process import open_child_process
from camd.sources import SyntheticSource
from camd.storage.storage import open_storage

STALL = timedelta(seconds=6)  # a busy machine makes FFmpeg wait, too


def _open_files() -> dict[str, str]:
    """Name everything that this process has open, but for what other tests have left."""
    gc.collect()
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            found[link.name] = str(link.readlink())
        except FileNotFoundError:
            continue  # the folder that is being listed
    return found


@pytest.mark.parametrize(
    ("way", "word", "cause"),
    [
        ("deaf", "stalled", GapCause.CAMERA_STALLED),
        ("stopped", "stalled", GapCause.CAMERA_STALLED),
        ("mute", "mute", GapCause.ENCODER_EXIT),
        ("garbage", "bad_stream", GapCause.ENCODER_EXIT),
        ("floods", "unknown", GapCause.ENCODER_EXIT),
    ],
)
async def test_a_process_that_misbehaves_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, word: str, cause: GapCause
) -> None:
    """Never two processes, no zombie and no open file is left, and the same session goes on."""
    program, notes = make_bad_ffmpeg(tmp_path, PROGRAMS[1].values[0], way)
    storage_config = StorageConfig(tmp_path / "recordings", state_dir=tmp_path, block_percent=95)
    camera_config = CameraConfig(CameraId("gate"), SyntheticSource(160, 90, 20))
    ffmpeg = FfmpegConfig(program, stall_timeout=STALL, encoder="libx264")
    config = Config(storage=storage_config, ffmpeg=ffmpeg, cameras=(camera_config,))
    events = Fanout[Event]()
    before = _open_files()
    with trio.fail_after(300):
        async with (
            open_storage(config.storage, events, roomy_disk(), clock=SYSTEM_CLOCK) as storage,
            open_cameras(config, storage=storage, events=events, clock=SYSTEM_CLOCK) as cameras,
        ):
            camera = cameras.find("gate")
            camera.planner.launch = partial(open_child_process, terminate_seconds=0.5)
            begun, problem, ended = await _record_through(camera)
    assert problem == word
    assert ended.session_id == begun.session_id
    assert [
        gap.cause for gap in ended.gaps if gap.cause is not GapCause.FRAMES_DROPPED_BY_SOURCE
    ] == [cause]
    assert ended.frames_captured == ended.frames_written > 0
    lives = [line.split(":") for line in notes.read_text(encoding="utf-8").split()]
    assert [how for _, how in lives] == ["alone"] * len(lives)
    assert len(lives) == 2
    assert [pid for pid, _ in lives if _exists(pid)] == []
    assert _open_files() == before


def _exists(pid: str) -> bool:
    """Whether there is such a process, a zombie included."""
    return Path(f"/proc/{pid}").exists()


async def _record_through(camera: Camera) -> tuple[Session, str, Session]:
    """Record until the second process delivers; return first answer, problem and receipt."""
    begun = await camera.start_recording(RecordingRequest("tester"))
    status = await camera.published.wait_until(lambda s: s.state is CameraState.RESTING)
    assert status.problem is not None
    await camera.published.wait_until(lambda s: s.session and len(s.session.segments) > 1)
    return begun, status.problem.kind, await camera.stop_recording()
