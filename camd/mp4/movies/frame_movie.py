"""Build a movie that shows one frame: samples from a key frame on, and an edit list.

ISO/IEC 14496-12 clauses 8.2 to 8.6. The movie box comes first, so that the file can be read from a
pipe.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from operator import add

from camd.mp4.boxes import box
from camd.mp4.fragments import SampleChunk, TrackRun
from camd.mp4.init import Init
from camd.mp4.moov import Edit, final_moov
from camd.mp4.sample_tables import SampleTable

_FTYP = box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso5iso6mp41")
_MDAT_HEADER = 16


def frame_movie(
    init: Init,
    samples: Sequence[bytes | memoryview],
    durations: Sequence[int],
    composition: Sequence[int],
) -> bytes:
    """Build the movie that shows the last of `samples`, and no other.

    The first sample is a sync sample; all are in decode order. Durations and composition offsets
    are in ticks of the video track of `init`; `composition` may be empty when all are 0. Samples
    that are shown before the first one are left out: no later one needs them, and a decoder that
    lacks what they refer to may give out nothing. Raises ValueError when the numbers do not agree.
    """
    if not samples or len(durations) != len(samples):
        raise ValueError("each sample needs its duration")
    kept = _without_leading(durations, composition)
    samples = [samples[number] for number in kept]
    starts = list(accumulate(durations, initial=0))
    lasting = [starts[behind] - starts[at] for at, behind in pairwise([*kept, len(durations)])]
    offsets = [composition[number] for number in kept] if composition else ()
    run = _run(init, [len(sample) for sample in samples], lasting, offsets)
    shown = presentation_times(run.durations, run.composition)[-1]
    edit = Edit(Fraction(0), shown, Fraction(run.durations[-1], run.timescale))

    def moov(position: int) -> bytes:
        table = SampleTable(init.video, 0)
        table.add(run, position, 0)
        return final_moov(init, [table], {run.track_id: edit}, 0)

    size = sum(run.sizes) + _MDAT_HEADER
    begin = len(_FTYP) + len(moov(0)) + _MDAT_HEADER
    return b"".join((_FTYP, moov(begin), struct.pack(">I4sQ", 1, b"mdat", size), *samples))


def _without_leading(durations: Sequence[int], composition: Sequence[int]) -> list[int]:
    """Return the numbers of the samples that are not shown before the first one, and the last."""
    times = presentation_times(durations, composition)
    last = len(times) - 1
    return [number for number, time in enumerate(times) if time >= times[0] or number == last]


def presentation_times(durations: Sequence[int], composition: Sequence[int]) -> list[int]:
    """Return when each sample is shown, in ticks from the decode time of the first one."""
    decoded = list(accumulate(durations, initial=0))[:-1]
    if not composition:
        return decoded
    return list(map(add, decoded, composition))


def _run(
    init: Init, sizes: Sequence[int], durations: Sequence[int], composition: Sequence[int]
) -> TrackRun:
    """Make the run of all samples; an edit list cannot begin before zero, so none is shown there.

    The last sample lasts at least a tick: without a duration, nothing would be shown.
    """
    lasting = array("I", durations)
    lasting[-1] = max(1, lasting[-1])
    earliest = min(0, *presentation_times(lasting, composition))
    offsets = array("i", (offset - earliest for offset in composition))
    return TrackRun(
        track_id=init.video.track_id,
        timescale=init.video.timescale,
        decode_time=0,
        durations=lasting,
        sizes=array("I", sizes),
        sync=b"\x01" + bytes(len(sizes) - 1),
        composition=offsets,
        chunks=(SampleChunk(len(sizes), 0),),
        tfdt_at=0,
        tfdt_size=8,
        duration=sum(lasting),
    )
