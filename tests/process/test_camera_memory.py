"""What a capture remembers of its source, and what makes it doubt that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from support.media_streams import VIDEO_ONLY, read

from camd.capture import source_contents as module
from camd.capture.planner import CapturePlan, CapturePlanner
from camd.capture.source_cache import SourceCache, SourceFacts, cache_key_of
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, Config
from camd.ffmpeg.binary import FFmpegBinary
from camd.ffmpeg.encoder_trial import EncoderChoice
from camd.ffmpeg.text.encoder_table import SOFTWARE
from camd.model import CameraId, Problem
from camd.model.problems import BAD_STREAM, STALLED
from camd.runtime.query_process import ProgramOutput
from camd.sources import FileSource, RtspSource, Source

SOURCE = RtspSource("rtsp://127.0.0.1:9/film")
FOUND = b"  Stream #0:0: Video: h264 (Main), yuv420p(progressive), 640x360, 10 fps, 10 tbr\n"


def problem(cause: str) -> Problem:
    """Name a cause; nothing else of a trouble matters here."""
    return Problem(cause, "words", "advice")


async def find_program() -> FFmpegBinary:
    """Find a program that is never run."""
    await trio.lowlevel.checkpoint()
    return FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1))


class OneEncoder:
    """What the program can do, without asking it."""

    async def find(self, program: FFmpegBinary, codec: str) -> EncoderChoice:
        """Answer at once."""
        await trio.lowlevel.checkpoint()
        return EncoderChoice(codec, SOFTWARE[codec], ())

    async def inputs(self, program: FFmpegBinary) -> frozenset[str]:
        """Answer at once."""
        await trio.lowlevel.checkpoint()
        return frozenset()


def capturing(
    source: Source = SOURCE, known: SourceFacts | None = None, transport: str = "auto"
) -> CapturePlanner:
    """Make the capture of a source of which so much is known."""
    memory = SourceCache()
    if known is not None:
        memory.learn(cache_key_of(source), known)
    camera = CameraConfig(CameraId("camera0"), source, transport=transport)
    return CapturePlanner(
        camera, Config(), find_program, abilities=OneEncoder(), memory=memory, clock=SYSTEM_CLOCK
    )


async def planned(capture: CapturePlanner) -> str:
    """Plan, and return the command as one text."""
    plan = await capture.plan()
    assert isinstance(plan, CapturePlan), plan
    return " ".join(plan.arguments)


def known_by(transport: str) -> SourceFacts:
    """Say what is known of a source that delivered by this transport."""
    return SourceFacts("h264", 640, 360, 10.0, "", transport)


@pytest.mark.parametrize("cause", ["stalled", "timed_out", "closed", "server_busy"])
async def test_udp_that_brings_nothing_is_left_again(cause: str) -> None:
    """A firewall may have come into its way: the next try is by TCP, with what else is known."""
    capture = capturing(known=known_by("udp"))
    assert "-rtsp_transport udp" in await planned(capture)
    assert not capture.contents._changes_transport(problem(cause))
    capture.contents.doubt(problem(cause))
    assert "-rtsp_transport tcp" in await planned(capture)
    assert "-rtsp_transport tcp" in await planned(capture)


@pytest.mark.parametrize(
    "cause", ["connection_refused", "unreachable", "unauthorised", "server_unavailable"]
)
async def test_a_server_that_is_not_reached_says_nothing_of_the_transport(cause: str) -> None:
    """What worked is tried again."""
    capture = capturing(known=known_by("udp"))
    await planned(capture)
    capture.contents.doubt(problem(cause))
    assert "-rtsp_transport udp" in await planned(capture)


async def test_udp_that_was_asked_for_stays() -> None:
    """The entry decides, whatever comes."""
    capture = capturing(known=known_by("tcp"), transport="udp")
    await planned(capture)
    capture.contents.doubt(STALLED)
    assert "-rtsp_transport udp" in await planned(capture)


@pytest.mark.parametrize("cause", ["unsupported_transport", "server_busy"])
async def test_udp_is_tried_at_once_where_a_known_source_refuses_tcp(cause: str) -> None:
    """As for one that is asked first; once, and not for ever."""
    capture = capturing(known=known_by("tcp"))
    await planned(capture)
    assert capture.contents.tries_otherwise(problem(cause))
    assert "-rtsp_transport udp" in await planned(capture)


async def test_a_start_that_was_called_off_says_nothing_of_the_source() -> None:
    """What is known stays: the next start is as quick."""
    capture = capturing(known=known_by("tcp"))
    await planned(capture)
    capture.contents.doubt(None)
    assert capture.memory.find(cache_key_of(SOURCE)) == known_by("tcp")
    capture.contents.doubt(BAD_STREAM)
    assert capture.memory.find(cache_key_of(SOURCE)) is None


async def test_what_no_probe_could_tell_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk that was slow once is no reason to encode for ever what could be copied."""
    path = tmp_path / "film.mp4"
    path.write_bytes(b"clip")
    capture = capturing(FileSource(path))
    answers = [ProgramOutput(None, b"", b""), ProgramOutput(1, b"", FOUND)]

    async def ask(arguments: Sequence[str], seconds: float) -> ProgramOutput:
        await trio.lowlevel.checkpoint()
        return answers.pop(0)

    monkeypatch.setattr(module, "run_program", ask)
    assert "-c:v libx264" in await planned(capture)
    assert capture.began(read(VIDEO_ONLY)[0])
    assert "-c:v copy" in await planned(capture)
    assert answers == []
