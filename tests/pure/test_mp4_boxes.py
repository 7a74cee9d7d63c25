"""The box reader: any bytes give boxes or an error, wherever the stream is cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.mp4.boxes import Box, BoxError, BoxReader, box, children, find, full_box

KINDS = st.sampled_from([b"free", b"moof", b"mdat", b"uuid"])


def large(kind: bytes, payload: bytes) -> bytes:
    """Build a box with a 64-bit size."""
    return struct.pack(">I4sQ", 1, kind, 16 + len(payload)) + payload


def read(data: bytes, *cuts: int) -> list[Box]:
    """Feed `data` in pieces and close."""
    reader, boxes, start = BoxReader(), [], 0
    for cut in (*sorted(cuts), len(data)):
        boxes += reader.feed(data[start:cut])
        start = cut
    last = reader.close()
    return [*boxes, last] if last else boxes


@given(
    st.lists(st.tuples(KINDS, st.binary(max_size=40), st.booleans()), max_size=6),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_wherever_the_stream_is_cut_the_same_boxes_come_out(parts, cuts):
    """Kinds, payloads and bytes of the boxes do not depend on the cuts."""
    built = [large(kind, body) if wide else box(kind, body) for kind, body, wide in parts]
    data = b"".join(built)
    boxes = read(data, *(min(cut, len(data)) for cut in cuts))
    assert [found.data for found in boxes] == built
    assert [(b.kind, bytes(b.payload)) for b in boxes] == [(k, p) for k, p, _ in parts]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_end_or_raise(data, cuts):
    """For any bytes the reader ends, with the same result with and without cuts."""

    def attempt(*places: int) -> list[Box] | None:
        try:
            return read(data, *(min(place, len(data)) for place in places))
        except BoxError:
            return None

    assert attempt(*cuts) == attempt()


def test_a_size_of_zero_reaches_to_the_end_of_the_stream():
    """Only closing completes such a box, and all of the stream belongs to it."""
    data = struct.pack(">I4s", 0, b"mdat") + b"payload"
    reader = BoxReader()
    assert reader.feed(data) == []
    last = reader.close()
    assert last == Box(b"mdat", 8, data)
    assert reader.close() is None


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">I4s", 7, b"free"),
        struct.pack(">I4s", 2, b"free"),
        struct.pack(">I4sQ", 1, b"free", 15),
        struct.pack(">I4sQ", 1, b"mdat", 1 << 63),
        struct.pack(">I4s", 16, b"\x00\x01ab"),
        struct.pack(">I4s", 16, b"fr\xe9e"),
        struct.pack(">I4s", 1024 * 1024 + 1, b"free"),
        struct.pack(">I4s", 4 * 1024 * 1024 + 1, b"moov"),
        struct.pack(">I4s", 64 * 1024 * 1024 + 1, b"mdat"),
    ],
)
def test_impossible_or_oversized_headers_raise_at_once(header):
    """A bad header is refused before anything is collected for it."""
    with pytest.raises(BoxError):
        BoxReader().feed(header)


def test_limits_hold_for_boxes_without_a_size_too():
    """A box up to the end of the stream may not grow past its limit."""
    reader = BoxReader({b"mdat": 100}, 50)
    reader.feed(struct.pack(">I4s", 0, b"mdat") + bytes(92))
    with pytest.raises(BoxError, match="at most 100"):
        reader.feed(b"x")


@pytest.mark.parametrize("size", [1, 7, 8, 15])
def test_a_stream_that_ends_inside_a_box_raises(size):
    """Closing in the middle of a header or a payload is an error."""
    reader = BoxReader()
    reader.feed(box(b"free", bytes(8))[:size])
    with pytest.raises(BoxError):
        reader.close()


def test_children_fill_their_container_exactly():
    """Boxes are found at their positions; one that is too long, or bytes left over, raise."""
    data = box(b"moov", box(b"free"), full_box(b"mvhd", 1, 2, b"abc"))
    top = find(data, b"moov")
    assert [(c.kind, c.start, c.payload, c.end) for c in children(data, 8)] == [
        (b"free", 8, 16, 16),
        (b"mvhd", 16, 24, 31),
    ]
    assert top is not None
    assert find(data, b"moov", b"mvhd") is not None
    assert find(data, b"moov", b"trak") is None
    for broken in (data[:-1], data + b"\0", struct.pack(">I4s", 0, b"free")):
        with pytest.raises(BoxError):
            list(children(broken))
