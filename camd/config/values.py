"""The values of a configuration: durations, sizes, sources, addresses, and their strict readers.

Everything here is pure and raises ValueError with a sentence that says what would be right.
No error repeats a source's URL, which may hold credentials. Long because every kind of value has
its reader here, and each reader its sentence.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from camd.model import FileSource, RtspSource, Source, TestSource, V4l2Source

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_MICROS = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_DURATION = re.compile(r"\s*".join(rf"(?:(?P<{unit}>{_NUMBER})\s*{unit})?" for unit in _MICROS))
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_BIT_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_QUANTITY = re.compile(rf"({_NUMBER})\s*([A-Za-z]*)")
_UNIX_PATH_BYTES = 107  # sun_path holds 108 with its NUL (unix(7))

SIZE_LIMITS = (16, 16384)  # pixels, either side
RATE_LIMITS = (0.1, 1000.0)  # frames a second
SPEED_LIMITS = (0.1, 100.0)  # times real time


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
        if re.fullmatch(_NUMBER, text):
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


def parse_size(value: str | int) -> int:
    """Read "2GiB", "500MB", or a plain number of bytes."""
    return _quantity(value, _SIZE_UNITS, 'a size; write one such as "2GiB", "500MB", or bytes')


def format_size(size: int) -> str:
    """Write bytes for people and for `parse_size`, exact where the number is round: "2GiB"."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        whole, rest = divmod(size, 1024**power)
        if whole and not rest:
            return f"{whole}{unit}"
    return f"{size}B"


def parse_bitrate(value: str | int) -> int:
    """Read "4M", "500k", or a plain number of bits per second."""
    if isinstance(value, str):
        value = value.strip().removesuffix("bit/s").removesuffix("bps").strip()
    return _quantity(
        value, _BIT_UNITS, 'a bit rate; write one such as "4M", "500k", or bits per second'
    )


def format_bitrate(bits: int) -> str:
    """Write bits per second as `parse_bitrate` reads them: "4M"."""
    for unit in ("g", "m", "k"):
        whole, rest = divmod(bits, _BIT_UNITS[unit])
        if whole and not rest:
            return f"{whole}{unit if unit == 'k' else unit.upper()}"
    return str(bits)


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


# --- paths and sources --------------------------------------------------------------------


def absolute_path(text: str, folder: Path, home: Path | None = None) -> Path:
    """Make a path absolute: relative ones start at `folder`, "~/" stands for `home`."""
    if not text or "\0" in text:
        raise ValueError("is not a path; write one such as /srv/camd")
    if text == "~" or text.startswith("~/"):
        if home is None:
            raise ValueError(f"{text!r} needs a home folder, and there is none; write it whole")
        return home / text[2:]
    return folder / text


def parse_source(text: str, folder: Path, home: Path | None = None) -> Source:
    """Read a camera's source; relative file paths start at `folder`."""
    scheme, colon, rest = text.strip().partition(":")
    match scheme.lower() if colon else "":
        case "v4l2":
            return _v4l2_source(rest)
        case "rtsp" | "rtsps":
            return _rtsp_source(text.strip())
        case "file":
            return _file_source(rest, folder, home)
        case "test":
            return _test_source(rest)
    hint = f'; for this node write "v4l2:{text}"' if text.startswith("/dev/") else ""
    raise ValueError(
        f"a source starts with v4l2:/dev/…, rtsp://…, rtsps://…, file:/… or test:{hint}"
    )


def _v4l2_source(text: str) -> V4l2Source:
    by, equals, value = text.partition("=")
    value = value.strip()
    if equals and by in ("serial", "port") and value and "\0" not in value:
        return V4l2Source(serial=value) if by == "serial" else V4l2Source(port=value)
    if not text.startswith("/") or "\0" in text:
        raise ValueError(
            "a v4l2 source is the absolute path of a node or of a link to one, a serial number "
            'or a USB port, such as "v4l2:/dev/video0", "v4l2:/dev/v4l/by-id/…", '
            '"v4l2:serial=4E1F" or "v4l2:port=1-1.3"'
        )
    return V4l2Source(Path(text))


