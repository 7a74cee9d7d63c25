"""Which frames a source left out, by the drops in its capture times. Pure.

A drop is an interval between two frames that is much longer than the usual interval before it and
after it. A long interval that short ones compensate is jitter. A camera that changes its rate for
good makes no drop: the intervals after the change are alike. A cadence (two short intervals and a
long one, repeated) is normal once it was seen. Of a live source, arrivals can deny a drop
(`drop_evidence`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from statistics import fmean, median

import attrs

from camd.mp4.fragments import Fragment
from camd.recording.rules.drop_evidence import CONFIRMING_SECONDS, DropEvidence

LONG_FACTOR = 1.75  # times the usual interval; one missing frame makes 2, a loop's seam below 1.7
WINDOW = 64  # intervals that define the usual one: two seconds of most cameras
MIN_KNOWN = 16  # intervals; with fewer, there is no usual one
LOOK_AHEAD = 16  # intervals after a long one that are awaited before it is judged …
MAX_LOOK_AHEAD = 80  # … the same while short intervals still compensate it
STRAY_SHARE = 1 / 8  # with more tiny intervals the stamps are inexact, and their mean is the rate
MIN_VAGUE_SECONDS = 1.0  # the shortest drop by inexact stamps, or by arrival times
TINY_SHARE = 0.25  # of the mean: such an interval comes from an inexact stamp
USUAL_SHARE = 0.85  # of all intervals; when the rest is long, that is a cadence
SHORT_SHARE = 0.75  # of the median: such intervals compensate a late frame
MISSING_SHARE = 0.75  # of a frame's time: so much must be missing to count as a frame
FIRST_MERGE_SECONDS = 10.0  # drops closer than this are one entry; doubles with each entry …
MAX_MERGE_SECONDS = 300.0  # … up to this
MOST_FOUND = 64  # drops that wait to be confirmed


@attrs.frozen
class SourceDrop:
    """Frames that a source left out, in one drop or in several close to each other."""

    start: datetime  # when the first one was due
    end: datetime  # when frames came again
    seconds: float  # without a frame, within the span
    frames: int  # estimated from the rate

    def and_then(self, later: SourceDrop) -> SourceDrop:
        """Merge two."""
        seconds, frames = self.seconds + later.seconds, self.frames + later.frames
        return SourceDrop(self.start, later.end, seconds, frames)

    def moved(self, by: timedelta) -> SourceDrop:
        """Return it with its times shifted by a step of the wall clock."""
        return attrs.evolve(self, start=self.start + by, end=self.end + by)


@attrs.frozen
class _Interval:
    """From one frame to the next; `end` is on the stream's timeline."""

    seconds: float
    end: float
    begun: datetime  # when the fragment of its end began …
    into: float  # … and how many seconds later its end was
    vague: bool  # its frames are timed by their arrival alone, or stamps beside them are wrong
    earliest: datetime | None  # zero of the fragments before; None: arrivals do not count

    @property
    def came(self) -> datetime:
        """When the frame at its end came."""
        return self.begun + timedelta(seconds=self.into)

    def moved(self, by: timedelta) -> _Interval:
        """Return it with its times shifted by a step of the wall clock."""
        earliest = self.earliest and self.earliest + by
        return attrs.evolve(self, begun=self.begun + by, earliest=earliest)


@attrs.frozen
class _FoundDrop:
    """A drop, at an interval, that arrivals may deny yet."""

    drop: SourceDrop
    interval: _Interval

    def moved(self, by: timedelta) -> _FoundDrop:
        """Return it with its times shifted by a step of the wall clock."""
        return _FoundDrop(self.drop.moved(by), self.interval.moved(by))


