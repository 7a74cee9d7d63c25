"""Parse and build sample entries of H.264 and H.265 video, and compare them with samples.

ISO/IEC 14496-15 clauses 5.3.3 (`avcC`) and 8.3.3 (`hvcC`). A file whose samples carry other
parameter sets than its header cannot be decoded with the header.
"""

from __future__ import annotations

import struct

import attrs

from camd.mp4.boxes import BoxSpan, MediaError, box, children
from camd.mp4.h26x.parameter_sets import (
    KINDS,
    NalError,
    ParameterSetKind,
    SequenceSet,
    VideoCodec,
    comparable_part,
    kind_of,
    read_sequence,
    set_identity,
)
from camd.mp4.init import Init, read_init, required_box, trak_boxes, unpack, video_trak

ENTRY_FIELDS = 78  # bytes of a visual sample entry before its boxes (ISO/IEC 14496-12, 12.1.3)
_ENTRIES = {
    b"avc1": VideoCodec.H264,
    b"avc3": VideoCodec.H264,
    b"hvc1": VideoCodec.H265,
    b"hev1": VideoCodec.H265,
}
_IN_SAMPLES = (b"avc3", b"hev1")  # sample entries that allow parameter sets in samples
# FFmpeg leaves the box empty when it has seen no complete sets before it began. Its samples have
# sizes of four bytes all the same, and key frames that follow have the sets.
_CONFIGURATIONS = {
    VideoCodec.H264: (b"avcC", bytes.fromhex("01 000000 ff e0 00")),
    VideoCodec.H265: (b"hvcC", bytes.fromhex(f"01 {12 * '00'} f000 fc fc f8 f8 0000 0f 00")),
}

Sets = dict[tuple[ParameterSetKind, int], bytes]


@attrs.frozen
class VideoHeader:
    """Contents of a sample entry: parameter sets and the size of pictures."""

    codec: VideoCodec
    in_samples: bool  # samples may carry other parameter sets (avc3, hev1)
    width: int
    height: int
    nal_length: int  # bytes of the size field before each NAL unit
    sets: tuple[bytes, ...] = attrs.field(repr=False)


def video_header(init: Init) -> VideoHeader | None:
    """Read the header of the first video track; see `read_header`. Raises MediaError."""
    return read_header(video_entry(init).bytes_of(init.moov))


def video_entry(init: Init) -> BoxSpan:
    """Return the first sample entry of the first video track in the `moov`. Raises MediaError."""
    stsd = required_box(init.moov, b"mdia", b"minf", b"stbl", b"stsd", within=video_trak(init))
    return next(children(init.moov, stsd.payload + 8, stsd.end))


def read_header(entry: bytes) -> VideoHeader | None:
    """Parse a complete sample entry; None for a codec without parameter sets, such as MJPEG.

    Raises MediaError.
    """
    top = next(children(entry), None)
    codec = _ENTRIES.get(top.kind) if top else None
    if top is None or codec is None:
        return None
    width, height = unpack("2H", entry, top.payload + 24, top.end)
    kind, without_sets = _CONFIGURATIONS[codec]
    parts = children(entry, top.payload + ENTRY_FIELDS, top.end)
    config = next((entry[part.payload : part.end] for part in parts if part.kind == kind), None)
    if config is None:
        return None
    config = config or without_sets
    nal_length, sets = _read_avcc(config) if codec is VideoCodec.H264 else _read_hvcc(config)
    return VideoHeader(codec, top.kind in _IN_SAMPLES, width, height, nal_length, sets)


