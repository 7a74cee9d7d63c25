"""Chooses the format, size and rate to capture with, and gives the reason.

A configured size or rate is used exactly, or refused with what is possible. Without one, the order
is: at least 24 frames/s, then the largest picture, then the highest rate up to 30. Copied pictures
are limited to 1920x1080 and encoded ones to 1280x720, for small machines. `auto` copies H.264, else
encodes MJPEG, else raw pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from camd.model import Capabilities, FormatChoice, FrameSize, PixelFormat, Rates, SizeRange

# --- the modes that FFmpeg can capture ----------------------------------------------------

SAME_RATE = 0.01  # tolerance: 30 and 30000/1001 are the same rate

# The kernel's fourcc and FFmpeg's name, the same in FFmpeg 5.1 and 9. Where a name repeats, the
# order is FFmpeg's; of raw formats of equal rank the earlier one is chosen.
INPUT_FORMATS = {
    "H264": "h264",
    "MJPG": "mjpeg",
    "JPEG": "mjpeg",
    "NV12": "nv12",
    "YUYV": "yuyv422",
    "UYVY": "uyvy422",
    "YU12": "yuv420p",
    "YV12": "yuv420p",
    "422P": "yuv422p",
    "411P": "yuv411p",
    "YUV9": "yuv410p",
    "YVU9": "yuv410p",
    "BGR3": "bgr24",
    "RGB3": "rgb24",
    "XR24": "bgr0",
    "BGR4": "bgr0",
    "BX24": "0rgb",
    "RGB4": "0rgb",
    "AR24": "bgra",
    "BA24": "argb",
    "RGBP": "rgb565le",
    "RGBR": "rgb565be",
    "RGBO": "rgb555le",
    "RGBQ": "rgb555be",
    "GREY": "gray",
    "Y16": "gray16le",
    "Z16": "gray16le",
    "BA81": "bayer_bggr8",
    "GBRG": "bayer_gbrg8",
    "GRBG": "bayer_grbg8",
    "RGGB": "bayer_rggb8",
}
_ORDER = tuple(INPUT_FORMATS)
_COMMON_SIZES = (
    *((3840, 2160), (2560, 1440), (1920, 1080), (1600, 1200), (1280, 1024), (1280, 960)),
    *((1280, 720), (1024, 768), (960, 540), (800, 600), (640, 480), (640, 360), (320, 240)),
    *((320, 180), (160, 120)),
)


@attrs.frozen
class CaptureMode:
    """One size of one format, as FFmpeg can capture it."""

    fourcc: str
    input_format: str
    width: int  # 0: the driver lists no sizes
    height: int
    rates: Rates

    @property
    def pixels(self) -> int:
        """Pixels per picture."""
        return self.width * self.height

    def rate(self, wanted: float) -> float | None:
        """Return the driver's rate that matches the wanted one, or None.

        A driver that lists no rates accepts any.
        """
        nearest = min(self.rates.listed, key=lambda rate: (abs(rate - wanted), rate), default=None)
        if nearest is not None and abs(nearest - wanted) <= SAME_RATE * wanted:
            return nearest
        if self.rates.limits is not None:
            low, high = self.rates.limits
            within = low * (1 - SAME_RATE) <= wanted <= high * (1 + SAME_RATE)
            return min(max(wanted, low), high) if within else None
        return wanted if nearest is None else None

    def best_rate(self, most: float) -> float:
        """Return the highest rate up to `most`, else the lowest; 0 when none is listed."""
        rates = set(self.rates.listed)
        if self.rates.limits is not None:
            low, high = self.rates.limits
            rates |= {low, min(max(most, low), high)}
        fitting = [rate for rate in rates if rate <= most * (1 + SAME_RATE)]
        return max(fitting) if fitting else min(rates, default=0.0)


def modes(capabilities: Capabilities, width: int = 0, height: int = 0) -> tuple[CaptureMode, ...]:
    """List the modes, in an order that does not depend on the driver's.

    Of a range of sizes these are the common ones, the smallest, the largest, and the given one,
    as far as they are in the range.
    """
    found = {
        mode for offered in _usable(capabilities) for mode in _modes_of(offered, (width, height))
    }
    return tuple(
        sorted(
            found,
            key=lambda mode: (
                *(_ORDER.index(mode.fourcc), -mode.pixels, -mode.width),
                *(tuple(sorted(mode.rates.listed)), mode.rates.limits or ()),
            ),
        )
    )


def in_range(offered: SizeRange, width: int, height: int) -> bool:
    """Tell whether a range of sizes contains this one and its step allows it."""
    return all(
        low <= wanted <= high and (wanted - low) % max(step, 1) == 0
        for wanted, low, high, step in zip(
            (width, height), offered.least, offered.largest, offered.step, strict=True
        )
    )


def unreadable_formats(capabilities: Capabilities) -> tuple[str, ...]:
    """Return the fourccs that FFmpeg cannot capture."""
    names = {offered.fourcc.strip() for offered in capabilities.formats}
    return tuple(sorted(name for name in names if name not in INPUT_FORMATS))


def _usable(capabilities: Capabilities) -> list[PixelFormat]:
    """Drop formats that FFmpeg does not know, or for which it takes another of the same name."""
    first: dict[str, str] = {}
    offered = {each.fourcc.strip() for each in capabilities.formats}
    for fourcc, name in INPUT_FORMATS.items():
        if fourcc in offered:
            first.setdefault(name, fourcc)
    taken = set(first.values())
    return [each for each in capabilities.formats if each.fourcc.strip() in taken]


def _modes_of(offered: PixelFormat, wanted: tuple[int, int]) -> list[CaptureMode]:
    fourcc = offered.fourcc.strip()
    sizes = list(offered.sizes)
    if span := offered.size_range:
        several = {*_COMMON_SIZES, span.least, span.largest, wanted}
        fitting = [size for size in several if min(size) > 0 and in_range(span, *size)]
        sizes += [FrameSize(width, height, span.rates) for width, height in fitting]
    if not offered.sizes and not offered.size_range:
        sizes = [FrameSize(*wanted)]
    return [
        CaptureMode(fourcc, INPUT_FORMATS[fourcc], size.width, size.height, size.rates)
        for size in sizes
    ]


def size_distance(mode: CaptureMode, width: int, height: int) -> float:
    """Return how far a mode's size is from a wanted one."""
    return math.hypot(mode.width - width, mode.height - height)