@attrs.define(eq=False)
class DropDetector:
    """Watches the frames of one session; returns the drops that it finds, for the ledger.

    `least_seconds` is how long a drop must be: a file that is played in a loop has a seam.
    """

    least_seconds: float = 0.0
    _before: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW), init=False)
    _kept: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW), init=False)  # no drops
    _waiting: deque[_Interval] = attrs.field(factory=deque, init=False)
    _last: float | None = attrs.field(default=None, init=False)  # decode time of the last frame
    _found: deque[_FoundDrop] = attrs.field(factory=deque, init=False)
    _evidence: DropEvidence = attrs.field(factory=DropEvidence, init=False)
    # Of the fragments before that of the last frame, whose duration may contain the next drop.
    _earliest: datetime | None = attrs.field(default=None, init=False)
    _entry: SourceDrop | None = attrs.field(default=None, init=False)
    _entry_end: float = attrs.field(default=0.0, init=False)  # decode time
    _merge_seconds: float = attrs.field(default=FIRST_MERGE_SECONDS, init=False)

    def watch(
        self, fragment: Fragment, start: datetime, *, vague: bool = False, live: bool = False
    ) -> list[SourceDrop]:
        """Look at a fragment that began at `start`; return the entries that are complete.

        `vague` says that its frames are timed by their arrival, or that time stamps beside them
        were wrong; `live`, that it arrived when its frames were captured.
        """
        earliest = self._evidence.earliest if live else None
        if live:
            zero = start - timedelta(seconds=fragment.start_seconds)
            self._evidence.note(fragment.end_seconds, zero)
        begin = fragment.start_seconds
        for at in _frame_times(fragment):
            last = self._last
            if last is not None and at > last:
                interval = _Interval(at - last, at, start, at - begin, vague, self._earliest)
                self._waiting.append(interval)
                while len(self._waiting) > LOOK_AHEAD and not self._is_compensated():
                    self._judge()
            self._last, self._earliest = at, earliest
        self._confirm()
        if (
            self._entry is None
            or self._last is None
            or self._last < self._entry_end + self._merge_seconds
        ):
            return []
        self._merge_seconds = min(MAX_MERGE_SECONDS, 2 * self._merge_seconds)
        return self.close()

    def doubt(self) -> None:
        """Take the intervals that wait for inexact ones: the time stamps behind them are wrong."""
        self._waiting = deque(attrs.evolve(each, vague=True) for each in self._waiting)

    def interrupt(self) -> None:
        """Frames are missing here, and have another entry: measure no interval across it."""
        while self._waiting:
            self._judge()
        self._last = None

    def capture_over(self) -> list[SourceDrop]:
        """Start over for the next capture; return the drops that are complete."""
        self.interrupt()
        self._confirm(waits=False)
        self._before.clear()
        self._kept.clear()
        self._earliest = None
        self._evidence.clear()
        return self.close()

    def close(self) -> list[SourceDrop]:
        """Complete the entry that is open, if there is one."""
        entry, self._entry = self._entry, None
        return [entry] if entry else []

    def move(self, by: timedelta) -> None:
        """The wall clock was set by so much."""
        self._waiting = deque(each.moved(by) for each in self._waiting)
        self._found = deque(each.moved(by) for each in self._found)
        self._earliest = self._earliest and self._earliest + by
        self._evidence.move(by)
        self._entry = self._entry and self._entry.moved(by)

    def _judge(self) -> None:
        """Decide about the oldest interval that waits, and add it to the usual ones."""
        interval = self._waiting.popleft()
        drop = self._drop(interval)
        self._before.append(interval.seconds)
        self._kept.append(interval.seconds - (drop.seconds if drop is not None else 0.0))
        if drop is not None:
            self._found.append(_FoundDrop(drop, interval))

    def _confirm(self, *, waits: bool = True) -> None:
        """Enter the drops that arrivals do not deny; with `waits`, after CONFIRMING_SECONDS.

        Where the stamps behind it turned out to be inexact, a short drop of a live source is none.
        """
        while self._found and not (waits and self._is_open(self._found[0].interval)):
            drop, at = self._found[0].drop, self._found.popleft().interval
            vague = at.earliest is not None and self._is_inexact()
            if vague and drop.seconds < MIN_VAGUE_SECONDS:
                continue
            if self._evidence.denies(at.end, drop.seconds, at.earliest):
                continue
            self._entry = self._entry.and_then(drop) if self._entry else drop
            self._entry_end = at.end

    def _is_open(self, interval: _Interval) -> bool:
        """Whether what arrives now may deny that frames are missing in an interval."""
        if interval.earliest is None or len(self._found) > MOST_FOUND:
            return False
        return self._last is None or self._last < interval.end + CONFIRMING_SECONDS

    def _is_compensated(self) -> bool:
        """Whether short intervals still compensate a long one."""
        if len(self._before) < MIN_KNOWN or len(self._waiting) > MAX_LOOK_AHEAD:
            return False
        return self._waiting[-1].seconds < TINY_SHARE * fmean(self._kept)

    def _is_inexact(self) -> bool:
        """Whether too many intervals are tiny: the mean is the rate then."""
        if not self._before:
            return False
        tiny = TINY_SHARE * fmean(self._kept)
        return sum(each < tiny for each in self._before) > STRAY_SHARE * len(self._before)

    def _drop(self, interval: _Interval) -> SourceDrop | None:
        if len(self._before) < MIN_KNOWN or not self._waiting:
            return None
        if interval.seconds < LONG_FACTOR * min(self._before):  # most intervals end here
            return None
        after = [each.seconds for each in self._waiting]
        neighbours = (*list(self._before)[-2:], *after)
        frame, vague = median(self._before), interval.vague
        if self._is_inexact():
            frame, vague = max(frame, fmean(self._kept)), True
        if interval.seconds < LONG_FACTOR * max(_usual(self._before), median(after)):
            return None
        made_up = sum(frame - each for each in neighbours if each < SHORT_SHARE * frame)
        missing = interval.seconds - frame - made_up
        least = max(self.least_seconds, MIN_VAGUE_SECONDS) if vague else self.least_seconds
        if missing < max(least, MISSING_SHARE * frame):
            return None
        due = interval.came - timedelta(seconds=interval.seconds - frame)
        return SourceDrop(due, interval.came, missing, max(1, round(missing / frame)))


def _frame_times(fragment: Fragment) -> Iterator[float]:
    """Yield the decode times of a fragment's video frames.

    The duration of the last one is not used: muxers guess it.
    """
    if fragment.video is None:
        return
    ticks = fragment.video.decode_time
    for duration in fragment.video.durations:
        yield ticks / fragment.timescale
        ticks += duration


def _usual(intervals: Collection[float]) -> float:
    """Return the length that nearly all `intervals` stay below."""
    return sorted(intervals)[int(USUAL_SHARE * len(intervals))]
