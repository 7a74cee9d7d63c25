"""Which of a camera's formats, sizes and rates it is asked for, and why.

The rule. A wish for size or rate is honoured exactly or refused with what is possible. Without
one: fluent first (24 frames/s and more count alike), then the largest picture, then the highest
rate up to 30; copied pictures up to 1920x1080, encoded ones up to 1280x720, because small
machines must keep up. `auto` copies H.264, else encodes MJPEG, else raw pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from camd.model import Capabilities, FormatChoice, FrameSize, PixelFormat, Rates, SizeRange

# --- What a node offers, as FFmpeg can ask for it: formats by its names, sizes, rates.

SAME_RATE = 0.01  # 30 and 30000/1001 are one rate

# The kernel's four characters and FFmpeg's names, in FFmpeg's order where names repeat. Of raw
# formats of equal merit the earlier one is taken. These are in FFmpeg 5.1 and 9 alike.
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
_USUAL = (
    *((3840, 2160), (2560, 1440), (1920, 1080), (1600, 1200), (1280, 1024), (1280, 960)),
    *((1280, 720), (1024, 768), (960, 540), (800, 600), (640, 480), (640, 360), (320, 240)),
    *((320, 180), (160, 120)),
)


@attrs.frozen
class CaptureMode:
    """One size of one format that FFmpeg can ask for."""

    fourcc: str
    input_format: str
    width: int  # 0: the driver lists no sizes
    height: int
    rates: Rates

    @property
    def pixels(self) -> int:
        """How large a picture is."""
        return self.width * self.height

    def rate(self, wished: float) -> float | None:
        """Return the rate that is offered for the wished one, if it is; the driver's own number.

        A driver that lists no rates contradicts no wish.
        """
        nearest = min(self.rates.listed, key=lambda rate: (abs(rate - wished), rate), default=None)
        if nearest is not None and abs(nearest - wished) <= SAME_RATE * wished:
            return nearest
        if self.rates.limits is not None:
            low, high = self.rates.limits
            within = low * (1 - SAME_RATE) <= wished <= high * (1 + SAME_RATE)
            return min(max(wished, low), high) if within else None
        return wished if nearest is None else None

    def best_rate(self, most: float) -> float:
        """Return the highest rate up to `most`, else the lowest; 0 when none is listed."""
        rates = set(self.rates.listed)
        if self.rates.limits is not None:
            low, high = self.rates.limits
            rates |= {low, min(max(most, low), high)}
        fitting = [rate for rate in rates if rate <= most * (1 + SAME_RATE)]
        return max(fitting) if fitting else min(rates, default=0.0)


def modes(capabilities: Capabilities, width: int = 0, height: int = 0) -> tuple[CaptureMode, ...]:
    """List what can be asked for, in an order that does not depend on the driver's.

    Of a range of sizes these are the usual ones, the least, the largest, and the one that is
    given, where they fit.
    """
    found = {
        mode for offered in _reachable(capabilities) for mode in _modes_of(offered, (width, height))
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
    """Whether a range of sizes holds this one, steps and all."""
    return all(
        low <= wanted <= high and (wanted - low) % max(step, 1) == 0
        for wanted, low, high, step in zip(
            (width, height), offered.least, offered.largest, offered.step, strict=True
        )
    )


def unreadable(capabilities: Capabilities) -> tuple[str, ...]:
    """Name the formats that FFmpeg cannot ask for."""
    names = {offered.fourcc.strip() for offered in capabilities.formats}
    return tuple(sorted(name for name in names if name not in INPUT_FORMATS))


def _reachable(capabilities: Capabilities) -> list[PixelFormat]:
    """Drop what FFmpeg does not know, and what stands behind another of the same name."""
    first: dict[str, str] = {}
    offered = {each.fourcc.strip() for each in capabilities.formats}
    for fourcc, name in INPUT_FORMATS.items():
        if fourcc in offered:
            first.setdefault(name, fourcc)
    taken = set(first.values())
    return [each for each in capabilities.formats if each.fourcc.strip() in taken]


def _modes_of(offered: PixelFormat, wished: tuple[int, int]) -> list[CaptureMode]:
    fourcc = offered.fourcc.strip()
    sizes = list(offered.sizes)
    if span := offered.size_range:
        several = {*_USUAL, span.least, span.largest, wished}
        fitting = [size for size in several if min(size) > 0 and in_range(span, *size)]
        sizes += [FrameSize(width, height, span.rates) for width, height in fitting]
    if not offered.sizes and not offered.size_range:
        sizes = [FrameSize(*wished)]
    return [
        CaptureMode(fourcc, INPUT_FORMATS[fourcc], size.width, size.height, size.rates)
        for size in sizes
    ]


def distance(mode: CaptureMode, width: int, height: int) -> float:
    """Say how far a size is from a wished one, for the nearest of them."""
    return math.hypot(mode.width - width, mode.height - height)


# --- Which of a camera's formats, sizes and rates it is asked for, and why.

MOST_FPS = 30.0
FLUENT_FPS = 24.0
COPIED_PIXELS = 1920 * 1080
ENCODED_PIXELS = 1280 * 720
NEAREST = 3  # how many sizes are suggested

_NAMES = {"h264": "H.264", "h265": "H.265", "mjpeg": "MJPEG"}
_H264, _MJPEG = frozenset(("h264",)), frozenset(("mjpeg",))
_OTHERS = frozenset(
    name for name in INPUT_FORMATS.values() if name.startswith(("gray", "bayer"))
)  # raw pictures without colours, or with colours still to be made
_COLOURED = frozenset(INPUT_FORMATS.values()) - _OTHERS - _H264 - _MJPEG


@attrs.frozen
class FormatRequest:
    """What a camera's entry asks for; None and `auto` leave it to the rule."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    codec: str = "auto"  # auto | copy | h264 | h265 | mjpeg


