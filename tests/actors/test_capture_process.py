"""FFmpeg processes that log too much, deliver nothing or do not end: all is bounded."""

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
class FakeProcess:
    """A process with a given output and stderr."""

    errors: list[bytes]
    closes_errors: bool = True
    ends: bool = True  # by itself
    stream: list[bytes] | None = None  # what it delivers, before it is silent; None: its end
    pid: int = 1000
    signals: list[signal.Signals] = attrs.field(factory=list)
    _told: trio.Event = attrs.field(factory=trio.Event)

    async def read_output(self, size: int = 0) -> bytes:
        """Return the next piece of the stream after half a second, or its end."""
        if self.stream is None or self._told.is_set():
            await trio.lowlevel.checkpoint()
        elif self.stream:
            await trio.sleep(0.5)
            return self.stream.pop()
        else:
            await self._told.wait()
        return b""

    async def read_errors(self, size: int = 0) -> bytes:
        """Return the next piece of stderr."""
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
        """Note a signal."""
        self.signals.append(number)

    async def end(self) -> int | None:
        """End when asked."""
        self._told.set()
        return await self.wait()


class NullSink:
    """A sink that ignores the stream."""

    def begin(self, init: object) -> None:
        """Ignore it."""

    def caught_up(self, seconds: float) -> float:
        """Take note of nothing."""
        return seconds

    def deliver(self, fragment: object, arrived: float) -> None:
        """Ignore it."""


@attrs.define(eq=False)
class TimingSink(NullSink):
    """A sink that notes the time of each fragment."""

    moments: list[float] = attrs.field(factory=list)

    def caught_up(self, seconds: float) -> float:
        """Take note of nothing."""
        return seconds

    def deliver(self, fragment: object, arrived: float) -> None:
        """Note the time."""
        self.moments.append(trio.current_time())


async def run_process(
    process: FakeProcess,
    stalls: list[float] | None = None,
    why: Problem = STALLED,
    throttle: ReadThrottle | None = None,
    sink: NullSink | None = None,
) -> tuple[CaptureProcess, Problem | None]:
    """Run a process; return its capture and problem. It may stall when `stalls` collects that."""

    @asynccontextmanager
    async def launch(arguments: Sequence[str]) -> AsyncIterator[Any]:
        yield process

    async def tell(report: CaptureReport) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(report, ProcessStalled):
            assert stalls is not None, report
            assert report.problem == why
            stalls.append(trio.current_time())
            capture.stop()

    capture = CaptureProcess(
        sink=sink or NullSink(),
        timeouts=CaptureTimeouts(20.0, 7.0),
        tell=tell,
        launch=launch,
        clock=Clock(monotonic=trio.current_time),
        throttle=throttle,
    )
    return capture, await capture.run(())


async def test_a_line_without_an_end_takes_no_memory(autojump_clock: MockClock) -> None:
    """Memory is bounded when no newline comes."""
    chunk = b"x" * 65536
    process = FakeProcess([b" No such device\n", *[chunk] * 200])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await run_process(process)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 1_000_000 < 200 * len(chunk)


async def test_a_pipe_that_stays_open_delays_the_end_by_a_second(autojump_clock: MockClock) -> None:
    """A process that FFmpeg left may hold stderr; the end of FFmpeg is reported all the same."""
    begun = trio.current_time()
    with trio.move_on_after(100):
        await run_process(FakeProcess([b"[error] last words\n"], closes_errors=False))
    assert trio.current_time() - begun == module.ERRORS_END_SECONDS == 1.0


async def test_a_process_that_closes_its_output_and_stays_is_ended(
    autojump_clock: MockClock,
) -> None:
    """After five seconds it is told to end, and the problem is OUTPUT_CLOSED."""
    begun = trio.current_time()
    with trio.move_on_after(100):
        _, problem = await run_process(FakeProcess([], ends=False))
        assert problem == OUTPUT_CLOSED
    assert trio.current_time() - begun == CaptureTimeouts(20.0, 7.0).end_seconds == 5.0


