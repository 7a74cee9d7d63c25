"""Pure: which one-frame fragments are joined for the files, and when what is joined is complete."""

from __future__ import annotations

import attrs

from camd.mp4.fragments import Fragment, Init, TrackRun
from camd.mp4.frames.join import join

LIMIT_BYTES = 8 * 1024 * 1024  # of frames that are not joined yet
INTERVAL_GROWTH = 2  # times the usual interval: how much one frame changes it
ARRIVAL_FACTOR = 1.2  # times the length of a fragment: frames that arrive take no longer
SOUND_FACTOR = 1.5  # times the length of a fragment: sound alone is joined no longer


@attrs.frozen
class ArrivedFragment:
    """A fragment, and when its last frame arrived, in monotonic seconds."""

    fragment: Fragment
    arrived: float


@attrs.define(eq=False)
class _JoinedTrack:
    """What is joined of one track, in its ticks."""

    timescale: int
    ticks: int = 0
    end: int = 0  # decode time of the next sample
    last: int = 0  # duration of the last sample

    @property
    def seconds_before_last(self) -> float:
        return (self.ticks - self.last) / self.timescale

    def add(self, run: TrackRun) -> None:
        if self.ticks and run.decode_time > self.end:
            self.ticks += run.decode_time - self.end  # the sample before lasts until then
        self.ticks += run.duration
        self.end = run.decode_time + run.duration
        self.last = run.durations[-1]

    def is_followed_by(self, run: TrackRun, usual: int) -> bool:
        """Whether the last sample can last until the next one begins, which is not much later."""
        off = run.decode_time - self.end
        return off == 0 or -self.last < off <= max(self.last, usual)


@attrs.define(eq=False)
class _Intervals:
    """The usual interval between fragments of each track, in its ticks.

    Durations do not tell it: FFmpeg gives a picture a single tick when the next has not come.
    """

    _starts: dict[int, int] = attrs.field(factory=dict)
    _usual: dict[int, int] = attrs.field(factory=dict)

    def usual(self, run: TrackRun) -> int:
        return self._usual.get(run.track_id, 0)

    def add(self, run: TrackRun) -> None:
        """Learn from a run: a shorter interval at once, a longer one by and by."""
        since = run.decode_time - self._starts.get(run.track_id, run.decode_time)
        if since > 0:
            usual = self._usual.get(run.track_id, since)
            self._usual[run.track_id] = min(since, INTERVAL_GROWTH * usual)
        self._starts[run.track_id] = run.decode_time


@attrs.define(eq=False)
class FragmentJoiner:
    """Holds the frames that are not joined yet: `unjoined`.

    A joined fragment begins with a key frame where one comes, and has `seconds` of pictures at
    most, of LIMIT_BYTES at most. Nothing is joined with 0 seconds, and no fragment of several
    frames. Each frame is in one joined fragment, in order.
    """

    seconds: float
    unjoined: list[ArrivedFragment] = attrs.field(factory=list, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _tracks: dict[int, _JoinedTrack] = attrs.field(factory=dict, init=False)
    _intervals: _Intervals = attrs.field(factory=_Intervals, init=False)
    _video: int = attrs.field(default=0, init=False)
    _intra_only: bool = attrs.field(default=False, init=False)
    _complete: bool = attrs.field(default=False, init=False)

    def begin(self, init: Init) -> None:
        """Begin with the stream of another capture."""
        self._clear()
        self._intervals = _Intervals()
        self._video, self._intra_only = init.video.track_id, init.video.intra_only

    def closes_before(self, fragment: Fragment) -> bool:
        """Whether these frames have to be taken before `fragment` is added."""
        if not self.unjoined:
            return False
        begins = fragment.starts_with_sync and not self._intra_only
        return begins or fragment.frames > 1 or not self._continues(fragment)

    def _continues(self, fragment: Fragment) -> bool:
        for run in fragment.runs:
            track = self._tracks.get(run.track_id)
            if track and not track.is_followed_by(run, self._intervals.usual(run)):
                return False
        return True

    def add(self, fragment: Fragment, arrived: float) -> None:
        """Add a frame."""
        self.unjoined.append(ArrivedFragment(fragment, arrived))
        self._bytes += fragment.size_bytes
        for run in fragment.runs:
            if run.track_id not in self._tracks:
                self._tracks[run.track_id] = _JoinedTrack(run.timescale)
            track = self._tracks[run.track_id]
            track.add(run)
            self._intervals.add(run)
            most = self.seconds * run.timescale
            if run.track_id != self._video:
                most *= SOUND_FACTOR
            self._complete |= track.ticks >= most
        self._complete |= self._arriving_seconds > ARRIVAL_FACTOR * self.seconds
        self._complete |= fragment.frames > 1 or self._bytes >= LIMIT_BYTES

    @property
    def _arriving_seconds(self) -> float:
        """How long these frames took to arrive, whatever their time stamps say."""
        return self.unjoined[-1].arrived - self.unjoined[0].arrived

    @property
    def is_complete(self) -> bool:
        """Whether these frames are as long as a fragment, or may not be joined with more."""
        return self._complete

    @property
    def is_separable(self) -> bool:
        """Whether a file may begin with these frames: pictures before its key frame are all in it.

        They come right behind the key frame that they are shown before, and are counted in the
        first fragment of a file.
        """
        return not any(run.composition for each in self.unjoined for run in each.fragment.runs)

    @property
    def seconds_left(self) -> float:
        """How long until these frames and what arrives are more than a fragment (I2).

        One frame more does not count: frames come one by one.
        """
        held = self._arriving_seconds if self.unjoined else 0.0
        for track_id, track in self._tracks.items():
            if track_id == self._video or self._video not in self._tracks:
                held = max(held, track.seconds_before_last)
        return self.seconds - held

    def take(self) -> ArrivedFragment:
        """Join these frames, at least one, into one fragment; none is left then.

        It has arrived when its last frame has.
        """
        joined = join([each.fragment for each in self.unjoined])
        arrived = self.unjoined[-1].arrived
        self._clear()
        return ArrivedFragment(joined, arrived)

    def _clear(self) -> None:
        self.unjoined, self._bytes, self._complete = [], 0, False
        self._tracks.clear()
