"""One capture: an FFmpeg process from its arguments to its last fragment.

Reads the pipe of the process to its end, also after an error; reports when no frames arrive; and
finds the cause of its end from the exit status and the last lines of stderr.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

import attrs
import structlog
import trio

from camd.capture.rules.state import AwaitingKeyFrame, FirstFragmentArrived, ProcessStalled
from camd.capture.rules.timestamps import estimate_arrivals
from camd.clock import Clock
from camd.ffmpeg.log_reader import read_log
from camd.ffmpeg.text.output import FFmpegLine, FFmpegLog, problem_of_exit
from camd.ffmpeg.text.redact import redact
from camd.model import Problem, ProblemKind
from camd.model.problems import (
    BAD_STREAM,
    FFMPEG_MISSING,
    HUNG,
    OUTPUT_CLOSED,
    SOUND_MISSING,
    SOUND_ONLY,
    STALLED,
    WAITING_FOR_KEY_FRAME,
)
from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, Init
from camd.mp4.frames.frame_fragments import FrameFragmentReader
from camd.runtime.broadcast import LatestValue
from camd.runtime.child_process import NOT_EXECUTED, ChildProcess, open_child_process
from camd.runtime.pipe_poller import (
    FILLED_SHARE,
    ROUND_SECONDS,
    SHORTEST_SECONDS,
    PipeFillEstimate,
    PipePoller,
    PolledPipe,
    pipe_capacity,
)

log = structlog.get_logger("camd.ffmpeg")

ERRORS_END_SECONDS = 1.0  # a process that FFmpeg left behind may hold stderr open
LAST_READ_SECONDS = 0.1  # past a deadline: this program may have slept, and output waits
GATHER_SECONDS = 0.02  # a fragment arrives in many writes; fewer reads save wake-ups
SHORT_GATHER_SECONDS = 0.002  # the same while somebody watches
READ_SECONDS = ROUND_SECONDS  # between two reads while nobody waits for frames
# A camera whose frames last longer is read at once: that takes no more wake-ups, and the arrival of
# each frame is known.
SLOW_SECONDS = 0.125
# FFmpeg writes what it has analysed in one burst. When the first frame arrived is known only at the
# end of that burst.
QUIET_SECONDS = 0.05
FIRST_PAUSE = 1 / 8  # of the time between two reads: how fast the pipe fills is not known yet
PAUSE_GROWTH = 1.2  # of a pause that is shorter, from one to the next
BURST_FACTOR = 2.0  # times real time: a burst is faster
GATHERED_SECONDS = 2.0
AHEAD_SECONDS = 1.0  # of real time, before a source is throttled
SOUND_STARTS = 2  # times `start_seconds`: how long sound extends a start
TURN_FRAGMENTS = 100  # delivered before other tasks run
TURN_BYTES = 32 * 1024  # parsed before the time is looked at: a stream may consist of headers
TURN_SECONDS = 0.003  # of parsing, before other tasks run

Launch = Callable[[Sequence[str]], AbstractAsyncContextManager[ChildProcess]]
CaptureReport = FirstFragmentArrived | AwaitingKeyFrame | ProcessStalled


class FragmentSink(Protocol):
    """What takes the output of a capture: the hub, or a counter in a test."""

    def begin(self, init: Init) -> None:
        """Take the stream's header."""

    def deliver(self, fragment: Fragment, arrived: float) -> object:
        """Take a fragment; `arrived` is when its last frame arrived, in monotonic seconds."""

    def caught_up(self, seconds: float) -> float:
        """Note that all that was read is delivered, and the next read could be in `seconds`.

        Return in how many seconds it has to be.
        """


@attrs.frozen
class CaptureTimeouts:
    """How long to wait, in seconds, before the first fragment and between two fragments.

    FFmpeg itself gives up a connection when one of its `steps` takes `start_seconds`. Before the
    first picture, sound extends the deadline, by at most SOUND_STARTS times `start_seconds`.
    FFmpeg has `end_seconds` to exit after its output has ended, and a process that it left behind
    may hold the output for `drain_seconds` after FFmpeg's exit.
    """

    start_seconds: float
    stall_seconds: float
    steps: int = 1
    end_seconds: float = 5.0
    drain_seconds: float = 2.0


@attrs.define(eq=False)
class ReadThrottle:
    """Pure: limits how fast a source is read, to `speed` times real time.

    Without it a file would be read as fast as the disk allows, and fill the volume. FFmpeg does
    not throttle a file without time stamps.
    """

    speed: float
    _begin: float | None = attrs.field(default=None, init=False)
    _played: float = attrs.field(default=0.0, init=False)

    def ahead_seconds(self, fragment: Fragment, now: float) -> float:
        """Return how long to wait before the next read; 0 or less: do not wait."""
        if self._begin is None:
            self._begin = now
        self._played += fragment.duration_seconds
        return self._played / self.speed - (now - self._begin) - AHEAD_SECONDS


