"""Where the first sample of each track in a fragment belongs, when FFmpeg has moved it.

FFmpeg guesses how long the last sample of a fragment lasts, unless the next one of that track is
there. It then lets the next fragment begin where the guess ends, and its first sample last until
the second one: after a pause of one track, that sample is played where the pause began.
"""

from __future__ import annotations

from camd.media.fragments import Fragment
from camd.media.restamp import SampleTimes, restamp
from camd.media.runs import TrackRun

_LONGER = 2  # times the next sample of sound: more is a pause, and no length of a packet


def in_place(fragment: Fragment) -> Fragment:
    """Put back the first samples that were moved; the fragment itself when none was."""
    times = {}
    for run in fragment.runs:
        late = _late_picture(run, fragment.shown) if run is fragment.video else _late_sound(run)
        if late:
            durations = run.durations[:]
            durations[0] -= late
            times[run.track_id] = SampleTimes(run.decode_time + late, durations)
    return restamp(fragment, times) if times else fragment


def _late_picture(run: TrackRun, shown: int | None) -> int:
    """By how much the first picture is shown later than its place says, in ticks."""
    if shown is None:
        return 0
    late = shown - run.decode_time - (run.composition[0] if run.composition else 0)
    return late if 0 < late <= run.durations[0] else 0


def _late_sound(run: TrackRun) -> int:
    """By how much the first packet outlasts the next one, in ticks; packets are alike."""
    if run.count < 2 or run.durations[0] <= _LONGER * run.durations[1]:
        return 0
    return run.durations[0] - run.durations[1]
