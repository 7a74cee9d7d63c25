"""Real pipes read in rounds: nothing is lost, and one pipe does not delay another."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel
from support.media_streams import FakeStream, frames_in

from camd.capture.process import CaptureProcess, CaptureReport, CaptureTimeouts
from camd.capture.rules.state import ProcessStalled
from camd.clock import SYSTEM_CLOCK
from camd.model import Problem
from camd.model.problems import BAD_STREAM, STALLED
from camd.mp4.fragments import Fragment, Init
from camd.runtime import pipe_poller as module
from camd.runtime.pipe_poller import PipePoller, open_pipe_poller, pipe_capacity


@asynccontextmanager
async def rounds() -> AsyncIterator[PipePoller]:
    """Make rounds, bounded by the real clock."""
    with trio.fail_after(300):
        async with open_pipe_poller(fewest=1) as pipes:
            yield pipes


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe whose reading end does not block."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@attrs.define(eq=False)
class Collector:
    """Takes everything, until so much is there; the empty end included."""

    enough: int
    data: bytearray = attrs.field(factory=bytearray)
    ended: bool = False

    def take(self, chunk: memoryview) -> float | None:
        """Add a piece."""
        self.data += chunk
        self.ended = not len(chunk)
        return None if self.ended or len(self.data) >= self.enough else module.ROUND_SECONDS


async def test_every_byte_of_every_pipe_arrives_in_order() -> None:
    """Sixteen writers, each of more than its pipe holds: what comes out is what went in."""
    sent = [bytes([number]) * 400_000 + bytes(range(256)) for number in range(16)]
    collectors = [Collector(len(data)) for data in sent]

    async def write(fd: int, data: bytes) -> None:
        async with trio.lowlevel.FdStream(os.dup(fd)) as stream:
            await stream.send_all(data)

    async def read(pipes: PipePoller, data: bytes, collector: Collector) -> None:
        with pipe() as (reading, writing):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, writing, data)
                with pipes.reading(reading, collector.take) as turns:
                    await turns.over.wait()
                turns.raise_error()

    async with rounds() as pipes, trio.open_nursery() as nursery:
        for data, collector in zip(sent, collectors, strict=True):
            nursery.start_soon(read, pipes, data, collector)
    assert [bytes(collector.data) for collector in collectors] == sent
    assert not pipes._readings


async def test_an_end_is_told_within_a_round() -> None:
    """What came before it comes first; then the empty piece, no later than the next round."""
    collector = Collector(1000)
    async with rounds() as pipes:
        with pipe() as (reading, writing):
            end = os.open(f"/proc/self/fd/{reading}", os.O_RDONLY | os.O_NONBLOCK)
            os.write(writing, b"last words")
        try:
            with pipes.reading(end, collector.take) as turns:
                await turns.over.wait()
                turns.raise_error()
        finally:
            os.close(end)
    assert (bytes(collector.data), collector.ended) == (b"last words", True)


async def test_an_error_comes_out_where_the_pipe_is_read() -> None:
    """A descriptor that cannot be read, and a bug of one reader, end nobody else's reading."""
    good = Collector(4)

    def buggy(chunk: memoryview) -> float | None:
        raise ZeroDivisionError

    async with rounds() as pipes:
        with (
            pipe() as (reading, writing),
            pipe() as (other, to_other),
            pipes.reading(reading, good.take) as turns,
        ):
            with pipes.reading(to_other, good.take) as failing:  # its writing end
                await failing.over.wait()
                with pytest.raises(OSError, match="Bad file descriptor"):
                    failing.raise_error()
            os.write(to_other, b"x")
            with pipes.reading(other, buggy) as failing:
                await failing.over.wait()
                with pytest.raises(ZeroDivisionError):
                    failing.raise_error()
            os.write(writing, b"good")
            await turns.over.wait()
            turns.raise_error()
    assert bytes(good.data) == b"good"


def test_a_pipe_that_is_never_empty_is_left_for_the_next_round() -> None:
    """Whoever writes as fast as it is read gets so much of a round, and no more."""
    collector, ends = Collector(1 << 40), []
    with Path("/dev/zero").open("rb", buffering=0) as endless:
        turns = module.PolledPipe(endless.fileno(), lambda chunk: collector.take(chunk[:1]), 1, 0)
        for _ in range(3):
            turns.read(memoryview(bytearray(module.BUFFER_BYTES)), 0.0)
            ends.append(len(collector.data) * module.BUFFER_BYTES)
    assert ends == [module.MAX_BYTES * number for number in (1, 2, 3)]