def _read_avcc(config: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Parse ISO/IEC 14496-15, 5.3.3.1.2."""
    length, count = unpack("BB", config, 4, len(config))
    sequences, at = _take_sets(config, 6, count & 0x1F)
    (count,) = unpack("B", config, at, len(config))
    pictures, _ = _take_sets(config, at + 1, count)
    return (length & 3) + 1, (*sequences, *pictures)


def _read_hvcc(config: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Parse ISO/IEC 14496-15, 8.3.3.1.2."""
    (length,) = unpack("B", config, 21, len(config))
    arrays = _hvcc_arrays(config)
    sets = [nal for number, nals in arrays if number in KINDS[VideoCodec.H265] for nal in nals]
    return (length & 3) + 1, tuple(sets)


def _hvcc_arrays(config: bytes) -> list[tuple[int, list[bytes]]]:
    """Return the NAL units in an `hvcC` by type, messages (SEI) included."""
    (count,) = unpack("B", config, 22, len(config))
    arrays, at = [], 23
    for _ in range(count):
        number, units = unpack("BH", config, at, len(config))
        found, at = _take_sets(config, at + 3, units)
        arrays.append((number & 0x3F, found))
    return arrays


def _take_sets(config: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """Read `count` sets, each after its size; return them and where they end."""
    sets = []
    for _ in range(count):
        (size,) = unpack("H", config, at, len(config))
        if not size or at + 2 + size > len(config):
            raise NalError("a parameter set in the header is cut short")
        sets.append(config[at + 2 : at + 2 + size])
        at += 2 + size
    return sets, at


# --- comparing headers with samples


def contradiction(header: VideoHeader, sets: tuple[bytes, ...]) -> str:
    """Say why a sample with these sets cannot be decoded with the header alone; "" when it can.

    Sets that repeat the header's do not contradict it, nor do other display parameters (VUI).
    """
    codec = header.codec
    try:
        known = {set_identity(nal, codec): comparable_part(nal, codec) for nal in header.sets}
    except NalError as error:
        return f"its header is damaged: {error}"
    try:
        found = {set_identity(nal, codec): nal for nal in sets}
        for (kind, _), nal in found.items():
            if kind is ParameterSetKind.SEQUENCE and (wrong := _size_problem(nal, header)):
                return wrong
    except NalError as error:
        return f"a parameter set in its samples is damaged: {error}"
    for (kind, number), nal in found.items():
        if header.in_samples or known.get((kind, number)) == comparable_part(nal, codec):
            continue
        name = f"{kind.value} {number}"
        if (kind, number) in known:
            return f"its samples hold another {name} than its header"
        return f"its samples hold {name}, which its header lacks"
    return ""


def header_problem(header: VideoHeader) -> str:
    """Say what is wrong with a header: missing sets, or another size than theirs; "" when nothing.

    A header may lack sets that are in the samples.
    """
    try:
        found = {set_identity(nal, header.codec)[0] for nal in header.sets}
        for nal in header.sets:
            is_sequence = kind_of(nal[0], header.codec) is ParameterSetKind.SEQUENCE
            if is_sequence and (wrong := _size_problem(nal, header)):
                return wrong
    except NalError as error:
        return f"its header is damaged: {error}"
    if header.in_samples:
        return ""
    lacking = [kind.value for kind in KINDS[header.codec].values() if kind not in found]
    return f"its header lacks {' and '.join(lacking)}" if lacking else ""


def _size_problem(sps: bytes, header: VideoHeader) -> str:
    sequence = read_sequence(sps, header.codec)
    if sequence.shows(header.width, header.height):
        return ""
    pictures, stated = f"{sequence.width}x{sequence.height}", f"{header.width}x{header.height}"
    return f"its pictures are {pictures}, and its header says {stated}"


# --- building headers


def init_with(init: Init, sets: tuple[bytes, ...]) -> Init:
    """Return an init whose first video track has these parameter sets, and their size.

    Sets of the old header that they do not replace stay. Raises MediaError when there is no
    header to change, or no usable SPS.
    """
    old = video_entry(init)
    entry = header_with(old.bytes_of(init.moov), sets)
    moov = _replaced(init.moov, old.start, old.end, entry)
    width, height = unpack("2H", entry, 8 + 24, len(entry))
    return read_init(init.ftyp, _with_track_size(moov, init, width, height))


def header_with(entry: bytes, sets: tuple[bytes, ...]) -> bytes:
    """Build a sample entry with these parameter sets, and the size in their SPS.

    When the size changes, `pasp` and `clap`, which belong to the old one, are left out. Raises
    MediaError: see `init_with`.
    """
    header = read_header(entry)
    if header is None:
        raise NalError("a codec without parameter sets")
    codec = header.codec
    merged = {set_identity(nal, codec): nal for nal in (*header.sets, *sets)}
    given = [nal for nal in sets if kind_of(nal[0], codec) is ParameterSetKind.SEQUENCE]
    sequences = given or [nal for key, nal in merged.items() if key[0] is ParameterSetKind.SEQUENCE]
    if not sequences:
        raise NalError("no sequence parameter set")
    sequence = read_sequence(sequences[-1], codec)
    size = sequence.width, sequence.height
    top = next(children(entry))
    fields = bytearray(entry[top.payload : top.payload + ENTRY_FIELDS])
    struct.pack_into(">2H", fields, 24, *size)
    dropped = () if size == (header.width, header.height) else (b"pasp", b"clap")
    parts = [bytes(fields)]
    kind, without_sets = _CONFIGURATIONS[codec]
    for part in children(entry, top.payload + ENTRY_FIELDS, top.end):
        old = entry[part.payload : part.end] or (without_sets if part.kind == kind else b"")
        if part.kind == b"avcC":
            parts.append(box(b"avcC", _avcc(old, sequences[-1], sequence, merged)))
        elif part.kind == b"hvcC":
            parts.append(
                box(b"hvcC", _hvcc(old, sequences[-1], sequence, merged, header.in_samples))
            )
        elif part.kind not in dropped:
            parts.append(entry[part.start : part.end])
    return box(top.kind, *parts)


def _of(sets: Sets, kind: ParameterSetKind) -> list[bytes]:
    return [nal for key, nal in sets.items() if key[0] is kind]


def _listed(sets: list[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(nal)) + nal for nal in sets)


def _avcc(old: bytes, sps: bytes, sequence: SequenceSet, sets: Sets) -> bytes:
    """Build an `avcC` with the size field of the old one."""
    sequences, pictures = _of(sets, ParameterSetKind.SEQUENCE), _of(sets, ParameterSetKind.PICTURE)
    if len(sequences) > 31 or len(pictures) > 255:
        raise NalError("too many parameter sets for a header")
    config = bytes((1, sps[1], sps[2], sps[3], old[4], 0xE0 | len(sequences)))
    config += _listed(sequences) + bytes((len(pictures),)) + _listed(pictures)
    if sps[1] in (100, 110, 122, 144):
        config += bytes(
            (
                0xFC | sequence.chroma_format,
                0xF8 | sequence.luma_bits - 8,
                0xF8 | sequence.chroma_bits - 8,
                0,
            )
        )
    return config


def _hvcc(old: bytes, sps: bytes, sequence: SequenceSet, sets: Sets, in_samples: bool) -> bytes:
    """Build an `hvcC` with the rates and the size field of the old one."""
    profile = sps[2:].replace(b"\x00\x00\x03", b"\x00\x00")[1:13]
    config = b"\x01" + profile + old[13:16]
    config += bytes(
        (
            0xFC | sequence.chroma_format,
            0xF8 | sequence.luma_bits - 8,
            0xF8 | sequence.chroma_bits - 8,
        )
    )
    others = [array for array in _hvcc_arrays(old) if array[0] not in KINDS[VideoCodec.H265]]
    arrays = [(number, _of(sets, kind)) for number, kind in KINDS[VideoCodec.H265].items()]
    arrays = [(number, nals) for number, nals in [*arrays, *others] if nals]
    config += old[19:22] + bytes((len(arrays),))
    for number, nals in arrays:
        complete = 0x80 if number in KINDS[VideoCodec.H265] and not in_samples else 0
        config += struct.pack(">BH", complete | number, len(nals)) + _listed(nals)
    return config


def _replaced(moov: bytes, start: int, end: int, entry: bytes) -> bytes:
    """Replace the sample entry between `start` and `end`, and correct the sizes of its parents."""
    grown = len(entry) - (end - start)
    changed = bytearray(moov[:start] + entry + moov[end:])
    at, until = 0, len(moov)
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        around = next(
            s for s in children(moov, at, until) if s.kind == kind and s.start < start < s.end
        )
        if around.payload - around.start != 8:
            raise MediaError(f"{kind.decode()} with a 64-bit size")
        struct.pack_into(">I", changed, around.start, around.end - around.start + grown)
        at, until = around.payload, around.end
    return bytes(changed)


def _with_track_size(moov: bytes, init: Init, width: int, height: int) -> bytes:
    """Set the picture's size in the track's header (8.3.2), in 16.16 pixels."""
    if (init.video.width, init.video.height) == (width, height):
        return moov
    tkhd = required_box(moov, b"tkhd", within=trak_boxes(moov)[init.tracks.index(init.video)])
    changed = bytearray(moov)
    struct.pack_into(">2I", changed, tkhd.end - 8, width << 16, height << 16)
    return bytes(changed)
