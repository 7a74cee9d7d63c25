"""When the samples of a live stream are played: by their stamps, or by their arrival. Pure.

The stamps of a source say best how frames lie to each other, as long as they go on like the
clock of this machine. At every fragment both are compared. Stamps that jump are cut back to the
usual interval; stamps that leave out a pause get it back; where stamps run faster or slower than
time, stand still or jump again and again, the samples are spread over the time in which they
arrived, until the stamps have kept pace with time for long enough.

Seconds of arrival are monotonic. "Lag" is how much later a fragment arrived than its stamps say.
"""

from __future__ import annotations

import enum
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median_low

import attrs

from camd.mp4.fragments import Fragment, Init, TrackRun
from camd.mp4.restamp import SampleTimes, restamp

AHEAD_SECONDS = 1.0  # no frame arrives before it was made: stamps that say so are wrong
BEHIND_SECONDS = 0.75  # what the least late fragment of a window may be late
WINDOW_SECONDS = 3.0  # a stall of the network is over, or is caught up with, within this
SETTLING_SECONDS = 3.0  # a stream begins with what FFmpeg or a server has held back …
BURST_SECONDS = 10.0  # … at most so much …
BURST_PACE = 4.0  # … which comes so many times faster than it was made
DRIFT = 0.002  # of the time: two clocks that differ, and no fault
RATE_SECONDS = 8.0  # how long arrivals are looked at to know how often frames come
LEAST_RATE_SECONDS = 0.2  # less says nothing about a rate
PROOF_SECONDS = 10.0  # stamps are trusted again when they kept pace for so long …
PROOF = 0.02  # … within this share
PAUSE_SECONDS = 1.0  # between arrivals: frames are missing, nothing is spread over it
TOLD_SECONDS = 600.0  # how long a fault is told that is over
PAUSE_WINDOW_SECONDS = 1.2  # behind a pause, what is not made up for by then never is
PAUSE_SHARE = 0.6  # of a lateness, in one interval between arrivals: that was a pause
ODD = 8.0  # times the usual interval: no interval of a steady stream
LEAST_INTERVAL_SECONDS = 0.004  # between frames; less is no frame rate
LONGEST_INTERVAL_SECONDS = 100.0  # between frames; more is a step of the stamps
JUMPS = 3  # within the time of a proof: nothing that these stamps say can be trusted
STILL_SAMPLES = 3  # that last no time, before the stamps are said to stand still
GUESSED_INTERVAL_SECONDS = 0.04  # between frames of which nothing is known
SLEW = 0.5  # spread samples last at most so much more or less than usual
GAIN = 0.25  # of what is lacking or too much, in each fragment


class TimestampFault(enum.Enum):
    """What is wrong with time stamps; the value is what users read."""

    JUMPED = "The camera's time stamps jumped; the jump was left out"
    UNSTEADY = "The camera's time stamps jump again and again; frames are timed by their arrival"
    PACE = "The camera's time stamps do not keep real time; frames are timed by when they arrived"
    STANDING = "The camera's time stamps stand still; frames are timed by when they arrived"
    PAUSED = "The camera's time stamps left out a pause; it was put back"


def arrivals(fragments: Sequence[Fragment], now: float, after: float) -> list[float]:
    """Say when the last frame of each fragment arrived, of several that were read at once.

    The newest one has just arrived, the others earlier by what came behind them, but none before
    `after`, when the one before them did. All in monotonic seconds.
    """
    times, at = [], now
    for fragment in reversed(fragments):
        times.append(max(after, at))
        at -= min(fragment.duration_seconds, BURST_SECONDS)
    return times[::-1]


@attrs.frozen
class _Arrival:
    """A fragment of one track: when it arrived, what it says it lasts, its samples."""

    at: float
    seconds: float
    samples: int
    lag: float
    regular: bool  # no interval was odd


