"""The consumer of a snapshot: the newest group of pictures of the running capture."""

from __future__ import annotations

from datetime import timedelta

import attrs
import trio

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    ClockStepped,
    HubItem,
)
from camd.mp4.fragments import Init

GROUP_BYTES = 32 * 1024 * 1024
GRACE_SECONDS = 10.0  # the capture goes on for the next snapshot


@attrs.define(eq=False)
class NewestGop:
    """Holds what came since the last key frame; policy: latest key frame.

    Bounded in bytes: a group that is larger is dropped, and the next key frame begins another.
    """

    limit_bytes: int = GROUP_BYTES
    grace_seconds: float = GRACE_SECONDS
    each_frame: bool = True  # the newest one is not half a second old, and the key frame is younger
    init: Init | None = attrs.field(default=None, init=False)
    fragments: list[CapturedFragment] = attrs.field(factory=list, init=False)
    failed: CaptureEnded | None = attrs.field(default=None, init=False)
    _size_bytes: int = attrs.field(default=0, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def put(self, item: HubItem) -> None:
        """Keep an item that belongs to the newest group, and wake those who wait."""
        match item:
            case CapturedFragment():
                self._keep(item)
            case CaptureBegan(init):
                self._clear()
                self.init = init
            case CaptureEnded(cause):
                self._clear()
                self.failed = item if cause is not None else None
            case ClockStepped(by):
                self.fragments = [_stepped(each, by) for each in self.fragments]
            case _:
                pass
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait_changed(self) -> None:
        """Wait until an item comes."""
        await self._changed.wait()

    def _keep(self, captured: CapturedFragment) -> None:
        if captured.fragment.starts_with_sync:
            self._clear()
        elif not self.fragments:
            return
        self.fragments.append(captured)
        self._size_bytes += captured.fragment.size_bytes
        if self._size_bytes > self.limit_bytes:
            self._clear()

    def _clear(self) -> None:
        self.fragments, self._size_bytes = [], 0


def _stepped(captured: CapturedFragment, by: timedelta) -> CapturedFragment:
    """Give a fragment its time on the wall clock that was set."""
    anchor = captured.anchor
    return attrs.evolve(captured, anchor=attrs.evolve(anchor, wall=anchor.wall + by))
