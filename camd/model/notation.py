"""How people write values: durations, sizes, bit rates, resolutions, paths, addresses.

Every function that reads raises ValueError with a sentence that says what would be right.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path

import attrs

NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_MICROS = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_DURATION = re.compile(r"\s*".join(rf"(?:(?P<{unit}>{NUMBER})\s*{unit})?" for unit in _MICROS))
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_BIT_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_QUANTITY = re.compile(rf"({NUMBER})\s*([A-Za-z]*)")
_DAYS = {"today": 0, "yesterday": 1}
_CLOCK = re.compile(r"(\d{1,2})(:\d\d(?::\d\d)?)")
_ZONE_NAME = re.compile(r"(.*\d) ([A-Z]{2,5})")  # as in "2026-01-15 15:30:00 CET"
_UNIX_PATH_BYTES = 107  # sun_path holds 108 with its NUL (unix(7))

SIZE_LIMITS = (16, 16384)  # pixels, either side
RATE_LIMITS = (0.1, 1000.0)  # frames a second


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known word, or the list of all."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(words)}"


# --- quantities ---------------------------------------------------------------------------


def parse_duration(value: str | int | float) -> timedelta:
    """Read "30m", "500ms", "1h30m", or a plain number of seconds."""
    wrong = ValueError(
        f'{value!r} is not a duration; write one such as "30m", "1h30m", "500ms", '
        "or a number of seconds"
    )
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(NUMBER, text):
            text += "s"
        match = _DURATION.fullmatch(text) if text else None
        if match is None:
            raise wrong
        parts = match.groupdict(default="0")
        micros = round(sum(Decimal(parts[unit]) * size for unit, size in _MICROS.items()))
    else:
        if isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise wrong
        micros = round(Decimal(str(value)) * _MICROS["s"])
    try:
        return timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError(f"{value!r} is too long for a duration") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration that is not negative as `parse_duration` reads it: "1h30m"."""
    rest = duration // timedelta(microseconds=1)
    words = []
    for unit, size in list(_MICROS.items())[1:]:  # hours are the largest: "24h"
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"


def spoken_duration(seconds: float) -> str:
    """Write a duration for people, rounded down: "90 s", "13 min", "2 h 5 min", "3 d 4 h"."""
    minutes = int(seconds) // 60
    hours = minutes // 60
    if minutes < 2:
        return f"{int(seconds)} s"
    if hours < 2:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def format_instant(moment: datetime, timespec: str = "auto") -> str:
    """Write an instant as clients see it: ISO 8601 in UTC, with `Z`."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_instant(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Read "2026-01-15 15:30", "15:30" (of today), "yesterday 15:30", "now", "-2h" (before now).

    Without a zone of its own, a time is one of `zone`, or of this machine's. A zone may be an
    offset, "UTC", or the name that is in force then, as times are displayed: "15:30 CEST". A time
    that clocks skip is refused, and one that they show twice, unless it has a zone.
    """
    words = " ".join(text.split())
    try:
        if words.lower() == "now":
            return now
        if words.startswith("-"):
            return now - parse_duration(words[1:])
        return _read_clock(words, now, zone)
    except _WrongInstantError as error:
        raise ValueError(f"{text!r} {error}") from None
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time; write one such as '2026-01-15 15:30', 15:30, "
            "'yesterday 15:30', now, -2h, or with a zone 2026-01-15T14:30:00Z"
        ) from None


class _WrongInstantError(ValueError):
    """A time that is no instant, or two."""


def _read_clock(words: str, now: datetime, zone: tzinfo | None) -> datetime:
    match = _ZONE_NAME.fullmatch(words)
    words, name = (match[1], match[2]) if match else (words, "")
    day, _, clock = words.partition(" ")
    if day.lower() in _DAYS or (_CLOCK.fullmatch(words) and not clock):
        clock = clock if day.lower() in _DAYS else words
        date = now.astimezone(zone).date() - timedelta(days=_DAYS.get(day.lower(), 0))
        time = _CLOCK.fullmatch(clock or "0:00")
        if time is None:
            raise ValueError(clock)
        found = datetime.fromisoformat(f"{date} {time[1]:0>2}{time[2]}")
    else:
        found = datetime.fromisoformat(words)
    if name and found.tzinfo is not None:
        raise ValueError(name)
    if found.tzinfo is not None:
        return found
    return found.replace(tzinfo=UTC) if name == "UTC" else _at_clock(found, name, zone)


