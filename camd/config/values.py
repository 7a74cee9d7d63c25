"""Readers: each turns one raw TOML value into what `Config` holds, and coerces nothing.

A reader raises ValueError with a sentence that says what would be right. No error repeats a
source's URL, which may hold credentials.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import time, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import attrs

from camd.model.ids import ID_PATTERN
from camd.model.notation import (
    absolute_path,
    did_you_mean,
    format_duration,
    parse_bitrate,
    parse_duration,
    parse_listen,
    parse_resolution,
    parse_size,
)
from camd.model.schedule_values import DAY_SECONDS, DAYS, TimeOfDay, TimeZone
from camd.sources import parse_source

Reader = Callable[[object], object]
T = TypeVar("T")

SECRET_BYTES = 32
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}


def kind_of(value: object) -> str:
    """Name a TOML value's type for people."""
    return _KINDS.get(type(value), "a date or time")


def text(value: object) -> str:
    """Read one line of text."""
    if not isinstance(value, str):
        raise ValueError(f"must be text in quotes, not {kind_of(value)}")
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError("must be one line of text without control characters")
    return value


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, without quotes, not {kind_of(value)}")
    return value


def whole(low: int, high: int) -> Reader:
    """Read a whole number within bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {_shown(value)}")
        return value

    return read


def number(low: float, high: float) -> Reader:
    """Read a number within bounds, as a float."""

    def read(value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
            raise ValueError(f"must be a number from {low:g} to {high:g}, not {_shown(value)}")
        return float(value)  # type: ignore[arg-type]

    return read


def duration(low: timedelta, high: timedelta) -> Reader:
    """Read a duration within bounds."""

    def read(value: object) -> timedelta:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f'must be a duration such as "30m", not {kind_of(value)}')
        result = parse_duration(value)
        if not low <= result <= high:
            raise ValueError(
                f"must be {format_duration(low)} to {format_duration(high)}, not {_shown(value)}"
            )
        return result

    return read


def size(low: int, high: int) -> Reader:
    """Read a number of bytes within bounds, such as "2GiB"."""
    return _quantity_reader(parse_size, 'a size such as "2GiB"', low, high)


def bitrate(low: int, high: int) -> Reader:
    """Read bits per second within bounds, such as "4M"."""
    return _quantity_reader(parse_bitrate, 'a bit rate such as "4M"', low, high)


def _quantity_reader(parse: Callable[[str | int], int], what: str, low: int, high: int) -> Reader:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"must be {what}, not {kind_of(value)}")
        result = parse(value)
        if not low <= result <= high:
            raise ValueError(f"must be from {low} to {high}, not {_shown(value)}")
        return result

    return read


def choice(*words: str) -> Reader:
    """Read one of a few words."""

    def read(value: object) -> str:
        word = text(value)
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {word!r}")
        return word

    return read


def matching(pattern: str, what: str) -> Reader:
    """Read text that a regular expression matches; `what` completes "must be …"."""

    def read(value: object) -> str:
        word = text(value)
        if not re.fullmatch(pattern, word):
            raise ValueError(f"must be {what}, not {word!r}")
        return word

    return read


def controls(value: object) -> tuple[tuple[str, int | str], ...]:
    """Read a table of camera controls; true and false become 1 and 0.

    Only the form is validated: which names and values exist depends on the camera.
    """
    if not isinstance(value, dict):
        raise ValueError(f"must be a table such as {{ brightness = 128 }}, not {kind_of(value)}")
    for name in value:
        if not re.fullmatch("[a-z0-9_]{1,64}", name):
            raise ValueError(
                f"{name!r} must be a name such as power_line_frequency, in small letters"
            )
    return tuple((name, _control(name, setting)) for name, setting in value.items())


def _control(name: str, value: object) -> int | str:
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} is not a number that a camera can have")
        return int(value)
    try:
        return text(value)
    except ValueError:
        raise ValueError(
            f"{name} must be a whole number, true, false, or one line of text in quotes, "
            f"not {kind_of(value)}"
        ) from None


@attrs.frozen
class PeerRules:
    """Roles of local users and groups, by name or number, in the order of the file."""

    users: tuple[tuple[str, str], ...] = ()
    groups: tuple[tuple[str, str], ...] = ()


_PEER_FORM = 'such as { users = { alice = "operator" }, groups = { video = "viewer" } }'
_ACCOUNT = r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}\$?"


def peers(value: object) -> PeerRules:
    """Read the roles of local users and groups."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a table {_PEER_FORM}, not {kind_of(value)}")
    if unknown := sorted(set(value) - {"users", "groups"}):
        raise ValueError(f"{unknown[0]!r} is neither users nor groups; write a table {_PEER_FORM}")
    return PeerRules(**{kind: _accounts(kind, table) for kind, table in value.items()})


