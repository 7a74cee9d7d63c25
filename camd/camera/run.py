"""One life of a camera's FFmpeg child: from its arguments to its last fragment.

Reads the child's pipe until its end, whatever happens; notices when nothing comes; and says
afterwards, from the exit status and the last words, why it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs
import structlog
import trio

from camd.camera.timeline import arrivals
from camd.clock import monotonic
from camd.media.boxes import MediaError
from camd.media.fragments import Fragment, FragmentReader, Init
from camd.media.redact import redact
from camd.media.report import Message, classify, parse_line
from camd.media.trouble import BAD_STREAM, FFMPEG_MISSING, HUNG, MUTE, SOUND_MISSING, STALLED
from camd.model import Trouble
from camd.runtime.spawn import Child, open_child

log = structlog.get_logger("camd.ffmpeg")

LAST_WORDS = 100
LAST_WORDS_SECONDS = 1.0  # a grandchild could hold the pipe open
END_PATIENCE_SECONDS = 5.0  # from the end of its output to its own
LONGEST_LINE_BYTES = 8192
LAST_LOOK_SECONDS = 0.1  # when it was this program that slept, what came meanwhile is in the pipe
GATHER_SECONDS = 0.02  # a fragment comes in many writes; reading them at once saves wake-ups
# At first FFmpeg hands on at once what it has looked at; when its first frame was there is known
# only when that is over.
QUIET_SECONDS = 0.05
GATHERED_SECONDS = 2.0
AHEAD_SECONDS = 1.0  # so far a source may be ahead of real time before it is braked
LONGEST_BRAKE_SECONDS = 0.5

NOT_EXECUTED = (126, 127)  # what setpriv(1), as any shell, says of a program that cannot be run


Launch = Callable[[Sequence[str]], AbstractAsyncContextManager[Child]]


class Consumer(Protocol):
    """Who gets what the child delivers."""

    def begin(self, init: Init) -> None:
        """The stream's description is here."""

    def deliver(self, fragment: Fragment, arrived: float) -> object:
        """A fragment is here; its last frame arrived then, in monotonic seconds."""


@attrs.frozen
class Patience:
    """How long nothing may come, in seconds: before the first fragment, and between two."""

    start_seconds: float
    stall_seconds: float


@attrs.define(eq=False)
class Brake:
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
class Run:
    """One child. `stop` may be called at any time; `live` returns when the child is gone."""

    consumer: Consumer
    patience: Patience
    streaming: Callable[[], Awaitable[None]]
    stalled: Callable[[Trouble], Awaitable[None]]
    may_end: bool = False  # the source has an end; all others are live, and never end well
    launch: Launch = open_child
    brake: Brake | None = None  # for sources that are not live
    _arrived: float = attrs.field(default=0.0, init=False)  # when the latest fragment did
    _read_at: float = attrs.field(default=0.0, init=False)  # when there was something to read
    _waiting: list[Init | Fragment] = attrs.field(factory=list, init=False)
    wanted: bool = attrs.field(default=True, init=False)  # until `stop` is called
    _opened: trio.Event = attrs.field(factory=trio.Event, init=False)  # the source, by FFmpeg
    _described: trio.Event = attrs.field(factory=trio.Event, init=False)  # the header is here
    _heard_all: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stop: trio.Event = attrs.field(factory=trio.Event, init=False)
    _words: deque[Message] = attrs.field(factory=lambda: deque(maxlen=LAST_WORDS), init=False)
    _trouble: Trouble | None = attrs.field(default=None, init=False)
    _fragments: int = attrs.field(default=0, init=False)

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
        self.wanted = False
        self._stop.set()

    async def wait_stop(self) -> None:
        """Wait until the child is told to end."""
        await self._stop.wait()

    async def live(
        self, arguments: Sequence[str], sound_seconds: float | None = None
    ) -> Trouble | None:
        """Run the child to its end; return why it ended, None when that was wanted.

        A source that has been played to its end also ends with None if it said nothing. When its
        header is not there `sound_seconds` after the source was opened, it waits for sound.
        """
        try:
            async with self.launch(arguments) as child, trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_errors, child)
                nursery.start_soon(self._end_when_told, child)
                if sound_seconds is not None:
                    nursery.start_soon(self._await_sound, sound_seconds)
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
        reader = FragmentReader()
        self._arrived = monotonic()
        deadline = self._arrived + self.patience.start_seconds
        while True:
            chunk: bytes | None = None
            patience = max(LAST_LOOK_SECONDS, deadline - monotonic())
            with trio.move_on_after(QUIET_SECONDS if self._waiting else patience):
                chunk = await child.read_output()
            if chunk and self._trouble is None:
                self._read_at = monotonic()
                self._parse(reader, chunk)
            pictures = await self._hand_on(quiet=not chunk)
            if chunk == b"":
                return
            if pictures:
                if deadline != float("inf"):
                    deadline = monotonic() + self.patience.stall_seconds
            elif chunk and not self._waiting and not self.stopping:
                await trio.sleep(GATHER_SECONDS)  # the rest is on its way, in many small writes
            if monotonic() >= deadline:
                deadline = float("inf")
                if not self.stopping:
                    await self.stalled(STALLED)

    def _parse(self, reader: FragmentReader, chunk: bytes) -> None:
        """Keep what `chunk` completes, to be handed on."""
        try:
            self._waiting += reader.feed(chunk)
            if self._waiting:
                self._described.set()
        except MediaError as error:
            log.error("stream_unreadable", error=str(error))
            self._trouble = attrs.evolve(BAD_STREAM, message=f"{BAD_STREAM.message}: {error}")
            self._stop.set()

    async def _hand_on(self, *, quiet: bool) -> bool:
        """Hand on what waits; True when there were pictures in it.

        The first fragments of a live source wait until nothing comes for a moment (`quiet`).
        """
        live = self.brake is None
        holding = live and not self._fragments and not quiet and not self.stopping
        if holding and monotonic() - self._arrived < GATHERED_SECONDS:
            return False
        waiting, self._waiting = self._waiting, []
        fragments = [event for event in waiting if isinstance(event, Fragment)]
        times = iter(arrivals(fragments, self._read_at, self._arrived))
        pictures, ahead = 0, 0.0
        for event in waiting:
            if isinstance(event, Init):
                self.consumer.begin(event)
                continue
            self._arrived = next(times)
            self.consumer.deliver(event, self._arrived)
            pictures += event.frames
            if self.brake is not None:
                ahead = self.brake.ahead_seconds(event, monotonic())
            if event.frames and not self._fragments:
                self._fragments = 1
                await self.streaming()
        if ahead > 0 and not self.stopping:
            with trio.move_on_after(min(ahead, LONGEST_BRAKE_SECONDS)):
                await self._stop.wait()
        return pictures > 0

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

    async def _await_sound(self, seconds: float) -> None:
        await self._opened.wait()
        with trio.move_on_after(seconds):
            await self._described.wait()
            return
        if not self.stopping:
            self._trouble = self._trouble or SOUND_MISSING
            self._stop.set()

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
            if message.text.startswith("Input #0"):
                self._opened.set()
            self._words.append(message)
            log.debug("said", level=message.level, text=redact(message.text))


def _missing(why: str) -> Trouble:
    return attrs.evolve(FFMPEG_MISSING, message=f"FFmpeg cannot be run: {why}")
