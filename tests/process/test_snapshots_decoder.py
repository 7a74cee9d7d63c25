"""Pictures by real FFmpeg processes, and by programs that fail in every way."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from support import ffmpeg_media as ffmpeg

from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.ffmpeg.text.still_args import PictureOptions, still_arguments
from camd.mp4.movies.frame_movie import frame_movie
from camd.runtime.child_process import ChildProcess, open_child_process
from camd.snapshots import decoder as decoding
from camd.snapshots.decoder import (
    AT_A_TIME,
    MOST_WAITING,
    PictureDecoder,
    PictureTimings,
    open_decoder,
)
from camd.snapshots.rules.pictures import picture_end, picture_size

USUAL = PictureOptions()
# Nothing is given up, and no picture forgotten, before the test is over.
PATIENT = PictureTimings(decode_seconds=3600.0, kept_seconds=3600.0)


@pytest.fixture(params=ffmpeg.PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """One of the FFmpegs of this machine."""
    path: str = request.param
    return path


@pytest.fixture
def movie(program: str) -> bytes:
    """The movie of a key frame."""
    init, fragments = ffmpeg.events(ffmpeg.encode(program, "h264-aac", 3))
    ((at, size), *_), run = list(fragments[0].video_samples()), fragments[0].video
    assert run is not None
    return frame_movie(init, [fragments[0].mdat[at : at + size]], run.durations[:1], [0])


@attrs.define(eq=False)
class Launches:
    """Starts processes, and remembers them."""

    processes: list[ChildProcess] = attrs.field(factory=list)
    commands: list[Sequence[str]] = attrs.field(factory=list)
    started: trio.Event = attrs.field(factory=trio.Event)

    @asynccontextmanager
    async def launch(self, arguments: Sequence[str]) -> AsyncIterator[ChildProcess]:
        """Start a process as the decoder does; nobody waits for one that ignores SIGTERM."""
        launched = open_child_process(arguments, takes_input=True, terminate_seconds=3600.0)
        async with launched as process:
            self.processes.append(process)
            self.commands.append(arguments)
            started, self.started = self.started, trio.Event()
            started.set()
            yield process

    def alive(self) -> list[int]:
        """List the processes that exist."""
        return [each.pid for each in self.processes if Path(f"/proc/{each.pid}").exists()]

    async def until(self, count: int) -> None:
        """Wait until so many processes were started."""
        while len(self.processes) < count:
            await self.started.wait()


@asynccontextmanager
async def opened(
    *programs: str | Path, timings: PictureTimings = PATIENT
) -> AsyncIterator[tuple[PictureDecoder, Launches]]:
    """Decode with these programs, one after the other, the last one for ever."""
    launches, left = Launches(), [FFmpegBinary(Path(program), (5, 1)) for program in programs]

    async def find() -> FFmpegBinary:
        return left.pop(0) if len(left) > 1 else left[0]

    with trio.fail_after(100):
        async with open_decoder(find, launch=launches.launch, timings=timings) as decoder:
            yield decoder, launches
    assert launches.alive() == []


def script(folder: Path, text: str) -> Path:
    """Write a program that stands for FFmpeg."""
    path = folder / f"program{len(list(folder.iterdir()))}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def refused(decoder: PictureDecoder, key: object = 1) -> Refusal:
    """Return the refusal that a picture ends with."""
    with pytest.raises(Refusal) as refusal:
        await decoder.decode(key, b"movie", USUAL, camera_id="camera0")
    return refusal.value


# --- pictures -----------------------------------------------------------------------------


async def test_the_process_that_waits_makes_the_next_picture(program: str, movie: bytes) -> None:
    """The first picture starts a process; each later one is made by one that waited already."""
    async with opened(program) as (decoder, launches):
        first = await decoder.decode(1, movie, USUAL, camera_id="camera0")
        await launches.until(2)
        second = await decoder.decode(2, movie, USUAL, camera_id="camera0")
        await launches.until(3)
        assert len(launches.processes) == 3
    assert first == second
    assert picture_size(first) == (320, 180)
    assert picture_end(first) == len(first)
    assert all("pipe:0" in command for command in launches.commands)


@pytest.mark.parametrize("quality", [1, 50, 85, 100])
async def test_a_jpeg_has_the_quality_that_was_asked_for(
    program: str, movie: bytes, quality: int
) -> None:
    """The tables in the file are those of the quality; the first entry FFmpeg keeps at 8."""
    options = PictureOptions(quality=quality)
    async with opened(program) as (decoder, _):
        picture = await decoder.decode(1, movie, options, camera_id="camera0")
    arguments = still_arguments("ffmpeg", options)
    wanted = [int(n) for n in arguments[arguments.index("-intra_matrix") + 1].split(",")]
    at = picture.index(b"\xff\xdb") + 5
    assert sorted(picture[at + 1 : at + 64]) == sorted(wanted[1:])


async def test_better_quality_takes_more_bytes(program: str, movie: bytes) -> None:
    """The parameter does something at each step that people use."""
    async with opened(program) as (decoder, _):
        sizes = [
            len(await decoder.decode(q, movie, PictureOptions(quality=q), camera_id="camera0"))
            for q in (10, 40, 70, 85, 95)
        ]
    assert sizes == sorted(set(sizes))


async def test_png_and_width(program: str, movie: bytes) -> None:
    """A PNG is one, a width keeps the shape, and nothing is enlarged."""
    async with opened(program) as (decoder, _):
        png = await decoder.decode(1, movie, PictureOptions("png"), camera_id="camera0")
        small = await decoder.decode(1, movie, PictureOptions(width=160), camera_id="camera0")
        large = await decoder.decode(1, movie, PictureOptions(width=8000), camera_id="camera0")
    assert (png[:4], picture_size(png), picture_end(png)) == (b"\x89PNG", (320, 180), len(png))
    assert picture_size(small) == (160, 90)
    assert picture_size(large) == (320, 180)


async def test_one_decode_for_all_who_ask(program: str, movie: bytes) -> None:
    """The same frame and options are decoded once, for those who come a moment later, too."""
    pictures: list[bytes] = []
    async with opened(program) as (decoder, launches):

        async def ask() -> None:
            pictures.append(await decoder.decode("key", movie, USUAL, camera_id="camera0"))

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(ask)
        await ask()
        await launches.until(2)
        assert len(launches.processes) == 2  # one that decoded, one that waits
    assert len(set(pictures)) == 1
    assert len(pictures) == 31


async def test_a_picture_is_forgotten_after_its_time(program: str, movie: bytes) -> None:
    """Who asks later gets another one, which the process that waits makes."""
    shortly = attrs.evolve(PATIENT, kept_seconds=0.0)
    async with opened(program, timings=shortly) as (decoder, launches):
        for count in (2, 3, 4):
            await decoder.decode("key", movie, USUAL, camera_id="camera0")
            await launches.until(count)


async def test_one_who_leaves_does_not_take_the_picture_along(program: str, movie: bytes) -> None:
    """A caller that is cancelled leaves the decode to the others who wait for it."""
    async with opened(program) as (decoder, launches), trio.open_nursery() as nursery:
        nursery.start_soon(_ask_and_leave, decoder, movie, launches)
        await launches.until(1)
        assert await decoder.decode("key", movie, USUAL, camera_id="camera0")
        assert len(launches.processes) == 1


async def _ask_and_leave(decoder: PictureDecoder, movie: bytes, launches: Launches) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_decode, decoder, movie)
        await launches.until(1)
        nursery.cancel_scope.cancel()


async def _decode(decoder: PictureDecoder, movie: bytes) -> None:
    await decoder.decode("key", movie, USUAL, camera_id="camera0")


async def test_a_large_movie_is_written_as_fast_as_it_is_read(program: str, movie: bytes) -> None:
    """More than a pipe holds goes through, and what FFmpeg does not need does not matter."""
    async with opened(program) as (decoder, _):
        padded = movie + (8 + (5 << 20)).to_bytes(4, "big") + b"free" + bytes(5 << 20)
        assert picture_size(await decoder.decode(1, padded, USUAL, camera_id="camera0"))


# --- failures -----------------------------------------------------------------------------


async def test_a_killed_decoder_costs_one_answer(
    program: str, movie: bytes, tmp_path: Path
) -> None:
    """Killed in the middle of its work, it is an error with a cause; the next picture is made."""
    dying = script(tmp_path, "head -c 3 >/dev/null; printf '\\377\\330\\377'; kill -9 $$")
    async with opened(dying, program) as (decoder, _):
        refusal = await refused(decoder)
        assert refusal.kind.code == -1003
        assert refusal.details == {"camera_id": "camera0", "cause": "decoder_ended"}
        assert "status -9" in refusal.message
        assert await decoder.decode(1, movie, USUAL, camera_id="camera0")


async def test_a_killed_process_that_waits_costs_nothing(program: str, movie: bytes) -> None:
    """One that is killed before it was given a movie is not used."""
    async with opened(program) as (decoder, launches):
        await decoder.decode(1, movie, USUAL, camera_id="camera0")
        await launches.until(2)
        os.kill(launches.processes[1].pid, signal.SIGKILL)
        await launches.processes[1].wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await decoder.decode(2, movie, USUAL, camera_id="camera0")


async def test_a_decoder_that_hangs_is_killed(program: str, movie: bytes, tmp_path: Path) -> None:
    """After its time the answer comes, and the process is gone, though it ignores SIGTERM."""
    hanging = script(tmp_path, "trap '' TERM; while :; do sleep 1; done")
    hasty = attrs.evolve(PATIENT, decode_seconds=0.3)
    async with opened(hanging, program, timings=hasty) as (decoder, launches):
        refusal = await refused(decoder)
        assert (refusal.kind.code, refusal.details["cause"]) == (-1003, "timed_out")
        # not after a SIGTERM in vain
        assert await launches.processes[0].wait() == -signal.SIGKILL
        decoder.timings = PATIENT
        assert await decoder.decode(2, movie, USUAL, camera_id="camera0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat >/dev/null; echo no picture", "wrote no picture"),
        ("cat >/dev/null; exit 3", "before the picture was complete (exit status 3)"),
        ("exec 0<&-; exit 1", "before the picture was complete"),
    ],
)
async def test_other_output_is_no_picture(tmp_path: Path, text: str, message: str) -> None:
    """Garbage, nothing, and a process that reads nothing are errors that say so."""
    async with opened(script(tmp_path, text)) as (decoder, _):
        refusal = await refused(decoder)
    assert refusal.kind.code == -1003
    assert message in refusal.message


async def test_a_flood_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output without an end fills no memory."""
    monkeypatch.setattr(decoding, "MOST_PICTURE_BYTES", 1 << 20)
    flooding = script(tmp_path, "printf '\\377\\330\\377\\332\\000\\003\\000'; exec cat /dev/zero")
    async with opened(flooding) as (decoder, _):
        assert "too large" in (await refused(decoder)).message


