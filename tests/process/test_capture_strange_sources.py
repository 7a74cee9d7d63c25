"""Cameras with clocks, stamps and sound as real ones have them: every second is where it was."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from real_camera import REQUEST, FrameCounter, open_real_camera
from support import ffmpeg_media as ffmpeg
from support.fake_rtsp_server import PICTURE, SOUND, open_stream_server

from camd.capture.consumer import CapturedFragment, HubItem
from camd.capture.process import AHEAD_SECONDS
from camd.capture.rules.timestamps import TimestampFault
from camd.config.schema import RecordingConfig
from camd.model import GapCause, Session
from camd.mp4.init import read_init
from camd.mp4.inspect import sealed_moov_offset
from camd.sources import FileSource, RtspSource

ROTATION = RecordingConfig(rotation=timedelta(seconds=3))
FPS = 20
PICTURES = 100  # at least, of each recording
USUAL = 0.75  # seconds between fragments, at most
SLACK = 1.5  # seconds: a fragment, and what a time stamp may be ahead of its arrival
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
    """A minute of pictures, each of them another one, and sound."""
    path: Path = tmp_path_factory.mktemp("clip") / "film.mp4"
    done = ffmpeg.run(
        *(ffmpeg.PROGRAMS[1].values[0], "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate={FPS}"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "60", "-c:v", "libx264"),
        *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10", "-c:a", "aac", str(path)),
    )
    assert done.returncode == 0, done.stderr
    return path


def pictures_in(program: str, *paths: Path) -> list[str]:
    """Return the hash of each picture's packet, in order."""
    found: list[str] = []
    for path in paths:
        done = ffmpeg.run(
            *(program, "-v", "error", "-i", str(path), "-map", "0:v", "-c", "copy"),
            *("-f", "framehash", "-hash", "md5", "-"),
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.decode().splitlines()
        found += [line.split(",")[5].strip() for line in lines if line[:1] not in ("", "#")]
    return found


@attrs.define(eq=False)
class Delays:
    """A consumer that measures how much longer than usual the machine took between fragments."""

    grace_seconds: float = 0.0
    each_frame: bool = False
    seconds: float = 0.0
    _before: float | None = None

    def put(self, item: HubItem) -> None:
        """Add what was too long."""
        if isinstance(item, CapturedFragment):
            if self._before is not None:
                self.seconds += max(0.0, item.arrived - self._before - USUAL)
            self._before = item.arrived


@attrs.frozen
class Recorded:
    """What came of a camera. Moments are those of the wall clock."""

    session: Session
    warnings: tuple[str, ...]
    clip: list[str]  # its pictures, in the order in which they are sent
    files: list[str]  # the pictures that were recorded
    delayed: float  # seconds, by the machine
    played: datetime  # when the camera began to send
    began: datetime  # the recording: some of it was in a file
    ended: datetime


async def recorded(
    program: str, folder: Path, clip: Path, played: dict[str, Any], words: tuple[str, ...]
) -> Recorded:
    """Record some pictures of a camera, or, when a warning has to have one of these words, twice as
    many as were sent until then, and some more: what the files last is put right by then."""
    async with open_stream_server(program, clip, **played) as server:
        source, delays = RtspSource(server.url), Delays()
        async with (
            open_real_camera(program, folder, source, recording=ROTATION) as rig,
            rig.camera.hub.attach(delays),
        ):
            await rig.camera.start_recording(REQUEST)
            began = datetime.now(UTC)
            wanted = PICTURES
            if words:
                await rig.camera.published.wait_until(lambda status: _tells(status.warnings, words))
                sent = sum(unit.track == PICTURE for unit in server.players[-1].sent)
                wanted = max(wanted, 2 * sent + PICTURES // 2)
            status = await rig.camera.published.wait_until(
                lambda status: status.session is None or status.session.frames_written >= wanted
            )
            session = await rig.camera.stop_recording()
            ended, now = datetime.now(UTC), trio.current_time()
            return Recorded(
                session,
                status.warnings,
                await trio.to_thread.run_sync(pictures_in, program, clip),
                await trio.to_thread.run_sync(
                    pictures_in, program, *(folder / each.filename for each in session.segments)
                ),
                delays.seconds,
                ended - timedelta(seconds=now - server.players[-1].began),
                began,
                ended,
            )


def _tells(warnings: Iterable[str], words: Iterable[str]) -> bool:
    return any(word in text for word in words for text in warnings)


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
    wrong = {name: why for name, result in found.items() if (why := _complaint(name, result))}
    assert wrong == {}


def _complaint(name: str, found: Recorded) -> str:
    """Say what a user would object to; empty when there is nothing.

    A picture arrives after it was sent, and before the recording that has it has ended: its place
    is between these moments. What the machine holds up, and delivers all at once later, looks like
    a pause of the camera first: twice as much is allowed for that.
    """
    session, words = found.session, STAMPS[name][1]
    slack = SLACK + 2 * found.delayed
    if words and not _tells(found.warnings, words):
        return f"not told: {found.warnings}"
    if found.files != found.clip[: len(found.files)]:
        return f"{len(found.files)} pictures are not those that were sent, or not all of them"
    if len(found.files) < PICTURES:
        return f"only {len(found.files)} pictures"
    shown = len(found.files) / FPS
    lasts = sum(segment.duration_seconds for segment in session.segments)
    # In seconds behind the first one that was sent:
    began, ended = ((each - found.played).total_seconds() for each in (found.began, found.ended))
    starts = [(each.start - found.played).total_seconds() for each in session.segments]
    if not -slack < starts[0] < began + slack or not starts[0] <= max(starts) < ended + slack:
        return f"named by another clock: {starts}; began {began:.1f}, ended {ended:.1f}"
    end = starts[0] + lasts
    if not shown - slack < end < ended + slack:
        return f"sent until {shown:.1f}, recorded {starts[0]:.1f} to {end:.1f} until {ended:.1f}"
    missing = [gap for gap in session.gaps if gap.frames or gap.duration_seconds > 0.1]
    if any(gap.cause is not GapCause.FRAMES_DROPPED_BY_SOURCE for gap in missing):
        return f"blamed for nothing: {missing}"
    if sum(gap.duration_seconds for gap in missing) > max(0.0, lasts - shown) + slack:
        return f"frames that never were: {missing}"
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
    counter = FrameCounter(each_frame=False)
    with trio.fail_after(300):
        async with open_real_camera(
            program, tmp_path, FileSource(heavy), input_options=options
        ) as rig:
            began = trio.current_time()
            async with rig.camera.hub.attach(counter):
                await rig.camera.start_recording(REQUEST)
                await counter.until(8 * FPS)
                frames, took = counter.frames, trio.current_time() - began
                session = await rig.camera.stop_recording()
    assert frames / FPS < took + AHEAD_SECONDS + 1  # and what one read of the pipe holds
    assert session.frames_written > 7 * FPS


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
