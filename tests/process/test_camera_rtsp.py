"""RTSP cameras, with a real server on the loopback interface."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from media_ffmpeg import PROGRAMS, run
from support.disk import roomy_disk
from support.rtsp import open_rtsp_server

from camd.camera.roster import open_cameras
from camd.config.schema import CameraConfig, Config, FfmpegConfig, StorageConfig
from camd.errors import SOURCE_UNAVAILABLE, Refusal
from camd.model import CameraId, CameraState, Cause, Event, RecordingWish, RtspSource
from camd.runtime.fanout import Fanout
from camd.storage.actor import open_storage

WISH = RecordingWish("tester")


def _config(folder: Path, program: str, url: str) -> Config:
    storage = StorageConfig(folder / "recordings", state_dir=folder, block_percent=95)
    camera = CameraConfig(CameraId("gate"), RtspSource(url))
    return Config(storage=storage, ffmpeg=FfmpegConfig(Path(program)), cameras=(camera,))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with a key frame every half second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    picture = "testsrc2=size=160x90:rate=20"
    arguments = f"-f lavfi -i {picture} -t 5 -c:v libx264 -preset ultrafast -g 10 {path}"
    done = run(PROGRAMS[1].values[0], *arguments.split())
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_stream_is_copied_and_survives_the_connection(
    tmp_path: Path, film: Path, program: str
) -> None:
    """When the camera drops the connection, the session goes on in a new file, with a gap."""
    events = Fanout[Event]()
    with trio.fail_after(60):
        async with open_rtsp_server(program, film, credentials="user:s3cret") as server:
            config = _config(tmp_path, program, server.url)
            async with (
                open_storage(config.storage, events, roomy_disk()) as storage,
                open_cameras(config, storage, events) as cameras,
            ):
                camera = cameras.find("gate")
                begun = await camera.start_recording(WISH)
                server.hang_up()
                await camera.published.wait_until(lambda s: s.state is CameraState.RESTING)
                await camera.published.wait_until(
                    lambda s: s.session is not None and len(s.session.segments) > 1
                )
                ended = await camera.stop_recording()
    assert ended.session_id == begun.session_id
    assert [segment.codec for segment in ended.segments] == ["avc1"] * len(ended.segments)
    (gap,) = ended.gaps
    assert gap.cause in (Cause.CAMERA_LOST, Cause.ENCODER_EXIT)
    assert ended.frames_captured == ended.frames_written > 0
    for segment in ended.segments:
        played = run(program, "-i", str(storage.folder / segment.filename), "-f", "null", "-")
        assert (played.returncode, played.stderr) == (0, b"")


async def test_wrong_credentials_are_refused_and_never_told(tmp_path: Path, film: Path) -> None:
    """A camera that does not let us in is a refusal, in whose words the password is missing."""
    program = PROGRAMS[1].values[0]
    events = Fanout[Event]()
    with trio.fail_after(60):
        async with open_rtsp_server(program, film, credentials="user:right") as server:
            url = server.url.replace("right", "wr0ng")
            config = _config(tmp_path, program, url)
            async with (
                open_storage(config.storage, events, roomy_disk()) as storage,
                open_cameras(config, storage, events) as cameras,
            ):
                with pytest.raises(Refusal) as refused:
                    await cameras.find("gate").start_recording(WISH)
    assert refused.value.kind is SOURCE_UNAVAILABLE
    assert refused.value.data["cause"] == "unauthorised"
    assert "wr0ng" not in repr(refused.value) + repr(config)
