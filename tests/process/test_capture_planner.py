"""From a camera's seat to the command of its child, with programs that only name themselves."""

from __future__ import annotations

import subprocess
import time
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from support import ffmpeg_media as ffmpeg

from camd.capture.planner import CapturePlan, CapturePlanner
from camd.capture.process import CaptureProcess, CaptureTimeouts
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, Config, FfmpegConfig
from camd.ffmpeg.binary import FFmpegBinary
from camd.ffmpeg.encoder_trial import EncoderChoice, TrialResult
from camd.ffmpeg.text.args import CaptureOptions
from camd.ffmpeg.text.encoder_table import SOFTWARE
from camd.ffmpeg.text.output import ProbeResult, parse_inputs
from camd.model import (
    CameraId,
    Capabilities,
    Device,
    DeviceBinding,
    FrameSize,
    GapCause,
    PixelFormat,
    Problem,
    Rates,
    VideoFormat,
)
from camd.mp4.fragments import Fragment, Init
from camd.sources import RtspSource, SyntheticSource, V4l2Source

CAMERA = CameraId("camera0")
GONE = Problem("swapped", "Another camera is in its place", "", GapCause.CAMERA_SWAPPED)


def capabilities(fourcc: str = "MJPG") -> Capabilities:
    """Describe a camera with one format of one size."""
    size = FrameSize(640, 480, Rates((30.0, 15.0)))
    return Capabilities("uvcvideo", "C", "usb", (PixelFormat(fourcc, "", True, (size,)),))


def bound(fourcc: str = "MJPG", **device: object) -> DeviceBinding:
    """Seat the camera on a device."""
    plugged = Device(Path("/dev/video7"), 1, "C", capabilities=capabilities(fourcc))
    return DeviceBinding(CAMERA, attrs.evolve(plugged, **device))


@attrs.define(eq=False)
class Known:
    """What the program can do, without asking it."""

    encoder: bool = True
    devices: frozenset[str] = frozenset(("alsa",))
    asked: list[str] = attrs.field(factory=list)

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Answer at once."""
        await trio.lowlevel.checkpoint()
        self.asked.append(codec)
        found = SOFTWARE[codec] if self.encoder else None
        return EncoderChoice(codec, found, () if found else (TrialResult("libx264", "slow"),))

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Answer at once."""
        await trio.lowlevel.checkpoint()
        return self.devices


async def find_program() -> FFmpegBinary:
    """Find a program that is never run."""
    await trio.lowlevel.checkpoint()
    return FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1))


def capturing(
    binding: DeviceBinding | None, known: Known | None = None, **settings: object
) -> CapturePlanner:
    """Make the capture of a V4L2 camera that has this seat."""
    config = CameraConfig(CAMERA, V4l2Source(), **settings)  # type: ignore[arg-type]
    found = known or Known()
    return CapturePlanner(
        config, Config(), find_program, abilities=found, binding=binding, clock=SYSTEM_CLOCK
    )


async def planned(capture: CapturePlanner) -> str:
    """Plan, and return the command as one text."""
    plan = await capture.plan()
    assert isinstance(plan, CapturePlan), plan
    return " ".join(plan.arguments)


async def problemd(capture: CapturePlanner) -> Problem:
    """Plan, and return why that is not possible."""
    plan = await capture.plan()
    assert isinstance(plan, Problem)
    return plan


async def test_the_seats_device_is_asked_for_what_was_chosen() -> None:
    """Node, format, size and rate are all given, and the encoder is the one that was found."""
    known = Known()
    capture = capturing(bound(), known)
    said = await planned(capture)
    assert "-input_format mjpeg -video_size 640x480 -framerate 30 -i /dev/video7" in said
    assert "-c:v libx264" in said
    assert "-fps_mode passthrough" in said
    assert known.asked == ["h264"]
    assert capture.chosen is not None
    assert capture.wanted == VideoFormat("", 640, 480, 30.0)
    assert not await capture.is_absent()
    assert capture.source.path is None


async def test_what_the_camera_encodes_is_copied() -> None:
    """No encoder is looked for."""
    known = Known()
    said = await planned(capturing(bound("H264"), known))
    assert "-input_format h264" in said
    assert "-c:v copy" in said
    assert known.asked == []


async def test_without_any_seat_the_path_counts() -> None:
    """A camera that is named by its node is asked for what its entry says."""
    config = CameraConfig(CAMERA, V4l2Source(Path("/dev/null")), resolution=(320, 240), fps=10)
    capture = CapturePlanner(config, Config(), find_program, clock=SYSTEM_CLOCK)
    assert "-video_size 320x240 -framerate 10 -i /dev/null" in await planned(capture)
    assert capture.chosen is None


