"""JPEG and PNG as bytes: their end, their size, the note inside, and Motion JPEG."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camd.snapshots.rules.pictures import (
    PictureError,
    PictureNote,
    picture_end,
    picture_size,
    read_note,
    standalone,
    with_note,
)

NOTE = PictureNote("camera0", datetime(2026, 1, 15, 14, 30, 0, 123456, tzinfo=UTC))
TABLES = b"\xff\xc4\x00\x14" + bytes(18)


def segment(code: int, content: bytes) -> bytes:
    """Build a marker segment."""
    return struct.pack(">BBH", 0xFF, code, len(content) + 2) + content


def jpeg(*, tables: bytes = TABLES, extra: bytes = b"") -> bytes:
    """Build the frame of a JPEG of 320x180; its scan is not decodable, and holds no end mark."""
    frame = segment(0xC0, struct.pack(">BHHB", 8, 180, 320, 3) + bytes(9))
    scan = segment(0xDA, bytes(10)) + b"\x12\xff\x00\x34\xff\xd0\x56"
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0" + bytes(9))
        + extra
        + frame
        + tables
        + scan
        + (b"\xff\xd9")
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    """Build a chunk of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png() -> bytes:
    """Build a PNG of 320x180 whose data looks like the end of a JPEG."""
    head = chunk(b"IHDR", struct.pack(">II5B", 320, 180, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"\xff\xd9IEND") + chunk(b"IEND", b"")


@pytest.mark.parametrize("picture", [jpeg(), png()], ids=["jpeg", "png"])
def test_a_picture_ends_where_it_ends(picture: bytes) -> None:
    """Wherever it is cut, the picture is complete with its last byte, and not before."""
    behind = picture + b"\xff\xd8 another"
    for end in range(len(behind)):
        known = max(0, end - 1)
        found = picture_end(bytearray(behind[:end]), min(known, len(picture) - 2))
        assert found == (len(picture) if end >= len(picture) else None)


def test_an_end_mark_inside_a_segment_is_none() -> None:
    """A comment or a preview may hold the end mark of another picture."""
    picture = jpeg(extra=segment(0xE1, b"Exif" + jpeg()) + segment(0xFE, b"\xff\xd9"))
    assert picture_end(picture) == len(picture)
    assert picture_size(picture) == (320, 180)


@given(st.binary(max_size=400), st.booleans(), st.integers(0, 60))
@example(b"\xff\xd8\xff\xff\xff\xff", False, 0)
@example(b"\xff\xd8\xff\xda\x00\x00\xff\xd9", False, 0)
def test_any_bytes_end_or_are_refused(data: bytes, whole: bool, at: int) -> None:
    """No bytes make the search loop, or raise anything but PictureError."""
    if whole:
        data = jpeg()[:at] + data
    for look in (picture_end, picture_size, standalone):
        try:
            found = look(data)
        except PictureError:
            continue
        if look is picture_end and isinstance(found, int):
            assert 0 < found <= len(data)
    read_note(data)


@pytest.mark.parametrize("picture", [jpeg(), png()], ids=["jpeg", "png"])
def test_a_note_is_read_back(picture: bytes) -> None:
    """The picture stays whole, keeps its size, and says what it shows."""
    noted = with_note(picture, NOTE)
    assert read_note(noted) == NOTE
    assert picture_end(noted) == len(noted)
    assert picture_size(noted) == (320, 180)
    assert read_note(picture) is None
    assert len(noted) > len(picture)


def test_every_chunk_of_a_png_has_its_checksum() -> None:
    """Readers refuse a PNG whose text has a wrong one."""
    noted, at = with_note(png(), NOTE), 8
    while at < len(noted):
        end = at + 8 + int.from_bytes(noted[at : at + 4], "big")
        assert noted[end : end + 4] == struct.pack(">I", zlib.crc32(noted[at + 4 : end]))
        at = end + 4
    assert b"tEXt" in noted


def test_jfif_keeps_its_place() -> None:
    """The segment of JFIF stays the first one: some readers look nowhere else."""
    assert with_note(jpeg(), NOTE)[:20] == jpeg()[:20]


@pytest.mark.parametrize(
    "text",
    [
        b'{"camera_id": "../../etc", "time": "2026-01-15T14:30:00+00:00"}',
        b'{"camera_id": "\\ud800", "time": "2026-01-15T14:30:00+00:00"}',
        b'{"camera_id": "camera0", "time": "2026-01-15T14:30:00"}',
        b'{"camera_id": "camera0", "time": "0001-01-01T00:00:00+14:00"}',
        b'{"camera_id": "camera0", "time": 5}',
        b'{"camera_id": 5, "time": "2026-01-15T14:30:00+00:00"}',
        b"[" * 4000,
        b"[]",
        b"\xff\xfe",
    ],
)
def test_a_note_that_camd_did_not_write_is_ignored(text: bytes) -> None:
    """A file from elsewhere cannot say that it shows a camera of an impossible name or time."""
    assert read_note(jpeg(extra=segment(0xFE, b"camd\0" + text))) is None


def test_motion_jpeg_gets_its_tables() -> None:
    """A frame without Huffman tables gets the usual ones in front of its scan; others stay."""
    assert standalone(jpeg() + b"padding") == jpeg()
    bare = jpeg(tables=b"")
    whole = standalone(bare + bytes(100))
    at = whole.index(b"\xff\xc4")
    length = int.from_bytes(whole[at + 2 : at + 4], "big")
    assert length == 2 + 416
    assert whole[at + 2 + length :][:2] == b"\xff\xda"
    assert whole[:at] + whole[at + 2 + length :] == bare


def test_half_a_frame_is_no_picture() -> None:
    """A frame that the camera did not complete is not passed on as it is."""
    with pytest.raises(PictureError):
        standalone(jpeg()[:-1])


def test_times_keep_their_microseconds() -> None:
    """Times in other zones become the same instant in UTC."""
    time = NOTE.time.astimezone(tz=None) + timedelta(microseconds=1)
    assert read_note(with_note(png(), PictureNote("camera0", time))) == PictureNote(
        "camera0", time.astimezone(UTC)
    )
