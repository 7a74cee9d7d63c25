"""FFmpeg's arguments that make one picture of a movie that comes through stdin.

The quality of a JPEG is the usual one of 1 to 100: the quantisation tables of ITU-T T.81, annex K,
scaled as libjpeg scales them. FFmpeg's own `-q:v` has another meaning, and 31 steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camd.ffmpeg.text.encoder_table import Arguments

DEFAULT_QUALITY = 85
THREADS = "2"  # H.265 behind a key frame takes two thirds of the time, where a core is free

_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# A ratio within a hundredth of one is that of a size that was rounded.
_SQUARE = "scale=w='iw*if(gt(sar,1.01),sar,1)':h='ih*if(between(sar,0.01,0.99),1/sar,1)',setsar=1"
_TABLES_AS_THEY_ARE = "8"  # FFmpeg multiplies by an eighth of this


@attrs.frozen
class PictureOptions:
    """What a picture is to be: `jpg` or `png`, quality of a JPEG, width in pixels (None: as is)."""

    format: str = "jpg"
    quality: int = DEFAULT_QUALITY
    width: int | None = None


def still_arguments(program: str, options: PictureOptions) -> Arguments:
    """Build the command that decodes one frame of the movie on stdin, and writes it to stdout.

    It waits for its input, so it can be started long before. Its pixels are square, because viewers
    of pictures take them for that. The width never grows beyond that.
    """
    filters = _SQUARE if options.width is None else f"{_SQUARE},{_at_most(options.width)}"
    return (
        *(program, "-hide_banner", "-nostats", "-loglevel", "error"),
        *("-probesize", "32", "-analyzeduration", "0", "-threads", THREADS),
        *("-f", "mov", "-i", "pipe:0", "-map", "0:v:0", "-frames:v", "1", "-vf", filters),
        *(_png() if options.format == "png" else _jpeg(options.quality)),
        *("-f", "image2pipe", "pipe:1"),
    )


def _at_most(width: int) -> str:
    return f"scale=w='min({width},iw)':h=-1"


def _png() -> Arguments:
    return ("-c:v", "png", "-compression_level", "1", "-pred", "up")


def _jpeg(quality: int) -> Arguments:
    return (
        *("-c:v", "mjpeg", "-qmin", "1", "-q:v", _TABLES_AS_THEY_ARE),
        *("-intra_matrix", _scaled(_LUMINANCE, quality)),
        *("-chroma_intra_matrix", _scaled(_CHROMINANCE, quality)),
    )


def _scaled(table: Sequence[int], quality: int) -> str:
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ",".join(str(max(1, min(255, (value * percent + 50) // 100))) for value in table)