@attrs.frozen
class UnsupportedFormat:
    """The wish cannot be honoured, and what can."""

    message: str  # a sentence for people
    possible: tuple[str, ...]  # "MJPEG 1280x720: 30, 15 frames/s", the nearest first
    sizes: tuple[tuple[int, int], ...] = ()  # the nearest ones
    rates: tuple[float, ...] = ()  # of the wished size, highest first


@attrs.frozen
class _Way:
    """Some of the camera's formats, and what is to become of them."""

    input_formats: frozenset[str]
    encoder: str = ""  # "": copied

    def takes(self, mode: CaptureMode) -> bool:
        """Whether this way begins with such pictures."""
        return mode.input_format in self.input_formats


def _ways(codec: str) -> tuple[_Way, ...]:
    """List the ways to `codec`, the best first."""
    match codec:
        case "copy":
            return _Way(_H264), _Way(_MJPEG)
        case "mjpeg":
            return _Way(_MJPEG), *_encoded("mjpeg", _COLOURED, _OTHERS, _H264)
        case "h265":  # FFmpeg's V4L2 input has no H.265 that could be copied
            return _encoded("h265", _MJPEG, _COLOURED, _OTHERS, _H264)
        case _:
            return _Way(_H264), *_encoded("h264", _MJPEG, _COLOURED, _OTHERS)


def _encoded(encoder: str, *inputs: frozenset[str]) -> tuple[_Way, ...]:
    return tuple(_Way(input_formats, encoder) for input_formats in inputs)


def choose(capabilities: Capabilities, wish: FormatRequest) -> FormatChoice | UnsupportedFormat:
    """Choose what to ask a camera for, by the rule above."""
    width, height = wish.width or 0, wish.height or 0
    offered = modes(capabilities, width, height)
    if not offered:
        return _nothing(capabilities)
    ways = _ways(wish.codec)
    for way in ways:
        candidates = [mode for mode in offered if way.takes(mode) and _honours(mode, wish)]
        if candidates:
            return _choice(candidates, offered, way, wish)
    return _refusal([mode for mode in offered if any(way.takes(mode) for way in ways)], wish) or (
        UnsupportedFormat(
            f"The camera delivers only what has to be encoded ({_formats(offered)}), which codec "
            '"copy" forbids',
            tuple(f'{mode} with codec "h264"' for mode in _described(offered)),
        )
    )


def _honours(mode: CaptureMode, wish: FormatRequest) -> bool:
    size = (
        not wish.width
        or not wish.height
        or (mode.width, mode.height)
        == (
            wish.width,
            wish.height,
        )
    )
    return size and (not wish.fps or mode.rate(wish.fps) is not None)