# --- the choice ---------------------------------------------------------------------------

MOST_FPS = 30.0
SMOOTH_FPS = 24.0
COPIED_PIXELS = 1920 * 1080
ENCODED_PIXELS = 1280 * 720
NEAREST = 3  # sizes in a suggestion

_NAMES = {"h264": "H.264", "h265": "H.265", "mjpeg": "MJPEG"}
_H264, _MJPEG = frozenset(("h264",)), frozenset(("mjpeg",))
_OTHERS = frozenset(
    name for name in INPUT_FORMATS.values() if name.startswith(("gray", "bayer"))
)  # raw pictures without colours, or whose colours have to be computed
_COLOURED = frozenset(INPUT_FORMATS.values()) - _OTHERS - _H264 - _MJPEG


@attrs.frozen
class FormatRequest:
    """What a camera's entry configures; None and `auto` leave the choice open."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    codec: str = "auto"  # auto | copy | h264 | h265 | mjpeg


@attrs.frozen
class FormatRefusal:
    """Why a request cannot be met, and what is possible."""

    message: str  # a sentence for people
    possible: tuple[str, ...]  # "MJPEG 1280x720: 30, 15 frames/s", nearest first
    sizes: tuple[tuple[int, int], ...] = ()  # the nearest ones
    rates: tuple[float, ...] = ()  # of the requested size, highest first


@attrs.frozen
class _CodecPath:
    """A way to the wanted codec: input formats, and the encoder for them."""

    input_formats: frozenset[str]
    encoder: str = ""  # "": copied

    def takes(self, mode: CaptureMode) -> bool:
        """Tell whether it begins with the format of this mode."""
        return mode.input_format in self.input_formats


def _codec_paths(codec: str) -> tuple[_CodecPath, ...]:
    """List the ways to `codec`, the preferred one first."""
    match codec:
        case "copy":
            return _CodecPath(_H264), _CodecPath(_MJPEG)
        case "mjpeg":
            return _CodecPath(_MJPEG), *_encoded("mjpeg", _COLOURED, _OTHERS, _H264)
        case "h265":  # FFmpeg's V4L2 input has no H.265 that could be copied
            return _encoded("h265", _MJPEG, _COLOURED, _OTHERS, _H264)
        case _:
            return _CodecPath(_H264), *_encoded("h264", _MJPEG, _COLOURED, _OTHERS)


def _encoded(encoder: str, *inputs: frozenset[str]) -> tuple[_CodecPath, ...]:
    return tuple(_CodecPath(input_formats, encoder) for input_formats in inputs)


def choose_format(
    capabilities: Capabilities, request: FormatRequest
) -> FormatChoice | FormatRefusal:
    """Choose the format to capture with, by the rule above."""
    width, height = request.width or 0, request.height or 0
    offered = modes(capabilities, width, height)
    if not offered:
        return _no_usable_format(capabilities)
    paths = _codec_paths(request.codec)
    for path in paths:
        candidates = [mode for mode in offered if path.takes(mode) and _satisfies(mode, request)]
        if candidates:
            return _choice(candidates, offered, path, request)
    return _unsupported(
        [mode for mode in offered if any(path.takes(mode) for path in paths)], request
    ) or (
        FormatRefusal(
            f"The camera delivers only what has to be encoded ({_formats(offered)}), which codec "
            '"copy" forbids',
            tuple(f'{mode} with codec "h264"' for mode in _describe(offered)),
        )
    )


def _satisfies(mode: CaptureMode, request: FormatRequest) -> bool:
    wanted = (request.width, request.height)
    size = not all(wanted) or (mode.width, mode.height) == wanted
    return size and (not request.fps or mode.rate(request.fps) is not None)


def _choice(
    candidates: Sequence[CaptureMode],
    offered: Sequence[CaptureMode],
    path: _CodecPath,
    request: FormatRequest,
) -> FormatChoice:
    most = ENCODED_PIXELS if path.encoder else COPIED_PIXELS
    best = max(candidates, key=lambda mode: _rank(mode, most, request))
    fps = (best.rate(request.fps) if request.fps else best.best_rate(MOST_FPS)) or 0.0
    return FormatChoice(
        fourcc=best.fourcc,
        input_format=best.input_format,
        width=best.width,
        height=best.height,
        fps=fps,
        copied=not path.encoder,
        encoder=path.encoder,
        why=_reason(best, fps, offered, path, request),
    )


def _rank(mode: CaptureMode, most_pixels: int, request: FormatRequest) -> tuple[object, ...]:
    """Return a sort key by the rule; where all pictures are too large, the smallest wins."""
    rate = (mode.rate(request.fps) if request.fps else mode.best_rate(MOST_FPS)) or 0.0
    if mode.pixels > most_pixels:
        return (False, 0.0, -mode.pixels, rate)
    return (True, min(rate, SMOOTH_FPS), mode.pixels, rate)


# --- texts --------------------------------------------------------------------------------


def name_of(input_format: str, fourcc: str) -> str:
    """Return the name of a format for people."""
    return _NAMES.get(input_format, fourcc)


def _reason(
    mode: CaptureMode,
    fps: float,
    offered: Sequence[CaptureMode],
    path: _CodecPath,
    request: FormatRequest,
) -> str:
    format_name, where = name_of(mode.input_format, mode.fourcc), _at(mode, fps)
    if not path.encoder:
        return f"{format_name} from the camera{where and ' at ' + where}: copied"
    wanted = _NAMES[path.encoder]
    if any(each.input_format == path.encoder for each in offered):
        reason = f"the camera has no {wanted} of the size and rate that are asked for"
    else:
        reason = f"the camera has no {wanted}"
    made = "" if request.codec == "auto" else f" as {wanted}"
    return f"{reason}; {format_name}{where and ' at ' + where}, encoded{made}"


def _at(mode: CaptureMode, fps: float) -> str:
    size = f"{mode.width}x{mode.height}" if mode.pixels else ""
    rate = f"{_number(fps)} frames/s" if fps else ""
    return ", ".join(part for part in (size, rate) if part)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _rates_of(mode: CaptureMode) -> tuple[float, ...]:
    if mode.rates.limits is not None:
        return tuple(sorted({*mode.rates.listed, *mode.rates.limits}, reverse=True))
    return tuple(sorted(mode.rates.listed, reverse=True))


def _rates_text(mode: CaptureMode) -> str:
    if mode.rates.limits is not None:
        low, high = mode.rates.limits
        return f"{_number(low)} to {_number(high)} frames/s"
    numbers = ", ".join(_number(rate) for rate in _rates_of(mode))
    return f"{numbers} frames/s" if numbers else "at the driver's own rate"


def _describe(offered: Sequence[CaptureMode]) -> tuple[str, ...]:
    return tuple(
        f"{name_of(mode.input_format, mode.fourcc)} {mode.width}x{mode.height}: {_rates_text(mode)}"
        for mode in offered
    )


def _formats(offered: Sequence[CaptureMode]) -> str:
    return ", ".join(dict.fromkeys(name_of(mode.input_format, mode.fourcc) for mode in offered))


def _no_usable_format(capabilities: Capabilities) -> FormatRefusal:
    names = ", ".join(unreadable_formats(capabilities))
    why = f"none that FFmpeg can read ({names})" if names else "no format at all"
    return FormatRefusal(f"The camera offers {why}", ())


def _unsupported(usable: Sequence[CaptureMode], request: FormatRequest) -> FormatRefusal | None:
    """Explain which sizes or rates are possible; None when no format is usable at any size."""
    if not usable:
        return None
    codec = "" if request.codec == "auto" else f' with codec "{request.codec}"'
    if not request.width or not request.height:
        rates = tuple(sorted({rate for mode in usable for rate in _rates_of(mode)}, reverse=True))
        message = f"The camera does not offer {_number(request.fps or 0.0)} frames/s{codec}"
        return FormatRefusal(message, _describe(usable), rates=rates)
    same = [mode for mode in usable if (mode.width, mode.height) == (request.width, request.height)]
    if same:
        rates = tuple(sorted({rate for mode in same for rate in _rates_of(mode)}, reverse=True))
        message = (
            f"The camera does not offer {request.width}x{request.height} at "
            f"{_number(request.fps or 0.0)} frames/s{codec}; there it offers "
            + " or ".join(dict.fromkeys(_rates_text(mode) for mode in same))
        )
        return FormatRefusal(message, _describe(same), rates=rates)
    near = sorted(
        usable, key=lambda mode: size_distance(mode, request.width or 0, request.height or 0)
    )
    sizes = tuple(dict.fromkeys((mode.width, mode.height) for mode in near))[:NEAREST]
    message = (
        f"The camera does not offer {request.width}x{request.height}{codec}; the nearest: "
        + ", ".join(f"{width}x{height}" for width, height in sizes)
    )
    shown = [mode for mode in near if (mode.width, mode.height) in sizes]
    return FormatRefusal(message, _describe(shown), sizes=sizes)