@attrs.define(eq=False)
class CaptureProcess:
    """One process. `stop` may be called at any time; `run` returns after the process has ended.

    `tell` gets what the state table has to know while it runs.
    """

    sink: FragmentSink
    timeouts: CaptureTimeouts
    tell: Callable[[CaptureReport], Awaitable[None]]
    may_end: bool = False  # the source has an end; the end of any other source is a problem
    launch: Launch = open_child_process
    clock: Clock = attrs.field(kw_only=True)
    throttle: ReadThrottle | None = None  # for sources that are not live
    pipes: PipePoller | None = None  # reads the output in rounds once it delivers
    hurried: LatestValue[bool] = attrs.field(factory=lambda: LatestValue(False))  # read at once
    read_seconds: float = READ_SECONDS  # between two reads otherwise
    wanted: bool = attrs.field(default=True, init=False)  # until `stop` is called
    killed: bool = attrs.field(default=False, init=False)  # by SIGKILL
    begun: trio.Event = attrs.field(factory=trio.Event, init=False)  # a fragment has arrived
    sound_announced: trio.Event = attrs.field(factory=trio.Event, init=False)  # the source has some
    _arrived: float = attrs.field(default=0.0, init=False)  # when the latest fragment arrived
    _read_at: float = attrs.field(default=0.0, init=False)  # when output was last read
    _held_since: float = attrs.field(default=0.0, init=False)  # since when some wait
    _held: tuple[float, float] = attrs.field(default=(0.0, 0.0), init=False)  # a moment, seconds
    _frame_seconds: float = attrs.field(default=0.0, init=False)  # of the newest frame; 0: several
    _pause_seconds: float = attrs.field(init=False)  # between two reads, so that the pipe has room
    _pause: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _waiting: list[Init | Fragment] = attrs.field(factory=list, init=False)
    _ahead: float = attrs.field(default=0.0, init=False)  # seconds, of real time
    _throttled_until: float = attrs.field(default=0.0, init=False)  # monotonic seconds
    _opened: trio.Event = attrs.field(factory=trio.Event, init=False)  # the source, by FFmpeg
    _described: trio.Event = attrs.field(factory=trio.Event, init=False)  # the header has arrived
    _errors_read: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stop: trio.Event = attrs.field(factory=trio.Event, init=False)
    _log: FFmpegLog = attrs.field(factory=FFmpegLog, init=False)
    _problem: Problem | None = attrs.field(default=None, init=False)
    _fragments: int = attrs.field(default=0, init=False)
    _orphans_killed: bool = attrs.field(
        default=False, init=False
    )  # what FFmpeg left behind was killed
    _read_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _deadline: float = attrs.field(default=0.0, init=False)  # monotonic seconds
    _reader: FrameFragmentReader = attrs.field(factory=FrameFragmentReader, init=False)
    _reading: PolledPipe | None = attrs.field(default=None, init=False)  # in rounds
    _early: int = attrs.field(default=0, init=False)  # pictures before the first key frame
    _sound_since: float | None = attrs.field(default=None, init=False)  # without a picture

    def __attrs_post_init__(self) -> None:
        self._pause_seconds = self.read_seconds * FIRST_PAUSE

    @property
    def stopping(self) -> bool:
        """Whether the process was told to end."""
        return self._stop.is_set()

    @property
    def delivered(self) -> bool:
        """Whether a fragment has arrived."""
        return self._fragments > 0

    def stop(self) -> None:
        """Ask the process to end; its output is read to the end."""
        self.wanted = False
        self._stop.set()
        self._read_now()

    def _read_now(self) -> None:
        self._pause.cancel()
        if self._reading is not None:
            self._reading.release()

    async def wait_stop(self) -> None:
        """Wait until the process is told to end."""
        await self._stop.wait()

    async def run(
        self, arguments: Sequence[str], sound_seconds: float | None = None
    ) -> Problem | None:
        """Run the process to its end; return why it ended, None when it was told to end.

        None also for a source that was read to its end without an error. A header that is missing
        `sound_seconds` after the source was opened is the problem SOUND_MISSING.
        """
        try:
            async with self.launch(arguments) as process, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_errors, process)
                nursery.start_soon(self._end_when_told, process)
                nursery.start_soon(self._end_drain, process)
                nursery.start_soon(self._follow_hurry)
                if sound_seconds is not None:
                    nursery.start_soon(self._await_sound, sound_seconds)
                with self.pipes.interest() if self.pipes is not None else nullcontext():
                    await self._read(process)
                status = await self._wait(process)
                self.killed = self.stopping and status == -signal.SIGKILL
                with trio.move_on_after(ERRORS_END_SECONDS):
                    await self._errors_read.wait()
                nursery.cancel_scope.cancel()
        except OSError as error:
            return _missing(str(error.strerror))
        if self._problem is not None:
            return self._problem
        if self.stopping:
            return None
        if status in NOT_EXECUTED and not self._fragments:
            return _missing(
                self._log.lines[-1].text if self._log.lines else f"exit status {status}"
            )
        if self.may_end and status == 0 and self._fragments and not self._logged_errors:
            return None
        problem = problem_of_exit(self._log.lines, status)
        stalled = problem.kind == ProblemKind.TIMED_OUT and self.delivered
        return STALLED if stalled else problem

    @property
    def _logged_errors(self) -> bool:
        return any(line.severe for line in self._log.lines)

    async def _read(self, process: ChildProcess) -> None:
        """Parse the output until its end; after a parse error it is only drained.

        Only frames count as progress. Sound alone is a stall; at a start it extends the deadline.
        Frames before the first key frame show that the source works, and are not recorded. A
        process that was told to end has no deadline here: `_end_when_told` has one.
        """
        self._arrived = self.clock.monotonic()
        self._deadline = self._arrived + self.timeouts.start_seconds * self.timeouts.steps
        key_frame_due = float("inf")
        flow = PipeFillEstimate(pipe_capacity(process.output)) if self.pipes is not None else None
        rest = self.read_seconds
        while True:
            if self.pipes is not None and flow is not None and self._may_wait(self.pipes, flow):
                await self._read_in_rounds(self.pipes, process, flow, rest)
            chunk: bytes | None = None
            last = self._orphans_killed
            timeout = max(LAST_READ_SECONDS, self._deadline - self.clock.monotonic())
            if last or self._waiting:
                timeout = LAST_READ_SECONDS if last else QUIET_SECONDS
            with trio.move_on_after(timeout) as self._read_scope:
                chunk = await process.read_output()
            if chunk and flow is not None:
                flow.came(len(chunk), self.clock.monotonic())
                self._make_room(len(chunk), flow.pipe_bytes)
            if chunk and self._problem is None:
                await self._parse(chunk)
            pictures = await self._hand_on_in_turns(quiet=not chunk)
            if chunk == b"" or (last and chunk is None):
                return
            if not pictures and chunk and not self._waiting and not self.stopping:
                # The rest is on its way, in many small writes.
                await trio.sleep(SHORT_GATHER_SECONDS if self.hurried.value else GATHER_SECONDS)
            await self._slow_down()
            rest = await self._wait_for_more(flow)
            if self._early and not self._fragments:
                now = self.clock.monotonic()
                key_frame_due = min(key_frame_due, now + self.timeouts.start_seconds)
                if now >= key_frame_due:
                    key_frame_due += self.timeouts.start_seconds
                    await self._report_waiting()
            if self.clock.monotonic() >= self._deadline:
                await self._report_stalled()

    def _extend_start(self) -> None:
        """Extend the deadline of a start: sound has arrived, and no picture yet."""
        now, start = self.clock.monotonic(), self.timeouts.start_seconds
        if self._sound_since is None:
            self._sound_since = now
        longest = self._sound_since + SOUND_STARTS * start
        self._deadline = max(self._deadline, min(now + start, longest))

    def _progressed(self) -> None:
        self._sound_since = None
        if self._deadline == float("inf"):
            return
        seconds = self.timeouts.stall_seconds
        if not self._fragments:  # frames arrive, and a key frame is missing
            seconds = max(seconds, self.timeouts.start_seconds)
        self._deadline = self.clock.monotonic() + seconds

    async def _follow_hurry(self) -> None:
        """Read at once when somebody waits for frames."""
        while True:
            await self.hurried.wait_until(lambda hurried: hurried)
            self._read_now()
            await self.hurried.wait_until(lambda hurried: not hurried)

    @property
    def _may_gather(self) -> bool:
        """Whether frames arrive without a problem, and nobody waits for them."""
        works = self.delivered and self._problem is None and not self.stopping
        on_time = self._ahead <= 0 and not self._orphans_killed and self._deadline != float("inf")
        waited_for = self.hurried.value or self._frame_seconds > SLOW_SECONDS
        return works and on_time and not waited_for

    def _may_wait(self, pipes: PipePoller, flow: PipeFillEstimate) -> bool:
        """Whether the output may wait for the next round, and rounds take less CPU time."""
        in_time = self.read_seconds >= SHORTEST_SECONDS and flow.may_wait
        return self._may_gather and in_time and pipes.worthwhile

    def _round_seconds(self, flow: PipeFillEstimate) -> float:
        """Return in how many seconds the output has to be read in rounds, at most."""
        return min(flow.seconds, self.read_seconds)

    async def _wait_for_more(self, flow: PipeFillEstimate | None) -> float:
        """Let frames gather in the pipe while nobody waits for them.

        In rounds that is not done here: return in how many seconds the first one has to be.
        """
        in_rounds = self.pipes is not None and flow is not None and self._may_wait(self.pipes, flow)
        pauses = flow is not None and self._may_gather and self._frame_seconds > 0
        seconds = self._pause_seconds if pauses else 0.0
        if in_rounds and flow is not None:
            seconds = self._round_seconds(flow)
        seconds = self.sink.caught_up(seconds)
        if pauses and not in_rounds:
            with trio.move_on_after(seconds) as self._pause:
                await trio.sleep_forever()
        return seconds

    def _make_room(self, size: int, pipe_bytes: int) -> None:
        """Pause for a shorter time after a read that took more than its share of the pipe."""
        share = FILLED_SHARE * pipe_bytes
        longer = min(self.read_seconds, PAUSE_GROWTH * self._pause_seconds)
        self._pause_seconds = longer if size <= share else self._pause_seconds * share / size

    async def _read_in_rounds(
        self, pipes: PipePoller, process: ChildProcess, flow: PipeFillEstimate, rest: float
    ) -> None:
        """Read the output in rounds, together with that of other captures, while that is possible.

        The first one is in `rest` seconds. The end of the output ends the rounds, and the next read
        returns it again.
        """

        def take(chunk: memoryview) -> float | None:
            flow.found(len(chunk), self.clock.monotonic())
            self._feed(chunk)
            self._hand_on(quiet=True)
            seconds = self.sink.caught_up(self._round_seconds(flow))
            return seconds if len(chunk) and self._may_wait(pipes, flow) else None

        with pipes.reading(process.output, take, rest) as reading:
            self._reading = reading
            while not reading.over.is_set() and self.clock.monotonic() < self._deadline:
                with trio.move_on_after(self._deadline - self.clock.monotonic()):
                    await reading.over.wait()
        self._reading = None
        reading.raise_error()

    async def _parse(self, chunk: bytes) -> None:
        """Parse `chunk` in parts, and let other tasks run in between."""
        begun = self.clock.monotonic()
        for start in range(0, len(chunk), TURN_BYTES):
            if self.clock.monotonic() - begun > TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                begun = self.clock.monotonic()
            if self._problem is None:
                self._feed(memoryview(chunk)[start : start + TURN_BYTES])

    def _feed(self, chunk: memoryview) -> None:
        """Parse `chunk`; append what it completes to `_waiting`."""
        self._read_at = self.clock.monotonic()
        try:
            self._waiting += self._reader.feed(chunk)
        except MediaError as error:
            log.error("stream_unreadable", error=str(error))
            self._problem = attrs.evolve(BAD_STREAM, message=f"{BAD_STREAM.message}: {error}")
            self._stop.set()
        if self._waiting:
            self._described.set()

    async def _hand_on_in_turns(self, *, quiet: bool) -> bool:
        """Deliver what waits, and let other tasks run in between; True if it contained frames."""
        before, pictures, left = self.delivered, 0, -1
        while len(self._waiting) not in (0, left):
            if left >= 0:
                await trio.lowlevel.checkpoint()
            left = len(self._waiting)
            pictures += self._hand_on(quiet=quiet or pictures > 0, most=TURN_FRAGMENTS)
        if self.delivered and not before:
            self.begun.set()
            await self.tell(FirstFragmentArrived())
        return pictures > 0

    def _hand_on(self, *, quiet: bool, most: int | None = None) -> int:
        """Deliver what waits, `most` items of it; return the number of frames in it.

        The first fragments of a live source wait until the output pauses (`quiet`).
        """
        live = self.throttle is None
        holding = live and not self._fragments and not quiet and not self.stopping
        fragments = [event for event in self._waiting if isinstance(event, Fragment)]
        if holding and self._waiting and self._in_burst(fragments):
            return 0
        waiting, self._waiting = self._waiting[:most], self._waiting[most or len(self._waiting) :]
        times, pictures = iter(estimate_arrivals(fragments, self._read_at, self._arrived)), 0
        for event in waiting:
            if isinstance(event, Init):
                self.sink.begin(event)
                continue
            self._arrived = next(times)
            frames = event.frames
            pictures += frames
            if frames:
                self._frame_seconds = event.duration_seconds if frames == 1 else 0.0
            self.sink.deliver(event, self._arrived)
            if self._fragments or event.starts_with_sync:
                self._fragments += frames > 0
            else:
                self._early += frames  # a recording begins with a key frame
            if self.throttle is not None:
                self._ahead = self.throttle.ahead_seconds(event, self.clock.monotonic())
        if pictures:
            self._progressed()
        elif not self.delivered and not self._early and any(each.runs for each in fragments[:most]):
            self._extend_start()
        return pictures

    def _in_burst(self, fragments: Sequence[Fragment]) -> bool:
        """Whether the output still comes faster than real time; for GATHERED_SECONDS at most."""
        now, seconds = self.clock.monotonic(), sum(each.duration_seconds for each in fragments)
        if not self._held_since:
            self._held_since, self._held = now, (now, seconds)
        passed, came = now - self._held[0], seconds - self._held[1]
        if passed >= QUIET_SECONDS:
            if came <= BURST_FACTOR * passed:
                return False
            self._held = now, seconds
        return now - self._held_since < GATHERED_SECONDS

    async def _slow_down(self) -> None:
        """Wait while the source is ahead of real time; its output stays in the pipe."""
        if self._ahead > 0 and not self.stopping:
            self._throttled_until = self.clock.monotonic() + self._ahead
            with trio.move_on_after(self._ahead):
                await self._stop.wait()
            self._throttled_until = self.clock.monotonic()
            self._progressed()
        self._ahead = 0.0

    async def _report_waiting(self) -> None:
        """Report that nothing can be recorded yet; a start that waits is refused."""
        if not self.stopping:
            await self.tell(AwaitingKeyFrame(WAITING_FOR_KEY_FRAME))

    async def _report_stalled(self) -> None:
        """Report once that no frames arrive, or only sound."""
        self._deadline = float("inf")
        if not self.stopping:
            problem = STALLED if self._sound_since is None else SOUND_ONLY
            await self.tell(ProcessStalled(problem))

    async def _wait(self, process: ChildProcess) -> int:
        """Wait for FFmpeg's exit after its pipe has closed; end it after `end_seconds`."""
        with trio.move_on_after(self.timeouts.end_seconds):
            return await process.wait()
        if not self.stopping:
            log.error("ffmpeg_does_not_end", pid=process.pid)
            self._problem = self._problem or OUTPUT_CLOSED
        if (status := await process.end()) is not None:
            return status
        log.error("ffmpeg_does_not_answer_signals", pid=process.pid)
        self._problem = HUNG
        await self.tell(ProcessStalled(HUNG))
        return await process.wait()  # no second capture may open a device that this one still holds

    async def _await_sound(self, seconds: float) -> None:
        await self._opened.wait()
        with trio.move_on_after(seconds):
            await self._described.wait()
            return
        if not self.stopping:
            self._problem = self._problem or SOUND_MISSING
            self._stop.set()

    async def _end_when_told(self, process: ChildProcess) -> None:
        await self._stop.wait()
        if await process.end() is None:
            log.error("ffmpeg_does_not_answer_signals", pid=process.pid)
            await self.tell(ProcessStalled(HUNG))

    async def _end_drain(self, process: ChildProcess) -> None:
        """After FFmpeg's exit, kill the processes that it started: they hold its pipe open."""
        await process.wait()
        ended, seconds = self.clock.monotonic(), self.timeouts.drain_seconds
        while True:  # a throttled read leaves output in the pipe as well
            left = max(ended, self._throttled_until) + seconds - self.clock.monotonic()
            if left <= 0:
                break
            await trio.sleep(min(left, seconds))
        log.warning("ffmpeg_left_processes", pid=process.pid)
        process.signal(signal.SIGKILL)
        await trio.sleep(ERRORS_END_SECONDS)
        self._orphans_killed = True
        self._read_scope.cancel()
        self._read_now()

    async def _watch_errors(self, process: ChildProcess) -> None:
        """Read FFmpeg's stderr, so that it never blocks on it; keep the last lines."""
        await read_log(process.read_errors, self._log, self._hear)
        self._errors_read.set()

    def _hear(self, line: FFmpegLine) -> None:
        if line.text.startswith("Input #0"):
            self._opened.set()
        if line.announces_sound:
            self.sound_announced.set()
        log.debug("ffmpeg_output", severity=line.level, text=redact(line.text))


def _missing(why: str) -> Problem:
    return attrs.evolve(FFMPEG_MISSING, message=f"FFmpeg cannot be run: {why}")
