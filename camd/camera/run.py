"""One life of a camera's FFmpeg child: from its arguments to its last fragment.

Reads the child's pipe until its end, whatever happens; notices when nothing comes; and says
afterwards, from the exit status and the last words, why it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

import attrs
import structlog
import trio

from camd.clock import monotonic
from camd.media.boxes import MediaError
from camd.media.fragments import Fragment, FragmentReader, Init
from camd.media.redact import redact
from camd.media.report import Message, classify, parse_line
from camd.media.trouble import BAD_STREAM, FFMPEG_MISSING, HUNG, MUTE, STALLED
from camd.model import Trouble
from camd.runtime.pipes import Flow, Pipes, Reading, capacity
from camd.runtime.spawn import Child, open_child

log = structlog.get_logger("camd.ffmpeg")

LAST_WORDS = 100
LAST_WORDS_SECONDS = 1.0  # a grandchild could hold the pipe open
END_PATIENCE_SECONDS = 5.0  # from the end of its output to its own
LONGEST_LINE_BYTES = 8192
LAST_LOOK_SECONDS = 0.1  # when it was this program that slept, what came meanwhile is in the pipe
GATHER_SECONDS = 0.02  # a fragment comes in many writes; reading them at once saves wake-ups

NOT_EXECUTED = (126, 127)  # what setpriv(1), as any shell, says of a program that cannot be run


Launch = Callable[[Sequence[str]], AbstractAsyncContextManager[Child]]


class Consumer(Protocol):
    """Who gets what the child delivers."""

    def begin(self, init: Init) -> None:
        """The stream's description is here."""

    def deliver(self, fragment: Fragment) -> object:
        """A fragment is here."""


@attrs.frozen
class Patience:
    """How long nothing may come, in seconds: before the first fragment, and between two."""

    start_seconds: float
    stall_seconds: float


