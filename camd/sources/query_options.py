"""The options behind the `?` of a source: `?loop=false&speed=2`."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from camd.model.notation import NUMBER, did_you_mean


def read_options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    """Split `key=value&…`; each key must be known, and stand once. Raises ValueError."""
    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise ValueError(f"unknown option {key!r} in the source{did_you_mean(key, known)}")
        if key in options:
            raise ValueError(f"{key} stands twice in the source; write it once")
        options[key] = value
    return options


def read_flag(name: str, text: str) -> bool:
    """Read true or false."""
    if text not in ("true", "false"):
        raise ValueError(f"{name} is true or false, not {text!r}")
    return text == "true"


def read_number(name: str, text: str, limits: tuple[float, float]) -> float:
    """Read a number within limits."""
    low, high = limits
    if not re.fullmatch(NUMBER, text) or not low <= float(text) <= high:
        raise ValueError(f"{name} is a number from {low:g} to {high:g}, not {text!r}")
    return float(text)