def _at_clock(found: datetime, name: str, zone: tzinfo | None) -> datetime:
    readings = [found.replace(tzinfo=zone, fold=fold).astimezone(zone) for fold in (0, 1)]
    shown = [
        at for at in readings if at.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == found
    ]
    if not shown:
        raise _WrongInstantError("is skipped: clocks are set forward over it")
    zones = list(dict.fromkeys(str(at.tzname()) for at in shown))
    if name and name not in zones:
        raise _WrongInstantError(f"is {' or '.join(zones)} here; write that, or UTC")
    chosen = [at for at in shown if not name or at.tzname() == name]
    if chosen[0].utcoffset() != chosen[-1].utcoffset():
        first, last = (f"{at:%Y-%m-%d %H:%M:%S} {at.tzname()}" for at in chosen)
        raise _WrongInstantError(
            f"comes twice, as clocks are set back; write {first!r} or {last!r}"
        )
    return chosen[0]


def parse_size(value: str | int) -> int:
    """Read "2GiB", "500MB", or a plain number of bytes."""
    return _quantity(value, _SIZE_UNITS, 'a size; write one such as "2GiB", "500MB", or bytes')


def parse_bitrate(value: str | int) -> int:
    """Read "4M", "500k", or a plain number of bits per second."""
    if isinstance(value, str):
        value = value.strip().removesuffix("bit/s").removesuffix("bps").strip()
    return _quantity(
        value, _BIT_UNITS, 'a bit rate; write one such as "4M", "500k", or bits per second'
    )


def _quantity(value: str | int, units: dict[str, int], what: str) -> int:
    wrong = ValueError(f"{value!r} is not {what}")
    if isinstance(value, int):
        if isinstance(value, bool) or value < 0:
            raise wrong
        return value
    match = _QUANTITY.fullmatch(value.strip())
    if match is None or match[2].lower() not in units:
        raise wrong
    return round(Decimal(match[1]) * units[match[2].lower()])


def parse_resolution(text: str) -> tuple[int, int]:
    """Read "1280x720" as width and height."""
    match = re.fullmatch(r"([0-9]{1,6})\s*[xX×]\s*([0-9]{1,6})", text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not a resolution; write one such as "1280x720"')
    width, height = int(match[1]), int(match[2])
    low, high = SIZE_LIMITS
    if not (low <= width <= high and low <= height <= high):
        raise ValueError(f"{text!r} is out of bounds; each side is {low} to {high} pixels")
    return width, height


# --- paths -------------------------------------------------------------------------------


def absolute_path(text: str, folder: Path, home: Path | None = None) -> Path:
    """Make a path absolute: relative ones start at `folder`, "~/" stands for `home`."""
    if not text or "\0" in text:
        raise ValueError("is not a path; write one such as /srv/camd")
    if text == "~" or text.startswith("~/"):
        if home is None:
            raise ValueError(f"{text!r} needs a home folder, and there is none; write it whole")
        return home / text[2:]
    return folder / text


# --- addresses ----------------------------------------------------------------------------


@attrs.frozen
class TcpAddress:
    """A host (name or number, without brackets) and a port; port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class UnixAddress:
    """The path of a Unix socket."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_listen(text: str) -> TcpAddress | UnixAddress:
    """Read an address to listen on: "127.0.0.1:8002", "[::1]:8002", "unix:/run/camd.sock"."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path or len(path.encode()) > _UNIX_PATH_BYTES:
            raise ValueError(
                f"a Unix socket is an absolute path of at most {_UNIX_PATH_BYTES} bytes, "
                'such as "unix:/run/camd/camd.sock"'
            )
        return UnixAddress(Path(path))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([\w.-]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(
            f'{text!r} is not an address; write one such as "127.0.0.1:8002", "[::1]:8002" '
            'or "unix:/run/camd/camd.sock" ("0.0.0.0:8002" is every interface)'
        )
    return TcpAddress(match[1] or match[2], int(match[3]))
