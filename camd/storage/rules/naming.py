"""File names of recordings, and which names from outside may be looked up. Pure.

Names are UTC and come from the first frame's capture time; a taken name gets `_1`, `_2`, …
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

from camd.model import CameraId

_NAME = re.compile(
    r"(?P<camera>[a-z0-9_-]+)_(?P<start>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(_\d+)?\.(mp4|mkv)",
    re.ASCII,
)
MAX_NAME_LENGTH = 255  # NAME_MAX of Linux file systems, in bytes


def stem(camera_id: CameraId, start: datetime) -> str:
    """Return a segment's name without extension: `camera0_2026-01-15_14-30-00`."""
    return f"{camera_id}_{start.astimezone(UTC):%Y-%m-%d_%H-%M-%S}"


def candidates(camera_id: CameraId, start: datetime, extension: str = "mp4") -> Iterator[str]:
    """Yield names to try, in order, without end; the first free one is taken exclusively."""
    base = stem(camera_id, start)
    yield f"{base}.{extension}"
    for number in count(1):
        yield f"{base}_{number}.{extension}"


def with_extension(filename: str, extension: str) -> str:
    """Return `filename` with another extension: the MKV made from an MP4."""
    return f"{filename.rpartition('.')[0]}.{extension}"


def part_of(filename: str) -> str:
    """Return the name of the partial MKV made from `filename`."""
    return f"{with_extension(filename, 'mkv')}.part"


def is_part(name: str) -> bool:
    """Return whether this is camd's name of a partial MKV."""
    whole = name.removeprefix(".").removesuffix(".part")
    return name.endswith(".mkv.part") and is_recording(whole)


def is_recording(name: str) -> bool:
    """Return whether camd could have given this name; other files are foreign."""
    return len(name) <= MAX_NAME_LENGTH and _NAME.fullmatch(name) is not None


def may_be_footage(name: str) -> bool:
    """Return whether a name may be that of a recording, renamed ones included."""
    return name.endswith((".mp4", ".mkv"))


def is_plain(name: str) -> bool:
    """Return whether a client's `name` is one path component and nothing else.

    Refuses separators, `..`, hidden names, NUL and control characters, and names that no file
    system accepts.
    """
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_LENGTH
        and not name.startswith(".")
        and "/" not in name
        and "\\" not in name
        and name.isprintable()
    )
