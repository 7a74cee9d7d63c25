"""What a node offers, as FFmpeg can ask for it: formats by its names, sizes, rates.

FFmpeg's V4L2 input knows a fixed list of formats (libavdevice/v4l2-common.c). It is asked by
codec or by pixel layout and takes the first of its list that fits and the driver has, so of two
formats under one name only the first can be had.
"""

from __future__ import annotations

import math

import attrs

from camd.model import Capabilities, FrameSize, PixelFormat, Rates, SizeRange

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
