"""One capture: an FFmpeg process from its arguments to its last fragment.

Reads the pipe of the process until its end, whatever happens; notices when nothing comes; and
finds out from the exit status and the last lines of stderr why it ended.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

import attrs
import structlog
import trio

from camd.capture.rules.state import FragmentArrived, ProcessStalled, ProcessWaits
from camd.capture.rules.timestamps import arrivals
from camd.clock import SYSTEM_CLOCK, Clock
from camd.ffmpeg.text.output import LogLine, classify, parse_line
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
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.runtime.child_process import NOT_EXECUTED, ChildProcess, open_child_process
from camd.runtime.pipe_poller import PipeFlow, PipePoller, PolledPipe, capacity

log = structlog.get_logger("camd.ffmpeg")

LAST_WORDS = 100
LAST_WORDS_SECONDS = 1.0  # a process that FFmpeg left behind could hold the pipe open
LONGEST_LINE_BYTES = 8192
ERRORS_BYTES = 65536
LAST_LOOK_SECONDS = 0.1  # when it was this program that slept, what came meanwhile is in the pipe
GATHER_SECONDS = 0.02  # a fragment comes in many writes; reading them at once saves wake-ups
# At first FFmpeg hands on at once what it has looked at; when its first frame was there is known
# only when that is over.
QUIET_SECONDS = 0.05
GATHERED_SECONDS = 2.0
AHEAD_SECONDS = 1.0  # so far a source may be ahead of real time before it is throttled
SOUND_STARTS = 2  # so many times its time more has a start from its first sound on
TURN_FRAGMENTS = 100  # delivered before others have their turn
TURN_BYTES = 32 * 1024  # parsed before others have their turn: a stream may be nothing but headers

Launch = Callable[[Sequence[str]], AbstractAsyncContextManager[ChildProcess]]
CaptureReport = FragmentArrived | ProcessWaits | ProcessStalled


class FragmentSink(Protocol):
    """Takes what a capture delivers: the hub, or a test."""

    def begin(self, init: Init) -> None:
        """Take the stream's header."""

    def deliver(self, fragment: Fragment, arrived: float) -> object:
        """Take a fragment; its last frame arrived at `arrived`, in monotonic seconds."""


@attrs.frozen
class CaptureTimeouts:
    """How long nothing may come, in seconds: before the first fragment, and between two.

    FFmpeg itself gives up a connection when one of its `steps` takes `start_seconds`. Before the
    first picture sound counts as well, for SOUND_STARTS times `start_seconds` from the first on.
    FFmpeg has `end_seconds` to exit after its output has ended, and a process that it left behind
    may hold the output for `rest_seconds` after FFmpeg's exit.
    """

    start_seconds: float
    stall_seconds: float
    steps: int = 1
    end_seconds: float = 5.0
    rest_seconds: float = 2.0


@attrs.define(eq=False)
class ReadThrottle:
    """How far a source is ahead of real time. It is told of each fragment; pure.

    A file has no clock of its own: read faster than `speed` times real time, it would fill the
    disk. FFmpeg does not slow a file down that has no time stamps.
    """

    speed: float
    _begin: float | None = attrs.field(default=None, init=False)
    _played: float = attrs.field(default=0.0, init=False)

    def ahead_seconds(self, fragment: Fragment, now: float) -> float:
        """Say for how long to wait before the next fragment is read; 0 or less: not at all."""
        if self._begin is None:
            self._begin = now
        self._played += fragment.duration_seconds
        return self._played / self.speed - (now - self._begin) - AHEAD_SECONDS


