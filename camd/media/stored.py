"""What a segment's bytes say when they are read back: its head, or a sealed file's summary."""

from __future__ import annotations

from fractions import Fraction

import attrs

from camd.media.boxes import BoxReader, BoxSpan, MediaError, children
from camd.media.identity import SegmentMetadata, decode_metadata
from camd.media.mp4 import FTYP_SIZE, HASHED_FROM
from camd.media.tables import SegmentError
from camd.media.tracks import Init, Track, need, read_init, unpack

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
