"""Parse NAL units and the parameter sets in them, which a decoder needs before the first picture.

ITU-T H.264 clause 7.3.2, ITU-T H.265 clause 7.3.2.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

import attrs

from camd.mp4.boxes import MediaError

# --- NAL units and their fields

Read = Callable[[int, int], bytes]  # offset, size -> bytes; fewer at the end

MAX_NAL_UNITS = 4096  # of one sample
_FIELDS_SIZE = 4096  # bytes of a NAL unit that are parsed
_READ_SIZE = 2048  # holds parameter sets, messages and the head of the first slice


class NalError(MediaError):
    """Bytes that are not NAL units with their lengths, or a NAL unit that is too short."""


@attrs.frozen
class NalUnit:
    """Position of a NAL unit: `size` bytes from `start`."""

    start: int
    size: int
    header: int  # its first byte


def nal_units_in(read: Read, start: int, size: int, length_size: int) -> Iterator[NalUnit]:
    """Yield the NAL units of one sample; reads only the head of each.

    Raises NalError when they do not fill the sample exactly, and what `read` raises.
    """
    at, end = start, start + size
    ahead, ahead_at = b"", start
    for _ in range(MAX_NAL_UNITS):
        if at == end:
            return
        if at + length_size + 1 > ahead_at + len(ahead):
            ahead, ahead_at = read(at, min(_READ_SIZE, end - at)), at
        head = ahead[at - ahead_at : at - ahead_at + length_size + 1]
        length = int.from_bytes(head[:length_size], "big")
        at += length_size
        if len(head) <= length_size or length == 0 or at + length > end:
            raise NalError("a sample is not a sequence of NAL units")
        yield NalUnit(at, length, head[-1])
        at += length
    if at != end:
        raise NalError(f"a sample of more than {MAX_NAL_UNITS} NAL units")


def reader_of_bytes(data: bytes) -> Read:
    """Return a `Read` of bytes in memory."""
    return lambda offset, size: data[offset : offset + size]


class BitFields:
    """Read the fields of a NAL unit one by one, without its emulation prevention bytes.

    Every method raises NalError when the unit ends before the field.
    """

    def __init__(self, nal: bytes) -> None:
        # 7.4.1: in the bytes 0, 0, 3 the last one was inserted by the encoder.
        data = nal[:_FIELDS_SIZE].replace(b"\x00\x00\x03", b"\x00\x00")
        self._bits = int.from_bytes(data, "big")
        self._size = self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Read an unsigned number of `count` bits: u(n)."""
        if count > self._left:
            raise NalError("a parameter set is cut short")
        self._left -= count
        return self._bits >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        """Read one bit."""
        return self.take(1) == 1

    def skip(self, count: int) -> None:
        """Pass over `count` bits."""
        self.take(count)

    def number(self) -> int:
        """Read an unsigned Exp-Golomb number: ue(v)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 32:
                raise NalError("a number in a parameter set is too large")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """Read a signed Exp-Golomb number: se(v)."""
        coded = self.number()
        return (coded + 1) // 2 if coded % 2 else -(coded // 2)

    def consumed(self) -> tuple[int, int]:
        """Return the number of bits read and their value, for comparisons."""
        return self._size - self._left, self._bits >> self._left


# --- parameter sets

MAX_SIDE = 32_768  # pixels
MAX_SET_SIZE = 0xFFFF  # bytes, by the size field in a header
_BLOCK = 16  # pixels; the last block of a row or column may be shown in part
_CHROMA_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


class VideoCodec(enum.Enum):
    """Which standard the parameter sets follow."""

    H264 = "H.264"
    H265 = "H.265"


class ParameterSetKind(enum.Enum):
    """Kind of a parameter set, by its name in the standards."""

    VIDEO = "VPS"
    SEQUENCE = "SPS"
    PICTURE = "PPS"


KINDS = {
    VideoCodec.H264: {7: ParameterSetKind.SEQUENCE, 8: ParameterSetKind.PICTURE},
    VideoCodec.H265: {
        32: ParameterSetKind.VIDEO,
        33: ParameterSetKind.SEQUENCE,
        34: ParameterSetKind.PICTURE,
    },
}


@attrs.frozen
class SequenceSet:
    """Contents of a sequence parameter set (SPS). Sizes in pixels.

    `comparable` is everything without the display parameters (VUI).
    """

    number: int
    width: int
    height: int
    coded_width: int  # before cropping
    coded_height: int
    chroma_format: int
    luma_bits: int
    chroma_bits: int
    comparable: object = attrs.field(repr=False)

    def shows(self, width: int, height: int) -> bool:
        """Whether a header may have this size.

        That is the cropped one; without cropping it may leave out a part of the last block.
        """
        return _shows(width, self.width, self.coded_width) and _shows(
            height, self.height, self.coded_height
        )


def _shows(size: int, cropped: int, coded: int) -> bool:
    return size == cropped or (cropped == coded and 0 <= coded - size < _BLOCK)


def kind_of(header: int, codec: VideoCodec) -> ParameterSetKind | None:
    """Return the kind of parameter set of a NAL unit with this first byte; None for other units."""
    number = header & 0x1F if codec is VideoCodec.H264 else header >> 1 & 0x3F
    return KINDS[codec].get(number)


def sets_within(
    read: Read, start: int, size: int, nal_length: int, codec: VideoCodec
) -> tuple[bytes, ...]:
    """Return the parameter sets of the sample of `size` bytes at `start`, in order.

    Reads little more than them. Raises NalError, and what `read` raises.
    """
    units = [u for u in nal_units_in(read, start, size, nal_length) if kind_of(u.header, codec)]
    if any(unit.size > MAX_SET_SIZE for unit in units):
        raise NalError("a parameter set is too large")
    return tuple(read(unit.start, unit.size) for unit in units)


def set_identity(nal: bytes, codec: VideoCodec) -> tuple[ParameterSetKind, int]:
    """Return a parameter set's key: a later one with the same key replaces it.

    Raises NalError.
    """
    kind = kind_of(nal[0], codec) if nal else None
    if kind is None:
        raise NalError("not a parameter set")
    if kind is ParameterSetKind.SEQUENCE:
        return kind, read_sequence(nal, codec).number
    fields = BitFields(nal[1 if codec is VideoCodec.H264 else 2 :])
    return kind, fields.take(4) if kind is ParameterSetKind.VIDEO else fields.number()


def read_sequence(sps: bytes, codec: VideoCodec) -> SequenceSet:
    """Read a sequence parameter set, header included. Raises NalError."""
    if not sps or kind_of(sps[0], codec) is not ParameterSetKind.SEQUENCE:
        raise NalError("not a sequence parameter set")
    return _read_h264(sps) if codec is VideoCodec.H264 else _read_h265(sps)


def _read_h264(sps: bytes) -> SequenceSet:
    """Parse clause 7.3.2.1.1."""
    fields = BitFields(sps[1:])
    profile = fields.take(8)
    fields.skip(16)  # constraints, level
    number = fields.number()
    chroma, separate, luma_bits, chroma_bits = 1, False, 8, 8
    if profile in _CHROMA_PROFILES:
        chroma = fields.number()
        separate = chroma == 3 and fields.flag()
        luma_bits, chroma_bits = 8 + fields.number(), 8 + fields.number()
        fields.skip(1)
        if fields.flag():
            _skip_scaling(fields, 12 if chroma == 3 else 8)
    fields.number()  # log2_max_frame_num_minus4
    _skip_order(fields)
    fields.number()  # max_num_ref_frames
    fields.skip(1)
    columns, rows = fields.number() + 1, fields.number() + 1
    unit_height = 1 if fields.flag() else 2  # macroblocks of a map unit
    fields.skip(unit_height)
    crop = [fields.number() for _ in range(4)] if fields.flag() else [0] * 4
    comparable = fields.consumed()
    across, down = _crop_units(0 if separate else chroma)
    return _sequence(
        number,
        (16 * columns, 16 * rows * unit_height),
        (across * (crop[0] + crop[1]), down * unit_height * (crop[2] + crop[3])),
        (chroma, luma_bits, chroma_bits),
        comparable,
    )


def _skip_scaling(fields: BitFields, lists: int) -> None:
    """Skip the scaling lists (7.3.2.1.1.1)."""
    for number in range(lists):
        if not fields.flag():
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + fields.signed()) % 256
            last = following or last


def _skip_order(fields: BitFields) -> None:
    """Skip the fields of the picture order count."""
    order = fields.number()
    if order == 0:
        fields.number()
    elif order == 1:
        fields.skip(1)
        fields.signed()
        fields.signed()
        cycle = fields.number()
        if cycle > 255:
            raise NalError("a parameter set out of its bounds")
        for _ in range(cycle):
            fields.signed()


def _read_h265(sps: bytes) -> SequenceSet:
    """Parse clause 7.3.2.2.1; sub-layers are skipped."""
    fields = BitFields(sps[2:])
    fields.skip(4)
    layers = fields.take(3)
    fields.skip(1 + 96)  # temporal_id_nesting_flag, general profile, tier and level
    present = [(fields.flag(), fields.flag()) for _ in range(layers)]
    if layers:
        fields.skip(2 * (8 - layers))
    for profile, level in present:
        fields.skip(88 * profile + 8 * level)
    number, chroma = fields.number(), fields.number()
    separate = chroma == 3 and fields.flag()
    coded = fields.number(), fields.number()
    crop = [fields.number() for _ in range(4)] if fields.flag() else [0] * 4
    bits = 8 + fields.number(), 8 + fields.number()
    across, down = _crop_units(0 if separate else chroma)
    return _sequence(
        number,
        coded,
        (across * (crop[0] + crop[1]), down * (crop[2] + crop[3])),
        (chroma, *bits),
        sps.rstrip(b"\x00"),
    )


def _crop_units(chroma: int) -> tuple[int, int]:
    """Return the pixels of a unit of cropping, across and down (table 6-1)."""
    if chroma > 3:
        raise NalError("a parameter set out of its bounds")
    return (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1)


def _sequence(
    number: int,
    coded: tuple[int, int],
    cropped: tuple[int, int],
    depth: tuple[int, int, int],
    comparable: object,
) -> SequenceSet:
    width, height = coded[0] - cropped[0], coded[1] - cropped[1]
    if not (0 < width <= coded[0] <= MAX_SIDE and 0 < height <= coded[1] <= MAX_SIDE):
        raise NalError("a parameter set with an impossible picture size")
    if depth[1] > 16 or depth[2] > 16:
        raise NalError("a parameter set out of its bounds")
    return SequenceSet(number, width, height, *coded, *depth, comparable)


def comparable_part(nal: bytes, codec: VideoCodec) -> object:
    """Return the part of a set that decides whether two are equal. Raises NalError."""
    if kind_of(nal[0], codec) is ParameterSetKind.SEQUENCE:
        return read_sequence(nal, codec).comparable
    return nal.rstrip(b"\x00")
