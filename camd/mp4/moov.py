"""How a segment's two movie boxes are built (ISO/IEC 14496-12 clauses 8.2 to 8.6).

Both are made from the stream's own `moov`: what describes the codec is taken over byte by byte,
what says times and places is made anew.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import attrs

from camd.mp4.boxes import BoxSpan, box, children, full_box
from camd.mp4.init import Init, need, read_timescale
from camd.mp4.sample_tables import SampleTable

MOVIE_TIMESCALE = 90_000
_MAX_TICKS = 0x7FFF_FFFF_FFFF_FFFF
_EPOCH_OFFSET_SECONDS = 2_082_844_800  # from 1904-01-01, where these boxes count from, to 1970
_UNIT_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@attrs.frozen
class Edit:
    """How a track lies on the presentation: `delay` seconds of nothing, then from `media_time`.

    `duration` is in seconds; 0 means to the end, which is what a growing file can say (8.6.6).
    """

    delay: Fraction
    media_time: int
    duration: Fraction = Fraction(0)

    @property
    def presented_ticks(self) -> int:
        """When the track's presentation ends, in the time scale of the movie header."""
        return min(movie_ticks(self.delay) + movie_ticks(self.duration, up=True), _MAX_TICKS)

    def encode(self) -> bytes:
        """Build the `edts` box; nothing when the track simply starts at zero."""
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
    """Rewrite the stream's `moov` for a file that grows: its edits, a finer clock, no duration."""
    moov = init.moov
    parts = []
    tracks = iter(init.tracks)
    for span in children(moov, *_content(need(moov, b"moov"))):
        match span.kind:
            case b"mvhd":
                next_track = int.from_bytes(moov[span.end - 4 : span.end], "big")
                parts.append(_movie_header(0, next_track, start_micros))
            case b"trak":
                edit = edits.get(next(tracks).track_id)
                parts.append(_growing_track(moov, span, edit))
            case b"mvex":  # without its mehd: a duration, in the old time scale
                inner = children(moov, *_content(span))
                kept = (moov[part.start : part.end] for part in inner if part.kind != b"mehd")
                parts.append(box(b"mvex", *kept))
            case _:
                parts.append(moov[span.start : span.end])
    return box(b"moov", *parts)


def final_moov(
    init: Init, tables: Sequence[SampleTable], edits: Mapping[int, Edit], start_micros: int
) -> bytes:
    """Build the `moov` of the sealed file from the tracks that `tables` describe."""
    moov = init.moov
    by_track = {table.track.track_id: table for table in tables}
    parts = []
    tracks = iter(init.tracks)
    duration = max(edit.presented_ticks for edit in edits.values())
    for span in children(moov, *_content(need(moov, b"moov"))):
        if span.kind == b"mvhd":
            next_track = int.from_bytes(moov[span.end - 4 : span.end], "big")
            parts.append(_movie_header(duration, next_track, start_micros))
        elif span.kind == b"trak":
            track_id = next(tracks).track_id
            if table := by_track.get(track_id):
                parts.append(_final_track(moov, span, table, edits[track_id]))
        elif span.kind != b"mvex":
            parts.append(moov[span.start : span.end])
    return box(b"moov", *parts)


def _content(span: BoxSpan) -> tuple[int, int]:
    return span.payload, span.end


def _movie_header(duration: int, next_track: int, start_micros: int) -> bytes:
    """Build an `mvhd` (8.2.2) with 64-bit times; created when the first frame was taken."""
    created = max(0, start_micros // 1_000_000 + _EPOCH_OFFSET_SECONDS)
    times = struct.pack(">QQIQ", created, created, MOVIE_TIMESCALE, duration)
    rate_and_volume = struct.pack(">IH10x", 0x10000, 0x100)
    rest = struct.pack(">24xI", next_track)
    return full_box(b"mvhd", 1, 0, times, rate_and_volume, _UNIT_MATRIX, rest)


def _growing_track(moov: bytes, trak: BoxSpan, edit: Edit | None) -> bytes:
    parts = []
    for span in children(moov, *_content(trak)):
        if span.kind == b"tkhd":
            parts.append(_track_header(moov, span, 0))
            parts.append(edit.encode() if edit else b"")
        elif span.kind != b"edts":
            parts.append(moov[span.start : span.end])
    return box(b"trak", *parts)


def _final_track(moov: bytes, trak: BoxSpan, table: SampleTable, edit: Edit) -> bytes:
    parts = []
    for span in children(moov, *_content(trak)):
        if span.kind == b"tkhd":
            parts.append(_track_header(moov, span, edit.presented_ticks))
            parts.append(edit.encode())
        elif span.kind == b"mdia":
            parts.append(_media(moov, span, table))
        elif span.kind != b"edts":
            parts.append(moov[span.start : span.end])
    return box(b"trak", *parts)


def _track_header(moov: bytes, tkhd: BoxSpan, duration: int) -> bytes:
    """Rewrite a `tkhd` (8.3.2) with 64-bit times; layer, matrix and size stay as they are."""
    version = moov[tkhd.payload]
    flags = int.from_bytes(moov[tkhd.payload + 1 : tkhd.payload + 4], "big")
    at = tkhd.payload + (20 if version else 12)
    track_id = moov[at : at + 4]
    tail = moov[tkhd.end - 60 : tkhd.end]
    times = struct.pack(">QQ4s4xQ", 0, 0, track_id, duration)
    return full_box(b"tkhd", 1, flags, times, tail)


def _media(moov: bytes, mdia: BoxSpan, table: SampleTable) -> bytes:
    parts = []
    for span in children(moov, *_content(mdia)):
        if span.kind == b"mdhd":
            timescale = read_timescale(moov, span)
            duration = table.end - table.begin
            times = struct.pack(">QQIQ", 0, 0, timescale, duration)
            parts.append(full_box(b"mdhd", 1, 0, times, moov[span.end - 4 : span.end]))
        elif span.kind == b"minf":
            parts.append(_media_information(moov, span, table))
        else:
            parts.append(moov[span.start : span.end])
    return box(b"mdia", *parts)


def _media_information(moov: bytes, minf: BoxSpan, table: SampleTable) -> bytes:
    parts: list[bytes] = []
    for span in children(moov, *_content(minf)):
        if span.kind == b"stbl":
            stsd = need(moov, b"stsd", within=span)
            tables: Iterable[bytes] = table.boxes()
            parts.append(box(b"stbl", moov[stsd.start : stsd.end], *tables))
        else:
            parts.append(moov[span.start : span.end])
    return box(b"minf", *parts)
