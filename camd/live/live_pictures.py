"""Pictures for viewers that get no video: the samples of an MJPEG camera, or stills of another.

Stills are the newest frame once a second, made by the snapshots.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import attrs
import trio

from camd.capture.consumer import CapturedFragment
from camd.errors import RATE_LIMITED, Refusal
from camd.live.live_view import REMOVED, LiveViewEnd
from camd.snapshots.rules.pictures import PictureError, standalone
from camd.snapshots.snapshots import Still

STILL_SECONDS = 1.0


def pictures_of(captured: CapturedFragment) -> Iterator[bytes]:
    """Yield the pictures of an MJPEG fragment, each a whole JPEG; damaged ones are left out."""
    mdat = captured.fragment.mdat
    for at, size in captured.fragment.video_samples():
        try:
            yield standalone(bytes(mdat[at : at + size]))
        except PictureError:
            continue


class PictureSink(Protocol):
    """Takes the stills that a viewer gets."""

    async def still(self, still: Still) -> None:
        """Take a picture; waits while the viewer does not read."""

    async def ended(self, why: LiveViewEnd) -> None:
        """Note that no picture comes for now."""


@attrs.define(eq=False)
class StillsWatch:
    """One viewer of stills. `run` returns when the camera was removed."""

    take: Callable[[], Awaitable[Still]]  # raises Refusal
    is_present: Callable[[], bool]
    sink: PictureSink
    _resumed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _told: LiveViewEnd | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._resumed.set()

    def pause(self, paused: bool = True) -> None:
        """Take no pictures for a while, or take them again."""
        if not paused:
            self._resumed.set()
        elif self._resumed.is_set():
            self._resumed = trio.Event()

    async def run(self) -> None:
        """Show a picture each second until the camera was removed."""
        while self.is_present():
            await self._resumed.wait()
            due = trio.current_time() + STILL_SECONDS
            await self._show()
            await trio.sleep_until(due)
        await self.sink.ended(REMOVED)

    async def _show(self) -> None:
        try:
            still = await self.take()
        except Refusal as refusal:
            await self._tell(refusal)
            return
        self._told = None
        await self.sink.still(still)

    async def _tell(self, refusal: Refusal) -> None:
        """Tell why there is no picture, once; that others are made just now is no reason."""
        cause = str(refusal.details.get("cause", refusal.kind.name))
        why = LiveViewEnd(cause, refusal.message, refusal.suggestion)
        if refusal.kind is not RATE_LIMITED and why != self._told:
            self._told = why
            await self.sink.ended(why)
