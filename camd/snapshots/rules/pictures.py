"""JPEG and PNG as bytes: where a picture ends, its size, a note inside it, quantisation tables.

JPEG: ITU-T T.81, annexes B and K. PNG: ISO/IEC 15948, clauses 5 and 11.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import attrs
import msgspec

from camd.model.ids import ID_PATTERN

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_END = b"\xff\xd9"
_SOS, _DHT, _COMMENT, _APP0 = 0xDA, 0xC4, 0xFE, 0xE0
_SIZES = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 (B.1.1.3)
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_NOTE_KEYWORD = b"camd"
_NOTE_BYTES = 4096


class PictureError(ValueError):
    """Bytes that are no picture, or one that is not complete."""


# --- structure


@attrs.frozen
class JpegMarker:
    """A marker segment of a JPEG; its content lies from `begin` to `end`."""

    code: int
    begin: int
    end: int


def _markers(data: bytes | bytearray) -> Iterator[JpegMarker]:
    """Yield the marker segments up to the first scan, that included. Raises PictureError."""
    at = 2
    if data[:2] != JPEG_START:
        raise PictureError("not a JPEG")
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise PictureError("a JPEG without the marker that is due")
        code = data[at + 1]
        if code in _ALONE or code == 0xFF:
            at += 1 if code == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        yield JpegMarker(code, at + 4, end)
        if code == _SOS:
            return
        at = end


def picture_end(data: bytes | bytearray, begin: int = 0) -> int | None:
    """Return where the picture ends that `data` begins with; None when it is not complete.

    `begin`: nothing before it has to be searched again. Raises PictureError for other bytes.
    """
    if data[: len(PNG_START)] == PNG_START[: len(data)]:
        return _png_end(data)
    if data[:2] != JPEG_START[: len(data[:2])]:
        raise PictureError("neither JPEG nor PNG")
    if len(data) < len(JPEG_START):
        return None
    for marker in _markers(data):
        if marker.code == _SOS:
            end = data.find(_JPEG_END, max(marker.end, begin))
            return None if end < 0 else end + 2
    return None


def _png_end(data: bytes | bytearray) -> int | None:
    for kind, _, end in _chunks(data):
        if kind == b"IEND":
            return end
    return None


def _chunks(data: bytes | bytearray) -> Iterator[tuple[bytes, int, int]]:
    """Yield the complete chunks of a PNG: kind, begin of the content, end of the chunk."""
    at = len(PNG_START)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield bytes(data[at + 4 : at + 8]), at + 8, end
        at = end


def picture_size(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, from the head of a picture. Raises PictureError."""
    if data[:8] == PNG_START:
        if len(data) < 24 or data[12:16] != b"IHDR":
            raise PictureError("a PNG without its header")
        return struct.unpack(">II", data[16:24])
    for marker in _markers(data):
        if marker.code in _SIZES and marker.end - marker.begin >= 5:
            height, width = struct.unpack(">HH", data[marker.begin + 1 : marker.begin + 5])
            return width, height
    raise PictureError("a JPEG without its size")


# --- a note inside the picture, so that the file says what it shows


@attrs.frozen
class PictureNote:
    """What a snapshot shows: which camera, and when (UTC)."""

    camera_id: str
    time: datetime


def with_note(picture: bytes, note: PictureNote) -> bytes:
    """Put a note into a picture: a comment (JPEG) or text (PNG); the image does not change."""
    fields = {"camera_id": note.camera_id, "time": note.time.astimezone(UTC).isoformat()}
    text = _NOTE_KEYWORD + b"\0" + json.dumps(fields).encode()
    if picture[:8] == PNG_START:
        at = next((end for kind, _, end in _chunks(picture) if kind == b"IHDR"), len(PNG_START))
        return picture[:at] + _chunk(b"tEXt", text) + picture[at:]
    at = _behind_app0(picture)
    segment = struct.pack(">BBH", 0xFF, _COMMENT, len(text) + 2) + text
    return picture[:at] + segment + picture[at:]


def _behind_app0(picture: bytes) -> int:
    """JFIF wants its own segment first; a note comes behind it."""
    if picture[2:4] == bytes((0xFF, _APP0)) and len(picture) > 6:
        return 4 + int.from_bytes(picture[4:6], "big")
    return 2


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def read_note(head: bytes) -> PictureNote | None:
    """Read the note of a picture from its first bytes; None without a valid one."""
    try:
        for text in _texts(head):
            if text.startswith(_NOTE_KEYWORD + b"\0") and len(text) <= _NOTE_BYTES:
                return _note_of(text[len(_NOTE_KEYWORD) + 1 :])
    except (PictureError, ValueError, RecursionError, OverflowError):
        pass
    return None


def _texts(head: bytes) -> Iterator[bytes]:
    if head[:8] == PNG_START:
        yield from (head[at : end - 4] for kind, at, end in _chunks(head) if kind == b"tEXt")
        return
    yield from (head[m.begin : m.end] for m in _markers(head) if m.code == _COMMENT)


class _StoredNote(msgspec.Struct):
    camera_id: Annotated[str, msgspec.Meta(pattern=rf"\A({ID_PATTERN})\Z")]
    time: Annotated[datetime, msgspec.Meta(tz=True)]


def _note_of(text: bytes) -> PictureNote:
    note = msgspec.json.decode(text, type=_StoredNote)
    return PictureNote(note.camera_id, note.time.astimezone(UTC))


# --- Motion JPEG

# The tables that Motion JPEG leaves out (K.3): number of codes of each length, then the values.
_HUFFMAN = (
    ("00", "00010501010101010100000000000000", "000102030405060708090a0b"),
    (
        "10",
        "0002010303020403050504040000017d",
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718"
        "191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778"
        "797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9"
        "cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
    ),
    ("01", "00030101010101010101010000000000", "000102030405060708090a0b"),
    (
        "11",
        "00020102040403040705040400010277",
        "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718"
        "191a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a"
        "82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9ca"
        "d2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
    ),
)


def standalone(sample: bytes) -> bytes:
    """Return a frame of Motion JPEG as a JPEG that any program reads.

    Cameras leave out the Huffman tables when they are the usual ones; these are put in front of
    the scan. What lies behind the picture is left out. Raises PictureError when it is not complete.
    """
    end = picture_end(sample)
    markers = list(_markers(sample)) if end is not None else []
    if end is None or not markers:
        raise PictureError("a frame that is not complete")
    if any(marker.code == _DHT for marker in markers):
        return sample[:end]
    scan = markers[-1].begin - 4
    tables = b"".join(bytes.fromhex("".join(table)) for table in _HUFFMAN)
    segment = struct.pack(">BBH", 0xFF, _DHT, len(tables) + 2) + tables
    return sample[:scan] + segment + sample[scan:end]
