"""Join consecutive fragments into one: a `moof` with one `traf` for each track, and their samples.

Also a fragment without its sound.

ISO/IEC 14496-12 clauses 8.8.4 to 8.8.12.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence

import attrs

from camd.mp4.boxes import box, full_box, write_numbers
from camd.mp4.fragments import Fragment, SampleChunk, TrackRun

_BOX = 8
_DEFAULT_BASE_IS_MOOF = 0x020000
_TFHD_DURATION, _TFHD_FLAGS = 0x8, 0x20
_TRUN_OFFSET, _TRUN_FIRST_FLAGS = 0x1, 0x4
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_COMPOSITION = 0x100, 0x200, 0x400, 0x800
_SYNC = 0x02000000  # sample_depends_on = 2, a sync sample
_NON_SYNC = 0x01010000  # sample_depends_on = 1, sample_is_non_sync_sample


def join(fragments: Sequence[Fragment]) -> Fragment:
    """Join one or more fragments of one stream, in order, into one; one alone stays as it is.

    Each sample keeps its decode time: a sample before a gap, or before one that begins early,
    gets the duration up to the next one. Raises ValueError when the decode times of a track do not
    grow.
    """
    if len(fragments) == 1:
        return fragments[0]
    runs: dict[int, list[TrackRun]] = {}
    data: dict[int, list[memoryview]] = {}
    for fragment in fragments:
        for run in fragment.runs:
            runs.setdefault(run.track_id, []).append(run)
            data.setdefault(run.track_id, []).extend(_samples(fragment, run))
    joined = [_joined(each) for each in runs.values()]
    payload = [piece for pieces in data.values() for piece in pieces]
    mdat = box(b"mdat", *payload)
    moof, placed = _moof(joined)
    first = fragments[0]
    pictures = next((each for each in fragments if each.video is not None), None)
    if pictures is None or pictures.video is None:
        return Fragment(moof, mdat, placed, None, first.timescale)
    video = next(run for run in placed if run.track_id == pictures.video.track_id)
    return Fragment(
        moof, mdat, placed, video, first.timescale, pictures.wall_micros, pictures.shown
    )


def fragment_without_sound(fragment: Fragment) -> Fragment | None:
    """Return a fragment with its video samples alone; None: it has none."""
    video = fragment.video
    if video is None:
        return None
    if len(fragment.runs) == 1:
        return fragment
    moof, placed = _moof([_joined([video])])
    mdat = box(b"mdat", *_samples(fragment, video))
    return attrs.evolve(fragment, moof=moof, mdat=mdat, runs=placed, video=placed[0])


def _samples(fragment: Fragment, run: TrackRun) -> list[memoryview]:
    """Return the bytes of a run's samples, in a piece for each chunk, not copied."""
    data, pieces, number = memoryview(fragment.mdat), [], 0
    for chunk in run.chunks:
        at = chunk.offset - len(fragment.moof)
        size = sum(run.sizes[number : number + chunk.count])
        pieces.append(data[at : at + size])
        number += chunk.count
    return pieces


def _joined(runs: Sequence[TrackRun]) -> TrackRun:
    """Join the runs of one track; their samples will lie one behind the other."""
    durations, sizes, composition = array("I"), array("I"), array("i")
    first, end = runs[0], runs[0].decode_time
    ordered = any(run.composition for run in runs)
    for run in runs:
        if run.decode_time != end:
            lasts = durations[-1] + run.decode_time - end
            if lasts <= 0:
                raise ValueError("the decode times of a track do not grow")
            durations[-1] = lasts
        end = run.decode_time + run.duration
        durations += run.durations
        sizes += run.sizes
        if ordered:
            composition += run.composition or array("i", bytes(4 * run.count))
    return attrs.evolve(
        first,
        durations=durations,
        sizes=sizes,
        sync=b"".join(run.sync for run in runs),
        composition=composition,
        chunks=(),
        duration=end - first.decode_time,
    )


def _moof(runs: Sequence[TrackRun]) -> tuple[bytes, tuple[TrackRun, ...]]:
    """Build the `moof` of `runs`, whose samples follow in this order; place the runs in it."""
    header = full_box(b"mfhd", 0, 0, struct.pack(">I", 1))
    tables = [_Table.of(run) for run in runs]
    at = _BOX + len(header)
    offset = at + sum(table.traf_size for table in tables) + _BOX
    trafs, placed = [], []
    for run, table in zip(runs, tables, strict=True):
        trafs.append(table.traf(run, offset))
        tfdt_at = at + _BOX + table.tfhd_size + 12
        chunks = (SampleChunk(run.count, offset),)
        placed.append(attrs.evolve(run, chunks=chunks, tfdt_at=tfdt_at, tfdt_size=8))
        at += table.traf_size
        offset += sum(run.sizes)
    return box(b"moof", header, *trafs), tuple(placed)


@attrs.frozen
class _Table:
    """What the boxes of one run say of each sample, and what they say once for all."""

    defaults: tuple[int, ...]  # of the tfhd: duration, flags
    tfhd_flags: int
    trun_flags: int
    first_flags: int
    columns: tuple[array[int], ...]

    @classmethod
    def of(cls, run: TrackRun) -> _Table:
        flags = array("I", (_SYNC if sync else _NON_SYNC for sync in run.sync))
        tfhd, trun = _DEFAULT_BASE_IS_MOOF, _TRUN_OFFSET | _TRUN_SIZE
        defaults: list[int] = []
        columns: list[array[int]] = []
        if run.durations.count(run.durations[0]) == run.count:
            tfhd |= _TFHD_DURATION
            defaults.append(run.durations[0])
        else:
            trun |= _TRUN_DURATION
            columns.append(run.durations)
        columns.append(run.sizes)
        if flags[1:].count(flags[-1]) == run.count - 1:
            tfhd |= _TFHD_FLAGS
            defaults.append(flags[-1])
            trun |= _TRUN_FIRST_FLAGS if flags[0] != flags[-1] else 0
        else:
            trun |= _TRUN_FLAGS
            columns.append(flags)
        if run.composition:
            trun |= _TRUN_COMPOSITION
            columns.append(array("I", run.composition.tobytes()))
        return cls(tuple(defaults), tfhd, trun, flags[0], tuple(columns))

    @property
    def tfhd_size(self) -> int:
        return _BOX + 8 + 4 * len(self.defaults)

    @property
    def traf_size(self) -> int:
        first = 4 if self.trun_flags & _TRUN_FIRST_FLAGS else 0
        rows = 4 * len(self.columns) * len(self.columns[0])
        return _BOX + self.tfhd_size + (_BOX + 12) + (_BOX + 12 + first + rows)

    def traf(self, run: TrackRun, offset: int) -> bytes:
        """Build the `traf` of a run whose samples begin `offset` bytes after the moof's first."""
        defaults = struct.pack(f">{1 + len(self.defaults)}I", run.track_id, *self.defaults)
        tfhd = full_box(b"tfhd", 0, self.tfhd_flags, defaults)
        tfdt = full_box(b"tfdt", 1, 0, struct.pack(">q", run.decode_time))
        head = struct.pack(">Ii", run.count, offset)
        if self.trun_flags & _TRUN_FIRST_FLAGS:
            head += struct.pack(">I", self.first_flags)
        width = len(self.columns)
        table: array[int] = array("I", bytes(4 * width * run.count))
        for number, column in enumerate(self.columns):
            table[number::width] = column
        trun = full_box(b"trun", 1, self.trun_flags, head, write_numbers(table))
        return box(b"traf", tfhd, tfdt, trun)