async def test_a_frame_of_garbage_is_an_error(program: str, movie: bytes) -> None:
    """A damaged picture ends in a refusal, not in a hang."""
    async with opened(program) as (decoder, _):
        with pytest.raises(Refusal) as refusal:
            await decoder.decode(1, movie[: len(movie) // 2], USUAL, camera_id="camera0")
    assert refusal.value.kind.code == -1003


async def test_too_many_pictures_are_refused_at_once(tmp_path: Path) -> None:
    """Two are decoded and sixteen wait; the next one hears when to come again."""
    hanging = script(tmp_path, "exec sleep 1000")
    async with opened(hanging) as (decoder, launches), trio.open_nursery() as nursery:
        for number in range(AT_A_TIME + MOST_WAITING):
            nursery.start_soon(refused, decoder, number)
        await launches.until(2)
        refusal = await refused(decoder, "one more")
        assert refusal.kind.code == -32002
        assert refusal.details["retry_after_ms"]
        assert len(launches.processes) == AT_A_TIME
        nursery.cancel_scope.cancel()


async def test_without_ffmpeg_it_says_so() -> None:
    """The refusal has a cause of its own."""

    async def find() -> FFmpegBinary:
        raise FfmpegMissingError("There is no FFmpeg")

    with trio.fail_after(100):
        async with open_decoder(find) as decoder:
            refusal = await refused(decoder)
    assert refusal.details["cause"] == "ffmpeg_missing"


async def test_the_end_waits_for_nobody(program: str, movie: bytes) -> None:
    """A process that waits for its input survives SIGTERM; closing is quick all the same."""
    async with opened(program) as (decoder, launches):
        await decoder.decode(1, movie, USUAL, camera_id="camera0")
        await launches.until(2)
