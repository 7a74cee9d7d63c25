"""What a segment's bytes say when they are read back: its head, or a sealed file's summary."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from typing import Literal

import attrs

from camd.mp4.boxes import BoxReader, BoxSpan, MediaError, children
from camd.mp4.h26x.parameter_sets import NalError, Read, sets_within
from camd.mp4.h26x.sample_entry import contradiction, header_problem, video_header
from camd.mp4.init import Init, Track, need, read_init, unpack
from camd.mp4.sample_tables import SegmentError
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM
from camd.mp4.segment_metadata import SegmentMetadata, decode_metadata

HEAD_SIZE = 64 * 1024  # of a file, and more than enough to hold what `read_segment_head` needs


@attrs.frozen
class SegmentSummary:
    """What a sealed file holds. `identity` is None when camd did not write it."""

    duration_seconds: float
    frames: int
    codec: str
    width: int
    height: int
    tracks: tuple[Track, ...]
    identity: SegmentMetadata | None


def sealed_moov_offset(head: bytes) -> int | None:
    """Say where a file that begins with `head` has its final `moov`; None when it still grows.

    Raises SegmentError when the file is not laid out as a segment.
    """
    if len(head) < HASHED_FROM or head[:8] != FTYP_SIZE.to_bytes(4, "big") + b"ftyp":
        raise SegmentError("the file does not begin as a segment")
    size, kind, large = unpack("IIQ", head, FTYP_SIZE, len(head))
    match size, kind.to_bytes(4, "big"):
        case 1, b"mdat":
            return FTYP_SIZE + large
        case 16, b"free":
            return None
    raise SegmentError("the file is not laid out as a segment")


def read_segment_head(data: bytes) -> tuple[Init, SegmentMetadata]:
    """Read the head of a segment, sealed or growing; `data` may go on behind it.

    Raises MediaError when it is not there as a whole. To rebuild the index of a growing file,
    feed it to a FragmentReader from its first byte: what follows the init are its fragments,
    on timelines that start at zero, and `position` is where a torn tail begins.
    """
    sealed_moov_offset(data)
    boxes = BoxReader().feed(data[HASHED_FROM : HASHED_FROM + HEAD_SIZE])
    if [box.kind for box in boxes[:2]] != [b"moov", b"uuid"]:
        raise SegmentError("the segment's head is not whole")
    return read_init(data[:FTYP_SIZE], boxes[0].data), decode_metadata(boxes[1].data)


def summarise(head: bytes, moov: bytes) -> SegmentSummary:
    """Summarise a sealed file from its first bytes (HEAD_SIZE will do) and its final `moov`.

    Any ordinary MP4's `moov` will do as well. Raises MediaError.
    """
    init = read_init(b"", moov)
    top = need(moov, b"moov")
    traks = [span for span in children(moov, top.payload, top.end) if span.kind == b"trak"]
    index = init.tracks.index(init.video)
    frames, ticks = _count(moov, need(moov, b"mdia", b"minf", b"stbl", within=traks[index]))
    video = init.video
    return SegmentSummary(
        duration_seconds=float(Fraction(ticks, video.timescale)),
        frames=frames,
        codec=video.codec,
        width=video.width,
        height=video.height,
        tracks=init.tracks,
        identity=_find_identity(head),
    )


def _count(moov: bytes, stbl: BoxSpan) -> tuple[int, int]:
    """Add up a track's samples and their durations (8.6.1.2)."""
    stts = need(moov, b"stts", within=stbl)
    (entries,) = unpack("I", moov, stts.payload + 4, stts.end)
    if stts.payload + 8 + 8 * entries > stts.end:
        raise SegmentError("a table shorter than its count")
    pairs = unpack(f"{2 * entries}I", moov, stts.payload + 8, stts.end)
    counts, deltas = pairs[0::2], pairs[1::2]
    return sum(counts), sum(n * delta for n, delta in zip(counts, deltas, strict=True))


def _find_identity(head: bytes) -> SegmentMetadata | None:
    try:
        return read_segment_head(head)[1]
    except MediaError:
        return None


# --- Whether the sample tables of a finished file agree, and point at bytes that are there.

_ENTRY = {"I": 4, "Q": 8}


def check_samples(moov: bytes, begin: int, end: int) -> None:
    """Raise MediaError unless every sample lies within `begin` and `end` of the file.

    Takes a few passes over the tables: some milliseconds for an hour of video.
    """
    top = need(moov, b"moov")
    for trak in (span for span in children(moov, top.payload, top.end) if span.kind == b"trak"):
        _check_track(moov, need(moov, b"mdia", b"minf", b"stbl", within=trak), begin, end)


