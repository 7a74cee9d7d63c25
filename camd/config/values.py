"""Readers: each turns one raw TOML value into what `Config` holds, and coerces nothing.

A reader raises ValueError with a sentence that says what would be right. No error repeats a
source's URL, which may hold credentials.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import attrs

from camd.model.notation import (
    absolute_path,
    format_duration,
    parse_bitrate,
    parse_duration,
    parse_listen,
    parse_resolution,
    parse_size,
)
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

    Only the form is checked: which names and values exist depends on the camera.
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


def optional(reader: Reader) -> Reader:
    """Read "" as None and everything else with `reader`."""
    return lambda value: None if value == "" else reader(value)


def resolution(value: object) -> tuple[int, int]:
    """Read "1280x720"."""
    return parse_resolution(text(value))


def address(value: object) -> str:
    """Read one address to listen on; it stays text, in its checked form."""
    return str(parse_listen(text(value)))


def several(reader: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
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
    found = (address(value),) if isinstance(value, str) else several(address)(value)
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
