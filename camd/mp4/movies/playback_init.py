"""The beginning of a segment as players of single pieces need it: `ftyp` and `moov`.

Browsers know an edit list of one entry, and ignore one that begins with an empty edit (a track that
begins later). Such delays are expressed the other way round here: the tracks that begin earlier
skip as much. The time line is moved by that; `shift` says how far.
"""

from __future__ import annotations

from fractions import Fraction

import attrs

from camd.mp4.init import Init
from camd.mp4.moov import Edit, growing_moov


@attrs.frozen
class PlaybackInit:
    """Bytes to give to a player first, and where a presentation time of the file lies then.

    A frame that is presented at `t` without any edit list is at `t + shift`, in seconds.
    """

    data: bytes = attrs.field(repr=False)
    shift: Fraction


def playback_init(init: Init, start_micros: int) -> PlaybackInit:
    """Build it from the head of a segment, whose first frame was taken at `start_micros`."""
    latest = max(Fraction(0), *(track.delay for track in init.tracks))
    edits = {
        track.track_id: Edit(Fraction(0), round((latest - track.delay) * track.timescale))
        for track in init.tracks
    }
    video = init.video
    shift = -Fraction(edits[video.track_id].media_time, video.timescale)
    return PlaybackInit(init.ftyp + growing_moov(init, edits, start_micros), shift)
