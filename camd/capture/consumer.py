"""The bounded way from a camera's pipe to its session: what comes out is what must be written.

When full, the oldest whole GOPs go, and a marker in their place says what was lost: the pipe of
the camera's child is never left unread, because a blocked FFmpeg loses frames in the kernel,
where nobody counts them.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs
import trio

from camd.model import Cause
from camd.mp4.fragments import Fragment, Init

DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024


@attrs.frozen
class CapturedFragment:
    """A fragment, and when its first frame was there (wall clock, UTC).

    `init` is the header that it needs; None: the one that its run began with. `placed` says that
    its times were compared with its arrival, and follow it; `turned` that from here on they come
    from another clock, so that intervals before and behind are no measure for each other; `spread`
    that its pictures are timed by their arrival alone.
    """

    fragment: Fragment
    start: datetime
    end: datetime
    init: Init | None = None
    placed: bool = False
    turned: bool = False
    spread: bool = False

    def moved(self, by: timedelta) -> CapturedFragment:
        """Tell its times on a clock that was set by so much."""
        return attrs.evolve(self, start=self.start + by, end=self.end + by)


@attrs.frozen
class CaptureBegan:
    """A child delivers its first bytes; everything behind belongs to it."""

    init: Init


@attrs.frozen
class CaptureEnded:
    """The child is gone; `cause` says why footage will be missing, None: nothing is missing."""

    cause: Cause | None
    reason: str


@attrs.frozen
class ClockStepped:
    """The wall clock was set; everything behind is told on the new one, and so is `at`, now."""

    by: timedelta
    at: datetime


@attrs.frozen
class ClockFound:
    """The wall clock was set while the daemon was down; times of what follows are right already."""

    by: timedelta
    at: datetime


@attrs.frozen
class QueueOverflowed:
    """Frames that the disk was too slow for, here."""

    start: datetime
    end: datetime
    frames: int


@attrs.frozen
class EndOfInput:
    """Nothing will come any more."""


QueueItem = (
    CapturedFragment
    | CaptureBegan
    | CaptureEnded
    | ClockFound
    | ClockStepped
    | QueueOverflowed
    | EndOfInput
)


@attrs.define(eq=False)
class CaptureQueue:
    """Filled without waiting by the camera, emptied by its recorder."""

    limit_bytes: int = DEFAULT_LIMIT_BYTES
    _items: deque[QueueItem] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)
    _last_call: bool = attrs.field(default=False, init=False)
    finished: bool = attrs.field(default=False, init=False)

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be written."""
        return self._bytes

    def put(self, item: QueueItem) -> None:
        """Add an item; after Finish nothing is added any more."""
        if self.finished:
            return
        self.finished = isinstance(item, EndOfInput)
        self._items.append(item)
        if isinstance(item, CapturedFragment):
            self._bytes += item.fragment.size_bytes
            while self._bytes > self.limit_bytes and self._drop_oldest_gop():
                pass
            if self._last_call:
                self._items.append(EndOfInput())
                self.finished = True
        self._arrived.set()

    def finish_after_next(self) -> None:
        """Finish behind the fragment that is in flight now: it holds the frames until now."""
        self._last_call = True

    def _drop_oldest_gop(self) -> bool:
        """Replace the oldest GOP by a marker; False when nothing may be dropped."""
        first = next(
            (i for i, x in enumerate(self._items) if isinstance(x, CapturedFragment)), None
        )
        if first is None or first == len(self._items) - 1:
            return False
        dropped: list[CapturedFragment] = []
        while first < len(self._items):
            item = self._items[first]
            if not isinstance(item, CapturedFragment) or (
                dropped and item.fragment.starts_with_sync
            ):
                break
            dropped.append(item)
            del self._items[first]
            self._bytes -= item.fragment.size_bytes
        frames = sum(item.fragment.frames for item in dropped)
        start, end = dropped[0].start, dropped[-1].end
        before = self._items[first - 1] if first else None
        if isinstance(before, QueueOverflowed):
            self._items[first - 1] = QueueOverflowed(before.start, end, before.frames + frames)
        else:
            self._items.insert(first, QueueOverflowed(start, end, frames))
        return True

    async def get(self) -> QueueItem:
        """Wait for the next item."""
        while not self._items:
            self._arrived = trio.Event()
            await self._arrived.wait()
        item = self._items.popleft()
        if isinstance(item, CapturedFragment):
            self._bytes -= item.fragment.size_bytes
        return item
