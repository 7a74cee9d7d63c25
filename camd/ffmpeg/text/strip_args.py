"""FFmpeg's arguments that make one picture of many: first tiles of one size, then a row of them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camd.ffmpeg.text.encoder_table import Arguments

_NICENESS = "10"
_PIXELS = "yuvj420p"  # as in a JPEG


@attrs.frozen
class TileSize:
    """Width and height of a tile in pixels; both are even."""

    width: int
    height: int

    @property
    def raw_bytes(self) -> int:
        """Bytes of a tile that is not compressed."""
        return self.width * self.height * 3 // 2

    @classmethod
    def of(cls, wanted: int, width: int, height: int) -> TileSize:
        """Choose the size of tiles about `wanted` pixels wide for a picture's width and height."""
        across = max(2, wanted - wanted % 2)
        down = round(across * height / width) if width and height else across
        return cls(across, max(2, min(4 * across, down - down % 2)))


def tile_arguments(program: str, size: TileSize) -> Arguments:
    """Build the command that turns each frame of the movie on stdin into a raw tile on stdout.

    Pictures of another shape have black borders.
    """
    fitted = (
        f"scale=w='min({size.width},{size.height}*dar)':h='min({size.height},{size.width}/dar)'"
    )
    padded = f"pad={size.width}:{size.height}:-1:-1"
    filters = f"{fitted}:out_range=full,format={_PIXELS},{padded},setsar=1"
    return (
        *_started(program),
        *("-threads", "1", "-f", "mov", "-i", "pipe:0", "-map", "0:v:0", "-vf", filters),
        *("-fps_mode", "passthrough", "-pix_fmt", _PIXELS, "-f", "rawvideo", "pipe:1"),
    )


def row_arguments(program: str, size: TileSize, count: int) -> Arguments:
    """Build the command that makes one JPEG of `count` raw tiles on stdin, side by side."""
    return (
        *_started(program),
        *("-f", "rawvideo", "-pixel_format", _PIXELS, "-framerate", "1"),
        *("-video_size", f"{size.width}x{size.height}", "-i", "pipe:0"),
        *("-vf", f"tile={count}x1", "-frames:v", "1", "-c:v", "mjpeg", "-q:v", "4"),
        *("-f", "image2pipe", "pipe:1"),
    )


def _started(program: str) -> Sequence[str]:
    """Begin a command that yields to everything else."""
    nice = ("nice", "-n", _NICENESS)
    return (*nice, program, "-hide_banner", "-nostats", "-loglevel", "error")