def _choice(
    candidates: Sequence[CaptureMode],
    offered: Sequence[CaptureMode],
    way: _Way,
    wish: FormatRequest,
) -> FormatChoice:
    most = ENCODED_PIXELS if way.encoder else COPIED_PIXELS
    best = max(candidates, key=lambda mode: _merit(mode, most, wish))
    fps = (best.rate(wish.fps) if wish.fps else best.best_rate(MOST_FPS)) or 0.0
    return FormatChoice(
        fourcc=best.fourcc,
        input_format=best.input_format,
        width=best.width,
        height=best.height,
        fps=fps,
        copied=not way.encoder,
        encoder=way.encoder,
        why=_why(best, fps, offered, way, wish),
    )


def _merit(mode: CaptureMode, most_pixels: int, wish: FormatRequest) -> tuple[object, ...]:
    """Order modes by the rule; where all pictures are too large, the smallest wins."""
    rate = (mode.rate(wish.fps) if wish.fps else mode.best_rate(MOST_FPS)) or 0.0
    if mode.pixels > most_pixels:
        return (False, 0.0, -mode.pixels, rate)
    return (True, min(rate, FLUENT_FPS), mode.pixels, rate)


# --- words --------------------------------------------------------------------------------


def name_of(input_format: str, fourcc: str) -> str:
    """Name a format for people."""
    return _NAMES.get(input_format, fourcc)


def _why(
    mode: CaptureMode, fps: float, offered: Sequence[CaptureMode], way: _Way, wish: FormatRequest
) -> str:
    format_name, where = name_of(mode.input_format, mode.fourcc), _at(mode, fps)
    if not way.encoder:
        return f"{format_name} from the camera{where and ' at ' + where}: copied"
    wanted = _NAMES[way.encoder]
    if any(each.input_format == way.encoder for each in offered):
        reason = f"the camera has no {wanted} of the size and rate that are asked for"
    else:
        reason = f"the camera has no {wanted}"
    made = "" if wish.codec == "auto" else f" as {wanted}"
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


def _described(offered: Sequence[CaptureMode]) -> tuple[str, ...]:
    return tuple(
        f"{name_of(mode.input_format, mode.fourcc)} {mode.width}x{mode.height}: {_rates_text(mode)}"
        for mode in offered
    )


def _formats(offered: Sequence[CaptureMode]) -> str:
    return ", ".join(dict.fromkeys(name_of(mode.input_format, mode.fourcc) for mode in offered))


def _nothing(capabilities: Capabilities) -> UnsupportedFormat:
    names = ", ".join(unreadable(capabilities))
    why = f"none that FFmpeg can read ({names})" if names else "no format at all"
    return UnsupportedFormat(f"The camera offers {why}", ())


def _refusal(usable: Sequence[CaptureMode], wish: FormatRequest) -> UnsupportedFormat | None:
    """Say what is possible; None when no format is usable, whatever its size."""
    if not usable:
        return None
    codec = "" if wish.codec == "auto" else f' with codec "{wish.codec}"'
    if not wish.width or not wish.height:
        rates = tuple(sorted({rate for mode in usable for rate in _rates_of(mode)}, reverse=True))
        message = f"The camera does not offer {_number(wish.fps or 0.0)} frames/s{codec}"
        return UnsupportedFormat(message, _described(usable), rates=rates)
    same = [mode for mode in usable if (mode.width, mode.height) == (wish.width, wish.height)]
    if same:
        rates = tuple(sorted({rate for mode in same for rate in _rates_of(mode)}, reverse=True))
        message = (
            f"The camera does not offer {wish.width}x{wish.height} at "
            f"{_number(wish.fps or 0.0)} frames/s{codec}; there it offers "
            + " or ".join(dict.fromkeys(_rates_text(mode) for mode in same))
        )
        return UnsupportedFormat(message, _described(same), rates=rates)
    near = sorted(usable, key=lambda mode: distance(mode, wish.width or 0, wish.height or 0))
    sizes = tuple(dict.fromkeys((mode.width, mode.height) for mode in near))[:NEAREST]
    message = (
        f"The camera does not offer {wish.width}x{wish.height}{codec}; the nearest: "
        + ", ".join(f"{width}x{height}" for width, height in sizes)
    )
    shown = [mode for mode in near if (mode.width, mode.height) in sizes]
    return UnsupportedFormat(message, _described(shown), sizes=sizes)