@attrs.define(eq=False)
class TrackTimeline:
    """One track of one capture. `zero` is the moment of arrival that is 0 on the timeline."""

    timescale: int
    zero: float
    trusted: bool = attrs.field(default=True, init=False)
    _offset: int = attrs.field(default=0, init=False)  # from stamps to the timeline, in ticks
    _in_end: int | None = attrs.field(default=None, init=False)  # where stamps should go on
    _last: int = attrs.field(default=-1, init=False)  # when the last sample is played, in ticks
    _out_end: int = attrs.field(default=0, init=False)  # where the timeline goes on
    _usual: float = attrs.field(default=0.0, init=False)  # ticks between samples, as stamped
    _began: float | None = attrs.field(default=None, init=False)
    _distrusted: float = attrs.field(default=0.0, init=False)  # since when
    _still: int = attrs.field(default=0, init=False)  # samples in a row whose stamps stand still
    _arrivals: deque[_Arrival] = attrs.field(factory=deque, init=False)
    _jumps: deque[float] = attrs.field(factory=lambda: deque(maxlen=JUMPS), init=False)

    def place(
        self, run: TrackRun, arrived: float
    ) -> tuple[SampleTimes | None, TimestampFault | None]:
        """Say when the samples are played (None: as stamped), and what was wrong (None: nothing).

        `arrived` is when the last sample was there, in monotonic seconds.
        """
        if self._began is None:
            self._began = arrived
        gap = 0 if self._in_end is None else run.decode_time - self._in_end
        back = run.decode_time + self._offset <= self._last
        times, fault = self._placed(run, arrived, gap, back)
        self._in_end = run.decode_time + run.duration
        start = run.decode_time if times is None else times.decode_time
        durations = run.durations if times is None or times.durations is None else times.durations
        self._out_end = start + sum(durations)
        self._last = self._out_end - durations[-1]
        return times, fault

    def _placed(
        self, run: TrackRun, arrived: float, gap: int, back: bool
    ) -> tuple[SampleTimes | None, TimestampFault | None]:
        odd = self._odd(run, gap)
        before = self._arrivals[-1].at if self._arrivals else None
        lag = self._lag(run.decode_time + self._offset + run.duration, arrived)
        self._note(run, arrived, lag, regular=not odd and not back)
        still = self._stands_still(run, arrived, before)
        self._learn_usual(run, still=still or bool(odd))
        if not self.trusted and self._proved(arrived):
            self._trust(run)
            lag = self._lag(run.decode_time + self._offset + run.duration, arrived)
        if not self.trusted:
            return self._spread(run, arrived, before), None
        if still:
            return self._distrust(run, arrived, before), TimestampFault.STANDING
        burst = not odd and self._is_burst(run, arrived, before)
        if back or lag < -self._most_ahead(run, burst=burst, first=before is None):
            return self._cut_back(run, arrived, before, odd, back=back)
        if burst and lag < 0:
            self.zero += lag
        elif (late := self._lateness(arrived)) > BEHIND_SECONDS:
            if self._paused_for(late):
                self._offset += round(late * self.timescale)
                self._begin_anew(0.0)
                return self._shifted(run), TimestampFault.PAUSED
            return self._distrust(run, arrived, before), TimestampFault.PACE
        else:
            self._follow_drift(arrived, before, lag if lag < 0 else late)
        return self._shifted(run), None

    # --- what is seen ---

    def _lag(self, end: int, arrived: float) -> float:
        return arrived - self.zero - end / self.timescale

    def _is_burst(self, run: TrackRun, arrived: float, before: float | None) -> bool:
        """Whether this was held back at the start: it comes much faster than it was made."""
        assert self._began is not None
        if before is None or arrived - self._began > SETTLING_SECONDS:
            return before is None
        return (arrived - before) * BURST_PACE < run.duration / self.timescale

    def _most_ahead(self, run: TrackRun, *, burst: bool, first: bool) -> float:
        """Seconds that stamps may be ahead: in a track's first fragment no more than it holds."""
        if not burst:
            return AHEAD_SECONDS
        held = run.duration / self.timescale + AHEAD_SECONDS
        return min(BURST_SECONDS, held) if first else BURST_SECONDS

    def _longest_usual(self) -> float:
        """The longest interval, in ticks, that is not odd."""
        usual = self._usual or GUESSED_INTERVAL_SECONDS * self.timescale
        return max(ODD * usual, AHEAD_SECONDS * self.timescale)

    def _odd(self, run: TrackRun, gap: int) -> list[int]:
        """Which samples last suspiciously long; -1 stands for the time before the first one."""
        longest = self._longest_usual()
        odd = [-1] if gap > longest else []
        if max(run.durations) > longest:
            odd += [index for index, ticks in enumerate(run.durations) if ticks > longest]
        return odd

    def _note(self, run: TrackRun, arrived: float, lag: float, *, regular: bool) -> None:
        """Remember an arrival, as long as it says something about the pace."""
        seconds = run.duration / self.timescale
        self._arrivals.append(_Arrival(arrived, seconds, run.count, lag, regular))
        keep = PROOF_SECONDS if not self.trusted else RATE_SECONDS
        while len(self._arrivals) > 2 and arrived - self._arrivals[1].at > keep:
            self._arrivals.popleft()

    def _learn_usual(self, run: TrackRun, *, still: bool) -> None:
        if still and self._usual:
            return
        here = float(median_low(run.durations))
        if not LEAST_INTERVAL_SECONDS < here / self.timescale < LONGEST_INTERVAL_SECONDS:
            return
        self._usual = here if not self._usual else self._usual + 0.1 * (here - self._usual)

    def _stands_still(self, run: TrackRun, arrived: float, before: float | None) -> bool:
        """Whether stamps hardly move while time goes on; a single frame may last no time."""
        interval, passed = run.duration / run.count, GUESSED_INTERVAL_SECONDS
        if before is not None:
            passed = arrived - before
        slow = interval < max(self._usual / 3, LEAST_INTERVAL_SECONDS * self.timescale)
        if slow and passed > 3 * run.duration / self.timescale:
            self._still += run.count
        else:
            self._still = 0
        return self._still >= STILL_SAMPLES

    def _lateness(self, arrived: float) -> float:
        """How late even the least late fragment of a window was; 0 while it is being made up."""
        recent = self._behind_pause()
        if not recent or arrived - recent[0].at < PAUSE_WINDOW_SECONDS:
            recent = [each for each in self._arrivals if arrived - each.at <= WINDOW_SECONDS]
            if len(recent) == len(self._arrivals):
                return 0.0
        if len(recent) < 3:
            return 0.0
        lags = [each.lag for each in recent]
        made_up = lags[0] - lags[-1] > 0.05 * (recent[-1].at - recent[0].at)
        return 0.0 if made_up else min(lags)

    def _behind_pause(self) -> list[_Arrival]:
        """What arrived since the latest pause; empty without one. Stalls are made up for."""
        arrivals = list(self._arrivals)
        for index in range(len(arrivals) - 1, 0, -1):
            waited = arrivals[index].at - arrivals[index - 1].at
            if waited > PAUSE_SECONDS + arrivals[index].seconds:
                return arrivals[index:]
        return []

    def _pace(self, arrivals: Iterable[_Arrival]) -> float:
        """Stamped seconds for each second of arrival; 0 where nothing can be said."""
        first, *rest = arrivals
        passed = rest[-1].at - first.at if rest else 0.0
        return sum(each.seconds for each in rest) / passed if passed > 0 else 0.0

    def _paused_for(self, seconds: float) -> bool:
        """Whether a single pause between arrivals is why they are so late."""
        pairs = pairwise(self._arrivals)
        longest = max(
            (later.at - earlier.at - later.seconds for earlier, later in pairs), default=0
        )
        return longest > max(PAUSE_SECONDS, PAUSE_SHARE * seconds)

    def _follow_drift(self, arrived: float, before: float | None, off: float) -> None:
        """Two clocks never agree for long: move zero along, by no more than clocks may differ."""
        most = DRIFT * (arrived - before) if before is not None else 0.0
        self.zero += max(-most, min(most, off))

    # --- what is done ---

    def _shifted(self, run: TrackRun) -> SampleTimes | None:
        """Keep the stamps; only their zero may be another one."""
        return SampleTimes(run.decode_time + self._offset) if self._offset else None

    def _cut_back(
        self, run: TrackRun, arrived: float, before: float | None, odd: list[int], *, back: bool
    ) -> tuple[SampleTimes | None, TimestampFault]:
        """Put the usual interval in the place of jumps; distrust the stamps if none explains it."""
        self._jumps.append(arrived)
        if len(self._jumps) == JUMPS and arrived - self._jumps[0] < PROOF_SECONDS:
            self._jumps.clear()
            return self._distrust(run, arrived, before), TimestampFault.UNSTEADY
        usual = round(self._usual or GUESSED_INTERVAL_SECONDS * self.timescale)
        durations = array("I", run.durations)
        for index in odd:
            if index >= 0:
                durations[index] = usual
        start = self._out_end if back or -1 in odd else run.decode_time + self._offset
        lag = self._lag(start + sum(durations), arrived)
        if self._in_end is None:  # the first of a track: nothing but its arrival is known
            start += round(lag * self.timescale)
            start = max(0, start)
        elif not (odd or back) or lag < -AHEAD_SECONDS:
            return self._distrust(run, arrived, before), TimestampFault.PACE
        elif lag > AHEAD_SECONDS:  # it paused as well
            if index := max(odd, default=-1) + 1:
                durations[index - 1] += round(lag * self.timescale)
            else:
                start += round(lag * self.timescale)
        self._offset = start + sum(durations) - run.decode_time - run.duration
        self._begin_anew(max(0.0, lag) if lag <= AHEAD_SECONDS else 0.0)
        changed = None if durations == run.durations else durations
        return SampleTimes(start, changed), TimestampFault.JUMPED

    def _begin_anew(self, lag: float) -> None:
        """Forget what arrived, but for the latest: it is late by `lag` now."""
        latest = self._arrivals[-1]
        self._arrivals.clear()
        self._arrivals.append(attrs.evolve(latest, lag=lag))

    def _trust(self, run: TrackRun) -> None:
        self.trusted = True
        self._offset = self._out_end - run.decode_time

    def _distrust(self, run: TrackRun, arrived: float, before: float | None) -> SampleTimes:
        self.trusted, self._distrusted = False, arrived
        return self._spread(run, arrived, before)

    def _proved(self, arrived: float) -> bool:
        """Whether the stamps kept pace with time for long enough to be trusted again."""
        if arrived - self._distrusted < PROOF_SECONDS:
            return False
        long = self._arrivals[-1].at - self._arrivals[0].at >= 0.8 * PROOF_SECONDS
        regular = all(each.regular for each in self._arrivals)
        return long and regular and abs(self._pace(self._arrivals) - 1.0) < PROOF

    def _interval(self) -> float:
        """How many ticks pass between samples, by their arrival; pauses left out."""
        steps = [
            (later.at - earlier.at, later.samples) for earlier, later in pairwise(self._arrivals)
        ]
        longest = PAUSE_SECONDS + 2 * median_low([passed for passed, _ in steps] or [0.0])
        usual = [step for step in steps if step[0] <= longest]
        passed, samples = sum(each for each, _ in usual), sum(count for _, count in usual)
        if samples and passed > LEAST_RATE_SECONDS:
            return passed * self.timescale / samples
        return self._usual or GUESSED_INTERVAL_SECONDS * self.timescale

    def _spread(self, run: TrackRun, arrived: float, before: float | None) -> SampleTimes:
        """Let the samples last as long as it took them to arrive.

        FFmpeg hands on a fragment when the frame behind it is there: a pause may be in front of
        the samples or behind them, and where it is their last one is stamped with it.
        """
        usual = self._interval() * run.count
        room = (arrived - self.zero) * self.timescale - self._out_end
        passed = (arrived - before) * self.timescale if before is not None else usual
        pause = 0
        if passed > usual + PAUSE_SECONDS * self.timescale and room > usual:
            pause, room = round(room - usual), usual
        length = usual + GAIN * (room - usual)
        length = max((1 - SLEW) * usual, min((1 + SLEW) * usual, length))
        behind = pause > 0 and run.durations[-1] > self._longest_usual()
        stamped = array("I", run.durations)
        if behind:
            stamped[-1] = round(self._usual) or 1
        durations = _shared(stamped, max(run.count, round(length)))
        composition = _scaled(run, durations)
        if behind:
            durations[-1] += pause
        return SampleTimes(self._out_end + (0 if behind else pause), durations, composition)


