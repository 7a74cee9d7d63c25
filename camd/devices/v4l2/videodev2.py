"""The structures and ioctl numbers of linux/videodev2.h: builds requests, parses answers.

Source: linux/videodev2.h, and the documents "VIDIOC_QUERYCAP", "VIDIOC_ENUM_FMT",
"VIDIOC_ENUM_FRAMESIZES", "VIDIOC_ENUM_FRAMEINTERVALS", "VIDIOC_QUERYCTRL" and
"VIDIOC_G_EXT_CTRLS" of the kernel's userspace API documentation, part Video for Linux.

All fields but one have fixed widths and no padding, so the layouts are the same on x86-64, aarch64
and 32-bit systems. The exception is the pointer in `struct v4l2_ext_controls`, which has 32 bytes
on 64 bits (with four bytes of padding before the pointer) and 24 on 32 bits; the numbers of its two
ioctls depend on that size. The interpreter's pointer size decides, as the kernel expects it.
"""

from __future__ import annotations

import struct
import sys

import attrs

_WRITES, _READS_AND_WRITES = 0x80000000, 0xC0000000  # as seen by the program: _IOR, _IOWR

CAPABILITY = struct.Struct("=16s32s32s III 12x")
FORMAT = struct.Struct("=III32sI 16x")
FRAME_SIZE = struct.Struct("=III 6I 8x")
FRAME_INTERVAL = struct.Struct("=IIIII 6I 8x")
QUERY_CONTROL = struct.Struct("=II32sqqQqIIII 16s 128x")
QUERY_MENU = struct.Struct("=II32s 4x")  # packed; the name's first 8 bytes may be a number
CONTROL_VALUE = struct.Struct("=III8s")  # packed; a number, or a pointer to a payload
CONTROL_LIST = struct.Struct("@IIIiI P")  # the native alignment pads before the pointer


def _number(direction: int, number: int, layout: struct.Struct) -> int:
    """Return an ioctl's number (asm-generic/ioctl.h): direction, size, 'V', number."""
    return direction | layout.size << 16 | ord("V") << 8 | number


QUERYCAP = _number(_WRITES, 0, CAPABILITY)
ENUM_FMT = _number(_READS_AND_WRITES, 2, FORMAT)
QUERYMENU = _number(_READS_AND_WRITES, 37, QUERY_MENU)
G_EXT_CTRLS = _number(_READS_AND_WRITES, 71, CONTROL_LIST)
S_EXT_CTRLS = _number(_READS_AND_WRITES, 72, CONTROL_LIST)
ENUM_FRAMESIZES = _number(_READS_AND_WRITES, 74, FRAME_SIZE)
ENUM_FRAMEINTERVALS = _number(_READS_AND_WRITES, 75, FRAME_INTERVAL)
QUERY_EXT_CTRL = _number(_READS_AND_WRITES, 103, QUERY_CONTROL)

# --- what a node is ---------------------------------------------------------------------------

CAP_VIDEO_CAPTURE, CAP_VIDEO_OUTPUT = 0x1, 0x2
CAP_VIDEO_CAPTURE_MPLANE = 0x1000
CAP_VIDEO_M2M_MPLANE, CAP_VIDEO_M2M = 0x4000, 0x8000
CAP_IO_MC = 0x20000000  # delivers nothing before a media graph has been set up
CAP_TOUCH = 0x10000000
CAP_DEVICE_CAPS = 0x80000000  # the field device_caps is filled in

BUFFER_VIDEO_CAPTURE, BUFFER_VIDEO_CAPTURE_MPLANE = 1, 9


# Image processors of the Raspberry Pi: they have separate nodes for input and output, so that these
# lack the memory-to-memory capability.
_PROCESSORS = frozenset(("bcm2835-isp", "pispbe"))