async def test_a_process_that_never_delivers_is_reported(autojump_clock: MockClock) -> None:
    """After the configured time for a start."""
    stalls: list[float] = []
    with trio.move_on_after(100):
        await run_process(FakeProcess([], ends=False, stream=[]), stalls)
    assert stalls == [20.0]


async def test_a_process_that_stops_delivering_is_reported(autojump_clock: MockClock) -> None:
    """After the configured time since its last frames."""
    stalls: list[float] = []
    stream = FakeStream()
    pieces = [stream.head + stream.next(5), stream.next(5), stream.next(5)]
    with trio.move_on_after(100):
        await run_process(FakeProcess([], ends=False, stream=pieces[::-1]), stalls)
    assert len(stalls) == 1
    assert 1.5 + 7.0 <= stalls[0] < 1.5 + 7.2


async def test_a_file_that_comes_too_fast_is_left_in_its_pipe(autojump_clock: MockClock) -> None:
    """At double speed, what is ahead of real time by more than a second stays in the pipe."""
    stream, timing, stalls = FakeStream(), TimingSink(), list[float]()
    pieces = [stream.head + stream.next(10), *(stream.next(10) for _ in range(29))]
    with trio.move_on_after(100):
        process = FakeProcess([], ends=False, stream=pieces[::-1])
        await run_process(process, stalls, throttle=ReadThrottle(1.0), sink=timing)
    first, *later = timing.moments
    assert len(later) == 29
    for number, moment in enumerate(later, 1):
        assert number - 1 <= moment - first <= number
    assert len(stalls) == 1


def sounds(count: int) -> list[bytes]:
    """Make fragments of half a second with sound alone."""
    packets = [Sample(10, 1024) for _ in range(23)]
    return [
        fragment((2, number * 23 * 1024, packets), sequence=number + 1) for number in range(count)
    ]


async def test_a_start_has_more_time_while_sound_arrives(autojump_clock: MockClock) -> None:
    """A camera whose pictures come long after its sound is not restarted."""
    stalls: list[float] = []
    pieces = [VIDEO_AND_AUDIO, *sounds(60), FakeStream().next(5)]
    with trio.move_on_after(200):
        capture, _ = await run_process(FakeProcess([], ends=False, stream=pieces[::-1]), stalls)
    assert capture.delivered
    assert len(stalls) == 1
    assert 31.0 + 7.0 <= stalls[0] < 1.1 * 31.0 + 7.2


async def test_sound_that_stops_extends_a_start_no_further(autojump_clock: MockClock) -> None:
    """The time for a start begins anew with the last sound."""
    stalls: list[float] = []
    pieces = [VIDEO_AND_AUDIO, *sounds(9)]
    with trio.move_on_after(200):
        await run_process(FakeProcess([], ends=False, stream=pieces[::-1]), stalls, SOUND_ONLY)
    assert len(stalls) == 1
    assert 5.0 + 20.0 <= stalls[0] < 1.1 * 5.0 + 20.2


async def test_a_camera_that_sends_sound_alone_is_reported(autojump_clock: MockClock) -> None:
    """Sound extends a start to three times its time; the problem is SOUND_ONLY."""
    stalls: list[float] = []
    pieces = [VIDEO_AND_AUDIO, *sounds(400)]
    with trio.move_on_after(300):
        capture, _ = await run_process(
            FakeProcess([], ends=False, stream=pieces[::-1]), stalls, SOUND_ONLY
        )
    assert not capture.delivered
    assert len(stalls) == 1
    assert 40.0 < stalls[0] <= 3 * 20.0


async def test_a_throttled_pipe_is_not_held_by_another_process(autojump_clock: MockClock) -> None:
    """Output that a throttled read left in the pipe is not taken for a process that FFmpeg left."""
    stream = FakeStream()
    minute = stream.head + b"".join(stream.next(5) for _ in range(120))
    process = FakeProcess([], stream=[minute, stream.next(5), b""][::-1])
    with trio.fail_after(200):
        capture, _ = await run_process(process, throttle=ReadThrottle(1.0))
    assert trio.current_time() > 59.0
    assert capture.delivered
    assert process.signals == []