def _accounts(kind: str, table: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(table, dict):
        raise ValueError(f"{kind} must be a table, not {kind_of(table)}")
    return tuple((_account(kind, name), _role(kind, name, role)) for name, role in table.items())


def _account(kind: str, name: str) -> str:
    number = name.isascii() and name.isdigit()
    if not re.fullmatch(_ACCOUNT, name) or (number and int(name) >= 2**32 - 1):
        raise ValueError(f"{kind} has {name!r}, which is neither a name nor a number of an account")
    return name


def _role(kind: str, name: str, role: object) -> str:
    try:
        return choice("viewer", "operator", "admin")(role)  # type: ignore[return-value]
    except ValueError as error:
        raise ValueError(f"{kind}.{name} {error}") from None


# --- readers of schedules ----------------------------------------------------------------------

EVERY_CAMERA = "*"
_CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?|24:00(?::00)?", re.ASCII)
_ONE_CAMERA = matching(ID_PATTERN, 'the id of a camera, such as "camera0"')


def camera_ids(value: object) -> tuple[str, ...]:
    """Read the id of one camera, a list of them, or "*" for every camera."""
    if value == EVERY_CAMERA:
        return (EVERY_CAMERA,)
    found = (
        (str(_ONE_CAMERA(value)),)
        if isinstance(value, str)
        else tuple(map(str, list_of(_ONE_CAMERA)(value)))
    )
    if not found:
        raise ValueError('must name at least one camera, or be "*" for every one')
    if len(set(found)) < len(found):
        raise ValueError("names a camera twice")
    return found


def days(value: object) -> tuple[str, ...]:
    """Read days and ranges of days, such as ["mon-fri", "sun"], or one of them as text."""
    items = (value,) if isinstance(value, str) else list_of(text)(value)
    found = {day for item in items for day in _day_range(text(item))}
    if not found:
        raise ValueError('must name at least one day, such as "mon"')
    return tuple(day for day in DAYS if day in found)


def _day_range(item: str) -> tuple[str, ...]:
    first, dash, last = item.partition("-")
    for word in (first, last) if dash else (first,):
        if word not in DAYS:
            raise ValueError(f'must be days such as "mon" or "sat-sun", not {item!r}')
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return DAYS[begin : end + 1] if begin <= end else DAYS[begin:] + DAYS[: end + 1]


def time_of_day(value: object) -> TimeOfDay:
    """Read a time such as "20:00" or "06:30:15"; "24:00" is the end of the day."""
    if isinstance(value, time) and not value.microsecond:  # TOML's own way to write one
        value = value.isoformat()
    word = text(value)
    found = _CLOCK_TIME.fullmatch(word)
    if found is None:
        raise ValueError(f'must be a time from "00:00" to "24:00", not {word!r}')
    if found[1] is None:
        return TimeOfDay(DAY_SECONDS)
    return TimeOfDay(int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3] or 0))