async def test_a_seat_without_a_device_answers_with_its_problem() -> None:
    """The camera is absent, whatever its node's name."""
    capture = capturing(DeviceBinding(CAMERA, None, problem=GONE))
    assert await problemd(capture) is GONE
    assert await capture.is_absent()
    assert (await problemd(capturing(DeviceBinding(CAMERA, None)))).kind == "not_found"
    unnamed = capturing(None)
    assert await unnamed.is_absent()
    assert (await problemd(unnamed)).ledger_cause is GapCause.CAMERA_LOST


async def test_a_device_that_could_not_be_asked_answers_with_its_problem() -> None:
    """It is there, so it is not absent; without a word of trouble it is simply tried."""
    problem = Problem("no_permission", "", "")
    capture = capturing(bound(capabilities=None, problem=problem))
    assert await problemd(capture) is problem
    assert not await capture.is_absent()
    assert "-i /dev/video7" in await planned(capturing(bound(capabilities=None)))


async def test_a_wish_that_is_not_offered_is_a_problem_with_what_is_possible() -> None:
    """Clients and the ledger get the cause, people a sentence."""
    capture = capturing(bound(), resolution=(800, 600))
    problem = await problemd(capture)
    assert (problem.kind, problem.ledger_cause) == (
        "unsupported_format",
        GapCause.UNSUPPORTED_FORMAT,
    )
    assert problem.possible == ("MJPEG 640x480: 30, 15 frames/s",)
    assert problem.possible[0] in problem.suggestion
    assert capture.chosen is None
    assert not await capture.is_absent()


async def test_where_no_encoder_works_that_is_said() -> None:
    """With what was tried."""
    problem = await problemd(capturing(bound(), Known(encoder=False)))
    assert problem.kind == "no_encoder"
    assert "libx264: slow" in problem.suggestion


def test_a_choice_is_made_once_for_a_device() -> None:
    """Looking at the status costs nothing, even where the device is described anew each time."""
    config = CameraConfig(CAMERA, V4l2Source())
    capture = CapturePlanner(config, Config(), find_program, binding=bound(), clock=SYSTEM_CLOCK)
    assert capture.chosen is not None
    assert capture.chosen is capture.chosen


async def test_another_device_is_chosen_for_anew() -> None:
    """A camera that is replaced by another model is asked for what that one offers."""
    config = CameraConfig(CAMERA, V4l2Source())
    capture = CapturePlanner(config, Config(), find_program, binding=bound(), clock=SYSTEM_CLOCK)
    assert capture.chosen is not None
    assert capture.chosen.input_format == "mjpeg"
    capture.binding = bound("H264")
    assert capture.chosen is not None
    assert capture.chosen.input_format == "h264"


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (VideoFormat("avc1", 640, 480, 0.0), ""),
        (VideoFormat("avc1", 640, 480, 28.0), ""),
        (VideoFormat("avc1", 640, 480, 15.0), "asked for 30 frames/s and delivers 15.0"),
        (VideoFormat("avc1", 320, 240, 0.0), "asked for 640x480 and delivers 320x240"),
        (VideoFormat("avc1", 0, 0, 0.0), ""),
    ],
)
def test_what_comes_is_compared_with_what_was_asked_for(came: VideoFormat, words: str) -> None:
    """Drivers replace size and rate without a word; the warning goes when it is right again."""
    capture = capturing(bound())
    capture.compare(came)
    assert bool(capture.warnings) == bool(words)
    assert words in "".join(capture.warnings)
    capture.compare(VideoFormat("avc1", 640, 480, 30.0))
    assert capture.warnings == ()


async def test_sound_comes_from_the_cameras_own_card() -> None:
    """With times that can be compared; where FFmpeg cannot, the picture goes alone."""
    binding = bound(sound_card="C920")
    said = await planned(capturing(binding, audio="auto"))
    assert "-isync 0 -f alsa -i plughw:CARD=C920 -map 0:v:0 -map 1:a:0" in said
    ahead = -float(said.partition("-itsoffset ")[2].partition(" ")[0])
    assert ahead == pytest.approx(time.time() - time.monotonic(), abs=5)
    silent = capturing(binding, Known(devices=frozenset()), audio="auto")
    assert "alsa" not in await planned(silent)
    assert "cannot capture from alsa" in silent.warnings[0]


@pytest.mark.parametrize(
    ("start", "copied", "encoded"), [(2, 1.0, 1.0), (20, 4.0, 10.0), (60, 12.0, 30.0)]
)
def test_sound_is_waited_for_as_the_time_for_a_start_says(
    start: int, copied: float, encoded: float
) -> None:
    """Four seconds as a rule; whoever allows a start more allows its sound more."""
    entry = CameraConfig(CAMERA, RtspSource("rtsp://h/"))
    config = Config(ffmpeg=FfmpegConfig(start_timeout=timedelta(seconds=start)))
    capture = CapturePlanner(entry, config, find_program, clock=SYSTEM_CLOCK)
    assert capture._sound_seconds(CaptureOptions("ffmpeg", SyntheticSource(), copy=True)) == copied
    assert capture._sound_seconds(CaptureOptions("ffmpeg", SyntheticSource())) == encoded
    assert (
        capture._sound_seconds(CaptureOptions("ffmpeg", SyntheticSource(), with_sound=False))
        is None
    )