def _sane_length(run: TrackRun) -> int:
    """How many ticks the samples last, but for those that last no time of any camera."""
    usual = median_low(run.durations)
    longest = round(LONGEST_INTERVAL_SECONDS * run.timescale)
    if usual > longest:
        usual = round(GUESSED_INTERVAL_SECONDS * run.timescale)
    return sum(usual if ticks > longest else ticks for ticks in run.durations)


def _shared(stamped: array[int], length: int) -> array[int]:
    """Divide `length` ticks like the stamps do, or evenly where they make no sense."""
    middle = median_low(stamped)
    sane = middle > 0 and middle / ODD < min(stamped) and max(stamped) < ODD * middle
    weights: Iterable[int] = stamped if sane else (1 for _ in stamped)
    total = sum(stamped) if sane else len(stamped)
    shares, before, done = array("I"), 0, 0
    for weight in weights:
        done += weight
        until = length * done // total
        shares.append(max(1, until - before))
        before = until
    return shares


def _scaled(run: TrackRun, durations: array[int]) -> array[int] | None:
    """Move the composition offsets along with the durations that they are multiples of."""
    if not run.composition:
        return None
    middle, spread = max(1, median_low(run.durations)), median_low(durations)
    frames = [max(-64.0, min(64.0, offset / middle)) for offset in run.composition]
    return array("i", (round(each * spread) for each in frames))


