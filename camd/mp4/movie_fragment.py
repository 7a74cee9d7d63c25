"""What a `moof` says about its samples (ISO/IEC 14496-12 clauses 8.8.4 to 8.8.12)."""

from __future__ import annotations

import sys
from array import array
from typing import Literal

import attrs

from camd.mp4.boxes import BoxSpan, MediaError, children, find
from camd.mp4.init import MAX_TRACKS, Init, SampleDefaults, Track, unpack

MAX_SAMPLES = 100_000  # of all tracks of one fragment

_NON_SYNC = 0x10000  # sample_is_non_sync_sample (8.8.3.1)


class FragmentError(MediaError):
    """A fragment that is damaged, or uses what camd does not record from."""


@attrs.frozen
class SampleChunk:
    """Samples that lie together: `count` of them, `offset` bytes behind the moof's first byte."""

    count: int
    offset: int


@attrs.frozen
class TrackRun:
    """All samples of one track in one fragment, as arrays of equal length.

    Durations and offsets in ticks of the track; `composition` is empty when every offset is 0.
    `tfdt_at` is where in the moof the decode time stands, `tfdt_size` bytes wide.
    """

    track_id: int
    timescale: int
    decode_time: int
    durations: array[int] = attrs.field(repr=False)
    sizes: array[int] = attrs.field(repr=False)
    sync: bytes = attrs.field(repr=False)  # 1 for a sync sample, else 0
    composition: array[int] = attrs.field(repr=False)
    chunks: tuple[SampleChunk, ...]
    tfdt_at: int
    tfdt_size: int
    duration: int  # sum of `durations`

    @property
    def count(self) -> int:
        """How many samples."""
        return len(self.sizes)


@attrs.define(eq=False)
class _Collected:
    """One track's samples while its fragment is being read."""

    track: Track
    decode_time: int
    tfdt_at: int
    tfdt_size: int
    durations: array[int] = attrs.field(factory=lambda: array("I"))
    sizes: array[int] = attrs.field(factory=lambda: array("I"))
    sync: bytearray = attrs.field(factory=bytearray)
    composition: array[int] = attrs.field(factory=lambda: array("i"))
    chunks: list[SampleChunk] = attrs.field(factory=list)

    def finish(self) -> TrackRun:
        return TrackRun(
            track_id=self.track.track_id,
            timescale=self.track.timescale,
            decode_time=self.decode_time,
            durations=self.durations,
            sizes=self.sizes,
            sync=bytes(self.sync),
            composition=self.composition if any(self.composition) else array("i"),
            chunks=tuple(self.chunks),
            tfdt_at=self.tfdt_at,
            tfdt_size=self.tfdt_size,
            duration=sum(self.durations),
        )


def read_moof(moof: bytes, init: Init, payload: int, end: int) -> tuple[TrackRun, ...]:
    """Read a whole `moof` box whose `mdat` content lies from `payload` to `end` behind its start.

    Tracks without samples are left out. Raises MediaError.
    """
    tracks = {track.track_id: track for track in init.tracks}
    runs: dict[int, TrackRun] = {}
    position = 0  # where data goes on when a box does not say
    room = MAX_SAMPLES
    top = find(moof, b"moof")
    if top is None or find(moof, b"moof", b"mfhd") is None:
        raise FragmentError("a moof without its header")
    trafs = [span for span in children(moof, top.payload, top.end) if span.kind == b"traf"]
    if len(trafs) > MAX_TRACKS:
        raise FragmentError(f"a fragment of {len(trafs)} tracks, at most {MAX_TRACKS} are allowed")
    for traf in trafs:
        collected, position = _read_traf(moof, traf, tracks, position, room)
        room -= len(collected.sizes)
        if not collected.sizes:
            continue
        run = collected.finish()
        if run.track_id in runs:
            raise FragmentError(f"track {run.track_id} is in the fragment twice")
        _check_chunks(run, payload, end)
        runs[run.track_id] = run
    return tuple(runs.values())


