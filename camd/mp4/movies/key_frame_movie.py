"""Build a movie of key frames alone, each of which is shown for a second."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from fractions import Fraction

from camd.mp4.boxes import box
from camd.mp4.fragments import SampleChunk, TrackRun
from camd.mp4.init import Init
from camd.mp4.moov import Edit, final_moov
from camd.mp4.sample_tables import SampleTable

_FTYP = box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso5iso6mp41")
_MDAT_HEADER = 16


def key_frame_movie(init: Init, samples: Sequence[bytes]) -> bytes:
    """Build the movie of `samples`, which are key frames of the video track of `init`.

    The movie box comes first, so that the file can be read from a pipe. Raises ValueError without
    samples.
    """
    if not samples:
        raise ValueError("a movie needs a sample")
    track, count = init.video, len(samples)
    run = TrackRun(
        track_id=track.track_id,
        timescale=track.timescale,
        decode_time=0,
        durations=array("I", [track.timescale]) * count,
        sizes=array("I", map(len, samples)),
        sync=b"\x01" * count,
        composition=array("i"),
        chunks=(SampleChunk(count, 0),),
        tfdt_at=0,
        tfdt_size=8,
        duration=track.timescale * count,
    )
    edit = Edit(Fraction(0), 0, Fraction(count))

    def moov(position: int) -> bytes:
        table = SampleTable(track, 0)
        table.add(run, position, 0)
        return final_moov(init, [table], {track.track_id: edit}, 0)

    size = sum(run.sizes) + _MDAT_HEADER
    begin = len(_FTYP) + len(moov(0)) + _MDAT_HEADER
    return b"".join((_FTYP, moov(begin), struct.pack(">I4sQ", 1, b"mdat", size), *samples))