def _check_track(moov: bytes, stbl: BoxSpan, begin: int, end: int) -> None:
    tables = {span.kind: span for span in children(moov, stbl.payload, stbl.end)}
    sizes = _sizes(moov, need(moov, b"stsz", within=stbl))
    samples = len(sizes)
    if sum(_entries(moov, need(moov, b"stts", within=stbl), "I", 2)[0::2]) != samples:
        raise SegmentError("its tables do not agree on the number of samples")
    if b"ctts" in tables and sum(_entries(moov, tables[b"ctts"], "I", 2)[0::2]) != samples:
        raise SegmentError("its tables do not agree on the number of samples")
    if b"stss" in tables:
        sync = _entries(moov, tables[b"stss"], "I")
        if sync and not 1 <= min(sync) <= max(sync) <= samples:
            raise SegmentError("its table of key frames names samples that it does not have")
    wide = b"co64" in tables
    offsets = _entries(moov, need(moov, b"co64" if wide else b"stco", within=stbl), "IQ"[wide])  # type: ignore[arg-type]
    ends, at = list(accumulate(sizes, initial=0)), 0
    for offset, count in zip(offsets, _chunks(moov, stbl, len(offsets)), strict=True):
        if at + count > samples:
            raise SegmentError("its chunks hold more samples than there are")
        if offset < begin or offset + ends[at + count] - ends[at] > end:
            raise SegmentError(f"sample {at + 1} lies outside of the media data")
        at += count
    if at != samples:
        raise SegmentError("its chunks hold fewer samples than there are")


@attrs.frozen
class SampleLocation:
    """Where a sample lies in the file; `number` counts from 1."""

    number: int
    offset: int
    size: int


def sync_samples(moov: bytes, stbl: BoxSpan) -> Iterator[SampleLocation]:
    """Yield where a track's sync samples lie, in order; every sample when all are (8.6.2).

    The tables must agree: see `check_samples`. Raises MediaError.
    """
    tables = {span.kind: span for span in children(moov, stbl.payload, stbl.end)}
    sizes = _sizes(moov, need(moov, b"stsz", within=stbl))
    wide = b"co64" in tables
    offsets = _entries(moov, need(moov, b"co64" if wide else b"stco", within=stbl), "IQ"[wide])  # type: ignore[arg-type]
    sync = set(_entries(moov, tables[b"stss"], "I")) if b"stss" in tables else None
    number = 0
    for offset, count in zip(offsets, _chunks(moov, stbl, len(offsets)), strict=True):
        at = offset
        for size in sizes[number : number + count]:
            number += 1
            if sync is None or number in sync:
                yield SampleLocation(number, at, size)
            at += size


def _chunks(moov: bytes, stbl: BoxSpan, chunks: int) -> Iterator[int]:
    """Yield how many samples each chunk holds (8.7.4)."""
    entries = _entries(moov, need(moov, b"stsc", within=stbl), "I", 3)
    firsts, counts = list(entries[0::3]), entries[1::3]
    ends = [*firsts[1:], chunks + 1]
    if chunks and (not firsts or firsts[0] != 1 or ends != sorted(set(ends))):
        raise SegmentError("its table of chunks is out of order")
    for first, until, count in zip(firsts, ends, counts, strict=True):
        for _ in range(first, until):
            yield count


def _sizes(moov: bytes, stsz: BoxSpan) -> array[int]:
    """Read the sizes of all samples (8.7.3.2)."""
    common = _numbers(moov, stsz, "I", stsz.payload + 4, 2)
    if common[0]:
        return array("I", common[:1]) * common[1]
    return _numbers(moov, stsz, "I", stsz.payload + 12, common[1])


def _entries(moov: bytes, table: BoxSpan, form: Literal["I", "Q"], width: int = 1) -> array[int]:
    """Read a table that begins with the number of its entries, each of `width` numbers."""
    (count,) = _numbers(moov, table, "I", table.payload + 4, 1)
    return _numbers(moov, table, form, table.payload + 8, count * width)


def _numbers(
    moov: bytes, table: BoxSpan, form: Literal["I", "Q"], at: int, count: int
) -> array[int]:
    size = count * _ENTRY[form]
    if at + size > table.end:
        raise SegmentError("a table shorter than its count")
    values: array[int] = array(form, moov[at : at + size])
    if sys.byteorder == "little":
        values.byteswap()
    return values


# --- Whether a finished file's pictures can be decoded with what its own header says.


def undecodable(read: Read, moov: bytes, *, every: bool) -> str:
    """Say why the video of a sealed file cannot be decoded with its header; "" when it can.

    Looks at the first key frame, with `every` at each one, and reads little more of them than
    their parameter sets. The text completes "the file …". Raises what `read` raises.
    """
    try:
        return _undecodable(read, moov, every)
    except MediaError as error:
        return f"has a header that cannot be read: {error}"


def _undecodable(read: Read, moov: bytes, every: bool) -> str:
    init = read_init(b"", moov)
    header = video_header(init)
    top = need(moov, b"moov")
    traks = [span for span in children(moov, top.payload, top.end) if span.kind == b"trak"]
    stbl = need(moov, b"mdia", b"minf", b"stbl", within=traks[init.tracks.index(init.video)])
    if header is not None and (wrong := header_problem(header)):
        return _told(wrong)
    first = True
    for place in sync_samples(moov, stbl):
        if first and place.number > 1:
            return f"begins with {place.number - 1} frames before its first key frame"
        if header is None or not (first or every):
            return ""
        try:
            sets = sets_within(read, place.offset, place.size, header.nal_length, header.codec)
        except NalError as error:
            return _told(f"{error}, frame {place.number}")
        if wrong := contradiction(header, sets):
            return _told(f"{wrong}, from frame {place.number} on")
        first = False
    return "has no key frame" if first else ""


def _told(wrong: str) -> str:
    return f"cannot be decoded with its own header: {wrong}"
