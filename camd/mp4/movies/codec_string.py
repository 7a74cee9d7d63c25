"""Name the codecs of a stream as RFC 6381 does, from the sample entries of its `moov`.

A browser decides by these names whether it can play. The forms are those of ISO/IEC 14496-15,
annex E (H.264, H.265), RFC 6381, 3.3 (MPEG-4), and of the bindings of AV1 and VP9 to the file
format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from camd.mp4.boxes import BoxSpan, MediaError, children
from camd.mp4.init import (
    AUDIO,
    VIDEO,
    Init,
    decoder_config,
    descriptor,
    required_box,
    trak_boxes,
    unpack,
)

_VIDEO_FIELDS = 78  # bytes of a sample entry before its boxes (14496-12, 12.1.3)
_AUDIO_FIELDS = 28  # (12.2.3)
_CONFIG_BYTES = 13  # of a decoder configuration before what is specific to the decoder


def mime_type(init: Init) -> str:
    """Return the type of a stream with all its tracks, as `MediaSource.isTypeSupported` takes it.

    A stream of single pictures has the type `image/jpeg`.
    """
    if init.video.codec == "jpeg":
        return "image/jpeg"
    return f'video/mp4; codecs="{",".join(codec_strings(init))}"'


def codec_strings(init: Init) -> tuple[str, ...]:
    """Return the codec of every track with pictures or sound, in the order of the tracks.

    A sample entry whose configuration is missing or damaged has its four characters as its name.
    """
    handlers = {VIDEO: _VIDEO_FIELDS, AUDIO: _AUDIO_FIELDS}
    return tuple(
        _codec_string(init.moov, trak, handlers[track.handler])
        for track, trak in zip(init.tracks, trak_boxes(init.moov), strict=True)
        if track.handler in handlers
    )


def _codec_string(moov: bytes, trak: BoxSpan, fields: int) -> str:
    stsd = required_box(moov, b"mdia", b"minf", b"stbl", b"stsd", within=trak)
    entry = next(children(moov, stsd.payload + 8, stsd.end))
    kind = entry.kind.decode("ascii")
    try:
        for part in children(moov, entry.payload + fields, entry.end):
            describe = _DESCRIBED.get(part.kind)
            if describe is not None and (rest := describe(moov, part)):
                return f"{kind}.{rest}"
    except MediaError:
        pass
    return _OTHER_NAMES.get(kind, kind.strip())


def _h264(moov: bytes, part: BoxSpan) -> str:
    """Profile, constraints and level, as in an `avcC` (14496-15, 5.3.3.1.2)."""
    return bytes(unpack("x3B", moov, part.payload, part.end)).hex().upper()


def _h265(moov: bytes, part: BoxSpan) -> str:
    """Profile, compatibility, tier, level and constraints, as in an `hvcC` (annex E.3)."""
    general, flags, *constraints, level = unpack("xBI6BB", moov, part.payload, part.end)
    space = ("", "A", "B", "C")[general >> 6]
    tier = "H" if general & 0x20 else "L"
    while constraints and not constraints[-1]:
        constraints.pop()
    compatible = int(f"{flags:032b}"[::-1], 2)  # the bits in reverse order
    parts = (f"{space}{general & 0x1F}", f"{compatible:X}", f"{tier}{level}")
    return ".".join((*parts, *(f"{byte:X}" for byte in constraints)))


def _mpeg4(moov: bytes, part: BoxSpan) -> str:
    """The registered format of an `esds`; of AAC, its kind besides (RFC 6381, 3.3)."""
    at = decoder_config(moov, part)
    if at is None:
        return ""
    (form,) = unpack("B", moov, at, part.end)
    if form != 0x40:
        return f"{form:x}"
    config = descriptor(moov, at + _CONFIG_BYTES, part.end, tag=5)
    (bits,) = unpack("H", moov, config, part.end)
    kind = bits >> 11  # ISO/IEC 14496-3, 1.6.2.1
    return f"40.{kind if kind != 31 else 32 + (bits >> 5 & 0x3F)}"


def _av1(moov: bytes, part: BoxSpan) -> str:
    """Profile, level, tier and bits of an `av1C`."""
    first, second = unpack("xBB", moov, part.payload, part.end)
    tier = "H" if second & 0x80 else "M"
    bits = (8, 8, 10, 12)[second >> 5 & 3]
    return f"{first >> 5}.{first & 0x1F:02d}{tier}.{bits:02d}"


def _vp9(moov: bytes, part: BoxSpan) -> str:
    """Profile, level and bits of a `vpcC`."""
    profile, level, depth = unpack("4x3B", moov, part.payload, part.end)
    return f"{profile:02d}.{level:02d}.{depth >> 4:02d}"


_DESCRIBED: Mapping[bytes, Callable[[bytes, BoxSpan], str]] = {
    b"avcC": _h264,
    b"hvcC": _h265,
    b"esds": _mpeg4,
    b"av1C": _av1,
    b"vpcC": _vp9,
}
_OTHER_NAMES = {"Opus": "opus", "fLaC": "flac"}  # as browsers know them
