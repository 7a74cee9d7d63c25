"""Pure: the times of frames that are handed on before they are joined.

The time stamps of joined fragments are corrected by `timestamps`. A frame that comes first gets the
time that the corrections so far give it. Times of one track always grow: a jump that will be left
out is left out at once, and what a correction changes afterwards is made up for in later frames.
"""

from __future__ import annotations

from array import array

import attrs

from camd.capture.rules.timestamps import StreamTimeline, TrackTimeline
from camd.mp4.fragments import Fragment, TrackRun
from camd.mp4.restamp import SampleTimes, restamp

UNKNOWN_SHARE = 0.25  # of the usual interval: a shorter duration is none; see `args`
MADE_UP_SHARE = 0.5  # of the usual interval: how much one frame makes up for
JUMP_SECONDS = 1.0  # a larger difference is not made up for


@attrs.define(eq=False)
class _FrameTrack:
    """One track; all times are in its ticks."""

    shift: int  # from stamps to the timeline
    end: int  # of the last frame
    last: int  # decode time of the last frame
    owed: int = 0  # by which frames timed by their arrival are early

    def place(self, run: TrackRun, track: TrackTimeline) -> SampleTimes:
        """Return the times of the next frame."""
        start, durations = run.decode_time + self.shift, run.durations
        if not track.trusted:
            start = max(self.end, self.last + 1)
            durations = array("I", [self._spread(track)] * run.count)
        elif not self.last < start <= self.end + track.longest_usual:
            self.shift += max(self.end, self.last + 1) - start
            start = run.decode_time + self.shift
        usual = max(1, round(track.interval))
        if max(durations) > track.longest_usual:
            durations = array("I", (min(usual, ticks) for ticks in durations))
        elif durations[-1] < UNKNOWN_SHARE * usual:
            durations = array("I", [*durations[:-1], usual])
        self.end = start + sum(durations)
        self.last = self.end - durations[-1]
        return SampleTimes(start, None if durations is run.durations else durations)

    def _spread(self, track: TrackTimeline) -> int:
        usual = track.interval
        most = MADE_UP_SHARE * usual
        made_up = round(max(-most, min(most, self.owed)))
        self.owed -= made_up
        return max(1, round(usual) + made_up)

    def follow_corrections(self, track: TrackTimeline, *, given: bool) -> None:
        """All frames so far are joined; `given`: and were handed on before."""
        self.shift = track.offset
        off = track.end - self.end
        if not given or abs(off) > JUMP_SECONDS * track.timescale:
            self.end, self.owed = track.end, 0
            self.last = max(self.last, track.last)
        else:
            self.owed = off


@attrs.define(eq=False)
class FrameTimes:
    """The times of the frames of one stream; without a timeline they stay as they are."""

    timeline: StreamTimeline | None
    _tracks: dict[int, _FrameTrack] = attrs.field(factory=dict, init=False)
    _given: set[int] = attrs.field(
        factory=set, init=False
    )  # tracks, since the last `follow_corrections`

    def begin(self) -> None:
        """Begin with the stream of another capture."""
        self._tracks.clear()
        self._given.clear()

    def follow_corrections(self) -> None:
        """Take over the corrections of the joined fragment that has just been placed."""
        tracks = self.timeline.tracks if self.timeline is not None else {}
        for track_id, track in tracks.items():
            mine = self._tracks.setdefault(
                track_id, _FrameTrack(track.offset, track.end, track.last)
            )
            mine.follow_corrections(track, given=track_id in self._given)
        self._given.clear()

    def place(self, fragment: Fragment) -> Fragment:
        """Return the next frame with its times on the timeline of the joined fragments."""
        if self.timeline is None:
            return fragment
        times: dict[int, SampleTimes] = {}
        for run in fragment.runs:
            track = self.timeline.tracks.get(run.track_id)
            if track is None or run.track_id not in self._tracks:
                continue  # the first of its track: nothing is known of it
            self._given.add(run.track_id)
            placed = self._tracks[run.track_id].place(run, track)
            if placed.durations is not None or placed.decode_time != run.decode_time:
                times[run.track_id] = placed
        return restamp(fragment, times) if times else fragment