def time_zone(value: object) -> TimeZone:
    """Read the name of a time zone, such as "Europe/Berlin". Blocks: it reads the tz database."""
    name = text(value)
    if name == "UTC":  # needs no database
        return TimeZone(name)
    try:
        return TimeZone(name, ZoneInfo(name))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        pass
    known = available_timezones()
    if not known:
        raise ValueError(
            "no zone is known: this machine has no time zone database; install the package tzdata"
        )
    raise ValueError(
        f'{name!r} is no time zone; write one such as "Europe/Berlin"{did_you_mean(name, known)}'
    )


def optional(reader: Reader) -> Reader:
    """Read "" as None and everything else with `reader`."""
    return lambda value: None if value == "" else reader(value)


def resolution(value: object) -> tuple[int, int]:
    """Read "1280x720"."""
    return parse_resolution(text(value))


def address(value: object) -> str:
    """Read one address to listen on; it stays text, in its valid form."""
    return str(parse_listen(text(value)))


def list_of(reader: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """Read a list, each item with `reader`."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list in square brackets, not {kind_of(value)}")
        return tuple(_item(reader, index, item) for index, item in enumerate(value))

    return read


def _item(reader: Callable[[object], T], index: int, item: object) -> T:
    try:
        return reader(item)
    except ValueError as error:
        raise ValueError(f"item {index} {error}") from None


def addresses(value: object) -> tuple[str, ...]:
    """Read one address, or a list of at least one."""
    found = (address(value),) if isinstance(value, str) else list_of(address)(value)
    if not found:
        raise ValueError('must name at least one address, such as "127.0.0.1:8002"')
    if len(set(found)) < len(found):
        raise ValueError("names an address twice")
    return found


def origin(value: object) -> str:
    """Read a web page's origin: scheme and host, perhaps a port (RFC 6454 section 6.2)."""
    word = text(value)
    try:
        parts = urlsplit(word)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or word != f"{parts.scheme}://{parts.netloc}":
        raise ValueError('must be an origin such as "https://example.org", without a path')
    return word.lower()


def url(*schemes: str) -> Reader:
    """Read a URL with one of these schemes; the error does not repeat the URL."""

    def read(value: object) -> str:
        word = text(value)
        try:
            parts = urlsplit(word)
            fine = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fine = False
        if not fine:
            raise ValueError(f'must be a URL such as "{schemes[0]}://127.0.0.1:8554"')
        return word.rstrip("/")

    return read


def bare_url(*schemes: str) -> Reader:
    """Read a URL without credentials in it, which have keys of their own."""
    read_url = url(*schemes)

    def read(value: object) -> object:
        if "@" in urlsplit(text(value)).netloc:
            raise ValueError("must not hold credentials; write them as username and password")
        return read_url(value)

    return read


def secret(value: object) -> str:
    """Read "" or a secret that is long enough; the error tells only its length."""
    word = text(value)
    length = len(word.encode())
    if 0 < length < SECRET_BYTES:
        raise ValueError(
            f"has {length} bytes, and at least {SECRET_BYTES} are needed; "
            "`openssl rand -hex 32` makes a good one"
        )
    return word


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) else kind_of(value)


# --- readers of paths -------------------------------------------------------------------------


@attrs.frozen
class PathBases:
    """Where relative paths start."""

    folder: Path  # of the configuration file: certificates, secrets, sources
    data: Path  # recordings, snapshots, state
    home: Path | None = None


@attrs.frozen
class UnboundPathReader:
    """A reader of values with paths in them, before it knows where relative ones start."""

    read: Callable[[object, PathBases], object]

    def bind(self, bases: PathBases) -> Reader:
        """Return the reader for these bases."""
        return lambda value: self.read(value, bases)


DATA_PATH = UnboundPathReader(
    lambda value, bases: absolute_path(text(value), bases.data, bases.home)
)
OPTIONAL_FILE = UnboundPathReader(
    lambda value, bases: (
        None if value == "" else absolute_path(text(value), bases.folder, bases.home)
    )
)
SOURCE = UnboundPathReader(lambda value, bases: parse_source(text(value), bases.folder, bases.home))
