"""Split a byte stream into ISO base media boxes, and build boxes (ISO/IEC 14496-12 clause 4.2)."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

_MIB = 1024 * 1024

DEFAULT_LIMITS: Mapping[bytes, int] = {
    b"moov": 4 * _MIB,
    b"moof": 4 * _MIB,
    b"mdat": 64 * _MIB,
}
DEFAULT_LIMIT = _MIB
MAX_CHILDREN = 1000

_PRINTABLE = frozenset(range(0x20, 0x7F))


class MediaError(ValueError):
    """Base of all errors about media bytes."""


class BoxError(MediaError):
    """Bytes that are not a sequence of boxes, or boxes larger than allowed."""


@attrs.frozen
class Box:
    """One complete box: `data` begins with its header of `header_size` bytes."""

    kind: bytes
    header_size: int
    data: bytes = attrs.field(repr=False)

    @property
    def payload(self) -> memoryview:
        """The bytes after the header, not copied."""
        return memoryview(self.data)[self.header_size :]


@attrs.frozen
class BoxSpan:
    """Position of a box in some bytes: header at `start`, content from `payload` to `end`."""

    kind: bytes
    start: int
    payload: int
    end: int

    def bytes_of(self, data: bytes) -> bytes:
        """Return the box with its header."""
        return data[self.start : self.end]


@attrs.frozen
class _Header:
    kind: bytes
    header_size: int
    size: int  # of the whole box; 0: to the end of the stream


def _read_header(data: bytes | bytearray | memoryview, start: int, end: int) -> _Header | None:
    """Parse a header; None when `end` comes before its last byte."""
    if end - start < 8:
        return None
    size = int.from_bytes(data[start : start + 4], "big")
    kind = bytes(data[start + 4 : start + 8])
    if not _PRINTABLE.issuperset(kind):
        raise BoxError(f"not a box type: {kind!r}")
    if size == 0:
        return _Header(kind, 8, 0)
    if size == 1:
        if end - start < 16:
            return None
        size = int.from_bytes(data[start + 8 : start + 16], "big")
        if size < 16:
            raise BoxError(f"box {kind!r} has the 64-bit size {size}, less than its header")
        return _Header(kind, 16, size)
    if size < 8:
        raise BoxError(f"box {kind!r} has the size {size}, less than its header")
    return _Header(kind, 8, size)


class BoxReader:
    """Collect chunks of any size into complete top-level boxes.

    Memory stays below the limit of the box being collected plus one chunk; each byte is copied
    twice, whatever the size of the chunks.
    """

    def __init__(
        self, limits: Mapping[bytes, int] | None = None, default_limit: int = DEFAULT_LIMIT
    ) -> None:
        self._limits = DEFAULT_LIMITS if limits is None else limits
        self._default_limit = default_limit
        self._buffer = bytearray()
        self._wanted = 8  # buffered bytes needed before the next step
        self._header: _Header | None = None
        self._error: BoxError | None = None

    @property
    def between_boxes(self) -> bool:
        """Whether no box is being collected."""
        return not self._buffer and self._header is None

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Box]:
        """Take the next bytes; return the boxes that they complete.

        Raises BoxError; complete boxes before the error are returned first, and the next call
        raises.
        """
        if self._error:
            raise self._error
        self._buffer += chunk
        boxes: list[Box] = []
        try:
            self._split(boxes)
        except BoxError as error:
            self._error = error
            if not boxes:
                raise
        return boxes

    def close(self) -> Box | None:
        """End the stream; return the box without a size that reached to its end, if any.

        Raises BoxError when the stream ended inside a box.
        """
        if self._error:
            raise self._error
        if self._header is not None and self._header.size == 0:
            return self._take(self._header, len(self._buffer))
        if self._buffer:
            kind = "a header" if self._header is None else f"box {self._header.kind!r}"
            raise BoxError(f"the stream ended inside {kind}, after {len(self._buffer)} bytes of it")
        return None

    def _split(self, boxes: list[Box]) -> None:
        while len(self._buffer) >= self._wanted:
            if self._header is None:
                self._start_box()
            elif self._header.size == 0:
                self._validate_limit(self._header.kind, len(self._buffer))
                self._wanted = len(self._buffer) + 1
            else:
                boxes.append(self._take(self._header, self._header.size))

    def _start_box(self) -> None:
        header = _read_header(self._buffer, 0, len(self._buffer))
        if header is None:
            self._wanted = 16
            return
        self._validate_limit(header.kind, header.size)
        self._header = header
        self._wanted = header.size

    def _validate_limit(self, kind: bytes, size: int) -> None:
        limit = self._limits.get(kind, self._default_limit)
        if size > limit:
            raise BoxError(f"box {kind!r} has {size} bytes, at most {limit} are allowed")

    def _take(self, header: _Header, size: int) -> Box:
        with memoryview(self._buffer) as view:
            data = bytes(view[:size])
        del self._buffer[:size]
        self._header = None
        self._wanted = 8
        return Box(header.kind, header.header_size, data)


def children(data: bytes | memoryview, start: int = 0, end: int | None = None) -> Iterator[BoxSpan]:
    """Yield the boxes that fill `data[start:end]` exactly. Raises BoxError when they do not.

    A size of 0 is refused, because only the last box of a file may have it. So are more than
    MAX_CHILDREN boxes, which would take seconds.
    """
    end = len(data) if end is None else end
    left = MAX_CHILDREN
    while start < end:
        left -= 1
        if left < 0:
            raise BoxError(f"more than {MAX_CHILDREN} boxes in one container")
        header = _read_header(data, start, end)
        if header is None or header.size == 0 or start + header.size > end:
            raise BoxError(f"a box at {start} does not fit into its container")
        yield BoxSpan(header.kind, start, start + header.header_size, start + header.size)
        start += header.size


def boxes_in(data: bytes | memoryview, parent: BoxSpan) -> Iterator[BoxSpan]:
    """Yield the boxes inside another one. Raises BoxError."""
    return children(data, parent.payload, parent.end)


def find(data: bytes | memoryview, *path: bytes, within: BoxSpan | None = None) -> BoxSpan | None:
    """Return the box at `path`, through the first box of each kind; None without it."""
    span = within
    for kind in path:
        inside = boxes_in(data, span) if span else children(data)
        span = next((each for each in inside if each.kind == kind), None)
        if span is None:
            return None
    return span


def box(kind: bytes, *parts: bytes | bytearray | memoryview) -> bytes:
    """Build a box with a 32-bit size around `parts`."""
    size = 8 + sum(map(len, parts))
    return b"".join((struct.pack(">I4s", size, kind), *parts))


def full_box(
    kind: bytes, version: int, flags: int, *parts: bytes | bytearray | memoryview
) -> bytes:
    """Build a box that begins with a version and 24 bits of flags (4.2)."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def read_numbers(typecode: Literal["I", "i", "Q"], data: bytes) -> array[int]:
    """Return the big-endian numbers in `data`."""
    numbers = array(typecode, data)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def write_numbers(numbers: array[int]) -> bytes:
    """Return the bytes of numbers in big-endian order."""
    if sys.byteorder == "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
