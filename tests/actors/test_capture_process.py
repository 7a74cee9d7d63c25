"""A child that talks too much, or does not end: what of it is kept, and how long is waited."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from support.media_streams import VIDEO_AND_AUDIO, FakeStream, Sample, fragment
from trio.testing import MockClock

from camd.capture import process as module
from camd.capture.process import (
    CaptureProcess,
    CaptureReport,
    CaptureTimeouts,
    ReadThrottle,
)
from camd.capture.rules.state import ProcessStalled
from camd.clock import Clock
from camd.model import Problem
from camd.model.problems import OUTPUT_CLOSED, SOUND_ONLY, STALLED


@attrs.define(eq=False)
class Talker:
    """A child that delivers nothing, and says what it is told to."""

    errors: list[bytes]
    closes_errors: bool = True
    ends: bool = True  # by itself
    stream: list[bytes] | None = None  # what it delivers, before it is silent; None: its end
    pid: int = 1000
    signals: list[signal.Signals] = attrs.field(factory=list)
    _told: trio.Event = attrs.field(factory=trio.Event)

    async def read_output(self, size: int = 0) -> bytes:
        """Hand out the film, half a second apart, or be at the end."""
        if self.stream is None or self._told.is_set():
            await trio.lowlevel.checkpoint()
        elif self.stream:
            await trio.sleep(0.5)
            return self.stream.pop()
        else:
            await self._told.wait()
        return b""

    async def read_errors(self, size: int = 0) -> bytes:
        """Hand out the next piece."""
        await trio.lowlevel.checkpoint()
        if self.errors:
            return self.errors.pop()
        if not self.closes_errors:
            await trio.sleep_forever()
        return b""

    async def wait(self) -> int:
        """Wait for the end."""
        if not self.ends:
            await self._told.wait()
        return 1

    def signal(self, number: signal.Signals) -> None:
        """Take note of a signal."""
        self.signals.append(number)

    async def end(self) -> int | None:
        """End when asked."""
        self._told.set()
        return await self.wait()


class Nobody:
    """Who gets nothing."""

    def begin(self, init: object) -> None:
        """Take no note."""

    def deliver(self, fragment: object, arrived: float) -> None:
        """Take no note."""


@attrs.define(eq=False)
class Watcher(Nobody):
    """Who looks at the clock at each fragment."""

    moments: list[float] = attrs.field(factory=list)

    def deliver(self, fragment: object, arrived: float) -> None:
        """Take note of when."""
        self.moments.append(trio.current_time())


async def lived(
    child: Talker,
    stalls: list[float] | None = None,
    why: Problem = STALLED,
    throttle: ReadThrottle | None = None,
    sink: Nobody | None = None,
) -> tuple[CaptureProcess, Problem | None]:
    """Let a child live; return its run, and why it ended. It may stall where that is collected."""

    @asynccontextmanager
    async def launch(arguments: Sequence[str]) -> AsyncIterator[Any]:
        yield child

    async def tell(report: CaptureReport) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(report, ProcessStalled):
            assert stalls is not None, report
            assert report.problem == why
            stalls.append(trio.current_time())
            run.stop()

    run = CaptureProcess(
        sink=sink or Nobody(),
        timeouts=CaptureTimeouts(20.0, 7.0),
        tell=tell,
        launch=launch,
        clock=Clock(monotonic=trio.current_time),
        throttle=throttle,
    )
    return run, await run.run(())


async def test_a_line_without_an_end_takes_no_memory(autojump_clock: MockClock) -> None:
    """However much comes without a newline, what is kept of it is bounded."""
    chunk = b"x" * 65536
    child = Talker([b" No such device\n", *[chunk] * 200])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await lived(child)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 1_000_000 < 200 * len(chunk)


async def test_only_the_last_words_are_kept(autojump_clock: MockClock) -> None:
    """Of many lines the last hundred are left, each of a bounded length."""
    lines = [b"[error] line %06d %s\n" % (number, b"y" * 20_000) for number in range(300)]
    run, _ = await lived(Talker(list(reversed(lines))))
    assert [word.text[:11] for word in run._lines] == [f"line {n:06}" for n in range(200, 300)]
    assert all(len(word.text) <= module.LONGEST_LINE_BYTES for word in run._lines)


async def test_a_pipe_that_stays_open_delays_the_end_by_a_second(autojump_clock: MockClock) -> None:
    """A grandchild may hold stderr for ever: the child's end is told all the same."""
    begun = trio.current_time()
    with trio.move_on_after(100):
        await lived(Talker([b"[error] last words\n"], closes_errors=False))
    assert trio.current_time() - begun == module.ERRORS_END_SECONDS == 1.0