@attrs.define(eq=False)
class StreamTimeline:
    """All tracks of one capture after another. `place` is called for each fragment in order."""

    _tracks: dict[int, TrackTimeline] = attrs.field(factory=dict, init=False)
    _video: int = attrs.field(default=0, init=False)
    _zero: float | None = attrs.field(default=None, init=False)
    fault: TimestampFault | None = attrs.field(
        default=None, init=False
    )  # the latest, until it is old
    _faulted_at: float = attrs.field(default=0.0, init=False)
    turned: bool = attrs.field(default=False, init=False)  # the latest fragment of the video
    faults: int = attrs.field(default=0, init=False)  # how many there were, of all captures

    @property
    def spread(self) -> bool:
        """Whether pictures are timed by their arrival at the moment, and not by their stamps."""
        video = self._tracks.get(self._video)
        return video is not None and not video.trusted

    def begin(self, init: Init) -> None:
        """Another capture delivers: nothing that was known holds any more."""
        self._tracks.clear()
        self._video, self._zero, self.fault = init.video.track_id, None, None

    def place(self, fragment: Fragment, arrived: float) -> Fragment:
        """Return the fragment with the times at which its samples are played.

        `arrived` is when its last sample was there, in monotonic seconds, and never less than
        that of the fragment before.
        """
        changes: dict[int, SampleTimes] = {}
        self.turned = False
        runs = sorted(fragment.runs, key=lambda run: run.track_id != self._video)
        for run in runs:
            track = self._track(run, arrived)
            trusted = track.trusted
            times, fault = track.place(run, arrived)
            if run.track_id == self._video and track.trusted != trusted:
                self.turned = True
            if times is not None:
                changes[run.track_id] = times
            if fault is not None and run.track_id == self._video:
                self.fault, self.faults, self._faulted_at = fault, self.faults + 1, arrived
        video = self._tracks.get(self._video)
        if arrived - self._faulted_at > TOLD_SECONDS and video is not None and video.trusted:
            self.fault = None
        return restamp(fragment, changes) if changes else fragment

    def _track(self, run: TrackRun, arrived: float) -> TrackTimeline:
        if run.track_id not in self._tracks:
            if self._zero is None:
                self._zero = arrived - (run.decode_time + _sane_length(run)) / run.timescale
            video = self._tracks.get(self._video)
            zero = self._zero if video is None else video.zero  # a burst has moved it
            self._tracks[run.track_id] = TrackTimeline(run.timescale, zero)
        return self._tracks[run.track_id]
