"""Cameras with clocks, stamps and sound as real ones have them: every second is where it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from real_camera import REQUEST, open_real_camera
from support import ffmpeg_media as ffmpeg
from support.fake_rtsp_server import PICTURE, SOUND, open_stream_server
from support.ffmpeg_media import make_flash_beep

from camd.capture.rules.timestamps import TimestampFault
from camd.config.schema import RecordingConfig
from camd.model import CameraStatus, GapCause, Session
from camd.mp4.init import read_init
from camd.mp4.inspect import sealed_moov_offset
from camd.sources import FileSource, RtspSource

ROTATION = RecordingConfig(rotation=timedelta(seconds=3))
SECONDS = 5.0  # of recording, behind the first picture
STEP_AT = 2.5  # seconds of the film
HOUR = 3600.0

STAMPED = tuple(
    fault.value for fault in TimestampFault
)  # which one depends on how quick the machine is
CLOCK, SOUNDLESS, NOTHING = ("clock",), ("without sound",), ()
AT_A_TIME = 4  # cameras: the machine has to keep up with all of them

# What a camera does, and words of which its status has to say one.
STAMPS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "steps-back": ({"stamp": lambda u: u.shown + HOUR - HOUR * (u.shown > STEP_AT)}, STAMPED),
    "steps-forward": ({"stamp": lambda u: u.shown + 600 * (u.shown > STEP_AT)}, STAMPED),
    "stands-still": (
        {"stamp": lambda u: min(u.shown, STEP_AT) if u.track == PICTURE else u.shown},
        STAMPED,
    ),
    "half-speed": ({"stamp": lambda u: u.shown / 2 if u.track == PICTURE else u.shown}, STAMPED),
    "another-year": ({"clocks": (-5e7, -5e7)}, CLOCK),
    "sound-of-another-year": ({"clocks": (0.0, -1.7e9)}, CLOCK),
    "sound-never-comes": ({"sends": lambda u: u.track == PICTURE}, NOTHING),
    "sound-stops": ({"sends": lambda u: u.track == PICTURE or u.shown < STEP_AT}, NOTHING),
    "sound-unknown": ({"sound": "X-VENDOR/48000"}, SOUNDLESS),
    "sound-strays": (
        {"stamp": lambda u: u.shown * 7919 % 80_000 if u.track == SOUND else u.shown},
        NOTHING,
    ),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of pictures and sound, with a key frame every half second."""
    path: Path = make_flash_beep(tmp_path_factory.mktemp("clip") / "film.mp4", seconds=30, gop=10)
    return path


async def recorded(
    program: str, folder: Path, clip: Path, played: dict[str, Any], words: tuple[str, ...]
) -> tuple[Session, CameraStatus, tuple[datetime, datetime, datetime]]:
    """Record a camera for some seconds, and until a warning has one of these words, if any; return
    what came of it, and when it began, was told to stop, and had stopped."""
    async with open_stream_server(program, clip, **played) as server:
        source = RtspSource(server.url)
        async with open_real_camera(program, folder, source, recording=ROTATION) as rig:
            await rig.camera.start_recording(REQUEST)
            began = datetime.now(UTC)
            await trio.sleep(SECONDS)
            status = await rig.camera.published.wait_until(
                lambda status: (
                    not words or any(word in text for word in words for text in status.warnings)
                )
            )
            until = datetime.now(UTC)
            return await rig.camera.stop_recording(), status, (began, until, datetime.now(UTC))


@pytest.mark.parametrize("program", ffmpeg.PROGRAMS)
async def test_what_is_strange_costs_nothing_and_is_told(
    program: str, clip: Path, tmp_path: Path
) -> None:
    """Files last as long as it took, are named by when it was, and the status says what is odd."""
    found: dict[str, Any] = {}
    for name in STAMPS:
        tmp_path.joinpath(name).mkdir()

    turns = trio.CapacityLimiter(AT_A_TIME)

    async def look(name: str) -> None:
        async with turns:
            found[name] = await recorded(program, tmp_path / name, clip, *STAMPS[name])

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for name in STAMPS:
                nursery.start_soon(look, name)
    wrong = {name: why for name, result in found.items() if (why := _complaint(name, *result))}
    assert wrong == {}