def _rtsp_source(url: str) -> RtspSource:
    wrong = ValueError('an rtsp source is a URL such as "rtsp://user:password@host:554/stream"')
    try:
        parts = urlsplit(url)
        # Reading the port checks it; a name that DNS cannot hold raises UnicodeError (RFC 3490).
        fine = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:
        fine = False
    spaced = any(character.isspace() or character < " " for character in url)
    if _has_bare_password(url) or (spaced and "@" in url):
        raise ValueError(
            "user name and password of an rtsp source are percent-encoded: write %23 for #, "
            "%2F for /, %3F for ?, %40 for @, %3A for :, %20 for a space, and %25 for % itself"
        )
    if not fine or spaced:
        raise wrong
    return RtspSource(url)


def _has_bare_password(url: str) -> bool:
    """Whether an unencoded `/`, `?` or `#` in a user name or password ends the host too early.

    Then the text before the first of `/?#` has no `@`, and the text behind it has one.
    """
    _, _, rest = url.partition("://")
    found = re.search("[/?#]", rest)
    if found is None or "@" in rest[: found.start()]:
        return found is not None and found[0] == "#" and "@" in rest[found.end() :]
    behind = rest[found.end() :]
    return "@" in (re.split("[?#]", behind)[0] if found[0] == "/" and _is_host(rest) else behind)


def _is_host(rest: str) -> bool:
    """Whether the text before the first `/` is a host, with or without a port."""
    return re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?", rest.partition("/")[0]) is not None


def _file_source(text: str, folder: Path, home: Path | None) -> FileSource:
    """Read a path, percent-encoded where it has to be (RFC 8089): %3F for ?, %25 for %."""
    name, _, query = text.partition("?")
    if name.startswith("//"):
        name = name[2:]
        if not name.startswith("/"):
            raise ValueError('write a file as "file:/path.mp4", with one slash or with three')
    try:
        name = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a file's name is percent-encoded UTF-8: %C3%A9 stands for é") from None
    if any(character < " " or character == "\x7f" for character in name):
        raise ValueError("a file's name must not have control characters")
    if not name:
        raise ValueError('a file source names a file, such as "file:/srv/clip.mp4"')
    options = _options(query, ("loop", "speed"))
    return FileSource(
        path=absolute_path(name, folder, home),
        loop=_flag("loop", options.get("loop", "true")),
        speed=_number("speed", options.get("speed", "1"), SPEED_LIMITS),
    )


def _test_source(text: str) -> TestSource:
    before, _, query = text.partition("?")
    if before:
        raise ValueError('write a synthetic source as "test:" or "test:?size=1280x720&rate=30"')
    options = _options(query, ("size", "rate", "audio"))
    width, height = parse_resolution(options.get("size", "1280x720"))
    if width % 2 or height % 2:
        raise ValueError("size: both sides of a synthetic picture are even numbers")
    return TestSource(
        width=width,
        height=height,
        rate=_number("rate", options.get("rate", "30"), RATE_LIMITS),
        audio=_flag("audio", options.get("audio", "false")),
    )


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise ValueError(f"unknown option {key!r} in the source{did_you_mean(key, known)}")
        if key in options:
            raise ValueError(f"{key} stands twice in the source; write it once")
        options[key] = value
    return options


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{name} is true or false, not {text!r}")
    return text == "true"


def _number(name: str, text: str, limits: tuple[float, float]) -> float:
    low, high = limits
    if not re.fullmatch(_NUMBER, text) or not low <= float(text) <= high:
        raise ValueError(f"{name} is a number from {low:g} to {high:g}, not {text!r}")
    return float(text)


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


# --- readers: each turns one raw TOML value into what `Config` holds, and coerces nothing ------

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
class LocatedReader:
    """A reader of values with paths in them, before it knows where relative ones start."""

    read: Callable[[object, PathBases], object]

    def bind(self, bases: PathBases) -> Reader:
        """Return the reader for these bases."""
        return lambda value: self.read(value, bases)


DATA_PATH = LocatedReader(lambda value, bases: absolute_path(text(value), bases.data, bases.home))
OPTIONAL_FILE = LocatedReader(
    lambda value, bases: (
        None if value == "" else absolute_path(text(value), bases.folder, bases.home)
    )
)
SOURCE = LocatedReader(lambda value, bases: parse_source(text(value), bases.folder, bases.home))