async def test_a_pipe_is_read_as_early_as_its_reader_asks() -> None:
    """Also when others are waited for; one that is due much later is left alone."""
    times, due = 0, []
    done = trio.Event()

    def early(chunk: memoryview) -> float | None:
        nonlocal times
        times += 1
        if times == 12:
            done.set()
        return 0.01

    def late(chunk: memoryview) -> float | None:
        due.append(second.due)  # a round behind the reading before
        return module.ROUND_SECONDS

    async with rounds() as pipes:
        with (
            pipe() as (one, to_one),
            pipe() as (other, to_other),
            pipes.reading(other, late) as second,
        ):
            await trio.lowlevel.checkpoint()
            with pipes.reading(one, early, 0.2) as reading:
                assert reading.due <= trio.current_time() + 0.2
                while not done.is_set():
                    os.write(to_one, b"x")
                    os.write(to_other, b"x")
                    await trio.sleep(0.005)
                assert reading.seconds == 0.01
    apart = [after - before for before, after in itertools.pairwise(due)]
    least = module.ROUND_SECONDS - module.TOGETHER_SECONDS - 1e-6
    assert all(each >= least for each in apart)


async def test_a_pipe_without_data_does_not_keep_the_loop_busy() -> None:
    """It is due again after the same time."""
    due: list[float] = []
    async with rounds() as pipes:
        with pipe() as (reading, _), pipes.reading(reading, Collector(1).take, 0.1) as polled:
            while len(due) < 3:
                if polled.due not in due:
                    due.append(polled.due)
                await trio.sleep(0.01)
    assert all(after - before >= 0.1 for before, after in itertools.pairwise(due))


async def test_a_pipe_that_is_left_is_not_read_any_more() -> None:
    """What is in it then is whoever's who reads next."""
    collector = Collector(1000)
    async with rounds() as pipes:
        with pipe() as (reading, writing):
            with pipes.reading(reading, collector.take):
                pass
            os.write(writing, b"mine")
            await trio.sleep(3 * module.ROUND_SECONDS)
            assert os.read(reading, 100) == b"mine"
    assert not collector.data


async def test_without_pipes_nobody_wakes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pipes there are no rounds."""
    woken: list[int] = []

    class Counting(trio.abc.Instrument):
        def after_io_wait(self, timeout: float) -> None:
            woken.append(1)

    async with rounds():
        await trio.lowlevel.checkpoint()
        counting = Counting()
        trio.lowlevel.add_instrument(counting)
        await trio.sleep(5 * module.ROUND_SECONDS)
        trio.lowlevel.remove_instrument(counting)
    assert len(woken) <= 2


def test_a_pipe_tells_what_it_holds() -> None:
    """As it was set, rounded up by the kernel."""
    with pipe() as (reading, _):
        assert pipe_capacity(reading) in (4096, 8192, 65536)


# --- a child's output ---------------------------------------------------------------------

CHILD = """
import sys, time
for step in sys.argv[1:]:
    if step.startswith("/"):
        sys.stdout.buffer.write(open(step, "rb").read())
        sys.stdout.flush()
    else:
        time.sleep(float(step))