def _complaint(
    name: str, session: Session, status: CameraStatus, span: tuple[datetime, datetime, datetime]
) -> str:
    """Say what a user would object to; empty when there is nothing."""
    words = STAMPS[name][1]
    if words and not any(word in text for word in words for text in status.warnings):
        return f"not told: {status.warnings}"
    began, until, ended = span
    least, most = (until - began).total_seconds(), (ended - began).total_seconds()
    lasts = sum(segment.duration_seconds for segment in session.segments)
    if not least - 2.5 < lasts < most + 6:  # what was held back at the start comes on top
        return f"{least:.1f} to {most:.1f} s play in {lasts:.1f} s"
    missing = [gap for gap in session.gaps if gap.frames or gap.duration_seconds > 0.1]
    if any(gap.cause is not GapCause.FRAMES_DROPPED_BY_SOURCE for gap in missing):
        return f"blamed for nothing: {missing}"
    if sum(gap.duration_seconds for gap in missing) > SECONDS / 2:
        return f"frames that never were: {missing}"
    early, late = began - timedelta(seconds=12), ended + timedelta(seconds=1)
    if not all(early < segment.start < late for segment in session.segments):
        return f"named by another clock: {session.segments[0].start}"
    return ""


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of which a second is larger than what waits in a pipe."""
    path = tmp_path_factory.mktemp("heavy") / "film.mp4"
    picture = "testsrc2=size=640x360:rate=20,noise=alls=60:allf=t"
    done = ffmpeg.run(
        *(ffmpeg.PROGRAMS[1].values[0], "-f", "lavfi", "-i", picture, "-t", "3", "-c:v", "libx264"),
        *("-preset", "ultrafast", "-qp", "10", "-g", "10", str(path)),
    )
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 3 * 1024 * 1024
    return path


@pytest.mark.parametrize("program", ffmpeg.PROGRAMS)
async def test_a_file_that_ffmpeg_reads_too_fast_is_braked(
    program: str, heavy: Path, tmp_path: Path
) -> None:
    """A file that nothing slows down, and that is played over and over, does not fill the disk."""
    options = ("-readrate", "0")  # as if it had no time stamps
    with trio.fail_after(300):
        async with open_real_camera(
            program, tmp_path, FileSource(heavy), input_options=options
        ) as rig:
            await rig.camera.start_recording(REQUEST)
            began = trio.current_time()
            await trio.sleep(3)
            session = await rig.camera.stop_recording()
            took = trio.current_time() - began
    # Between the stop and the end of FFmpeg nothing is braked; without a brake it is minutes.
    assert sum(segment.duration_seconds for segment in session.segments) < took + 30


def make(path: Path, *arguments: str) -> Path:
    """Make a film of two seconds."""
    done = ffmpeg.run(
        *(ffmpeg.PROGRAMS[1].values[0], "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=20"),
        *("-f", "lavfi", "-i", "sine", "-t", "2", "-pix_fmt", "yuvj420p", *arguments, str(path)),
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("program", ffmpeg.PROGRAMS)
@pytest.mark.parametrize(
    ("codec", "width", "height", "sound", "recorded_sound"),
    [
        ("mjpeg", 321, 181, "flac", "fLaC"),
        ("mjpeg", 320, 181, "ac3", "mp4a"),
        ("libx264", 320, 180, "flac", "fLaC"),
        ("libx264", 320, 180, "eac3", "mp4a"),
    ],
)
async def test_odd_sizes_and_rare_sound_are_recorded(
    program: str,
    codec: str,
    width: int,
    height: int,
    sound: str,
    recorded_sound: str,
    tmp_path: Path,
) -> None:
    """Of an odd size all but a line and a column is encoded; FLAC is copied, AC-3 becomes AAC."""
    odd = ("-vf", f"scale={width}:{height}", "-c:v", codec, "-c:a", sound)
    source = FileSource(make(tmp_path / "film.mkv", *odd), loop=False)
    with trio.fail_after(300):
        async with open_real_camera(program, tmp_path, source) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.ended()
            assert rig.camera.published.value.warnings == ()
    path = tmp_path / session.segments[0].filename
    data = path.read_bytes()
    init = read_init(data[:32], data[sealed_moov_offset(data[:48]) :])
    size = (init.video.codec, init.video.width, init.video.height)
    assert size == ("avc1", width // 2 * 2, height // 2 * 2)
    assert init.audio is not None
    assert init.audio.codec == recorded_sound
