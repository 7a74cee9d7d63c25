"""Many pipes read in rounds: one timer for all of them, instead of a wait for each.

Waking up costs more than reading. Ten times a second every pipe is read without waiting, into one
shared buffer, and what came is handed on at once, in the same task. A pipe that would fill up
between two rounds is given back to its own reader (`PipeFlow`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import outcome
import trio

ROUND_SECONDS = 0.1
FILLED_SHARE = 1 / 3  # of a pipe, between two rounds, on average: more cannot wait
FULL_SHARE = 2 / 3  # of a pipe, found in one round: the writer may be waiting
CALM_SHARE = 0.8  # of the rate that cannot wait; below it a pipe can wait again
WINDOW_SECONDS = 2.0  # over which a rate is measured: writers write in bursts
BUFFER_BYTES = 1024 * 1024
MOST_BYTES = 4 * BUFFER_BYTES  # of one pipe in one round
TURN_SECONDS = 0.005  # without letting others run
FEWEST = 8  # pipes that make rounds pay: each by itself wakes us once for each of its fragments

Take = Callable[[memoryview], bool]


@attrs.define(eq=False)
class PipeFlow:
    """Whether a pipe can wait for the next round, by what came through it. Pure.

    Times are seconds of a clock that only goes forward.
    """

    pipe_bytes: int
    hasty: bool = attrs.field(default=False, init=False)  # it must be read as soon as it can be
    _since: float | None = attrs.field(default=None, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    @property
    def _most(self) -> float:
        """Bytes a second that cannot wait."""
        return FILLED_SHARE * self.pipe_bytes / ROUND_SECONDS

    def came(self, size: int, moment: float) -> None:
        """Count bytes that were read at `moment`."""
        if self._since is None:
            self._since = moment
        self._bytes += size
        seconds = moment - self._since
        if self._bytes > self._most * WINDOW_SECONDS:
            self._begin(moment, hasty=True)
        elif seconds >= WINDOW_SECONDS:
            most = self._most * (CALM_SHARE if self.hasty else 1.0)
            self._begin(moment, hasty=self._bytes > most * seconds)

    def found(self, size: int, moment: float) -> None:
        """Count bytes that one round found in the pipe."""
        self.came(size, moment)
        if size > FULL_SHARE * self.pipe_bytes:
            self._begin(moment, hasty=True)

    def _begin(self, moment: float, *, hasty: bool) -> None:
        self.hasty, self._since, self._bytes = hasty, moment, 0


@attrs.define(eq=False)
class PolledPipe:
    """One pipe that is read in rounds until `over`: `take` wants no more, or reading failed."""

    _fd: int
    _take: Take
    over: trio.Event = attrs.field(factory=trio.Event, init=False)
    _error: outcome.Error | None = attrs.field(default=None, init=False)

    def release(self) -> None:
        """Read no more."""
        self.over.set()

    def check(self) -> None:
        """Raise what reading or `take` has raised, if they have."""
        if self._error is not None:
            self._error.unwrap()

    def turn(self, buffer: memoryview) -> None:
        """Read what is there, up to a bound, and hand it on."""
        left = MOST_BYTES
        while left > 0 and not self.over.is_set():
            try:
                size = os.readv(self._fd, [buffer])
            except BlockingIOError:
                break
            except OSError as error:
                self._end(outcome.Error(error))
                break
            more = outcome.capture(self._take, buffer[:size])
            if isinstance(more, outcome.Error):
                self._end(more)
            elif not more.value:
                self._end(None)
            left -= max(1, size)
            if size < len(buffer):  # it is empty now
                break

    def _end(self, error: outcome.Error | None) -> None:
        self._error = error
        self.over.set()


@attrs.define(eq=False)
class PipePoller:
    """The pipes that are read in rounds; without any there are no rounds."""

    _fewest: int = FEWEST
    _interested: int = attrs.field(default=0, init=False)
    _readings: set[PolledPipe] = attrs.field(factory=set, init=False)
    _some: trio.Event = attrs.field(factory=trio.Event, init=False)
    _buffer: memoryview = attrs.field(
        factory=lambda: memoryview(bytearray(BUFFER_BYTES)), init=False
    )

    @property
    def worthwhile(self) -> bool:
        """Whether there are so many pipes that rounds cost less than waiting for each."""
        return self._interested >= self._fewest

    @contextmanager
    def interest(self) -> Iterator[None]:
        """Count one more pipe that might be read in rounds, while the block runs."""
        self._interested += 1
        try:
            yield
        finally:
            self._interested -= 1

    @contextmanager
    def reading(self, fd: int, take: Take) -> Iterator[PolledPipe]:
        """Read a pipe in rounds while the block runs; it must not block when it is read.

        `take` gets what came, empty at the pipe's end, and says whether it wants more; what it
        gets is overwritten afterwards. It must not take long: the other pipes wait.
        """
        reading = PolledPipe(fd, take)
        self._readings.add(reading)
        self._some.set()
        try:
            yield reading
        finally:
            reading.release()
            self._readings.discard(reading)

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make rounds for ever."""
        task_status.started()
        while True:
            if not self._readings:
                self._some = trio.Event()
                await self._some.wait()
            await trio.sleep(ROUND_SECONDS)
            await self._round()

    async def _round(self) -> None:
        begun = trio.current_time()
        for reading in tuple(self._readings):
            if not reading.over.is_set():
                reading.turn(self._buffer)
            if trio.current_time() - begun > TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                begun = trio.current_time()


@asynccontextmanager
async def open_pipe_poller(fewest: int = FEWEST) -> AsyncIterator[PipePoller]:
    """Make rounds while the block runs, where there are so many pipes at least."""
    pipes = PipePoller(fewest)
    async with trio.open_nursery() as nursery:
        await nursery.start(pipes.serve)
        yield pipes
        nursery.cancel_scope.cancel()


def capacity(fd: int) -> int:
    """Say how much a pipe holds, in bytes (fcntl(2), F_GETPIPE_SZ)."""
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
