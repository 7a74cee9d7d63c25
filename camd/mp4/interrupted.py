"""Find how much of an interrupted segment is intact, and rebuild its index from its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from camd.mp4.boxes import DEFAULT_LIMITS, MediaError
from camd.mp4.fragments import Fragment, read_moof
from camd.mp4.h26x.leading_pictures import leading_frames
from camd.mp4.init import Init
from camd.mp4.inspect import HEAD_SIZE, read_segment_head
from camd.mp4.segment import (
    CHECKSUM_BOX_SIZE,
    HASHED_FROM,
    SegmentLayout,
    checksum_of,
    read_checksum_box,
)
from camd.mp4.segment_metadata import SegmentMetadata

Read = Callable[[int, int], bytes]  # offset, size -> bytes; fewer at the end of the file

_HEAD_LIMIT = DEFAULT_LIMITS[b"moov"] + HEAD_SIZE
_PIECE = 1 << 20


@attrs.frozen
class InterruptedSegment:
    """Intact contents of an interrupted segment: `index` describes its first `whole_bytes`."""

    index: SegmentLayout
    whole_bytes: int
    torn_bytes: int
    fragments: int


@attrs.frozen
class _Found:
    """A fragment whose boxes are complete; its bytes may still be damaged."""

    start: int
    moof: bytes
    media_at: int  # offset of the mdat's content from `start`
    size: int  # of moof and mdat
    checksum: int
    synced_bytes: int

    @property
    def end(self) -> int:
        return self.start + self.size


def read_interrupted(read: Read, size: int, *, every: bool = False) -> InterruptedSegment | None:
    """Read an interrupted segment of `size` bytes; None when it has no intact fragment.

    Of a sealed one, `size` is the offset of its final `moov`. Reads all headers, and all bytes
    written after the last sync that the file records; with `every`, all bytes of the file. Raises
    MediaError when the file does not begin as a segment, and what `read` raises.
    """
    init, metadata, start = read_head(read)
    found = list(_walk(read, start, size))
    durable = max((fragment.synced_bytes for fragment in found), default=0)
    index: SegmentLayout | None = None
    whole, count = start, 0
    for fragment in found:
        if (every or fragment.end > durable) and not _intact(read, fragment):
            break
        try:
            index = _take(read, index, init, metadata, fragment)
        except MediaError:
            break
        whole, count = fragment.end + CHECKSUM_BOX_SIZE, count + 1
    if index is None or not index.frames:
        return None
    return InterruptedSegment(index, whole, size - whole, count)


def read_fragments(read: Read, start: int, end: int, index: SegmentLayout) -> list[Fragment]:
    """Read the fragments of a growing file between two offsets, with their times in the stream.

    `index` is the file's. Raises MediaError, and what `read` raises.
    """
    fragments = []
    for found in _walk(read, start, end):
        fragment = _fragment(read, index.init, found)
        runs = tuple(map(index.in_stream, fragment.runs))
        fragments.append(Fragment.of(index.init, fragment.moof, fragment.mdat, runs))
    return fragments


def read_head(read: Read) -> tuple[Init, SegmentMetadata, int]:
    """Read a segment's head, and the offset of its first fragment. Raises MediaError."""
    head = read(0, HEAD_SIZE)
    try:
        init, metadata = read_segment_head(head)
    except MediaError:
        head = read(0, _HEAD_LIMIT)  # a movie box of unusual size
        init, metadata = read_segment_head(head)
    at = HASHED_FROM
    for _ in ("moov", "uuid"):
        at += int.from_bytes(head[at : at + 4], "big")
    return init, metadata, at


def leading_frames_of(read: Read, size: int) -> int | None:
    """Count the frames at the beginning of a segment that cannot be shown; None: unknown.

    Its fragments, sealed or not, lie within `size` bytes. Reads the first one. Raises MediaError
    when the file does not begin as a segment, and what `read` raises.
    """
    init, _, start = read_head(read)
    found = _find(read, start, size)
    return leading_frames(init, _fragment(read, init, found)) if found else None


def _fragment(read: Read, init: Init, found: _Found) -> Fragment:
    """Read a complete fragment. Raises MediaError."""
    runs = read_moof(found.moof, init, found.media_at, found.size)
    mdat = read(found.start + len(found.moof), found.size - len(found.moof))
    return Fragment.of(init, found.moof, mdat, runs)


def _walk(read: Read, at: int, size: int) -> Iterator[_Found]:
    """Yield fragments while their boxes follow each other and lie within the file."""
    while (found := _find(read, at, size)) is not None:
        yield found
        at = found.end + CHECKSUM_BOX_SIZE


def _find(read: Read, at: int, size: int) -> _Found | None:
    moof_size = _size_of(read(at, 8), b"moof")
    header = read(at + moof_size, 16)
    mdat_size, header_size = _size_of(header, b"mdat"), 8
    if header[:8] == b"\0\0\0\x01mdat":
        mdat_size, header_size = int.from_bytes(header[8:16], "big"), 16
    end = at + moof_size + mdat_size
    if not moof_size or not mdat_size or end + CHECKSUM_BOX_SIZE > size:
        return None
    mark = read_checksum_box(read(end, CHECKSUM_BOX_SIZE))
    if mark is None or mark.synced_bytes > at:
        return None
    return _Found(
        start=at,
        moof=read(at, moof_size),
        media_at=moof_size + header_size,
        size=end - at,
        checksum=mark.checksum,
        synced_bytes=mark.synced_bytes,
    )


def _size_of(header: bytes, kind: bytes) -> int:
    """Return the size of a box of this kind; 0 when it is another kind, or too large."""
    size = int.from_bytes(header[:4], "big")
    return size if header[4:8] == kind and 8 <= size <= DEFAULT_LIMITS[kind] else 0


def _intact(read: Read, fragment: _Found) -> bool:
    def pieces() -> Iterator[bytes]:
        at = fragment.start
        while at < fragment.end and (piece := read(at, min(_PIECE, fragment.end - at))):
            yield piece
            at += len(piece)

    return checksum_of(pieces(), fragment.synced_bytes) == fragment.checksum


def _take(
    read: Read,
    index: SegmentLayout | None,
    init: Init,
    metadata: SegmentMetadata,
    found: _Found,
) -> SegmentLayout:
    """Record a fragment in the index, which the first one creates. Raises MediaError."""
    runs = read_moof(found.moof, init, found.media_at, found.size)
    if index is None:
        first = _fragment(read, init, found)
        index = SegmentLayout(init, first, metadata, header_size=found.start)
    index.validate(runs)
    index.record(runs, found.size)
    return index
