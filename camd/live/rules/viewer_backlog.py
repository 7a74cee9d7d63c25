"""What waits for one viewer, and when a viewer is too far behind to get it."""

from __future__ import annotations

from collections import deque

import attrs

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    ClockStepped,
    HubItem,
)

LIMIT_BYTES = 4 * 1024 * 1024
LAG_SECONDS = 2.0
JOINED_BYTES = 256 * 1024  # of fragments that are sent together


@attrs.frozen
class FramesLost:
    """Frames that a viewer was too slow for; the last of them arrived at `until` (monotonic)."""

    frames: int
    seconds: float
    until: float

    def without(self, group: tuple[CapturedFragment, ...]) -> FramesLost:
        """Leave out what the viewer gets all the same, in the group that it goes on with."""
        again = [each.fragment for each in group if each.arrived <= self.until]
        frames = sum(fragment.frames for fragment in again)
        seconds = sum(fragment.duration_seconds for fragment in again)
        return attrs.evolve(
            self, frames=max(0, self.frames - frames), seconds=max(0.0, self.seconds - seconds)
        )


@attrs.define(eq=False)
class ViewerBacklog:
    """Keeps what a viewer has not taken yet, up to LIMIT_BYTES and LAG_SECONDS.

    Beyond either, everything is dropped and nothing is kept any more: the viewer begins anew at
    the newest key frame, with another backlog. What had arrived when the viewer came (`began`,
    monotonic seconds) is the group that the hub holds in any case, and takes no part in the bytes.
    """

    began: float
    limit_bytes: int = LIMIT_BYTES
    limit_seconds: float = LAG_SECONDS
    clock_stepped: bool = attrs.field(default=False, init=False)  # and the viewer was not told
    _items: deque[CaptureBegan | CapturedFragment | CaptureEnded] = attrs.field(
        factory=deque, init=False
    )
    waiting_bytes: int = attrs.field(default=0, init=False)  # the hub's group not counted
    _awaits_key_frame: bool = attrs.field(default=True, init=False)
    _lost: FramesLost | None = attrs.field(default=None, init=False)

    @property
    def lost(self) -> FramesLost | None:
        """What was dropped; None: the viewer is not too far behind."""
        return self._lost

    @property
    def group(self) -> tuple[CapturedFragment, ...]:
        """The fragments that wait."""
        return tuple(each for each in self._items if isinstance(each, CapturedFragment))

    def put(self, item: HubItem) -> None:
        """Take an item of the hub."""
        match item:
            case CapturedFragment():
                self._add(item)
            case CaptureBegan():  # what waits of the one before is of no use any more
                self._clear()
                self._awaits_key_frame = True
                self._items.append(item)
            case CaptureEnded():
                if self._items and isinstance(self._items[-1], CaptureEnded):
                    self._items.pop()
                self._items.append(item)
            case ClockStepped():
                self.clock_stepped = True
            case _:
                pass

    def take(self) -> CaptureBegan | CaptureEnded | tuple[CapturedFragment, ...] | None:
        """Take what is next: fragments that need the same header together; None: nothing waits."""
        if not self._items:
            return None
        first = self._items[0]
        if not isinstance(first, CapturedFragment):
            self._items.popleft()
            return first
        taken: list[CapturedFragment] = []
        size = 0
        while self._items and size < JOINED_BYTES:
            following = self._items[0]
            if not isinstance(following, CapturedFragment) or following.init is not first.init:
                break
            taken.append(following)
            size += following.fragment.size_bytes
            self._items.popleft()
            self._count(following, -1)
        return tuple(taken)

    def _add(self, captured: CapturedFragment) -> None:
        if self._lost is not None:
            self._lose(captured)
            return
        self._awaits_key_frame &= not captured.fragment.starts_with_sync
        if self._awaits_key_frame:
            return
        self._items.append(captured)
        self._count(captured, 1)
        if self.waiting_bytes > self.limit_bytes or self._lag(captured) > self.limit_seconds:
            self._give_up()

    def _lag(self, newest: CapturedFragment) -> float:
        """Return for how many seconds the oldest fragment has been waiting."""
        oldest = next(each for each in self._items if isinstance(each, CapturedFragment))
        return newest.arrived - max(oldest.arrived, self.began)

    def _give_up(self) -> None:
        group, ends = self.group, [each for each in self._items if isinstance(each, CaptureEnded)]
        self._clear()
        self._items.extend(ends[-1:])
        self._lost = FramesLost(0, 0.0, group[-1].arrived)
        for each in group:
            self._lose(each)

    def _lose(self, captured: CapturedFragment) -> None:
        assert self._lost is not None
        self._lost = FramesLost(
            self._lost.frames + captured.fragment.frames,
            self._lost.seconds + captured.fragment.duration_seconds,
            captured.arrived,
        )

    def _clear(self) -> None:
        self._items.clear()
        self.waiting_bytes = 0

    def _count(self, captured: CapturedFragment, sign: int) -> None:
        if captured.arrived > self.began:
            self.waiting_bytes += sign * captured.fragment.size_bytes