@attrs.frozen
class NodeCapability:
    """The answer to QUERYCAP. `caps` are those of the node, not of its whole device."""

    driver: str
    card: str
    bus_info: str
    caps: int

    @property
    def is_camera(self) -> bool:
        """Whether it captures pictures.

        Codecs and scalers (memory to memory) and touch pads deliver frames too, but are no cameras.
        """
        captures = self.caps & (CAP_VIDEO_CAPTURE | CAP_VIDEO_CAPTURE_MPLANE)
        other = self.is_converter or self.caps & (CAP_TOUCH | CAP_IO_MC)
        return bool(captures) and not other and self.driver not in _PROCESSORS

    @property
    def is_converter(self) -> bool:
        """Whether it is a codec or a scaler (memory to memory)."""
        return bool(self.caps & (CAP_VIDEO_M2M | CAP_VIDEO_M2M_MPLANE))

    @property
    def buffer_type(self) -> int:
        """The buffer type to enumerate its formats with."""
        if self.caps & CAP_VIDEO_CAPTURE:
            return BUFFER_VIDEO_CAPTURE
        return BUFFER_VIDEO_CAPTURE_MPLANE


def read_capability(answer: bytes) -> NodeCapability:
    """Parse struct v4l2_capability."""
    driver, card, bus, _, whole, device = CAPABILITY.unpack_from(answer)
    caps = device if whole & CAP_DEVICE_CAPS else whole
    return NodeCapability(_text(driver), _text(card), _text(bus), caps)


# --- what it delivers -------------------------------------------------------------------------

FORMAT_COMPRESSED = 0x1
_BIG_ENDIAN = 0x80000000  # of a fourcc


@attrs.frozen
class FormatEntry:
    """One answer to ENUM_FMT."""

    code: int
    description: str
    flags: int


@attrs.frozen
class SizeEntry:
    """One answer to ENUM_FRAMESIZES: one size, or (`step`) the sizes from least to largest."""

    least: tuple[int, int]
    largest: tuple[int, int]
    step: tuple[int, int] | None = None


@attrs.frozen
class RateEntry:
    """One answer to ENUM_FRAMEINTERVALS, as rates: a single one has both ends the same."""

    lowest: float
    highest: float
    single: bool


def format_query(index: int, buffer_type: int) -> bytearray:
    """Build struct v4l2_fmtdesc."""
    return bytearray(FORMAT.pack(index, buffer_type, 0, b"", 0))


def read_format(answer: bytes) -> FormatEntry:
    """Parse struct v4l2_fmtdesc."""
    _, _, flags, description, code = FORMAT.unpack_from(answer)
    return FormatEntry(code, _text(description), flags)


def fourcc(code: int) -> str:
    """Write a format's code as its four characters; big-endian variants end in "-BE"."""
    letters = (code & ~_BIG_ENDIAN).to_bytes(4, "little")
    name = "".join(chr(letter) if 0x20 <= letter < 0x7F else "?" for letter in letters)
    return name + "-BE" if code & _BIG_ENDIAN else name


def size_query(index: int, code: int) -> bytearray:
    """Build struct v4l2_frmsizeenum."""
    return bytearray(FRAME_SIZE.pack(index, code, 0, *(0,) * 6))


def read_size(answer: bytes) -> SizeEntry:
    """Parse struct v4l2_frmsizeenum: discrete (1), continuous (2) or stepwise (3)."""
    _, _, kind, a, b, c, d, e, f = FRAME_SIZE.unpack_from(answer)
    if kind == 1:
        return SizeEntry((a, b), (a, b))
    return SizeEntry((a, d), (b, e), (max(c, 1), max(f, 1)) if kind == 3 else (1, 1))


def rate_query(index: int, code: int, size: tuple[int, int]) -> bytearray:
    """Build struct v4l2_frmivalenum."""
    return bytearray(FRAME_INTERVAL.pack(index, code, *size, 0, *(0,) * 6))


def read_rate(answer: bytes) -> RateEntry:
    """Parse struct v4l2_frmivalenum; an invalid interval is a rate of 0."""
    _, _, _, _, kind, *parts = FRAME_INTERVAL.unpack_from(answer)
    shortest = _rate(parts[0], parts[1])
    if kind == 1:
        return RateEntry(shortest, shortest, True)
    return RateEntry(_rate(parts[2], parts[3]), shortest, False)


def _rate(numerator: int, denominator: int) -> float:
    return round(denominator / numerator, 3) if numerator else 0.0  # 333333/10000000 s is 30


# --- controls ---------------------------------------------------------------------------------

