"""Sound and picture keep their offset to each other, from the first frame of the first file on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
import trio
from real_camera import REQUEST, open_real_camera
from support import ffmpeg_media as ffmpeg
from support.fake_rtsp_server import PICTURE, Unit, open_stream_server
from support.ffmpeg_media import FPS, Marks, make_flash_beep, measure

from camd.config.schema import RecordingConfig
from camd.model import CameraStatus, Session
from camd.sources import FileSource, RtspSource

EVERY_SECOND = RecordingConfig(rotation=timedelta(seconds=1))
TOLERANCE = 0.005
BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
PCM = ("-c:a", "pcm_s16le")

FILMS = {
    "b-frames": ("film.mp4", {"b_frames": 2}),
    "no-b-frames": ("film.mp4", {}),
    "encoded-sound": ("film.mov", {"b_frames": 2, "sound": PCM}),
    "opus": ("film.mkv", {"sound": ("-c:a", "libopus")}),
    "early-sound": ("film.mp4", {"b_frames": 2, "picture_late": 0.55}),
    "late-sound": ("film.mp4", {"b_frames": 2, "sound_late": 0.6}),
}


@pytest.fixture(params=ffmpeg.PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """One of the FFmpegs of this machine."""
    path: str = request.param
    return path


async def recorded(program: str, folder: Path, clip: Path) -> Session:
    """Record a clip as fast as it can be read, with a file for each second."""
    source = FileSource(clip, loop=False, speed=40)
    with trio.fail_after(100):
        async with open_real_camera(program, folder, source, recording=EVERY_SECOND) as rig:
            await rig.camera.start_recording(REQUEST)
            return await rig.ended()


@pytest.mark.parametrize("kind", FILMS)
async def test_sound_is_as_late_in_every_file_as_in_the_source(
    program: str, kind: str, tmp_path: Path
) -> None:
    """Each beep is within 5 ms of its offset to its flash, and packets join without a gap."""
    name, options = FILMS[kind]
    clip = make_flash_beep(tmp_path / name, **options)
    source = measure(program, clip)
    session = await recorded(program, tmp_path, clip)
    files = [measure(program, tmp_path / segment.filename) for segment in session.segments]
    assert len(files) >= 3
    assert sum(len(each.flashes) for each in files) == len(source.flashes)
    for each in files:
        check(each, source.lags[-1])
    assert sum(len(each.lags) for each in files) >= 2


def check(file: Marks, lag: float) -> None:
    """Check the offset of every beep, and that no frame or sound is out of order."""
    assert file.lags == pytest.approx([lag] * len(file.lags), abs=TOLERANCE)
    whole = file.intervals[:-2]  # a stop comes between pictures and what they refer to
    assert whole == pytest.approx([1 / FPS] * len(whole), abs=0.002)
    assert file.uneven < 0.002


async def from_camera(
    program: str, folder: Path, clip: Path, seconds: float, **played: Any
) -> list[Marks]:
    """Record a camera that plays a clip; return when each file flashes and beeps."""
    async with open_stream_server(BUNDLED, clip, **played) as server:
        source = RtspSource(server.url)
        with trio.fail_after(100):
            async with open_real_camera(program, folder, source, recording=EVERY_SECOND) as rig:
                await rig.camera.start_recording(REQUEST)
                await rig.camera.published.wait_until(
                    lambda status: status.session is not None and recorded_of(status) >= seconds
                )
                session = await rig.camera.stop_recording()
    return [measure(program, folder / segment.filename) for segment in session.segments]


def recorded_of(status: CameraStatus) -> float:
    """Return how many seconds are in files."""
    assert status.session is not None
    return sum(segment.duration_seconds for segment in status.session.segments)


@pytest.mark.parametrize(
    ("clip", "played"),
    [({"b_frames": 2, "gop": 40}, {"join": 0.45}), ({"picture_late": 0.6}, {})],
    ids=["joined", "begins-with-key-frame"],
)
async def test_sound_before_the_first_picture_of_a_camera_keeps_its_offset(
    program: str,
    clip: dict[str, Any],
    played: dict[str, Any],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The first frame is at its time, whether or not the capture began with a key frame."""
    path = make_flash_beep(tmp_path_factory.mktemp("clip") / "film.mp4", seconds=9, **clip)
    source = measure(program, path)
    files = await from_camera(program, tmp_path, path, 2.5, **played)
    for each in files:  # the last one may end between a flash and its beep
        check(each, source.lags[-1])
    assert sum(len(each.lags) for each in files) >= 2


async def test_pictures_that_stop_for_a_while_come_back_beside_their_sound(
    program: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After two seconds of sound alone, each flash has its beep again."""
    clip = make_flash_beep(tmp_path_factory.mktemp("clip") / "film.mp4", seconds=9)
    files = await from_camera(program, tmp_path, clip, 5, sends=outside(2.0, 4.0))
    assert sum(len(each.flashes) for each in files) >= 6
    for each in files:
        assert len(each.lags) == len(each.flashes)
        assert each.lags == pytest.approx([0.0] * len(each.lags), abs=TOLERANCE)


def outside(begin: float, end: float) -> Callable[[Unit], bool]:
    """Leave frames out between two moments of the clip."""
    return lambda unit: unit.track != PICTURE or not begin <= unit.shown < end
