"""What a camera without a device offers: what streams, else what it will deliver."""

from __future__ import annotations

from pathlib import Path

import pytest

from camd.api.camera_methods import capabilities
from camd.capture.planner import CapturePlanner
from camd.capture.source_cache import SourceCache, SourceFacts, cache_key_of
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, Config
from camd.ffmpeg.binary import FFmpegBinary
from camd.model import CameraId, CameraState, CameraStatus, VideoFormat
from camd.sources import RtspSource, SyntheticSource, V4l2Source

RTSP = RtspSource("rtsp://camera.local/stream")
NOTHING = VideoFormat("", 0, 0, 0.0)


async def _no_program() -> FFmpegBinary:
    raise AssertionError("nothing is asked for")


def planner(camera: CameraConfig, facts: SourceFacts | None = None) -> CapturePlanner:
    """Make the planner of a camera; `facts`: what its source held the last time."""
    memory = SourceCache()
    if facts is not None:
        memory.learn(cache_key_of(camera.source), facts)
    return CapturePlanner(
        camera=camera,
        config=Config(),
        find_program=_no_program,
        clock=SYSTEM_CLOCK,
        memory=memory,
    )


def camera(source: object, **keys: object) -> CameraConfig:
    return CameraConfig(CameraId("camera0"), source, **keys)  # type: ignore[arg-type]


H265 = SourceFacts("hevc", 2560, 1440, 25.0)
MPEG4 = SourceFacts("mpeg4", 640, 480, 15.0)
CASES = [
    (camera(SyntheticSource(320, 240, 15)), None, VideoFormat("h264", 320, 240, 15)),
    (camera(SyntheticSource(320, 240, 15), codec="h265"), None, VideoFormat("h265", 320, 240, 15)),
    (
        camera(SyntheticSource(320, 240, 15), resolution=(160, 120)),
        None,
        VideoFormat("h264", 160, 120, 15),
    ),
    (camera(RTSP), None, NOTHING),
    (camera(RTSP, resolution=(640, 480)), None, VideoFormat("", 640, 480, 0.0)),
    (camera(RTSP), H265, VideoFormat("hevc", 2560, 1440, 25.0)),
    (camera(RTSP, codec="copy"), MPEG4, VideoFormat("mpeg4", 640, 480, 15.0)),
    (camera(RTSP), MPEG4, VideoFormat("h264", 640, 480, 15.0)),
    (camera(RTSP, codec="mjpeg", fps=5), H265, VideoFormat("mjpeg", 2560, 1440, 5)),
    (camera(V4l2Source(Path("/dev/video0")), resolution=(640, 480)), None, NOTHING),
]


@pytest.mark.parametrize(("config", "facts", "expected"), CASES)
def test_what_a_source_will_deliver(
    config: CameraConfig, facts: SourceFacts | None, expected: VideoFormat
) -> None:
    """What is copied is as it was the last time; what is encoded is as configured, else the same.

    Of a device its driver says more, and of a source that was never asked nothing is known.
    """
    assert planner(config, facts).expected == expected


def status(state: CameraState, video: VideoFormat | None) -> CameraStatus:
    return CameraStatus(
        camera_id=CameraId("camera0"),
        device="camera0",
        name="camera0",
        identity="camera0",
        state=state,
        problem=None,
        video=video,
        wanted=NOTHING,
        session=None,
        bytes_captured=0,
        streaming_since=None,
        restarts=0,
    )


def test_an_idle_camera_shows_its_last_format_as_provisional() -> None:
    """FFmpeg's name of a codec is shown by the usual one."""
    found = capabilities(
        status(CameraState.IDLE, None), None, None, VideoFormat("hevc", 2560, 1440, 25.0)
    )
    assert found["formats"] == ["h265"]
    assert found["resolutions"] == ["2560x1440"]
    assert found["fps_options"] == [25.0]
    assert found["modes"] == [{"format": "h265", "resolution": "2560x1440", "fps": [25.0]}]
    assert found["validation_status"] == "provisional"


def test_what_streams_counts_more_than_what_was_expected() -> None:
    """A streaming camera shows what it delivers, and that is confirmed."""
    video = VideoFormat("avc1", 1920, 1080, 29.97)
    expected = VideoFormat("hevc", 2560, 1440, 25.0)
    found = capabilities(status(CameraState.STREAMING, video), None, None, expected)
    assert (found["formats"], found["resolutions"]) == (["h264"], ["1920x1080"])
    assert found["validation_status"] == "confirmed"


def test_nothing_is_made_up() -> None:
    """A source that was never asked has empty lists, and the status says so."""
    found = capabilities(status(CameraState.IDLE, None), None, None, NOTHING)
    assert (found["formats"], found["resolutions"], found["modes"]) == ([], [], [])
    assert found["validation_status"] == "none"
