"""Read a segment file back: its head, a summary, and whether it is consistent and decodable."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, chain, repeat

import attrs

from camd.mp4.boxes import BoxReader, BoxSpan, MediaError, boxes_in
from camd.mp4.h26x.parameter_sets import NalError, Read, sets_within
from camd.mp4.h26x.sample_entry import contradiction, header_problem, video_header
from camd.mp4.init import Init, Track, read_init, required_box, trak_boxes, unpack, video_trak
from camd.mp4.sample_tables import SegmentError, shown_length
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM
from camd.mp4.segment_metadata import SegmentMetadata, decode_metadata
from camd.mp4.stored_tables import chunk_counts, chunk_offsets, table_entries, table_numbers

_MOST_EQUAL_SAMPLES = 16 * 1024 * 1024  # that one number in a header may stand for
_REORDERED = 64  # pictures; many more than wait to be shown while others are decoded
HEAD_SIZE = 64 * 1024  # bytes; more than `read_segment_head` usually needs


@attrs.frozen
class SegmentSummary:
    """Contents of a sealed file. `metadata` is None when camd did not write it.

    `duration_seconds` is how long its frames are shown, `decoded_seconds` how long they take to be
    decoded.
    """

    duration_seconds: float
    decoded_seconds: float
    frames: int
    codec: str
    width: int
    height: int
    tracks: tuple[Track, ...]
    metadata: SegmentMetadata | None


def sealed_moov_offset(head: bytes) -> int | None:
    """Return the offset of the final `moov` of a file that begins with `head`; None if growing.

    Raises SegmentError when the file has not the layout of a segment.
    """
    if len(head) < HASHED_FROM or head[:8] != FTYP_SIZE.to_bytes(4, "big") + b"ftyp":
        raise SegmentError("the file does not begin as a segment")
    size, kind, large = unpack("IIQ", head, FTYP_SIZE, len(head))
    match size, kind.to_bytes(4, "big"):
        case 1, b"mdat":
            return FTYP_SIZE + large
        case 16, b"free":
            return None
    raise SegmentError("the file has not the layout of a segment")


def read_segment_head(data: bytes) -> tuple[Init, SegmentMetadata]:
    """Parse the head of a segment, sealed or growing; `data` may continue after it.

    Raises MediaError when it is not complete.
    """
    sealed_moov_offset(data)
    boxes = BoxReader().feed(data[HASHED_FROM : HASHED_FROM + HEAD_SIZE])
    if [box.kind for box in boxes[:2]] != [b"moov", b"uuid"]:
        raise SegmentError("the segment's head is not complete")
    return read_init(data[:FTYP_SIZE], boxes[0].data), decode_metadata(boxes[1].data)


def summarise_segment(head: bytes, moov: bytes) -> SegmentSummary:
    """Summarise a sealed file from its first bytes (usually HEAD_SIZE) and its final `moov`.

    The `moov` of any other MP4 is accepted too. Raises MediaError.
    """
    init = read_init(b"", moov)
    video = init.video
    stbl = required_box(moov, b"mdia", b"minf", b"stbl", within=video_trak(init))
    stts = required_box(moov, b"stts", within=stbl)
    pairs = table_entries(moov, stts, "I", 2)  # number of samples and their duration (8.6.1.2)
    ticks = sum(count * duration for count, duration in zip(pairs[0::2], pairs[1::2], strict=True))
    shown = _shown_ticks(moov, stbl, pairs, ticks)
    return SegmentSummary(
        duration_seconds=float(Fraction(shown, video.timescale)),
        decoded_seconds=float(Fraction(ticks, video.timescale)),
        frames=sum(pairs[0::2]),
        codec=video.codec,
        width=video.width,
        height=video.height,
        tracks=init.tracks,
        metadata=_find_metadata(head),
    )


def _shown_ticks(moov: bytes, stbl: BoxSpan, durations: array[int], decoded: int) -> int:
    """Return until when pictures are shown that take so long to be decoded; see `shown_length`.

    `durations` are counts and durations. Only the last pictures are looked at.
    """
    ctts = next((span for span in boxes_in(moov, stbl) if span.kind == b"ctts"), None)
    if ctts is None:
        return decoded
    offsets = array("i", table_entries(moov, ctts, "I", 2).tobytes())
    lasting, late = _last_values(durations), _last_values(offsets)
    ends = accumulate(lasting, initial=decoded - sum(lasting))
    if not lasting or len(lasting) != len(late):
        return decoded
    first = offsets[1]
    shown = [end + offset - first for end, offset in zip(ends, late, strict=False)]
    return shown_length(decoded, *max(zip(shown, lasting, strict=True)))


def _last_values(pairs: array[int]) -> list[int]:
    """Return the last values of a table of counts and values, at most _REORDERED."""
    values: list[int] = []
    for at in range(len(pairs) - 2, -1, -2):
        values += [pairs[at + 1]] * min(pairs[at], _REORDERED - len(values))
        if len(values) == _REORDERED:
            break
    return values[::-1]


def _find_metadata(head: bytes) -> SegmentMetadata | None:
    try:
        return read_segment_head(head)[1]
    except MediaError:
        return None


# --- consistency of the sample tables


def validate_samples(moov: bytes, begin: int, end: int) -> None:
    """Raise MediaError unless every sample lies within `begin` and `end` of the file.

    A few passes over the tables: some milliseconds for an hour of video.
    """
    for trak in trak_boxes(moov):
        _validate_track(
            moov, required_box(moov, b"mdia", b"minf", b"stbl", within=trak), begin, end
        )


def _validate_track(moov: bytes, stbl: BoxSpan, begin: int, end: int) -> None:
    tables = {span.kind: span for span in boxes_in(moov, stbl)}
    sizes = _sizes(moov, required_box(moov, b"stsz", within=stbl))
    samples = len(sizes)
    if sum(table_entries(moov, required_box(moov, b"stts", within=stbl), "I", 2)[0::2]) != samples:
        raise SegmentError("its tables do not agree on the number of samples")
    if b"ctts" in tables and sum(table_entries(moov, tables[b"ctts"], "I", 2)[0::2]) != samples:
        raise SegmentError("its tables do not agree on the number of samples")
    if b"stss" in tables:
        sync = table_entries(moov, tables[b"stss"], "I")
        if sync and not 1 <= min(sync) <= max(sync) <= samples:
            raise SegmentError("its table of key frames names samples that it does not have")
    offsets = chunk_offsets(moov, stbl)
    ends, at = list(accumulate(sizes, initial=0)), 0
    for offset, count in zip(offsets, chunk_counts(moov, stbl, len(offsets)), strict=True):
        if at + count > samples:
            raise SegmentError("its chunks hold more samples than there are")
        if offset < begin or offset + ends[at + count] - ends[at] > end:
            raise SegmentError(f"sample {at + 1} lies outside of the media data")
        at += count
    if at != samples:
        raise SegmentError("its chunks hold fewer samples than there are")


@attrs.frozen
class SampleLocation:
    """Position of a sample in the file; `number` counts from 1."""

    number: int
    offset: int
    size: int


def sync_samples(moov: bytes, stbl: BoxSpan) -> Iterator[SampleLocation]:
    """Yield a track's sync samples in order; every sample when there is no table (8.6.2).

    The tables must be consistent: see `validate_samples`. Raises MediaError.
    """
    tables = {span.kind: span for span in boxes_in(moov, stbl)}
    sizes, offsets = (
        _sizes(moov, required_box(moov, b"stsz", within=stbl)),
        chunk_offsets(moov, stbl),
    )
    sync = set(table_entries(moov, tables[b"stss"], "I")) if b"stss" in tables else None
    number = 0
    for offset, count in zip(offsets, chunk_counts(moov, stbl, len(offsets)), strict=True):
        at = offset
        for size in sizes[number : number + count]:
            number += 1
            if sync is None or number in sync:
                yield SampleLocation(number, at, size)
            at += size


@attrs.frozen
class StoredSamples:
    """The samples of one track of a file, in decode order, as arrays of equal length.

    Offsets count from the start of the file; durations and composition offsets are in ticks of the
    track; `composition` is empty when every offset is 0, and `sync` holds 1 for a sync sample.
    """

    track: Track
    offsets: array[int] = attrs.field(repr=False)
    sizes: array[int] = attrs.field(repr=False)
    durations: array[int] = attrs.field(repr=False)
    composition: array[int] = attrs.field(repr=False)
    sync: bytes = attrs.field(repr=False)


def stored_samples(init: Init, track: Track | None = None) -> StoredSamples:
    """Read the sample tables of a final `moov` (8.6, 8.7): of the video, or of another track.

    Raises MediaError.
    """
    moov, track = init.moov, track or init.video
    trak = trak_boxes(moov)[init.tracks.index(track)]
    stbl = required_box(moov, b"mdia", b"minf", b"stbl", within=trak)
    tables = {span.kind: span for span in boxes_in(moov, stbl)}
    sizes, chunks = (
        _sizes(moov, required_box(moov, b"stsz", within=stbl)),
        chunk_offsets(moov, stbl),
    )
    offsets: array[int] = array("Q")
    for offset, count in zip(chunks, chunk_counts(moov, stbl, len(chunks)), strict=True):
        within = sizes[len(offsets) : len(offsets) + count]
        offsets.extend(accumulate(within[:-1], initial=offset))
    durations = _repeated(moov, required_box(moov, b"stts", within=stbl), len(sizes))
    composition: array[int] = array("i")
    if b"ctts" in tables:
        composition = array("i", _repeated(moov, tables[b"ctts"], len(sizes)).tobytes())
    sync = bytearray(b"\x00" if b"stss" in tables else b"\x01") * len(sizes)
    for number in table_entries(moov, tables[b"stss"], "I") if b"stss" in tables else ():
        if not 1 <= number <= len(sizes):
            raise SegmentError("its table of key frames names samples that it does not have")
        sync[number - 1] = 1
    if not len(offsets) == len(durations) == len(sizes):
        raise SegmentError("its tables do not agree on the number of samples")
    return StoredSamples(track, offsets, sizes, durations, composition, bytes(sync))


def _repeated(moov: bytes, table: BoxSpan, most: int) -> array[int]:
    """Read a table of counts and values (8.6.1) as one value for each of `most` samples."""
    pairs = table_entries(moov, table, "I", 2)
    counts, values = pairs[0::2], pairs[1::2]
    if sum(counts) != most:
        raise SegmentError("its tables do not agree on the number of samples")
    return array("I", chain.from_iterable(map(repeat, values, counts)))


def _sizes(moov: bytes, stsz: BoxSpan) -> array[int]:
    """Read the sizes of all samples (8.7.3.2)."""
    common = table_numbers(moov, stsz, "I", stsz.payload + 4, 2)
    if common[0]:
        if common[1] > _MOST_EQUAL_SAMPLES:
            raise SegmentError("a track with too many samples")
        return array("I", common[:1]) * common[1]
    return table_numbers(moov, stsz, "I", stsz.payload + 12, common[1])


# --- whether the video can be decoded with the parameter sets in its header


def why_undecodable(read: Read, moov: bytes, *, every: bool) -> str:
    """Say why the video of a sealed file cannot be decoded with its header; "" when it can.

    Looks at the first key frame, with `every` each one, and reads little more of them than their
    parameter sets. The text completes "the file …". Raises what `read` raises.
    """
    try:
        return _undecodable(read, moov, every)
    except MediaError as error:
        return f"has a header that cannot be read: {error}"


def _undecodable(read: Read, moov: bytes, every: bool) -> str:
    init = read_init(b"", moov)
    header = video_header(init)
    stbl = required_box(moov, b"mdia", b"minf", b"stbl", within=video_trak(init))
    if header is not None and (wrong := header_problem(header)):
        return _undecodable_text(wrong)
    first = True
    for place in sync_samples(moov, stbl):
        if first and place.number > 1:
            return f"begins with {place.number - 1} frames before its first key frame"
        if header is None or not (first or every):
            return ""
        try:
            sets = sets_within(read, place.offset, place.size, header.nal_length, header.codec)
        except NalError as error:
            return _undecodable_text(f"{error}, frame {place.number}")
        if wrong := contradiction(header, sets):
            return _undecodable_text(f"{wrong}, from frame {place.number} on")
        first = False
    return "has no key frame" if first else ""


def _undecodable_text(wrong: str) -> str:
    return f"cannot be decoded with its own header: {wrong}"
