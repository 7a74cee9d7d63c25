"""The queue of a recording: what the hub delivers waits here while the disk is slow or hangs.

Bounded in bytes. When it is full, the oldest whole groups of pictures are dropped and counted, and
the gap ledger gets them.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs
import trio

from camd.capture.consumer import CapturedFragment, ClockStepped, EndOfStream, HubItem

DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024


@attrs.frozen
class ClockSteppedWhileDown:
    """The wall clock was set while the daemon was down; later times are right already."""

    by: timedelta
    at: datetime


@attrs.frozen
class QueueDrop:
    """Frames that the full queue dropped at this place."""

    start: datetime
    end: datetime
    frames: int


QueueItem = HubItem | ClockSteppedWhileDown | QueueDrop


@attrs.define(eq=False)
class RecordingQueue:
    """The queue of a recording: every frame before EndOfStream comes out, or is in a QueueDrop.

    Bounded in bytes. When it is full, the oldest GOPs are dropped whole; of one whose beginning was
    taken, what is left. It is a `Consumer`.
    """

    limit_bytes: int = DEFAULT_LIMIT_BYTES
    grace_seconds: float = 0.0  # the capture need not outlast the recording
    each_frame: bool = False
    _items: deque[QueueItem] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)
    finished: bool = attrs.field(default=False, init=False)

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the queue."""
        return self._bytes

    def put(self, item: QueueItem) -> None:
        """Add an item; nothing is added after EndOfStream."""
        if self.finished:
            return
        self.finished = isinstance(item, EndOfStream)
        self._items.append(item)
        if isinstance(item, CapturedFragment):
            self._bytes += item.fragment.size_bytes
            while self._bytes > self.limit_bytes and self._drop_oldest_gop():
                pass
        self._arrived.set()

    def _drop_oldest_gop(self) -> bool:
        """Replace the oldest GOP by a QueueDrop; False when nothing may be dropped."""
        first = next(
            (i for i, x in enumerate(self._items) if isinstance(x, CapturedFragment)), None
        )
        if first is None or first == len(self._items) - 1:
            return False
        dropped: list[CapturedFragment] = []
        at = first
        while at < len(self._items):
            item = self._items[at]
            if isinstance(item, ClockStepped):  # within the GOP, or behind it
                at += 1
                continue
            if not isinstance(item, CapturedFragment) or (
                dropped and item.fragment.starts_with_sync
            ):
                break
            dropped.append(item)
            del self._items[at]
            self._bytes -= item.fragment.size_bytes
        frames = sum(item.fragment.frames for item in dropped)
        start, end = dropped[0].start, dropped[-1].end
        before = self._items[first - 1] if first else None
        if isinstance(before, QueueDrop):
            self._items[first - 1] = QueueDrop(before.start, end, before.frames + frames)
        else:
            self._items.insert(first, QueueDrop(start, end, frames))
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
