"""Give a fragment's samples other times: a new `moof`, with the media data unchanged.

ISO/IEC 14496-12 clauses 8.8.4 to 8.8.12.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping

import attrs

from camd.mp4.boxes import box, full_box, write_numbers
from camd.mp4.fragments import Fragment, TrackRun, run_of
from camd.mp4.init import required_box

_TFHD_SIZE = 16
_TFDT_SIZE = 20
_TRUN_HEAD_SIZE = 20
_TRUN_SAMPLE_SIZE = 16
_BOX = 8

_DEFAULT_BASE_IS_MOOF = 0x020000
_TRUN_FLAGS = 0x1 | 0x100 | 0x200 | 0x400 | 0x800  # data offset, durations, sizes, flags, offsets
_SYNC = 0x02000000  # sample_depends_on = 2, a sync sample
_NON_SYNC = 0x01010000  # sample_depends_on = 1, sample_is_non_sync_sample


@attrs.frozen
class SampleTimes:
    """Times of one track's samples in a fragment, in ticks of the track.

    None leaves the durations or composition offsets as they are.
    """

    decode_time: int
    durations: array[int] | None = None
    composition: array[int] | None = None


def restamp(fragment: Fragment, times: Mapping[int, SampleTimes]) -> Fragment:
    """Return the fragment with new times for the tracks in `times`.

    When only decode times change, the boxes stay as they are: whoever writes the fragment puts
    the decode times of its runs into them. Raises ValueError when counts do not agree.
    """
    runs = tuple(
        _changed(run, times[run.track_id]) if run.track_id in times else run
        for run in fragment.runs
    )
    moof = fragment.moof
    if any(each.durations is not None or each.composition is not None for each in times.values()):
        moof, runs = _build(fragment.moof, runs)
    video = run_of(runs, fragment.video.track_id) if fragment.video else None
    return attrs.evolve(fragment, moof=moof, runs=runs, video=video)


def _changed(run: TrackRun, times: SampleTimes) -> TrackRun:
    durations = run.durations if times.durations is None else times.durations
    composition = run.composition if times.composition is None else times.composition
    if len(durations) != run.count or (composition and len(composition) != run.count):
        raise ValueError("the number of times is not that of the samples")
    return attrs.evolve(
        run,
        decode_time=times.decode_time,
        durations=durations,
        composition=composition,
        duration=sum(durations),
    )


def _build(old: bytes, runs: tuple[TrackRun, ...]) -> tuple[bytes, tuple[TrackRun, ...]]:
    """Build a `moof` of `runs`; return it with the runs and their positions in it."""
    header = required_box(old, b"moof", b"mfhd")
    parts, placed = [old[header.start : header.end]], []
    at = _BOX + len(parts[0])
    moved = at + sum(_traf_size(run) for run in runs) - len(old)
    for run in runs:
        chunks = tuple(attrs.evolve(chunk, offset=chunk.offset + moved) for chunk in run.chunks)
        tfdt_at = at + _BOX + _TFHD_SIZE + 12
        run = attrs.evolve(run, chunks=chunks, tfdt_at=tfdt_at, tfdt_size=8)
        parts.append(_traf(run))
        placed.append(run)
        at += _traf_size(run)
    return box(b"moof", *parts), tuple(placed)


def _traf_size(run: TrackRun) -> int:
    truns = len(run.chunks) * _TRUN_HEAD_SIZE + run.count * _TRUN_SAMPLE_SIZE
    return _BOX + _TFHD_SIZE + _TFDT_SIZE + truns


def _traf(run: TrackRun) -> bytes:
    tfhd = full_box(b"tfhd", 0, _DEFAULT_BASE_IS_MOOF, struct.pack(">I", run.track_id))
    tfdt = full_box(b"tfdt", 1, 0, struct.pack(">q", run.decode_time))
    composition = run.composition or array("i", bytes(4 * run.count))
    table: array[int] = array("I", bytes(_TRUN_SAMPLE_SIZE * run.count))
    table[0::4] = run.durations
    table[1::4] = run.sizes
    table[2::4] = array("I", (_SYNC if sync else _NON_SYNC for sync in run.sync))
    table[3::4] = array("I", composition.tobytes())
    rows = write_numbers(table)
    truns, first = [], 0
    for chunk in run.chunks:
        begin, end = first * _TRUN_SAMPLE_SIZE, (first + chunk.count) * _TRUN_SAMPLE_SIZE
        head = struct.pack(">Ii", chunk.count, chunk.offset)
        truns.append(full_box(b"trun", 1, _TRUN_FLAGS, head, rows[begin:end]))
        first += chunk.count
    return box(b"traf", tfhd, tfdt, *truns)


# --- first samples that FFmpeg has moved to an earlier time

_LONGEST_PACKET = 2  # times the next sample of sound; a longer first one contains a pause …
_LONGEST_SECONDS = 0.2  # … and if there are two only, one this long: the second may be cut short


def with_moved_samples_put_back(fragment: Fragment) -> Fragment:
    """Return the fragment with moved first samples put back; itself when none was moved."""
    times = {}
    for run in fragment.runs:
        late = _late_picture(run, fragment.shown) if run is fragment.video else _late_sound(run)
        if late:
            durations = run.durations[:]
            durations[0] -= late
            times[run.track_id] = SampleTimes(run.decode_time + late, durations)
    return restamp(fragment, times) if times else fragment


def _late_picture(run: TrackRun, shown: int | None) -> int:
    """Return the ticks by which the first picture is shown later than its decode time says."""
    if shown is None:
        return 0
    late = shown - run.decode_time - (run.composition[0] if run.composition else 0)
    return late if 0 < late <= run.durations[0] else 0


def _late_sound(run: TrackRun) -> int:
    """Return the ticks by which the first packet is longer than the next; packets are equal.

    But for the last one of a stream, which is as long as the sound that is left.
    """
    if run.count < 2 or run.durations[0] <= _LONGEST_PACKET * run.durations[1]:
        return 0
    if run.count == 2 and run.durations[0] <= _LONGEST_SECONDS * run.timescale:
        return 0
    return run.durations[0] - run.durations[1]
