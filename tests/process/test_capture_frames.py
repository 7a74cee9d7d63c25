"""When the output of a capture is read: seldom, or at once when somebody waits."""

from __future__ import annotations

import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from support.media_streams import VIDEO_AND_AUDIO, VIDEO_ONLY, FakeStream, Sample, fragment

from camd.capture.process import (
    READ_SECONDS,
    SLOW_SECONDS,
    CaptureProcess,
    CaptureReport,
    CaptureTimeouts,
)
from camd.clock import SYSTEM_CLOCK
from camd.mp4.fragments import Fragment, Init
from camd.runtime.broadcast import LatestValue
from camd.runtime.pipe_poller import ROUND_SECONDS, open_pipe_poller

CHILD = """
import sys, time
data = open(sys.argv[1], "rb").read()
sizes, pause = eval(sys.argv[2]), float(sys.argv[3])
for size in sizes:
    sys.stdout.buffer.write(data[:size])
    sys.stdout.flush()
    data = data[size:]
    time.sleep(pause)
if len(sys.argv) > 4:
    time.sleep(float(sys.argv[4]))
"""
REAL_TIME = 15360 // 100  # ticks of a frame, of which the child writes a hundred a second
LONG = 3600.0  # a pause that does not end by itself


@attrs.define(eq=False)
class Reads:
    """Notes what is delivered, and when it is read again."""

    arrived: list[float] = attrs.field(factory=list)
    media: bytearray = attrs.field(factory=bytearray)
    pauses: list[float] = attrs.field(factory=list)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def begin(self, init: Init) -> None:
        """Take note of nothing."""

    def deliver(self, fragment: Fragment, arrived: float) -> None:
        """Note a frame."""
        self.arrived.append(arrived)
        self.media += fragment.mdat[8:]
        self._note()

    def caught_up(self, seconds: float) -> float:
        """Note when the next read is."""
        self.pauses.append(seconds)
        self._note()
        return seconds

    def _note(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        while not condition():
            await self._changed.wait()


@attrs.define(eq=False)
class Running:
    """A capture that runs."""

    process: CaptureProcess
    reads: Reads
    hurried: LatestValue[bool]
    ended: trio.Event = attrs.field(factory=trio.Event)


async def ignore(report: CaptureReport) -> None:
    """Take no note of what the process says."""
    await trio.lowlevel.checkpoint()


def frames(count: int, *, ticks: int = REAL_TIME, size: int = 100) -> list[bytes]:
    """Build frames of so many ticks, the first with the header."""
    found = [
        fragment((1, n * ticks, [Sample(size, ticks, sync=n % 20 == 0)]), sequence=n)
        for n in range(count)
    ]
    return [VIDEO_ONLY + found[0], *found[1:]]


@asynccontextmanager
async def running(
    folder: Path,
    pieces: list[bytes],
    *,
    pause: float = 0.01,
    rest: float = 0.0,
    read_seconds: float = READ_SECONDS,
    hurried: bool = False,
    fewest: int = 8,
) -> AsyncIterator[Running]:
    """Run a child that writes these pieces, one after the other."""
    (folder / "stream").write_bytes(b"".join(pieces))
    sizes = repr([len(piece) for piece in pieces])
    command = [sys.executable, "-c", CHILD, str(folder / "stream"), sizes, str(pause), str(rest)]
    with trio.fail_after(300):
        async with open_pipe_poller(fewest) as pipes, trio.open_nursery() as nursery:
            reads, hurry = Reads(), LatestValue(hurried)
            capture = Running(
                CaptureProcess(
                    sink=reads,
                    timeouts=CaptureTimeouts(30, 30),
                    tell=ignore,
                    may_end=True,
                    pipes=pipes,
                    hurried=hurry,
                    read_seconds=read_seconds,
                    clock=SYSTEM_CLOCK,
                ),
                reads,
                hurry,
            )

            async def run() -> None:
                assert await capture.process.run(command) is None
                capture.ended.set()

            nursery.start_soon(run)
            yield capture
            capture.process.stop()


async def test_frames_gather_in_the_pipe_while_nobody_waits(tmp_path: Path) -> None:
    """Many frames are one read; nothing is lost, and they arrived one after the other."""
    pieces = frames(150)
    async with running(tmp_path, pieces) as capture:
        await capture.ended.wait()
    assert bytes(capture.reads.media) == media_of(pieces)
    assert len(capture.reads.pauses) < 100
    assert max(capture.reads.pauses) <= READ_SECONDS
    assert capture.reads.arrived == sorted(capture.reads.arrived)


def media_of(pieces: list[bytes]) -> bytes:
    """Return the samples of frames."""
    return b"".join(piece[piece.rindex(b"mdat") + 4 :] for piece in pieces)


async def test_sound_behind_a_picture_wakes_nobody(tmp_path: Path) -> None:
    """Where each picture has a fragment of sound behind it, both gather in the pipe."""
    pieces = [
        fragment((1, n * REAL_TIME, [Sample(100, REAL_TIME, sync=n % 20 == 0)]))
        + fragment((2, n * 480, [Sample(9, 480)]))
        for n in range(60)
    ]
    pieces[0] = VIDEO_AND_AUDIO + pieces[0]
    async with running(tmp_path, pieces, rest=LONG, read_seconds=LONG) as capture:
        await capture.reads.wait(lambda: capture.reads.pauses[-1:] > [60.0])
    assert capture.reads.pauses.count(0.0) < 20


async def test_while_somebody_waits_each_read_follows_at_once(tmp_path: Path) -> None:
    """No read is put off."""
    async with running(tmp_path, frames(40), hurried=True) as capture:
        await capture.ended.wait()
    assert set(capture.reads.pauses) == {0.0}
    assert len(capture.reads.arrived) == 40


async def test_who_comes_wakes_the_reader(tmp_path: Path) -> None:
    """What is in the pipe is delivered now, although the next read was far away."""
    async with running(tmp_path, frames(60), rest=LONG, read_seconds=LONG) as capture:
        await capture.reads.wait(lambda: capture.reads.pauses[-1:] > [60.0])
        capture.hurried.publish(True)
        await capture.reads.wait(lambda: len(capture.reads.arrived) == 60)


async def test_a_stop_wakes_the_reader(tmp_path: Path) -> None:
    """The output is read to its end at once."""
    async with running(tmp_path, frames(60), rest=LONG, read_seconds=LONG) as capture:
        await capture.reads.wait(lambda: capture.reads.pauses[-1:] > [60.0])
        capture.process.stop()
        await capture.ended.wait()
    assert bytes(capture.reads.media) == media_of(frames(60))[: len(capture.reads.media)]


@pytest.mark.parametrize(
    "pieces",
    [
        frames(12, ticks=round(15360 * SLOW_SECONDS) + 1),
        [FakeStream.head + FakeStream().next(5), *[b""] * 3],
    ],
    ids=["slow", "several frames a fragment"],
)
async def test_what_comes_seldom_is_read_at_once(tmp_path: Path, pieces: list[bytes]) -> None:
    """Its arrival is known then, and it takes no more wake-ups."""
    async with running(tmp_path, pieces, pause=0.05) as capture:
        await capture.ended.wait()
    assert set(capture.reads.pauses) == {0.0}


async def test_frames_that_would_fill_the_pipe_are_read_sooner(tmp_path: Path) -> None:
    """The child never waits for long: half of the pipe, and no more, is left to gather."""
    pieces = frames(120, size=200_000)
    async with running(tmp_path, pieces, pause=0.0, read_seconds=0.25) as capture:
        await capture.ended.wait()
    assert statistics.median(capture.reads.pauses) < READ_SECONDS / 2
    assert bytes(capture.reads.media) == media_of(pieces)


async def test_many_captures_are_read_in_rounds(tmp_path: Path) -> None:
    """The hub hears when the next round is, and whoever comes ends the rounds."""
    async with running(tmp_path, frames(200), rest=LONG, fewest=1) as capture:
        await capture.reads.wait(lambda: ROUND_SECONDS in capture.reads.pauses)
        capture.hurried.publish(True)
        await capture.reads.wait(lambda: len(capture.reads.arrived) == 200)
        assert capture.reads.pauses[-1] in (0.0, ROUND_SECONDS)


async def test_rounds_are_for_fragments_that_are_long_enough(tmp_path: Path) -> None:
    """With a short `recording.fragment`, more than one would wait in the pipe."""
    async with running(tmp_path, frames(60), fewest=1, read_seconds=0.05) as capture:
        await capture.ended.wait()
    assert ROUND_SECONDS not in capture.reads.pauses
    assert max(capture.reads.pauses) <= 0.05
