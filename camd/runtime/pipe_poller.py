"""Read many pipes in rounds: one timer for all of them, instead of one wake-up for each.

Waking up costs more than reading. A round reads the pipes that are due, or soon will be, without
waiting, into one shared buffer; their data is passed on at once, in the same task. Each pipe is due
ROUND_SECONDS after it was read, or earlier where its reader asks for that or where it would fill up
(`PipeFillEstimate`); one that would do so within SHORTEST_SECONDS is read by its own task instead.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import outcome
import trio

ROUND_SECONDS = 0.5  # between two reads of a pipe, at most
SHORTEST_SECONDS = 0.1  # … and at least, in rounds
TOGETHER_SECONDS = 0.125  # before it is due: a round of others reads a pipe as well
FILLED_SHARE = 1 / 2  # of a pipe between two reads, on average
FULL_SHARE = 3 / 4  # of a pipe, read at once: the writer may have waited
FULL_SECONDS = 60.0  # for which a pipe that was full is read twice as often
WINDOW_SECONDS = 2.0  # in which a rate is measured; writers write in bursts
BUFFER_BYTES = 1024 * 1024
MAX_BYTES = 4 * BUFFER_BYTES  # read from one pipe in one round
TURN_SECONDS = 0.005  # before other tasks may run
FEWEST = 1  # pipes; with fewer, there are no rounds

Take = Callable[[memoryview], float | None]


@attrs.define(eq=False)
class PipeFillEstimate:
    """How long a pipe can wait for its next read, by its rate. Times are monotonic seconds."""

    pipe_bytes: int
    seconds: float = attrs.field(default=ROUND_SECONDS, init=False)  # 0: not at all
    _since: float | None = attrs.field(default=None, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _full_at: float = attrs.field(default=float("-inf"), init=False)  # when it was last full

    @property
    def may_wait(self) -> bool:
        """Whether it can be read in rounds."""
        return self.seconds >= SHORTEST_SECONDS

    def came(self, size: int, moment: float) -> None:
        """Count bytes that were read at `moment`."""
        if self._since is None:  # since when these gathered is not known
            self._since = moment
            return
        self._bytes += size
        seconds = moment - self._since
        share = FILLED_SHARE * self.pipe_bytes
        if seconds < WINDOW_SECONDS and self._bytes * self.seconds <= share * WINDOW_SECONDS:
            return
        rate = self._bytes / max(seconds, ROUND_SECONDS)
        often = 2 if moment < self._full_at + FULL_SECONDS else 1
        self.seconds = min(ROUND_SECONDS, share / rate if rate else ROUND_SECONDS) / often
        self._since, self._bytes = moment, 0

    def found(self, size: int, moment: float) -> None:
        """Count bytes that one round has read from the pipe."""
        self.came(size, moment)
        if size > FULL_SHARE * self.pipe_bytes:
            self.seconds, self._since, self._bytes, self._full_at = 0.0, moment, 0, moment


@attrs.define(eq=False)
class PolledPipe:
    """One pipe that is read in rounds until `over`: `take` returned None, or reading failed."""

    _fd: int
    _take: Take
    seconds: float  # between two reads, at most
    due: float  # by Trio's clock
    over: trio.Event = attrs.field(factory=trio.Event, init=False)
    _error: outcome.Error | None = attrs.field(default=None, init=False)

    def release(self) -> None:
        """Stop reading."""
        self.over.set()

    def raise_error(self) -> None:
        """Raise the error of reading or of `take`, if there was one."""
        if self._error is not None:
            self._error.unwrap()

    def read(self, buffer: memoryview, now: float) -> None:
        """Read the available data, up to a limit, and pass it to `take`; `now` is Trio's time."""
        left = MAX_BYTES
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
            elif more.value is None:
                self._end(None)
            else:
                self.seconds = more.value
            left -= max(1, size)
            if size < len(buffer):  # the pipe is empty
                break
        self.due = now + self.seconds

    def _end(self, error: outcome.Error | None) -> None:
        self._error = error
        self.over.set()


@attrs.define(eq=False)
class PipePoller:
    """The pipes that are read in rounds; while there are none, nothing wakes up."""

    _fewest: int = FEWEST
    _interested: int = attrs.field(default=0, init=False)
    _readings: set[PolledPipe] = attrs.field(factory=set, init=False)
    _joined: trio.Event = attrs.field(factory=trio.Event, init=False)
    _buffer: memoryview = attrs.field(
        factory=lambda: memoryview(bytearray(BUFFER_BYTES)), init=False
    )

    @property
    def worthwhile(self) -> bool:
        """Whether there are enough pipes that rounds cost less than one wake-up for each."""
        return self._interested >= self._fewest

    @contextmanager
    def interest(self) -> Iterator[None]:
        """Count one more pipe that could be read in rounds, while the block runs."""
        self._interested += 1
        try:
            yield
        finally:
            self._interested -= 1

    @contextmanager
    def reading(self, fd: int, take: Take, seconds: float = ROUND_SECONDS) -> Iterator[PolledPipe]:
        """Read a non-blocking pipe in rounds while the block runs, the first time in `seconds`.

        `take` gets the data, empty at the pipe's end, and returns in how many seconds it has to
        get more, at most ROUND_SECONDS; None: it wants no more. The buffer is overwritten
        afterwards. `take` must return soon: the other pipes wait for it.
        """
        reading = PolledPipe(fd, take, seconds, trio.current_time() + seconds)
        self._readings.add(reading)
        self._joined.set()
        try:
            yield reading
        finally:
            reading.release()
            self._readings.discard(reading)

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read all pipes, round after round, until cancelled."""
        task_status.started()
        while True:
            self._joined = trio.Event()
            due = min((each.due for each in self._being_read), default=float("inf"))
            with trio.move_on_at(due) as pause:
                await self._joined.wait()
            if pause.cancelled_caught:
                await self._round()

    @property
    def _being_read(self) -> list[PolledPipe]:
        return [each for each in self._readings if not each.over.is_set()]

    async def _round(self) -> None:
        begun = trio.current_time()
        together = begun + TOGETHER_SECONDS
        for reading in self._being_read:
            if reading.due <= together and not reading.over.is_set():
                reading.read(self._buffer, trio.current_time())
            if trio.current_time() - begun > TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                begun = trio.current_time()


@asynccontextmanager
async def open_pipe_poller(fewest: int = FEWEST) -> AsyncIterator[PipePoller]:
    """Read pipes in rounds while the block runs; with fewer than `fewest` pipes, there are none."""
    pipes = PipePoller(fewest)
    async with trio.open_nursery() as nursery:
        await nursery.start(pipes.serve)
        yield pipes
        nursery.cancel_scope.cancel()


def pipe_capacity(fd: int) -> int:
    """Return the capacity of a pipe in bytes (fcntl(2), F_GETPIPE_SZ)."""
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