"""


@attrs.define(eq=False)
class Watching:
    """Takes what a child delivers, and lets others wait for it."""

    frames: int = 0
    media: bytearray = attrs.field(factory=bytearray)
    in_rounds: list[bool] = attrs.field(factory=list)
    run: CaptureProcess | None = None
    told: list[Problem] = attrs.field(factory=list)
    more: trio.Event = attrs.field(factory=trio.Event)

    def begin(self, init: Init) -> None:
        """Take note of nothing."""

    def caught_up(self, seconds: float) -> float:
        """Take note of nothing."""
        return seconds

    def deliver(self, fragment: Fragment, arrived: float) -> None:
        """Count."""
        assert self.run is not None
        self.frames += fragment.frames
        self.media += fragment.mdat[8:]
        self.in_rounds.append(self.run._reading is not None)
        self.more.set()
        self.more = trio.Event()

    async def tell(self, report: CaptureReport) -> None:
        """Note a problem, and end the capture as the state table would."""
        if isinstance(report, ProcessStalled):
            self.told.append(report.problem)
            assert self.run is not None
            self.run.stop()
        await trio.lowlevel.checkpoint()


def watched(
    pipes: PipePoller, stall: float = 10.0, rest: float = 2.0
) -> tuple[CaptureProcess, Watching]:
    """Make a process whose output is read in rounds."""
    watching = Watching()
    run = CaptureProcess(
        sink=watching,
        timeouts=CaptureTimeouts(15.0, stall, drain_seconds=rest),
        tell=watching.tell,
        may_end=True,
        pipes=pipes,
        clock=SYSTEM_CLOCK,
    )
    watching.run = run
    return run, watching


def script(folder: Path, *steps: bytes | float) -> list[str]:
    """Make a child that writes these bytes and sleeps in between."""
    words = []
    for number, step in enumerate(steps):
        if isinstance(step, bytes):
            file = folder / f"{number}"
            file.write_bytes(step)
            words.append(str(file))
        else:
            words.append(str(step))
    return [sys.executable, "-c", CHILD, *words]


async def followed(
    folder: Path, *steps: bytes | float, stall: float = 10.0
) -> tuple[Watching, Problem | None]:
    """Read such a child process to its end; return what it delivered, and its problem."""
    async with rounds() as pipes:
        run, watching = watched(pipes, stall)
        problem = await run.run(script(folder, *steps))
    return watching, problem


def played(clip: FakeStream, pause: float, times: int) -> list[bytes | float]:
    """Return half a second of a stream, and so many more, each after a pause."""
    steps: list[bytes | float] = [clip.head + clip.next(5)]
    for _ in range(times):
        steps += [pause, clip.next(5)]
    return steps


async def test_a_childs_output_is_read_in_rounds_once_it_delivers(tmp_path: Path) -> None:
    """The first pictures are read at once; all that comes is handed on, to the last fragment."""
    clip = FakeStream(frame_bytes=20_000)
    watching, problem = await followed(tmp_path, *played(clip, 0.15, 8))
    assert problem is None
    assert watching.frames == 45
    assert bytes(watching.media) == frames_in(_file(clip))[1]
    assert watching.in_rounds[0] is False
    assert sum(watching.in_rounds) >= 6


def _file(clip: FakeStream) -> bytes:
    """Put a film's bytes where `frames_in` looks for those of a file."""
    data = clip.head + b"".join(clip.sent)
    return data[:32] + bytes([0, 0, 0, 16]) + b"free" + bytes(8) + data[32:]


async def test_a_large_fragment_is_read_without_waiting(tmp_path: Path) -> None:
    """A child that writes more than its pipe holds is not kept waiting round after round."""
    clip = FakeStream(frame_bytes=1_000_000)
    watching, problem = await followed(tmp_path, *played(clip, 0.2, 4))
    assert problem is None
    assert watching.frames == 25
    assert False in watching.in_rounds[1:]


async def test_a_stop_is_not_delayed_by_rounds(tmp_path: Path) -> None:
    """When the next round never comes: who told the child to end reads it to its end at once."""
    clip = FakeStream()
    command = script(tmp_path, clip.head + clip.next(5) + clip.next(5), 60.0)
    begun = trio.Event()

    class Idle(PipePoller):
        @contextmanager
        def reading(
            self, fd: int, take: module.Take, seconds: float = module.ROUND_SECONDS
        ) -> Iterator[module.PolledPipe]:
            with super().reading(fd, take, seconds) as reading:
                begun.set()
                yield reading

    run, watching = watched(Idle(1), stall=1000.0, rest=1000.0)

    async def stop() -> None:
        await begun.wait()
        run.stop()

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            assert await run.run(command) is None
    assert watching.frames == 10


async def test_a_child_that_falls_silent_in_a_round_is_noticed(tmp_path: Path) -> None:
    """A stall is told after its time, as if the child had been read all the while."""
    clip = FakeStream()
    watching, problem = await followed(tmp_path, clip.head + clip.next(5), 3600.0, stall=0.6)
    assert problem is None
    assert watching.told == [STALLED]
    assert watching.frames == 5


async def test_garbage_in_a_round_ends_the_child(tmp_path: Path) -> None:
    """Bytes that cannot be parsed are a problem; the fragments before them are delivered."""
    clip = FakeStream()
    steps = (*played(clip, 0.4, 1), 0.4, b"\xff" * 100, 60.0)
    watching, problem = await followed(tmp_path, *steps)
    assert problem is not None
    assert problem.kind == BAD_STREAM.kind
    assert watching.frames == 10


async def test_few_pipes_are_waited_for_each_by_itself(tmp_path: Path) -> None:
    """Rounds cost more than they save where few children deliver; a second one may change that."""
    clip, other = FakeStream(), FakeStream()
    with trio.fail_after(300):
        async with open_pipe_poller(fewest=2) as pipes:
            run, watching = watched(pipes)
            assert await run.run(script(tmp_path, *played(clip, 0.25, 3))) is None
            assert True not in watching.in_rounds
            run, watching = watched(pipes)
            with pipes.interest():
                assert await run.run(script(tmp_path, *played(other, 0.25, 3))) is None
            assert True in watching.in_rounds
            assert not pipes.worthwhile
