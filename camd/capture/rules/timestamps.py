"""Pure: the times of the samples of a live stream, by their time stamps or by their arrival.

The time stamps of a source are the best measure of the intervals between frames, as long as they
advance like the clock of this machine. Each fragment is compared. A jump of the time stamps is
replaced by the usual interval. A pause that they leave out is inserted. When they advance faster or
slower than real time, do not advance, or jump repeatedly, the samples are spread over the time in
which they arrived, until the time stamps have kept real time for PROOF_SECONDS.

Times of arrival are monotonic seconds. "Lag" is how much later a fragment arrived than its time
stamps say. "Stamps" in names and comments are time stamps.
"""

from __future__ import annotations

import enum
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median_low

import attrs

from camd.model.recordings import CLOCK_DRIFT
from camd.mp4.fragments import Fragment, Init, TrackRun
from camd.mp4.restamp import SampleTimes, restamp

AHEAD_SECONDS = 1.0  # a frame cannot arrive before it was captured
BEHIND_SECONDS = 0.75  # lateness of the least late fragment in a window
WINDOW_SECONDS = 3.0  # within it a stall of the network is made up for
BUFFERED_SECONDS = 3.0  # a stream begins with what FFmpeg or a server buffered …
BURST_SECONDS = 10.0  # … at most so much …
BURST_PACE = 4.0  # … which arrives so many times faster than real time
RATE_SECONDS = 8.0  # window over which the frame rate is measured
LEAST_RATE_SECONDS = 0.2  # shortest time over which a rate is measured
PROOF_SECONDS = 10.0  # stamps are used again after they kept real time so long …
PROOF = 0.02  # … within this share
PAUSE_SECONDS = 1.0  # between arrivals: frames are missing there
SHOWN_SECONDS = 600.0  # how long a fault is shown after it has ended
PAUSE_WINDOW_SECONDS = 1.2  # after a pause, in which lateness is made up for
PAUSE_SHARE = 0.6  # of the lateness, in one interval between arrivals: a pause
ODD = 8.0  # times the usual interval: a jump
LEAST_INTERVAL_SECONDS = 0.004  # between frames; a shorter one is not a frame rate
LONGEST_INTERVAL_SECONDS = 100.0  # between frames; a longer one is a jump
JUMPS = 3  # within PROOF_SECONDS: the stamps are not used
STILL_SAMPLES = 3  # in a row without duration: the stamps stand still
GUESSED_INTERVAL_SECONDS = 0.04  # between frames whose rate is unknown
SLEW = 0.5  # largest change of the usual duration of spread samples
GAIN = 0.25  # share of the error that each fragment corrects


class TimestampFault(enum.Enum):
    """A fault of the time stamps; the value is the sentence that users read."""

    JUMPED = "The camera's time stamps jumped; the jump was left out"
    UNSTEADY = "The camera's time stamps jump again and again; frames are timed by their arrival"
    PACE = "The camera's time stamps do not keep real time; frames are timed by when they arrived"
    STANDING = "The camera's time stamps stand still; frames are timed by when they arrived"
    PAUSED = "The camera's time stamps left out a pause; it was put back"


def estimate_arrivals(fragments: Sequence[Fragment], now: float, after: float) -> list[float]:
    """Estimate when the last frame of each fragment arrived, of several that were read at once.

    The newest one arrived at `now`, and each other one earlier by the duration of those after it,
    but not before `after`, the arrival of the fragment before them. In monotonic seconds.
    """
    times, at = [], now
    for fragment, before in zip(fragments[::-1], [None, *fragments][-2::-1], strict=True):
        times.append(max(after, at))
        at -= min(_lasts(fragment, before), BURST_SECONDS)
    return times[::-1]


def _lasts(fragment: Fragment, before: Fragment | None) -> float:
    """Return how long a fragment's pictures last; one of a single tick, as long as that before."""
    seconds = fragment.duration_seconds
    if fragment.frames == 1 and seconds < LEAST_INTERVAL_SECONDS and before and before.frames:
        return max(seconds, fragment.start_seconds - before.start_seconds)
    return seconds


