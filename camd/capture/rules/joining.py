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
    """What is joined of one track, in its ticks, and the usual interval between its fragments.

    Durations do not tell the interval: FFmpeg gives a picture a single tick when the next has not
    come.
    """

    timescale: int
    most: float  # that may be joined
    holds: bool = False  # something is joined
    ticks: int = 0
    end: int = 0  # decode time of the next sample
    last: int = 0  # duration of the last sample
    usual: int = 0  # interval; 0: not known
    _begun: int | None = None  # decode time of the latest fragment

    @property
    def seconds_before_last(self) -> float:
        return (self.ticks - self.last) / self.timescale

    def add(self, run: TrackRun) -> None:
        begins, lasts = run.decode_time, run.duration
        if self.ticks and begins > self.end:
            self.ticks += begins - self.end  # the sample before lasts until then
        self.ticks += lasts
        self.end, self.last, self.holds = begins + lasts, run.durations[-1], True
        since = 0 if self._begun is None else begins - self._begun
        if since > 0:  # a shorter interval at once, a longer one by and by
            self.usual = min(since, INTERVAL_GROWTH * (self.usual or since))
        self._begun = begins

    def is_followed_by(self, run: TrackRun) -> bool:
        """Whether the last sample can last until the next one begins, which is not much later."""
        off = run.decode_time - self.end
        return off == 0 or -self.last < off <= max(self.last, self.usual)

    def clear(self) -> None:
        """Nothing is joined any more."""
        self.holds, self.ticks, self.last = False, 0, 0


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
    _video: int = attrs.field(default=0, init=False)
    _intra_only: bool = attrs.field(default=False, init=False)
    _complete: bool = attrs.field(default=False, init=False)

    def begin(self, init: Init) -> None:
        """Begin with the stream of another capture."""
        self._clear()
        self._tracks = {}
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
            if track is not None and track.holds and not track.is_followed_by(run):
                return False
        return True

    def add(self, fragment: Fragment, arrived: float) -> None:
        """Add a frame."""
        self.unjoined.append(ArrivedFragment(fragment, arrived))
        self._bytes += fragment.size_bytes
        for run in fragment.runs:
            track = self._tracks.get(run.track_id) or self._first_of(run)
            track.add(run)
            self._complete |= track.ticks >= track.most
        self._complete |= self._arriving_seconds > ARRIVAL_FACTOR * self.seconds
        self._complete |= fragment.frames > 1 or self._bytes >= LIMIT_BYTES

    def _first_of(self, run: TrackRun) -> _JoinedTrack:
        factor = 1.0 if run.track_id == self._video else SOUND_FACTOR
        track = _JoinedTrack(run.timescale, factor * self.seconds * run.timescale)
        self._tracks[run.track_id] = track
        return track

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
        pictures = self._tracks.get(self._video)
        if pictures is not None and pictures.holds:
            return self.seconds - max(held, pictures.seconds_before_last)
        for track in self._tracks.values():
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
        for track in self._tracks.values():
            track.clear()