async def test_a_child_that_closes_its_output_and_stays_is_ended(autojump_clock: MockClock) -> None:
    """It is waited for during five seconds, then told to end, and that is its trouble."""
    begun = trio.current_time()
    with trio.move_on_after(100):
        _, problem = await lived(Talker([], ends=False))
        assert problem == OUTPUT_CLOSED
    assert trio.current_time() - begun == CaptureTimeouts(20.0, 7.0).end_seconds == 5.0


async def test_a_child_that_never_delivers_is_told(autojump_clock: MockClock) -> None:
    """The time for starting is the configured one."""
    stalls: list[float] = []
    with trio.move_on_after(100):
        await lived(Talker([], ends=False, stream=[]), stalls)
    assert stalls == [20.0]


async def test_a_child_that_falls_silent_is_told(autojump_clock: MockClock) -> None:
    """From its last pictures on, whatever it had delivered before."""
    stalls: list[float] = []
    stream = FakeStream()
    pieces = [stream.head + stream.next(5), stream.next(5), stream.next(5)]
    with trio.move_on_after(100):
        await lived(Talker([], ends=False, stream=pieces[::-1]), stalls)
    assert len(stalls) == 1
    assert 1.5 + 7.0 <= stalls[0] < 1.5 + 7.2


async def test_a_file_that_comes_too_fast_is_left_in_its_pipe(autojump_clock: MockClock) -> None:
    """It delivers a second in half of one: what is ahead by more than a second is not read yet."""
    stream, watcher, stalls = FakeStream(), Watcher(), list[float]()
    pieces = [stream.head + stream.next(10), *(stream.next(10) for _ in range(29))]
    with trio.move_on_after(100):
        child = Talker([], ends=False, stream=pieces[::-1])
        await lived(child, stalls, throttle=ReadThrottle(1.0), sink=watcher)
    first, *later = watcher.moments
    assert len(later) == 29
    for number, moment in enumerate(later, 1):
        assert number - 1 <= moment - first <= number
    assert len(stalls) == 1


def sounds(count: int) -> list[bytes]:
    """Make fragments of half a second in which there is sound alone."""
    packets = [Sample(10, 1024) for _ in range(23)]
    return [
        fragment((2, number * 23 * 1024, packets), sequence=number + 1) for number in range(count)
    ]


async def test_a_start_has_more_time_while_sound_arrives(autojump_clock: MockClock) -> None:
    """A camera whose pictures come long after its sound is not given up, nor restarted."""
    stalls: list[float] = []
    pieces = [VIDEO_AND_AUDIO, *sounds(60), FakeStream().next(5)]
    with trio.move_on_after(200):
        run, _ = await lived(Talker([], ends=False, stream=pieces[::-1]), stalls)
    assert run.delivered
    assert len(stalls) == 1
    assert 31.0 + 7.0 <= stalls[0] < 1.1 * 31.0 + 7.2


async def test_sound_that_stops_is_no_life(autojump_clock: MockClock) -> None:
    """The time for starting runs again from the last of it."""
    stalls: list[float] = []
    pieces = [VIDEO_AND_AUDIO, *sounds(9)]
    with trio.move_on_after(200):
        await lived(Talker([], ends=False, stream=pieces[::-1]), stalls, SOUND_ONLY)
    assert len(stalls) == 1
    assert 5.0 + 20.0 <= stalls[0] < 1.1 * 5.0 + 20.2


async def test_a_camera_frozen_beside_its_sound_is_found_out(autojump_clock: MockClock) -> None:
    """Sound that never ends gives a start three times its time, and the trouble says so."""
    stalls: list[float] = []
    pieces = [VIDEO_AND_AUDIO, *sounds(400)]
    with trio.move_on_after(300):
        run, _ = await lived(Talker([], ends=False, stream=pieces[::-1]), stalls, SOUND_ONLY)
    assert not run.delivered
    assert len(stalls) == 1
    assert 40.0 < stalls[0] <= 3 * 20.0


async def test_what_is_braked_was_not_left_behind(autojump_clock: MockClock) -> None:
    """A child that ends long before its output is read has left no process that holds its pipe."""
    stream = FakeStream()
    minute = stream.head + b"".join(stream.next(5) for _ in range(120))
    child = Talker([], stream=[minute, stream.next(5), b""][::-1])
    with trio.fail_after(200):
        run, _ = await lived(child, throttle=ReadThrottle(1.0))
    assert trio.current_time() > 59.0
    assert run.delivered
    assert child.signals == []