def _read_traf(
    moof: bytes, traf: BoxSpan, tracks: dict[int, Track], position: int, room: int
) -> tuple[_Collected, int]:
    parts = list(children(moof, traf.payload, traf.end))
    tfhd = next((span for span in parts if span.kind == b"tfhd"), None)
    tfdt = next((span for span in parts if span.kind == b"tfdt"), None)
    if tfhd is None:
        raise FragmentError("a traf without its header")
    track, defaults, from_moof = _read_tfhd(moof, tfhd, tracks)
    collected = _Collected(track, 0, 0, 0)
    base = position = 0 if from_moof else position
    for span in parts:
        if span.kind != b"trun":
            continue
        if tfdt is None:
            raise FragmentError("a traf without its decode time")
        position = _read_trun(moof, span, collected, defaults, (base, position), room)
    if tfdt is not None:
        (version,) = unpack("B", moof, tfdt.payload, tfdt.end)
        collected.tfdt_at, collected.tfdt_size = tfdt.payload + 4, 8 if version else 4
        form = "q" if version else "I"  # times before zero are negative, whatever 8.8.12 says
        (collected.decode_time,) = unpack(form, moof, collected.tfdt_at, tfdt.end)
    return collected, position


def _read_tfhd(
    moof: bytes, tfhd: BoxSpan, tracks: dict[int, Track]
) -> tuple[Track, SampleDefaults, bool]:
    flags, track_id = unpack("II", moof, tfhd.payload, tfhd.end)
    if flags & 0x1:
        raise FragmentError("a fragment with absolute data offsets cannot be moved")
    if track_id not in tracks:
        raise FragmentError(f"the fragment has the unknown track {track_id}")
    track = tracks[track_id]
    values = list(attrs.astuple(track.defaults))
    at = tfhd.payload + 8
    for index, bit in enumerate((0x2, 0x8, 0x10, 0x20)):
        if flags & bit:
            (values[index],) = unpack("I", moof, at, tfhd.end)
            at += 4
    if values[0] != 1:
        raise FragmentError("a fragment uses a second sample description")
    return track, SampleDefaults(*values), bool(flags & 0x20000)


def _read_trun(
    moof: bytes,
    span: BoxSpan,
    collected: _Collected,
    defaults: SampleDefaults,
    bases: tuple[int, int],
    room: int,
) -> int:
    """Add one `trun` (8.8.8) and return where its data ends; `bases`: traf and last data."""
    full, count = unpack("II", moof, span.payload, span.end)
    if count > room - len(collected.sizes):
        raise FragmentError(f"a fragment with more than {MAX_SAMPLES} samples")
    start = bases[1]
    at = span.payload + 8
    if full & 0x1:
        start = bases[0] + unpack("i", moof, at, span.end)[0]
        at += 4
    first_flags: int | None = None
    if full & 0x4:
        (first_flags,) = unpack("I", moof, at, span.end)
        at += 4
    columns = _read_columns(moof, at, span.end, full & 0xF00, count)
    sizes = columns.get(0x200, array("I", (defaults.size,)) * count)
    flags = columns.get(0x400, array("I", (defaults.flags,)) * count)
    if first_flags is not None and count:
        flags[0] = first_flags
    collected.durations += columns.get(0x100, array("I", (defaults.duration,)) * count)
    collected.sizes += sizes
    intra_only = collected.track.intra_only
    collected.sync += bytes(intra_only or not word & _NON_SYNC for word in flags)
    collected.composition += _signed(columns.get(0x800), count)
    if count:
        collected.chunks.append(SampleChunk(count, start))
    return start + sum(sizes)


def _read_columns(moof: bytes, at: int, end: int, flags: int, count: int) -> dict[int, array[int]]:
    """Split the table of a `trun` into its columns, by the flag that announces each."""
    present = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    width = len(present)
    if at + 4 * width * count > end:
        raise FragmentError("a trun shorter than its samples")
    words = big_endian("I", moof[at : at + 4 * width * count])
    return {bit: words[index::width] for index, bit in enumerate(present)}


def big_endian(typecode: Literal["I", "i", "Q"], data: bytes) -> array[int]:
    """Make an array of the big-endian numbers in `data`."""
    words: array[int] = array(typecode)
    words.frombytes(data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _signed(column: array[int] | None, count: int) -> array[int]:
    """Read composition offsets as signed; those of version 0 would be hours if they were not."""
    if column is None:
        return array("i", (0,)) * count
    return array("i", column.tobytes())


def _check_chunks(run: TrackRun, payload: int, end: int) -> None:
    """See to it that every sample lies inside the mdat."""
    first = 0
    for chunk in run.chunks:
        size = sum(run.sizes[first : first + chunk.count])
        if chunk.offset < payload or chunk.offset + size > end:
            raise FragmentError(f"samples of track {run.track_id} lie outside the mdat")
        first += chunk.count