async def test_a_stream_that_was_measured_as_rare_is_looked_at_for_one_picture() -> None:
    """Until it is measured as another one; a rate that is not measured yet says nothing."""
    entry = CameraConfig(CAMERA, RtspSource("rtsp://h/"))
    capture = CapturePlanner(entry, Config(), find_program, clock=SYSTEM_CLOCK)
    capture.contents._found = ProbeResult("h264", 640, 480, 25.0)
    for fps, rare in ((0.0, False), (0.08, True), (0.0, True), (25.0, False)):
        capture.compare(VideoFormat("avc1", 640, 480, fps))
        assert ("-probesize 32" in await planned(capture)) is rare


def test_what_a_session_will_need_is_guessed_by_codec() -> None:
    """Pictures that are compressed one by one take more."""
    h264 = capturing(bound()).expected_bytes_per_second
    copied = capturing(bound(), codec="copy").expected_bytes_per_second
    assert copied > 5 * h264
    wished = capturing(bound(), codec="copy", bitrate=800_000)  # nobody can make it less
    assert wished.expected_bytes_per_second == copied
    assert capturing(bound(), bitrate=800_000).expected_bytes_per_second == 100_000
    streams = CapturePlanner(
        CameraConfig(CAMERA, RtspSource("rtsp://h/")), Config(), find_program, clock=SYSTEM_CLOCK
    )
    assert streams.expected_bytes_per_second == pytest.approx(345_600)


# --- with a real FFmpeg -------------------------------------------------------------------


@attrs.define(eq=False)
class Heap:
    """Takes what a child delivers."""

    frames: int = 0
    sound: bool = False

    def begin(self, init: Init) -> None:
        """Look whether there is sound."""
        self.sound = init.audio is not None

    def caught_up(self, seconds: float) -> float:
        """Take note of nothing."""
        return seconds

    def deliver(self, fragment: Fragment, arrived: float) -> None:
        """Count the frames."""
        self.frames += fragment.frames


async def nothing(*_: object) -> None:
    """Take news that nobody needs."""
    await trio.lowlevel.checkpoint()


@pytest.fixture(params=ffmpeg.PROGRAMS)
def program(request: pytest.FixtureRequest) -> FFmpegBinary:
    """One of the FFmpegs of this machine that can capture from ALSA."""
    command = (request.param, "-hide_banner", "-devices")
    said = subprocess.run(command, capture_output=True, timeout=300, check=False).stdout.decode()
    if "alsa" not in parse_inputs(said):
        pytest.skip("this FFmpeg cannot capture from ALSA")
    return FFmpegBinary(Path(request.param), (5, 1))


async def test_a_sound_device_that_fails_costs_one_try(program: FFmpegBinary) -> None:
    """The next child records the picture alone, and the status says why."""
    capture = capturing(bound(), audio="hw:CARD=Nothing")
    with trio.fail_after(300):
        said = (await capture.plan()).arguments  # type: ignore[union-attr]
        sound = said[said.index("alsa") - 1 :]
        picture = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30")
        command = (str(program.path), "-nostdin", "-loglevel", "level+info", *picture, *sound)
        problem = await CaptureProcess(
            Heap(), CaptureTimeouts(20, 20), nothing, clock=SYSTEM_CLOCK
        ).run(command)
        assert problem is not None
        assert problem.kind == "audio_unavailable"
        capture.learn(problem)
        again = await capture.plan()
    assert isinstance(again, CapturePlan)
    assert "alsa" not in again.arguments
    assert "hw:CARD=Nothing does not work" in capture.warnings[0]


async def test_sound_from_alsa_is_recorded(program: FFmpegBinary) -> None:
    """ALSA's own `null` device delivers silence, which arrives as an audio track."""
    heap = Heap()
    with trio.fail_after(300):
        said = (await capturing(bound(), audio="alsa:null").plan()).arguments  # type: ignore[union-attr]
        start, stop = said.index("v4l2") - 1, said.index("/dev/video7") + 1
        picture = ("-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30")
        command = (*said[1:start], *picture, *said[stop:-3], "-t", "1", *said[-3:])
        run = CaptureProcess(
            heap, CaptureTimeouts(20, 20), nothing, may_end=True, clock=SYSTEM_CLOCK
        )
        await run.run((str(program.path), *command))
    assert heap.sound
    assert heap.frames == 30
