"""What is read from the address of an HTTP request: a camera and a format, times, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.requests import Request

from camd.errors import CAMERA_UNKNOWN, ParamMistake, Refusal, invalid_params


def camera_and_format(request: Request) -> tuple[str, str]:
    """Split the last part of a path, such as `camera0.jpg`. Raises Refusal without a dot."""
    camera, dot, format = request.path_params["name"].rpartition(".")
    if not dot:
        raise Refusal(CAMERA_UNKNOWN, camera_id=format[:200])
    return camera, format


def times_in(query: Mapping[str, str], names: Iterable[str]) -> dict[str, object]:
    """Return those times that a query has; a plus sign that was not escaped came as a space."""
    return {name: query[name].replace(" ", "+") for name in names if name in query}


def whole_number(name: str, text: str, most_digits: int) -> int:
    """Read a number of at most `most_digits` digits. Raises Refusal."""
    if text.isascii() and text.isdigit() and len(text) <= most_digits:
        return int(text)
    raise invalid_params(ParamMistake(name, "must be a whole number"))
