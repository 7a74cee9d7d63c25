"""The items that a hub puts into its consumers, and the queue of a recording.

A consumer is a recording, a viewer, a snapshot, or the pre-roll of a camera. `Consumer.put` never
waits: each consumer has its own policy for a full queue. FFmpeg's pipe is always read, because a
blocked FFmpeg loses frames in the kernel, where they are not counted.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Protocol

import attrs
import trio

from camd.clock import Anchor
from camd.model import Cause
from camd.mp4.fragments import Fragment, Init

DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024


@attrs.frozen
class CapturedFragment:
    """A fragment, and when its last frame arrived, in monotonic seconds.

    `anchor` converts that to wall time (UTC). `init` is the header that the fragment needs; None:
    the header that its capture began with. `placed`: its time stamps were compared with its
    arrival and follow it. `turned`: from here on the time stamps come from another clock, so
    intervals before and after cannot be compared. `spread`: the frames are timed by their arrival
    alone.
    """

    fragment: Fragment
    arrived: float
    anchor: Anchor
    init: Init | None = None
    placed: bool = False
    turned: bool = False
    spread: bool = False

    @property
    def began(self) -> float:
        """When its first frame was captured, in monotonic seconds."""
        return self.arrived - self.fragment.duration_seconds

    @property
    def start(self) -> datetime:
        """Wall time of its first frame."""
        return self.end - timedelta(seconds=self.fragment.duration_seconds)

    @property
    def end(self) -> datetime:
        """Wall time of its last frame."""
        return self.anchor.wall_at(self.arrived)


@attrs.frozen
class CaptureBegan:
    """A capture delivers its header; everything up to CaptureEnded belongs to it."""

    init: Init


@attrs.frozen
class CaptureEnded:
    """The capture is over; `cause` says why footage will be missing, None: nothing is missing."""

    cause: Cause | None
    reason: str


@attrs.frozen
class ClockStepped:
    """The wall clock was set by `by`; `at` and all later times are on the new clock."""

    by: timedelta
    at: datetime


@attrs.frozen
class ClockFound:
    """The wall clock was set while the daemon was down; later times are right already."""

    by: timedelta
    at: datetime


@attrs.frozen
class QueueOverflowed:
    """Frames that the full queue dropped at this place."""

    start: datetime
    end: datetime
    frames: int


@attrs.frozen
class EndOfInput:
    """Nothing follows."""


HubItem = CaptureBegan | CapturedFragment | CaptureEnded | ClockStepped | EndOfInput
QueueItem = HubItem | ClockFound | QueueOverflowed


class Consumer(Protocol):
    """Takes a camera's stream, with a queue and a policy of its own."""

    @property
    def grace_seconds(self) -> float:
        """How long the capture goes on after this consumer, when it is the last one to leave."""

    def put(self, item: HubItem) -> None:
        """Take an item at once: keep it, merge it, or drop it and count it."""


@attrs.frozen
class StandingDemand:
    """The consumer of an `always_on` camera or its pre-roll: needs the capture, keeps nothing.

    The hub keeps what a later consumer begins with.
    """

    grace_seconds: float = 0.0

    def put(self, item: HubItem) -> None:
        """Drop the item."""


@attrs.define(eq=False)
class LosslessQueue:
    """The queue of a recording: every frame comes out, or is counted in a QueueOverflowed.

    Bounded in bytes. When it is full, the oldest whole GOPs are dropped.
    """

    limit_bytes: int = DEFAULT_LIMIT_BYTES
    grace_seconds: float = 0.0
    _items: deque[QueueItem] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)
    finished: bool = attrs.field(default=False, init=False)

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the queue."""
        return self._bytes

    def put(self, item: QueueItem) -> None:
        """Add an item; nothing is added after EndOfInput."""
        if self.finished:
            return
        self.finished = isinstance(item, EndOfInput)
        self._items.append(item)
        if isinstance(item, CapturedFragment):
            self._bytes += item.fragment.size_bytes
            while self._bytes > self.limit_bytes and self._drop_oldest_gop():
                pass
        self._arrived.set()

    def _drop_oldest_gop(self) -> bool:
        """Replace the oldest GOP by a QueueOverflowed; False when nothing may be dropped."""
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