@attrs.define(eq=False)
class CaptureProcess:
    """One process. `stop` may be called at any time; `live` returns when the process is gone."""

    sink: FragmentSink
    timeouts: CaptureTimeouts
    tell: Callable[[CaptureReport], Awaitable[None]]
    may_end: bool = False  # the source has an end; all others are live, and never end well
    launch: Launch = open_child_process
    clock: Clock = SYSTEM_CLOCK
    throttle: ReadThrottle | None = None  # for sources that are not live
    pipes: PipePoller | None = None  # reads the output in rounds when nothing waits for it
    wanted: bool = attrs.field(default=True, init=False)  # until `stop` is called
    killed: bool = attrs.field(default=False, init=False)  # told to end, it did not
    begun: trio.Event = attrs.field(factory=trio.Event, init=False)  # the first fragment is here
    _arrived: float = attrs.field(default=0.0, init=False)  # when the latest fragment did
    _read_at: float = attrs.field(default=0.0, init=False)  # when there was something to read
    _held_since: float = attrs.field(default=0.0, init=False)  # the first of what waits
    _waiting: list[Init | Fragment] = attrs.field(factory=list, init=False)
    _ahead: float = attrs.field(default=0.0, init=False)  # seconds, of real time
    _throttled_until: float = attrs.field(default=0.0, init=False)  # monotonic seconds
    _opened: trio.Event = attrs.field(factory=trio.Event, init=False)  # the source, by FFmpeg
    _described: trio.Event = attrs.field(factory=trio.Event, init=False)  # the header is here
    _heard_all: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stop: trio.Event = attrs.field(factory=trio.Event, init=False)
    _words: deque[LogLine] = attrs.field(factory=lambda: deque(maxlen=LAST_WORDS), init=False)
    _problem: Problem | None = attrs.field(default=None, init=False)
    _fragments: int = attrs.field(default=0, init=False)
    _cut_off: bool = attrs.field(default=False, init=False)  # what comes now is not FFmpeg's
    _look: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _deadline: float = attrs.field(default=0.0, init=False)  # monotonic seconds
    _reader: FragmentReader = attrs.field(factory=FragmentReader, init=False)
    _reading: PolledPipe | None = attrs.field(default=None, init=False)  # in rounds
    _early: int = attrs.field(default=0, init=False)  # pictures before the first key frame
    _sound_since: float | None = attrs.field(default=None, init=False)  # without any picture

    @property
    def stopping(self) -> bool:
        """Whether the process was told to end."""
        return self._stop.is_set()

    @property
    def delivered(self) -> bool:
        """Whether there was a fragment."""
        return self._fragments > 0

    def stop(self) -> None:
        """Ask the process to end; its output is read to the end."""
        self.wanted = False
        self._stop.set()
        if self._reading is not None:
            self._reading.release()

    async def wait_stop(self) -> None:
        """Wait until the process is told to end."""
        await self._stop.wait()

    async def live(
        self, arguments: Sequence[str], sound_seconds: float | None = None
    ) -> Problem | None:
        """Run the process to its end; return why it ended, None when that was wanted.

        A source that has been played to its end also ends with None if it said nothing. When its
        header is not there `sound_seconds` after the source was opened, it waits for sound.
        """
        try:
            async with self.launch(arguments) as process, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_errors, process)
                nursery.start_soon(self._end_when_told, process)
                nursery.start_soon(self._end_rest, process)
                if sound_seconds is not None:
                    nursery.start_soon(self._await_sound, sound_seconds)
                with self.pipes.interest() if self.pipes is not None else nullcontext():
                    await self._read(process)
                status = await self._wait(process)
                self.killed = self.stopping and status == -signal.SIGKILL
                with trio.move_on_after(LAST_WORDS_SECONDS):
                    await self._heard_all.wait()
                nursery.cancel_scope.cancel()
        except OSError as error:
            return _missing(str(error.strerror))
        if self._problem is not None:
            return self._problem
        if self.stopping:
            return None
        if status in NOT_EXECUTED and not self._fragments:
            return _missing(self._words[-1].text if self._words else f"exit status {status}")
        if self.may_end and status == 0 and self._fragments and not self._complained:
            return None
        problem = classify(tuple(self._words), status)
        silent = problem.kind == ProblemKind.TIMED_OUT and self.delivered
        return STALLED if silent else problem

    @property
    def _complained(self) -> bool:
        return any(word.severe for word in self._words)

    async def _read(self, process: ChildProcess) -> None:
        """Parse the output until its end; after a parse error it is only drained.

        Only frames count as progress. Sound alone is a stall; at a start it extends the deadline.
        Frames before the first key frame show that the source works, and are not recorded. A
        process that was told to end has no deadline here: `_end_when_told` has one.
        """
        self._arrived = self.clock.monotonic()
        self._deadline = self._arrived + self.timeouts.start_seconds * self.timeouts.steps
        key_frame_due = float("inf")
        flow = PipeFlow(capacity(process.output)) if self.pipes is not None else None
        while True:
            if self.pipes is not None and flow is not None and self._may_wait(self.pipes, flow):
                await self._read_in_rounds(self.pipes, process, flow)
            chunk: bytes | None = None
            last = self._cut_off
            timeout = max(LAST_LOOK_SECONDS, self._deadline - self.clock.monotonic())
            if last or self._waiting:
                timeout = LAST_LOOK_SECONDS if last else QUIET_SECONDS
            with trio.move_on_after(timeout) as self._look:
                chunk = await process.read_output()
            if chunk and flow is not None:
                flow.came(len(chunk), self.clock.monotonic())
            if chunk and self._problem is None:
                await self._parse(chunk)
            pictures = await self._hand_on_in_turns(quiet=not chunk)
            if chunk == b"" or (last and chunk is None):
                return
            if not pictures and chunk and not self._waiting and not self.stopping:
                await trio.sleep(GATHER_SECONDS)  # the rest is on its way, in many small writes
            await self._slow_down()
            if self._early and not self._fragments:
                now = self.clock.monotonic()
                key_frame_due = min(key_frame_due, now + self.timeouts.start_seconds)
                if now >= key_frame_due:
                    key_frame_due += self.timeouts.start_seconds
                    await self._say_waiting()
            if self.clock.monotonic() >= self._deadline:
                await self._say_stalled()

    def _sounded(self) -> None:
        """Extend the deadline of a start that has brought sound and no frame yet."""
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
        if not self._fragments:  # it delivers, and a key frame is waited for
            seconds = max(seconds, self.timeouts.start_seconds)
        self._deadline = self.clock.monotonic() + seconds

    def _may_wait(self, pipes: PipePoller, flow: PipeFlow) -> bool:
        """Whether nobody waits for what comes next, and reading in rounds costs less."""
        usual = self.delivered and self._problem is None and not self.stopping
        calm = usual and self._ahead <= 0 and not flow.hasty and not self._cut_off
        return calm and pipes.worthwhile and self._deadline != float("inf")

    async def _read_in_rounds(
        self, pipes: PipePoller, process: ChildProcess, flow: PipeFlow
    ) -> None:
        """Let the output be read with that of others, until that will not do any more.

        The end of the output is not taken here: the next read meets it again.
        """

        def take(chunk: memoryview) -> bool:
            flow.found(len(chunk), self.clock.monotonic())
            self._feed(chunk)
            self._hand_on(quiet=True)
            return len(chunk) > 0 and self._may_wait(pipes, flow)

        with pipes.reading(process.output, take) as reading:
            self._reading = reading
            while not reading.over.is_set() and self.clock.monotonic() < self._deadline:
                with trio.move_on_after(self._deadline - self.clock.monotonic()):
                    await reading.over.wait()
        self._reading = None
        reading.check()

    async def _parse(self, chunk: bytes) -> None:
        """Parse `chunk` in parts, so that other tasks run in between."""
        for start in range(0, len(chunk), TURN_BYTES):
            if start:
                await trio.lowlevel.checkpoint()
            if self._problem is None:
                self._feed(memoryview(chunk)[start : start + TURN_BYTES])

    def _feed(self, chunk: memoryview) -> None:
        """Keep what `chunk` completes, to be handed on."""
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
        """Deliver what waits, while other tasks run in between; True if there were frames in it."""
        before, pictures, left = self.delivered, 0, -1
        while len(self._waiting) not in (0, left):
            if left >= 0:
                await trio.lowlevel.checkpoint()
            left = len(self._waiting)
            pictures += self._hand_on(quiet=quiet or pictures > 0, most=TURN_FRAGMENTS)
        if self.delivered and not before:
            self.begun.set()
            await self.tell(FragmentArrived())
        return pictures > 0

    def _hand_on(self, *, quiet: bool, most: int | None = None) -> int:
        """Hand on what waits, or so much of it; return how many pictures there were in it.

        The first fragments of a live source wait until nothing comes for a moment (`quiet`).
        """
        live = self.throttle is None
        holding = live and not self._fragments and not quiet and not self.stopping
        if holding and self._waiting:
            self._held_since = self._held_since or self.clock.monotonic()
            if self.clock.monotonic() - self._held_since < GATHERED_SECONDS:
                return 0
        fragments = [event for event in self._waiting if isinstance(event, Fragment)]
        waiting, self._waiting = self._waiting[:most], self._waiting[most or len(self._waiting) :]
        times, pictures = iter(arrivals(fragments, self._read_at, self._arrived)), 0
        for event in waiting:
            if isinstance(event, Init):
                self.sink.begin(event)
                continue
            self._arrived = next(times)
            pictures += event.frames
            self.sink.deliver(event, self._arrived)
            if self._fragments or event.starts_with_sync:
                self._fragments += event.frames > 0
            else:
                self._early += event.frames  # no recording begins before a key frame
            if self.throttle is not None:
                self._ahead = self.throttle.ahead_seconds(event, self.clock.monotonic())
        if pictures:
            self._progressed()
        elif not self.delivered and not self._early and any(each.runs for each in fragments[:most]):
            self._sounded()
        return pictures

    async def _slow_down(self) -> None:
        """Leave in the pipe what comes too early."""
        if self._ahead > 0 and not self.stopping:
            self._throttled_until = self.clock.monotonic() + self._ahead
            with trio.move_on_after(self._ahead):
                await self._stop.wait()
            self._throttled_until = self.clock.monotonic()
            self._progressed()
        self._ahead = 0.0

    async def _say_waiting(self) -> None:
        """Tell that nothing can be recorded yet; a start waits no longer."""
        if not self.stopping:
            await self.tell(ProcessWaits(WAITING_FOR_KEY_FRAME))

    async def _say_stalled(self) -> None:
        """Tell once that no frames come, or sound alone."""
        self._deadline = float("inf")
        if not self.stopping:
            problem = STALLED if self._sound_since is None else SOUND_ONLY
            await self.tell(ProcessStalled(problem))

    async def _wait(self, process: ChildProcess) -> int:
        """Wait for FFmpeg's end after its pipe has closed; insist after a while."""
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
        return await process.wait()  # never a second capture on a device that one still holds

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

    async def _end_rest(self, process: ChildProcess) -> None:
        """End what the capture left behind: its pipe must end, and its device be free, after it."""
        await process.wait()
        ended, seconds = self.clock.monotonic(), self.timeouts.rest_seconds
        while True:  # what is left in the pipe while it is braked holds it as well
            left = max(ended, self._throttled_until) + seconds - self.clock.monotonic()
            if left <= 0:
                break
            await trio.sleep(min(left, seconds))
        log.warning("ffmpeg_left_processes", pid=process.pid)
        process.signal(signal.SIGKILL)
        await trio.sleep(LAST_WORDS_SECONDS)
        self._cut_off = True
        self._look.cancel()
        if self._reading is not None:
            self._reading.release()

    async def _watch_errors(self, process: ChildProcess) -> None:
        """Read FFmpeg's stderr, which it would block on otherwise; keep the last words."""
        rest = b""
        while chunk := await process.read_errors(ERRORS_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-LONGEST_LINE_BYTES:]
            for line in [line for line in lines if line.strip()][-LAST_WORDS:]:
                self._hear(line)
            if len(chunk) == ERRORS_BYTES:  # it writes faster than lines are of use
                await trio.sleep(GATHER_SECONDS)
        self._hear(rest)
        self._heard_all.set()

    def _hear(self, line: bytes) -> None:
        text = line[:LONGEST_LINE_BYTES].decode("utf-8", "replace").strip()
        if text:
            message = parse_line(text)
            if message.text.startswith("Input #0"):
                self._opened.set()
            self._words.append(message)
            log.debug("said", severity=message.level, text=redact(message.text))


def _missing(why: str) -> Problem:
    return attrs.evolve(FFMPEG_MISSING, message=f"FFmpeg cannot be run: {why}")
