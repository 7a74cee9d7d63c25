"""Build a segment's two movie boxes (ISO/IEC 14496-12 clauses 8.2 to 8.6).

Both are made from the stream's own `moov`: descriptions of codecs are copied byte by byte, times
and positions are written anew.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import attrs

from camd.mp4.boxes import BoxSpan, box, boxes_in, full_box
from camd.mp4.init import Init, read_init, read_timescale, required_box, unpack
from camd.mp4.sample_tables import SampleTable

MOVIE_TIMESCALE = 90_000
_MAX_TICKS = 0x7FFF_FFFF_FFFF_FFFF
_EPOCH_OFFSET_SECONDS = 2_082_844_800  # from 1904-01-01, where these boxes count from, to 1970
_UNIT_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)

Changes = Mapping[bytes, Callable[[BoxSpan], bytes]]  # kind of a box -> what replaces it


@attrs.frozen
class Edit:
    """A track's place in the presentation: after `delay` seconds, from `media_time` on.

    `duration` is in seconds; 0 means to the end, as in a growing file (8.6.6).
    """

    delay: Fraction
    media_time: int
    duration: Fraction = Fraction(0)

    @property
    def presented_ticks(self) -> int:
        """End of the track's presentation, in the time scale of the movie header."""
        return min(movie_ticks(self.delay) + movie_ticks(self.duration, up=True), _MAX_TICKS)

    def encode(self) -> bytes:
        """Build the `edts` box; empty when the track starts at zero."""
        delay = movie_ticks(self.delay)
        if not delay and not self.media_time:
            return b""
        entries = [(movie_ticks(self.duration, up=True), self.media_time)]
        if delay:
            entries.insert(0, (delay, -1))
        packed = b"".join(struct.pack(">QqI", *entry, 0x10000) for entry in entries)
        return box(b"edts", full_box(b"elst", 1, 0, struct.pack(">I", len(entries)), packed))


def movie_ticks(seconds: Fraction, *, up: bool = False) -> int:
    """Convert seconds to the time scale of the movie header, to the nearest tick or upwards."""
    ticks = seconds * MOVIE_TIMESCALE
    return min(math.ceil(ticks) if up else round(ticks), _MAX_TICKS)


def growing_moov(init: Init, edits: Mapping[int, Edit], start_micros: int) -> bytes:
    """Rewrite the stream's `moov` for a growing file: edits, a finer clock, and no duration."""
    moov, tracks = init.moov, iter(init.tracks)

    def track(trak: BoxSpan) -> bytes:
        edit = edits[next(tracks).track_id]
        header = {b"tkhd": lambda tkhd: _track_header(moov, tkhd, 0) + edit.encode()}
        return _rebuilt(moov, trak, {**header, b"edts": _dropped})

    changes: Changes = {
        b"mvhd": lambda mvhd: _movie_header(moov, mvhd, 0, start_micros),
        b"trak": track,
        # `mehd` is a duration, in the old time scale
        b"mvex": lambda mvex: _rebuilt(moov, mvex, {b"mehd": _dropped}),
    }
    return _rebuilt(moov, required_box(moov, b"moov"), changes)


def final_moov(
    init: Init, tables: Sequence[SampleTable], edits: Mapping[int, Edit], start_micros: int
) -> bytes:
    """Build the `moov` of the sealed file with the tracks of `tables`."""
    moov, tracks = init.moov, iter(init.tracks)
    by_track = {table.track.track_id: table for table in tables}
    duration = max(edit.presented_ticks for edit in edits.values())

    def track(trak: BoxSpan) -> bytes:
        table = by_track.get(next(tracks).track_id)
        return _final_track(moov, trak, table, edits[table.track.track_id]) if table else b""

    changes: Changes = {
        b"mvhd": lambda mvhd: _movie_header(moov, mvhd, duration, start_micros),
        b"trak": track,
        b"mvex": _dropped,
    }
    return _rebuilt(moov, required_box(moov, b"moov"), changes)


def init_without_sound(init: Init) -> Init:
    """Return the beginning of the same stream with its first video track alone."""
    moov, tracks, kept = init.moov, iter(init.tracks), init.video.track_id

    def track(trak: BoxSpan) -> bytes:
        return trak.bytes_of(moov) if next(tracks).track_id == kept else b""

    def defaults(trex: BoxSpan) -> bytes:
        (track_id,) = unpack("I", moov, trex.payload + 4, trex.end)
        return trex.bytes_of(moov) if track_id == kept else b""

    changes: Changes = {
        b"trak": track,
        b"mvex": lambda mvex: _rebuilt(moov, mvex, {b"trex": defaults}),
    }
    return read_init(init.ftyp, _rebuilt(moov, required_box(moov, b"moov"), changes))


def _final_track(moov: bytes, trak: BoxSpan, table: SampleTable, edit: Edit) -> bytes:
    def sample_tables(stbl: BoxSpan) -> bytes:
        return box(b"stbl", required_box(moov, b"stsd", within=stbl).bytes_of(moov), *table.boxes())

    media: Changes = {
        b"mdhd": lambda mdhd: _media_header(moov, mdhd, table.end - table.begin),
        b"minf": lambda minf: _rebuilt(moov, minf, {b"stbl": sample_tables}),
    }
    changes: Changes = {
        b"tkhd": lambda tkhd: _track_header(moov, tkhd, edit.presented_ticks) + edit.encode(),
        b"mdia": lambda mdia: _rebuilt(moov, mdia, media),
        b"edts": _dropped,
    }
    return _rebuilt(moov, trak, changes)


def _rebuilt(moov: bytes, parent: BoxSpan, changes: Changes) -> bytes:
    """Copy a box, with the boxes in it replaced that `changes` names by their kind."""
    parts = (
        changes[span.kind](span) if span.kind in changes else span.bytes_of(moov)
        for span in boxes_in(moov, parent)
    )
    return box(parent.kind, *parts)


def _dropped(_: BoxSpan) -> bytes:
    return b""


def _movie_header(moov: bytes, mvhd: BoxSpan, duration: int, start_micros: int) -> bytes:
    """Build an `mvhd` (8.2.2) with 64-bit times; created when the first frame was taken."""
    next_track = moov[mvhd.end - 4 : mvhd.end]
    created = max(0, start_micros // 1_000_000 + _EPOCH_OFFSET_SECONDS)
    times = struct.pack(">QQIQ", created, created, MOVIE_TIMESCALE, duration)
    rate_and_volume = struct.pack(">IH10x", 0x10000, 0x100)
    return full_box(b"mvhd", 1, 0, times, rate_and_volume, _UNIT_MATRIX, bytes(24), next_track)


def _track_header(moov: bytes, tkhd: BoxSpan, duration: int) -> bytes:
    """Build a `tkhd` (8.3.2) with 64-bit times; layer, matrix and size are copied."""
    version = moov[tkhd.payload]
    flags = int.from_bytes(moov[tkhd.payload + 1 : tkhd.payload + 4], "big")
    at = tkhd.payload + (20 if version else 12)
    times = struct.pack(">QQ4s4xQ", 0, 0, moov[at : at + 4], duration)
    return full_box(b"tkhd", 1, flags, times, moov[tkhd.end - 60 : tkhd.end])


def _media_header(moov: bytes, mdhd: BoxSpan, duration: int) -> bytes:
    """Build an `mdhd` (8.4.2) with 64-bit times; the language is copied."""
    times = struct.pack(">QQIQ", 0, 0, read_timescale(moov, mdhd), duration)
    return full_box(b"mdhd", 1, 0, times, moov[mdhd.end - 4 : mdhd.end])
