"""File names of snapshots: those that camd gives, and those that clients ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import attrs

from camd.errors import ParamMistake, invalid_params
from camd.model import CameraId
from camd.storage.rules.naming import is_plain, stem

FORMATS = ("jpg", "png")
_SUFFIXES = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png"}
_OWN = re.compile(
    r"(?P<camera>[a-z0-9_-]+)_(?P<time>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(_\d+)?\.(jpg|png)", re.ASCII
)
_PART = re.compile(r"\.[0-9a-f]{16}\.part", re.ASCII)


@attrs.frozen
class NamedFormat:
    """The name that a client asked for, complete (None: camd chooses), and the format."""

    filename: str | None
    format: str


def names_for(camera_id: CameraId, time: datetime, format: str) -> Iterator[str]:
    """Yield names to try, in order, without end; the first free one is taken exclusively."""
    base = stem(camera_id, time)
    yield f"{base}.{format}"
    for number in count(1):
        yield f"{base}_{number}.{format}"


def read_name(filename: str | None, format: str | None) -> NamedFormat:
    """Read the name and the format that a client asks for.

    Without a suffix the name gets that of the format; with one, both must agree. Raises Refusal
    (−32602).
    """
    if filename is None:
        return NamedFormat(None, format or FORMATS[0])
    if not is_plain(filename):
        raise invalid_params(ParamMistake("filename", "must be a file name without a path"))
    suffix = _suffix(filename)
    if suffix is None:
        if "." in filename:
            raise invalid_params(ParamMistake("filename", "must end with .jpg, .jpeg or .png"))
        chosen = format or FORMATS[0]
        return read_name(f"{filename}.{chosen}", chosen)
    if format is not None and format != _SUFFIXES[suffix]:
        raise invalid_params(
            ParamMistake("filename", f"ends with {suffix}, but format is {format}")
        )
    return NamedFormat(filename, _SUFFIXES[suffix])


def _suffix(filename: str) -> str | None:
    return next((suffix for suffix in _SUFFIXES if filename.lower().endswith(suffix)), None)


def may_be_snapshot(name: str) -> bool:
    """Return whether a file of this name is listed as a snapshot."""
    return is_plain(name) and _suffix(name) is not None


def part_name(token: str) -> str:
    """Return the hidden name under which a picture is written until it is complete."""
    return f".{token}.part"


def is_part_name(name: str) -> bool:
    """Return whether a file of this name is a picture that is not complete."""
    return _PART.fullmatch(name) is not None


def parse_camd_name(filename: str) -> tuple[CameraId, datetime] | None:
    """Read camera and time from a name that camd has given; None for other names."""
    found = _OWN.fullmatch(filename)
    if found is None:
        return None
    try:
        time = datetime.strptime(found["time"], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return CameraId(found["camera"]), time