@attrs.define(eq=False)
class Run:
    """One child. `stop` may be called at any time; `live` returns when the child is gone."""

    consumer: Consumer
    patience: Patience
    streaming: Callable[[], Awaitable[None]]
    stalled: Callable[[Trouble], Awaitable[None]]
    may_end: bool = False  # the source has an end; all others are live, and never end well
    launch: Launch = open_child
    pipes: Pipes | None = None  # who reads the output when nobody waits for it
    _heard_all: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stop: trio.Event = attrs.field(factory=trio.Event, init=False)
    _words: deque[Message] = attrs.field(factory=lambda: deque(maxlen=LAST_WORDS), init=False)
    _trouble: Trouble | None = attrs.field(default=None, init=False)
    _fragments: int = attrs.field(default=0, init=False)
    _deadline: float = attrs.field(default=0.0, init=False)  # monotonic seconds
    _reader: FragmentReader = attrs.field(factory=FragmentReader, init=False)
    _reading: Reading | None = attrs.field(default=None, init=False)  # in rounds

    @property
    def stopping(self) -> bool:
        """Whether the child was told to end."""
        return self._stop.is_set()

    @property
    def delivered(self) -> bool:
        """Whether there was a fragment."""
        return self._fragments > 0

    def stop(self) -> None:
        """Ask the child to end; what it still has to say is read to the end."""
        self._stop.set()
        if self._reading is not None:
            self._reading.release()

    async def wait_stop(self) -> None:
        """Wait until the child is told to end."""
        await self._stop.wait()

    async def live(self, arguments: Sequence[str]) -> Trouble | None:
        """Run the child to its end; return why it ended, None when that was wanted.

        A source that has been played to its end also ends with None if it said nothing.
        """
        try:
            async with self.launch(arguments) as child, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_errors, child)
                nursery.start_soon(self._end_when_told, child)
                with self.pipes.interest() if self.pipes is not None else nullcontext():
                    await self._read(child)
                status = await self._wait(child)
                with trio.move_on_after(LAST_WORDS_SECONDS):
                    await self._heard_all.wait()
                nursery.cancel_scope.cancel()
        except OSError as error:
            return _missing(str(error.strerror))
        if self._trouble is not None:
            return self._trouble
        if self.stopping:
            return None
        if status in NOT_EXECUTED and not self._fragments:
            return _missing(self._words[-1].text if self._words else f"exit status {status}")
        if self.may_end and status == 0 and self._fragments and not self._complained:
            return None
        trouble = classify(tuple(self._words), status)
        silent = trouble.cause == "timed_out" and self.delivered
        return STALLED if silent else trouble

    @property
    def _complained(self) -> bool:
        return any(word.severe for word in self._words)

    async def _read(self, child: Child) -> None:
        """Parse the child's output until its end; after a parse error it is only drained.

        Only pictures count as progress: sound alone is a stall. Who was told to end has no
        deadline here, whatever it still delivers: `_end_when_told` sees to it.
        """
        self._deadline = monotonic() + self.patience.start_seconds
        flow = Flow(capacity(child.output)) if self.pipes is not None else None
        while True:
            if self.pipes is not None and flow is not None and self._may_wait(self.pipes, flow):
                await self._read_in_rounds(self.pipes, child, flow)
            chunk: bytes | None = None
            with trio.move_on_after(max(LAST_LOOK_SECONDS, self._deadline - monotonic())):
                chunk = await child.read_output()
            if chunk == b"":
                return
            if chunk and flow is not None:
                flow.came(len(chunk), monotonic())
            if chunk and self._trouble is None and await self._parse(chunk):
                self._progressed()
            elif chunk and not self.stopping:  # the rest is on its way, in many small writes
                await trio.sleep(GATHER_SECONDS)
            if chunk is None or monotonic() >= self._deadline:
                self._deadline = float("inf")
                if not self.stopping:
                    await self.stalled(STALLED)

    def _progressed(self) -> None:
        if self._deadline != float("inf"):
            self._deadline = monotonic() + self.patience.stall_seconds

    def _may_wait(self, pipes: Pipes, flow: Flow) -> bool:
        """Whether nobody waits for what comes next, neither a start nor an end, and it pays."""
        usual = self.delivered and self._trouble is None and not self.stopping
        usual = usual and pipes.worthwhile
        return usual and not flow.hasty and self._deadline != float("inf")

    async def _read_in_rounds(self, pipes: Pipes, child: Child, flow: Flow) -> None:
        """Let the output be read with that of others, until that will not do any more.

        The end of the output is left for whoever reads next, who meets it again.
        """

        def take(chunk: memoryview) -> bool:
            flow.found(len(chunk), monotonic())
            if self._hand_on(chunk):
                self._progressed()
            return len(chunk) > 0 and self._may_wait(pipes, flow)

        with pipes.reading(child.output, take) as reading:
            self._reading = reading
            while not reading.over.is_set() and monotonic() < self._deadline:
                with trio.move_on_after(self._deadline - monotonic()):
                    await reading.over.wait()
        self._reading = None
        reading.check()

    async def _parse(self, chunk: bytes) -> bool:
        """Hand on what `chunk` completes; True when there were pictures in it."""
        pictures = self._hand_on(chunk)
        if pictures and not self._fragments:
            self._fragments = 1
            await self.streaming()
        return pictures > 0

    def _hand_on(self, chunk: bytes | memoryview) -> int:
        """Hand on what `chunk` completes; return how many pictures there were in it."""
        try:
            events = self._reader.feed(chunk)
        except MediaError as error:
            log.error("stream_unreadable", error=str(error))
            self._trouble = attrs.evolve(BAD_STREAM, message=f"{BAD_STREAM.message}: {error}")
            self.stop()
            return 0
        pictures = 0
        for event in events:
            if isinstance(event, Init):
                self.consumer.begin(event)
            else:
                self.consumer.deliver(event)
                pictures += event.frames
        return pictures

    async def _wait(self, child: Child) -> int:
        """Wait for the child's end after its pipe has closed; insist after a while."""
        with trio.move_on_after(END_PATIENCE_SECONDS):
            return await child.wait()
        if not self.stopping:
            log.error("child_mute", pid=child.pid)
            self._trouble = self._trouble or MUTE
        if (status := await child.end()) is not None:
            return status
        log.error("child_hung", pid=child.pid)
        self._trouble = HUNG
        await self.stalled(HUNG)
        return await child.wait()  # never a second child on a device that one still holds

    async def _end_when_told(self, child: Child) -> None:
        await self._stop.wait()
        if await child.end() is None:
            log.error("child_hung", pid=child.pid)
            await self.stalled(HUNG)

    async def _watch_errors(self, child: Child) -> None:
        """Read the child's stderr, which it would block on otherwise; keep the last words."""
        rest = b""
        while chunk := await child.read_errors():
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-LONGEST_LINE_BYTES:]
            for line in lines:
                self._hear(line)
        self._hear(rest)
        self._heard_all.set()

    def _hear(self, line: bytes) -> None:
        text = line[:LONGEST_LINE_BYTES].decode("utf-8", "replace").strip()
        if text:
            message = parse_line(text)
            self._words.append(message)
            log.debug("said", level=message.level, text=redact(message.text))


def _missing(why: str) -> Trouble:
    return attrs.evolve(FFMPEG_MISSING, message=f"FFmpeg cannot be run: {why}")
