"""The queue of a publisher: when it is full, it goes on at the newest key frame."""

from __future__ import annotations

from collections import deque

import attrs
import trio

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    EndOfStream,
    HubItem,
)
from camd.mp4.fragments import Fragment, Init

LIMIT_BYTES = 16 * 1024 * 1024
LAG_SECONDS = 4.0  # of waiting footage; a viewer who is so far behind would rather see what is now


@attrs.frozen
class PublishedFragment:
    """A fragment and the header that it needs."""

    init: Init
    fragment: Fragment


@attrs.frozen
class StreamEnds:
    """The capture is over; what follows belongs to another one."""


@attrs.define(eq=False)
class PublicationQueue:
    """A consumer that keeps what its reader has not taken yet, up to LIMIT_BYTES and LAG_SECONDS.

    Beyond either, everything before the newest key frame that waits is dropped; where that is the
    first one that waits, everything is, and the next key frame is waited for.
    """

    limit_bytes: int = LIMIT_BYTES
    limit_seconds: float = LAG_SECONDS
    grace_seconds: float = 0.0
    each_frame: bool = False
    frames_dropped: int = attrs.field(default=0, init=False)
    _items: deque[PublishedFragment | StreamEnds] = attrs.field(factory=deque, init=False)
    _header: Init | None = attrs.field(default=None, init=False)
    waiting_bytes: int = attrs.field(default=0, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)
    _awaits_key_frame: bool = attrs.field(default=True, init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def waiting_seconds(self) -> float:
        """Footage that waits for the reader."""
        return max(0.0, self._seconds)

    def put(self, item: HubItem) -> None:
        """Take an item of the hub."""
        match item:
            case CaptureBegan(init):
                self._begin(init)
            case CapturedFragment():
                self._add(item)
            case CaptureEnded() | EndOfStream():
                self._end()

    async def take(self, init: Init) -> Fragment | None:
        """Wait for the next fragment; None: the capture ended, or it needs another header."""
        first = await self._first()
        if isinstance(first, StreamEnds):
            self._items.popleft()
            return None
        if first.init is not init and first.init.moov != init.moov:
            return None
        self._items.popleft()
        self._count(first.fragment, -1)
        return first.fragment

    async def wait_header(self) -> Init:
        """Wait for a fragment that begins with a key frame; return the header that it needs.

        What comes before it is dropped; the fragment itself is taken next.
        """
        while not _begins(first := await self._first()):
            self._drop(self._items.popleft())
        assert isinstance(first, PublishedFragment)
        return first.init

    async def _first(self) -> PublishedFragment | StreamEnds:
        while not self._items:
            self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        return self._items[0]

    def _begin(self, init: Init) -> None:
        """Another capture begins: what waits of the one before is of no use to a viewer."""
        self._drop_all()
        self._header = init
        self._awaits_key_frame = True
        self._put(StreamEnds())

    def _end(self) -> None:
        if not (self._items and isinstance(self._items[-1], StreamEnds)):
            self._put(StreamEnds())
        self._awaits_key_frame = True

    def _add(self, captured: CapturedFragment) -> None:
        fragment = captured.fragment
        init = captured.init or self._header
        if init is None or (self._awaits_key_frame and not fragment.starts_with_sync):
            self.frames_dropped += fragment.frames
            return
        self._awaits_key_frame = False
        self._count(fragment, 1)
        self._put(PublishedFragment(init, fragment))
        if self.waiting_bytes > self.limit_bytes or self._seconds > self.limit_seconds:
            self._catch_up()

    def _catch_up(self) -> None:
        """Drop what waits before the newest key frame."""
        newest = max(
            (at for at, item in enumerate(self._items) if _begins(item)),
            default=0,
        )
        if newest == 0:
            self._drop_all()
            self._awaits_key_frame = True
            return
        for _ in range(newest):
            self._drop(self._items.popleft())

    def _drop_all(self) -> None:
        while self._items:
            self._drop(self._items.popleft())

    def _drop(self, item: PublishedFragment | StreamEnds) -> None:
        if isinstance(item, PublishedFragment):
            self._count(item.fragment, -1)
            self.frames_dropped += item.fragment.frames

    def _count(self, fragment: Fragment, sign: int) -> None:
        self.waiting_bytes += sign * fragment.size_bytes
        self._seconds += sign * fragment.duration_seconds

    def _put(self, item: PublishedFragment | StreamEnds) -> None:
        self._items.append(item)
        self._arrived.set()


def _begins(item: PublishedFragment | StreamEnds) -> bool:
    return isinstance(item, PublishedFragment) and item.fragment.starts_with_sync
