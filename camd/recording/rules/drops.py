"""Which frames a source left out, by the drops in its capture times. Pure.

A drop is an interval between two frames that is much longer than what is usual before it and
after it. Frames that come late and are made up for by short intervals are jitter. A camera that
changes its rate for good makes no drop: behind the change, its intervals are all alike. A cadence
(two short intervals and a long one, over and over) is normal as soon as it has been seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from statistics import fmean, median

import attrs

from camd.mp4.fragments import Fragment

LONGER = 1.75  # times what is usual: one missing frame makes it 2, the seam of a loop below 1.7
WINDOW = 64  # intervals that say what is usual: two seconds of most cameras
LEAST_KNOWN = 16  # intervals; with fewer, nothing is usual yet
FORESIGHT = 16  # intervals behind a long one that are awaited before it is judged …
LONGEST_FORESIGHT = 80  # … while it is being made up for; longer steps are cut before
STRAYS = 1 / 8  # more tiny intervals than this: stamps stray, and their mean says how many come
VAGUE_SECONDS = 1.0  # of times that are no stamps, or stray, less says nothing
TINY = 0.25  # times the mean: no interval of a camera, but a stamp behind a later one
USUAL_SHARE = 0.85  # more long ones than the rest of this are a cadence
SHORT = 0.75  # times the median: such intervals make up for a late frame
MISSING = 0.75  # of a frame's time must be missing, so that it counts as a frame
FIRST_CALM_SECONDS = 10.0  # drops closer than this are one entry; doubles with each entry …
LONGEST_CALM_SECONDS = 300.0  # … up to this


@attrs.frozen
class DroppedFrames:
    """Frames that never came, in one place or in several close to each other."""

    start: datetime  # when the first one was due
    end: datetime  # when frames came again
    seconds: float  # without a frame, within the span
    frames: int  # estimated from the rate

    def and_then(self, later: DroppedFrames) -> DroppedFrames:
        """Both, as one."""
        seconds, frames = self.seconds + later.seconds, self.frames + later.frames
        return DroppedFrames(self.start, later.end, seconds, frames)

    def moved(self, by: timedelta) -> DroppedFrames:
        """Tell its times on a clock that was set by so much."""
        return attrs.evolve(self, start=self.start + by, end=self.end + by)


@attrs.frozen
class _Interval:
    """From one frame to the next; `end` is on the stream's timeline, `came` the wall time of it."""

    seconds: float
    end: float
    came: datetime
    spread: bool  # over the time in which frames arrived, whatever their stamps say


@attrs.define(eq=False)
class DropDetector:
    """Watches the frames of one session; what it finds comes out as entries for the ledger.

    `least_seconds` is how long a drop must be: a file that is played over and over has a seam.
    """

    least_seconds: float = 0.0
    _before: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW), init=False)
    _kept: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW), init=False)  # no drops
    _waiting: deque[_Interval] = attrs.field(factory=deque, init=False)
    _last: float | None = attrs.field(default=None, init=False)  # decode time of the last frame
    _entry: DroppedFrames | None = attrs.field(default=None, init=False)
    _entry_end: float = attrs.field(default=0.0, init=False)  # decode time
    _calm: float = attrs.field(default=FIRST_CALM_SECONDS, init=False)

    def watch(
        self, fragment: Fragment, start: datetime, *, spread: bool = False
    ) -> list[DroppedFrames]:
        """Look at a fragment that began at `start`; return the entries that are complete.

        `spread` says that its frames are timed by their arrival.
        """
        for at in _frame_times(fragment):
            if self._last is not None and at > self._last:
                came = start + timedelta(seconds=at - fragment.start_seconds)
                self._waiting.append(_Interval(at - self._last, at, came, spread))
                while len(self._waiting) > FORESIGHT and not self._is_made_up_for():
                    self._judge()
            self._last = at
        if self._entry is None or self._last is None or self._last < self._entry_end + self._calm:
            return []
        self._calm = min(LONGEST_CALM_SECONDS, 2 * self._calm)
        return self.close()

    def interrupt(self) -> None:
        """Frames are missing here for a reason that somebody else accounts for."""
        while self._waiting:
            self._judge()
        self._last = None

    def capture_over(self) -> list[DroppedFrames]:
        """Start over for the next capture; return the drops that are complete."""
        self.interrupt()
        self._before.clear()
        self._kept.clear()
        return self.close()

    def close(self) -> list[DroppedFrames]:
        """Complete the entry that is open, if there is one."""
        entry, self._entry = self._entry, None
        return [entry] if entry else []

    def move(self, by: timedelta) -> None:
        """The wall clock was set by so much."""
        self._waiting = deque(attrs.evolve(each, came=each.came + by) for each in self._waiting)
        self._entry = self._entry and self._entry.moved(by)

    def _judge(self) -> None:
        """Decide about the oldest interval that waits, and let it become part of what is usual."""
        interval = self._waiting.popleft()
        drop = self._drop(interval)
        self._before.append(interval.seconds)
        self._kept.append(interval.seconds - (drop.seconds if drop is not None else 0.0))
        if drop is not None:
            self._entry = self._entry.and_then(drop) if self._entry else drop
            self._entry_end = interval.end

    def _is_made_up_for(self) -> bool:
        """Whether frames still come too soon, behind some that came too late."""
        if len(self._before) < LEAST_KNOWN or len(self._waiting) > LONGEST_FORESIGHT:
            return False
        return self._waiting[-1].seconds < TINY * fmean(self._kept)

    def _drop(self, interval: _Interval) -> DroppedFrames | None:
        if len(self._before) < LEAST_KNOWN or not self._waiting:
            return None
        if interval.seconds < LONGER * min(self._before):  # the cheap way to say no
            return None
        after = [each.seconds for each in self._waiting]
        neighbours = (*list(self._before)[-2:], *after)
        frame, mean = median(self._before), fmean(self._kept)
        vague = interval.spread
        if sum(each < TINY * mean for each in self._before) > STRAYS * len(self._before):
            frame, vague = max(frame, mean), True
        if interval.seconds < LONGER * max(_usual(self._before), median(after)):
            return None
        made_up = sum(frame - each for each in neighbours if each < SHORT * frame)
        missing = interval.seconds - frame - made_up
        least = max(self.least_seconds, VAGUE_SECONDS) if vague else self.least_seconds
        if missing < max(least, MISSING * frame):
            return None
        due = interval.came - timedelta(seconds=interval.seconds - frame)
        return DroppedFrames(due, interval.came, missing, max(1, round(missing / frame)))


def _frame_times(fragment: Fragment) -> Iterator[float]:
    """Yield the decode times of a fragment's video frames.

    How long the last one lasts is left out: muxers guess it, and the next fragment knows.
    """
    if fragment.video is None:
        return
    ticks = fragment.video.decode_time
    for duration in fragment.video.durations:
        yield ticks / fragment.timescale
        ticks += duration


def _usual(intervals: Collection[float]) -> float:
    """Say what nearly all `intervals` stay below."""
    return sorted(intervals)[int(USUAL_SHARE * len(intervals))]
