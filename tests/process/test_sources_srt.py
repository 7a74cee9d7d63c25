"""An SRT stream: how its text is read, and that it is recorded from a real sender."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from real_camera import REQUEST, open_real_camera
from support.ffmpeg_media import PROGRAMS

from camd.capture.planner import CapturePlanner
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, Config, FfmpegConfig
from camd.ffmpeg.binary import FFmpegBinary, find_ffmpeg
from camd.ffmpeg.text.args import CaptureOptions, StreamAccess, capture_arguments
from camd.model import CameraId, CameraState, GapCause, Problem, ProblemKind
from camd.model.problems import IO_ERROR
from camd.sources import Source, SrtSource, parse_source

URL = "srt://cam.local:9000?latency=200000&passphrase=hunter2hunter2"


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """One of the FFmpegs of this machine that has SRT."""
    command = (request.param, "-hide_banner", "-protocols")
    said = subprocess.run(command, capture_output=True, timeout=100, check=False).stdout
    if "srt" not in said.decode().split():
        pytest.skip("this FFmpeg has no SRT")
    return str(request.param)


def srt(text: str) -> Source:
    """Read a source."""
    return parse_source(text, Path("/etc/camd"))


def test_its_url_is_kept_and_hidden() -> None:
    """The passphrase reaches FFmpeg, and nothing that prints or names the source."""
    source = srt(URL)
    assert source == SrtSource(URL)
    assert "hunter2" not in f"{source!r}{source.cache_name(None)}"
    command = " ".join(capture_arguments(CaptureOptions("ffmpeg", source, copy=True)))
    assert f"-connect_timeout 20000 -listen_timeout 20000000 -f mpegts -i {URL}" in command
    assert "-c:v copy" in command
    known = CaptureOptions("ffmpeg", source, copy=True, access=StreamAccess(analysis=timedelta(1)))
    assert "-analyzeduration 2000000 " in " ".join(capture_arguments(known))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("srt:", "is a URL such as"),
        ("srt://cam.local", "names a port"),
        ("srt://:9000", "is a URL such as"),
        ("srt://cam.local:9000?mode=server", "one of caller, listener, rendezvous"),
        ("srt://eve:a/b@cam:9000", "percent-encoded"),
    ],
)
def test_a_wrong_url_is_told_what_would_be_right(text: str, words: str) -> None:
    """Each mistake has its own sentence."""
    with pytest.raises(ValueError, match=words):
        srt(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("srt://cam.local:9000?streamid=x", "cam.local:9000 is called over UDP at a capture"),
        ("srt://0.0.0.0:9000?mode=listener", "waits for a sender on UDP port 9000"),
    ],
)
async def test_the_check_says_who_calls(text: str, words: str) -> None:
    """A handshake would disturb a sender that serves one receiver only."""
    assert (await srt(text).check()).text == words


def free_port() -> int:
    """Find a UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def open_sender(program: str, url: str) -> AsyncIterator[None]:
    """Send a synthetic stream to everybody who connects, one after the other, or call for ever."""
    picture = ("-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=20")
    tone = ("-re", "-f", "lavfi", "-i", "sine=frequency=440", "-c:a", "aac")
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10")
    command = (
        program,
        "-nostdin",
        "-loglevel",
        "error",
        *picture,
        *tone,
        *video,
        "-f",
        "mpegts",
        url,
    )

    async def send() -> None:
        while True:
            await trio.run_process(command, check=False, stderr=subprocess.DEVNULL)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", ["caller", "listener"])
async def test_a_stream_is_copied_and_recorded(tmp_path: Path, program: str, mode: str) -> None:
    """camd calls a sender that listens, and listens for a sender that calls."""
    port = free_port()
    sender = "listener" if mode == "caller" else "caller"
    with trio.fail_after(220):
        async with open_sender(program, f"srt://127.0.0.1:{port}?mode={sender}"):
            source = srt(f"srt://127.0.0.1:{port}?mode={mode}")
            async with open_real_camera(program, tmp_path, source) as rig:
                await rig.camera.start_recording(REQUEST)
                await rig.grow(20)
                assert rig.camera.status.state is CameraState.STREAMING
                video = rig.camera.hub.video
                assert (video.codec[:3], video.width, video.height) == ("avc", 160, 90)
                assert rig.camera.hub.init is not None
                assert rig.camera.hub.init.audio is not None
                ended = await rig.camera.stop_recording()
    assert ended.frames_written >= 20


@pytest.mark.parametrize("mode", ["caller", "listener"])
async def test_a_sender_that_is_not_there_is_told_in_words_of_a_network(
    program: str, mode: str
) -> None:
    """After the time that a start may take, and not as a broken cable."""
    camera = CameraConfig(CameraId("camera0"), srt(f"srt://127.0.0.1:{free_port()}?mode={mode}"))
    short = timedelta(seconds=2)
    config = Config(ffmpeg=FfmpegConfig(start_timeout=short, stall_timeout=short))

    async def find_program() -> FFmpegBinary:
        return await find_ffmpeg(Path(program))

    with trio.fail_after(100):
        found = await CapturePlanner(camera, config, find_program, clock=SYSTEM_CLOCK).plan()
    assert isinstance(found, Problem)
    assert (found.kind, found.ledger_cause) == (ProblemKind.TIMED_OUT, GapCause.SOURCE_UNREACHABLE)
    assert "passphrase" in found.suggestion


async def test_a_capture_that_had_delivered_ends_for_its_own_reason() -> None:
    """What a look at the source would say is left out."""
    assert await srt(URL).explain(IO_ERROR, delivered=True) is IO_ERROR
    assert (await srt(URL).explain(IO_ERROR, delivered=False)).kind == ProblemKind.TIMED_OUT