@attrs.frozen
class _Arrival:
    """A fragment of one track: arrival, duration by its time stamps, number of samples."""

    at: float
    seconds: float
    samples: int
    lag: float
    regular: bool  # no interval was odd


@attrs.define(eq=False)
class TrackTimeline:
    """One track of one capture. `zero` is the arrival that is 0 on the timeline."""

    timescale: int
    zero: float
    trusted: bool = attrs.field(default=True, init=False)
    _offset: int = attrs.field(default=0, init=False)  # from stamps to the timeline, in ticks
    _in_end: int | None = attrs.field(default=None, init=False)  # where the next stamp is expected
    _last: int = attrs.field(default=-1, init=False)  # time of the last sample, in ticks
    _out_end: int = attrs.field(default=0, init=False)  # end of the last sample
    _usual: float = attrs.field(default=0.0, init=False)  # ticks between samples, as stamped
    _began: float | None = attrs.field(default=None, init=False)
    _distrusted: float = attrs.field(default=0.0, init=False)  # since when
    _still: int = attrs.field(default=0, init=False)  # samples in a row whose stamps do not advance
    _arrivals: deque[_Arrival] = attrs.field(factory=deque, init=False)
    _jumps: deque[float] = attrs.field(factory=lambda: deque(maxlen=JUMPS), init=False)

    @property
    def offset(self) -> int:
        """From the stamps to the timeline, in ticks, while the stamps are trusted."""
        return self._offset

    @property
    def end(self) -> int:
        """Where the last sample ends on the timeline, in ticks."""
        return self._out_end

    @property
    def last(self) -> int:
        """When the last sample begins on the timeline, in ticks; −1 before the first."""
        return self._last

    @property
    def longest_usual(self) -> float:
        """The longest interval, in ticks, that is no jump."""
        usual = self._usual or GUESSED_INTERVAL_SECONDS * self.timescale
        return max(ODD * usual, AHEAD_SECONDS * self.timescale)

    @property
    def interval(self) -> float:
        """The usual interval between samples, in ticks, by their arrival."""
        return self._interval()

    def place(
        self, run: TrackRun, arrived: float
    ) -> tuple[SampleTimes | None, TimestampFault | None]:
        """Return the times of the samples (None: as stamped), and a fault (None: none).

        `arrived` is when the last sample arrived, in monotonic seconds.
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
            return self._shorten_odd(run, arrived, before, odd, back=back)
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

    # --- measuring ---

    def _lag(self, end: int, arrived: float) -> float:
        return arrived - self.zero - end / self.timescale

    def _is_burst(self, run: TrackRun, arrived: float, before: float | None) -> bool:
        """Whether this was buffered before the start: it arrives much faster than real time."""
        assert self._began is not None
        if before is None or arrived - self._began > BUFFERED_SECONDS:
            return before is None
        return (arrived - before) * BURST_PACE < run.duration / self.timescale

    def _most_ahead(self, run: TrackRun, *, burst: bool, first: bool) -> float:
        """How far stamps may be ahead; in the first fragment of a track by its duration."""
        if not burst:
            return AHEAD_SECONDS
        held = run.duration / self.timescale + AHEAD_SECONDS
        return min(BURST_SECONDS, held) if first else BURST_SECONDS

    def _odd(self, run: TrackRun, gap: int) -> list[int]:
        """Indexes of samples that last too long; -1 stands for the time before the first one."""
        longest = self.longest_usual
        odd = [-1] if gap > longest else []
        if max(run.durations) > longest:
            odd += [index for index, ticks in enumerate(run.durations) if ticks > longest]
        return odd

    def _note(self, run: TrackRun, arrived: float, lag: float, *, regular: bool) -> None:
        """Add an arrival, and drop those that are too old to measure a rate by."""
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
        """Whether stamps hardly advance while time passes; one frame may have no duration."""
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
        """Lateness of the least late fragment of a window; 0 while it is being made up for."""
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
        """The arrivals since the latest pause; empty without one."""
        arrivals = list(self._arrivals)
        for index in range(len(arrivals) - 1, 0, -1):
            waited = arrivals[index].at - arrivals[index - 1].at
            if waited > PAUSE_SECONDS + arrivals[index].seconds:
                return arrivals[index:]
        return []

    def _pace(self, arrivals: Iterable[_Arrival]) -> float:
        """Stamped seconds per second of arrival; 0 when it is unknown."""
        first, *rest = arrivals
        passed = rest[-1].at - first.at if rest else 0.0
        return sum(each.seconds for each in rest) / passed if passed > 0 else 0.0

    def _paused_for(self, seconds: float) -> bool:
        """Whether one pause between arrivals explains most of the lateness."""
        pairs = pairwise(self._arrivals)
        longest = max(
            (later.at - earlier.at - later.seconds for earlier, later in pairs), default=0
        )
        return longest > max(PAUSE_SECONDS, PAUSE_SHARE * seconds)

    def _follow_drift(self, arrived: float, before: float | None, off: float) -> None:
        """Follow the drift between two clocks: move zero, by CLOCK_DRIFT at most."""
        most = CLOCK_DRIFT * (arrived - before) if before is not None else 0.0
        self.zero += max(-most, min(most, off))

    # --- correcting ---

    def _shifted(self, run: TrackRun) -> SampleTimes | None:
        """Keep the stamps, shifted by the offset."""
        return SampleTimes(run.decode_time + self._offset) if self._offset else None

    def _shorten_odd(
        self, run: TrackRun, arrived: float, before: float | None, odd: list[int], *, back: bool
    ) -> tuple[SampleTimes | None, TimestampFault]:
        """Replace jumps by the usual interval; distrust the stamps when no jump is found."""
        self._jumps.extend([arrived] * max(1, len(odd) + back))
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
        if self._in_end is None:  # the first of a track: only its arrival is known
            start += round(lag * self.timescale)
            start = max(0, start)
        elif not (odd or back) or lag < -AHEAD_SECONDS:
            return self._distrust(run, arrived, before), TimestampFault.PACE
        elif lag > AHEAD_SECONDS:  # there was a pause as well
            if index := max(odd, default=-1) + 1:
                durations[index - 1] += round(lag * self.timescale)
            else:
                start += round(lag * self.timescale)
        self._offset = start + sum(durations) - run.decode_time - run.duration
        self._begin_anew(max(0.0, lag) if lag <= AHEAD_SECONDS else 0.0)
        changed = None if durations == run.durations else durations
        return SampleTimes(start, changed), TimestampFault.JUMPED

    def _begin_anew(self, lag: float) -> None:
        """Drop all arrivals but the latest, whose lag is `lag` now."""
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
        """Whether the stamps kept real time for long enough to be used again."""
        if arrived - self._distrusted < PROOF_SECONDS:
            return False
        long = self._arrivals[-1].at - self._arrivals[0].at >= 0.8 * PROOF_SECONDS
        regular = all(each.regular for each in self._arrivals)
        return long and regular and abs(self._pace(self._arrivals) - 1.0) < PROOF

    def _interval(self) -> float:
        """Ticks between samples, by their arrival; pauses are left out."""
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
        """Give the samples the duration that they took to arrive.

        FFmpeg writes a fragment when the next frame has arrived: a pause may be before the samples
        or after them. In the second case, the stamps of the last sample include it.
        """
        usual = self._interval() * run.count
        room = (arrived - self.zero) * self.timescale - self._out_end
        passed = (arrived - before) * self.timescale if before is not None else usual
        pause = 0
        if passed > usual + PAUSE_SECONDS * self.timescale and room > usual:
            pause, room = round(room - usual), usual
        length = usual + GAIN * (room - usual)
        length = max((1 - SLEW) * usual, min((1 + SLEW) * usual, length))
        behind = pause > 0 and run.durations[-1] > self.longest_usual
        stamped = array("I", run.durations)
        if behind:
            stamped[-1] = round(self._usual) or 1
        durations = _shared(stamped, max(run.count, round(length)))
        composition = _scaled(run, durations)
        if behind:
            durations[-1] += pause
        return SampleTimes(self._out_end + (0 if behind else pause), durations, composition)


def _sane_length(run: TrackRun) -> int:
    """Duration of the samples in ticks, without those that no camera has."""
    usual = median_low(run.durations)
    longest = round(LONGEST_INTERVAL_SECONDS * run.timescale)
    if usual > longest:
        usual = round(GUESSED_INTERVAL_SECONDS * run.timescale)
    return sum(usual if ticks > longest else ticks for ticks in run.durations)


def _shared(stamped: array[int], length: int) -> array[int]:
    """Divide `length` ticks in proportion to the stamps, or evenly when they are unusable."""
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
    """Scale the composition offsets with the durations."""
    if not run.composition:
        return None
    middle, spread = max(1, median_low(run.durations)), median_low(durations)
    frames = [max(-64.0, min(64.0, offset / middle)) for offset in run.composition]
    return array("i", (round(each * spread) for each in frames))


@attrs.define(eq=False)
class StreamTimeline:
    """The tracks of the current capture. `place` is called for each fragment in order."""

    _tracks: dict[int, TrackTimeline] = attrs.field(factory=dict, init=False)
    _video: int = attrs.field(default=0, init=False)
    _zero: float | None = attrs.field(default=None, init=False)
    fault: TimestampFault | None = attrs.field(default=None, init=False)  # recent
    _faulted_at: float = attrs.field(default=0.0, init=False)
    turned: bool = attrs.field(default=False, init=False)  # at the latest fragment, of the video
    _jumped: bool = attrs.field(default=False, init=False)  # the same
    faults: int = attrs.field(default=0, init=False)  # of all captures

    @property
    def tracks(self) -> Mapping[int, TrackTimeline]:
        """The tracks that have begun."""
        return self._tracks

    @property
    def vague(self) -> bool:
        """Whether the latest intervals between pictures are inexact.

        They are timed by their arrival, or a jump was left out of the latest fragment.
        """
        video = self._tracks.get(self._video)
        return self._jumped or (video is not None and not video.trusted)

    def begin(self, init: Init) -> None:
        """Forget the last capture: another one begins."""
        self._tracks.clear()
        self._video, self._zero, self.fault = init.video.track_id, None, None

    def place(self, fragment: Fragment, arrived: float) -> Fragment:
        """Return the fragment with the times of its samples corrected.

        `arrived` is when its last sample arrived, in monotonic seconds, and not less than for the
        fragment before.
        """
        changes: dict[int, SampleTimes] = {}
        self.turned = self._jumped = False
        runs = sorted(fragment.runs, key=lambda run: run.track_id != self._video)
        for run in runs:
            track = self._track(run, arrived)
            trusted = track.trusted
            times, fault = track.place(run, arrived)
            if run.track_id == self._video and track.trusted != trusted:
                self.turned = True
            if run.track_id == self._video:
                self._jumped = fault is TimestampFault.JUMPED
            if times is not None:
                changes[run.track_id] = times
            if fault is not None and run.track_id == self._video:
                self.fault, self.faults, self._faulted_at = fault, self.faults + 1, arrived
        video = self._tracks.get(self._video)
        if arrived - self._faulted_at > SHOWN_SECONDS and video is not None and video.trusted:
            self.fault = None
        return restamp(fragment, changes) if changes else fragment

    def _track(self, run: TrackRun, arrived: float) -> TrackTimeline:
        if run.track_id not in self._tracks:
            if self._zero is None:
                self._zero = arrived - (run.decode_time + _sane_length(run)) / run.timescale
            video = self._tracks.get(self._video)
            zero = self._zero if video is None else video.zero  # a burst may have moved it
            self._tracks[run.track_id] = TrackTimeline(run.timescale, zero)
        return self._tracks[run.track_id]
