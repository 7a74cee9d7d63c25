"""FFmpeg's arguments that copy some seconds of a file's video to stdout, as fragmented MP4.

Times stay those of the file: the first decode time of a fragment counts from the file's beginning.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from camd.ffmpeg.text.encoder_table import Arguments

_FRAGMENTED = (
    *("-use_editlist", "0", "-avoid_negative_ts", "disabled", "-f", "mp4"),
    *("-movflags", "frag_keyframe+empty_moov+default_base_moof+frag_discont", "pipe:1"),
)


def excerpt_arguments(program: str, path: Path, begin: Fraction, end: Fraction) -> Arguments:
    """Copy from the last key frame at `begin` or before, up to `end`, in seconds of the file."""
    return (
        *_head(program),
        *("-ss", _seconds(begin), "-copyts", "-i", f"file:{path}"),
        *("-map", "0:v:0", "-c", "copy", "-to", _seconds(end), *_FRAGMENTED),
    )


def first_frame_arguments(program: str, path: Path) -> Arguments:
    """Copy the file's first frame."""
    return (
        *_head(program),
        *("-copyts", "-i", f"file:{path}"),
        *("-map", "0:v:0", "-c", "copy", "-frames:v", "1", *_FRAGMENTED),
    )


def _head(program: str) -> Arguments:
    return (program, "-hide_banner", "-nostdin", "-loglevel", "error")


def _seconds(value: Fraction) -> str:
    return f"{max(0.0, float(value)):.6f}"