NEXT_CONTROL, NEXT_COMPOUND = 0x80000000, 0x40000000
_ID_MASK = 0x0FFFFFFF
CURRENT_VALUES = 0  # V4L2_CTRL_WHICH_CUR_VAL

TYPE_INTEGER, TYPE_BOOLEAN, TYPE_MENU, TYPE_BUTTON, TYPE_INTEGER64 = 1, 2, 3, 4, 5
TYPE_CLASS, TYPE_STRING, TYPE_BITMASK, TYPE_INTEGER_MENU = 6, 7, 8, 9

FLAG_DISABLED, FLAG_READ_ONLY, FLAG_INACTIVE = 0x1, 0x4, 0x10
FLAG_WRITE_ONLY, FLAG_HAS_PAYLOAD = 0x40, 0x100


@attrs.frozen
class ControlFacts:
    """The answer to QUERY_EXT_CTRL, of one control."""

    number: int
    type: int
    label: str
    minimum: int
    maximum: int
    step: int
    default: int
    flags: int
    element_bytes: int
    dimensions: int

    @property
    def is_simple(self) -> bool:
        """Whether it is in use and has a single number or text as its value."""
        if self.flags & FLAG_DISABLED or self.dimensions:
            return False
        if self.type == TYPE_CLASS or not TYPE_INTEGER <= self.type <= TYPE_INTEGER_MENU:
            return False
        return bool(self.flags & FLAG_HAS_PAYLOAD) == (self.type == TYPE_STRING)


def control_query(number: int, *, following: bool = False) -> bytearray:
    """Build struct v4l2_query_ext_ctrl for this control, or for the next one."""
    wanted = number | NEXT_CONTROL | NEXT_COMPOUND if following else number
    return bytearray(QUERY_CONTROL.pack(wanted, 0, b"", *(0,) * 8, b""))


def read_control(answer: bytes) -> ControlFacts:
    """Parse struct v4l2_query_ext_ctrl."""
    (number, kind, name, minimum, maximum, step, default, flags, size, _, dimensions, _) = (
        QUERY_CONTROL.unpack_from(answer)
    )
    return ControlFacts(
        number & _ID_MASK,
        *(kind, _text(name), minimum, maximum, step, default),
        *(flags, size, dimensions),
    )


def choice_query(number: int, index: int) -> bytearray:
    """Build struct v4l2_querymenu."""
    return bytearray(QUERY_MENU.pack(number, index, b""))


def read_choice(answer: bytes, kind: int) -> str:
    """Parse struct v4l2_querymenu; the entries of an integer menu are numbers."""
    _, _, name = QUERY_MENU.unpack_from(answer)
    if kind == TYPE_INTEGER_MENU:
        return str(int.from_bytes(name[:8], sys.byteorder, signed=True))
    return _text(name)


def control_list(address: int) -> bytearray:
    """Build struct v4l2_ext_controls for one control value at `address`."""
    return bytearray(CONTROL_LIST.pack(CURRENT_VALUES, 1, 0, 0, 0, address))


def number_value(number: int, kind: int, value: int) -> bytes:
    """Build struct v4l2_ext_control with a number of 64 or 32 bits."""
    width = _width(kind)
    raw = (value & (1 << 8 * width) - 1).to_bytes(width, sys.byteorder)
    return CONTROL_VALUE.pack(number, 0, 0, raw)


def payload_value(number: int, size: int, address: int) -> bytes:
    """Build struct v4l2_ext_control with a payload of `size` bytes at `address`."""
    return CONTROL_VALUE.pack(number, size, 0, struct.pack("@P", address))


def read_number(answer: bytes, kind: int) -> int:
    """Parse the number in struct v4l2_ext_control; only bit masks are unsigned."""
    *_, raw = CONTROL_VALUE.unpack_from(answer)
    return int.from_bytes(raw[: _width(kind)], sys.byteorder, signed=kind != TYPE_BITMASK)


def _width(kind: int) -> int:
    return 8 if kind == TYPE_INTEGER64 else 4


def read_text(payload: bytes) -> str:
    """Decode the payload of a text control."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "replace")


def _text(raw: bytes) -> str:
    return read_text(raw).strip()
