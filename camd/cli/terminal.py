"""Where a command prints: tables and JSON to stdout, words about what happens to stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import attrs
import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from camd.clock import monotonic

_WIDE = 400  # columns where nobody looks: a pipe gets whole lines


def console() -> Console:
    """Return the console for results; in a pipe it neither colours nor folds."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def messages() -> Console:
    """Return the console for what is said beside the results."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE, highlight=False)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON; nothing is escaped that does not have to be."""
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
    sys.stdout.flush()


# --- Progress of long work on stderr: one line that changes for people, one at the end for a pipe.

T = TypeVar("T")

_STEP_SECONDS = 0.2  # nobody reads faster


@attrs.define(eq=False)
class ProgressMeter(Generic[T]):
    """Passes progress on as a line, but not more often than somebody can read."""

    line: Callable[[T, float], str]  # what to say of it after so many seconds
    show: Callable[[str], None] = lambda _: None
    began: float = attrs.field(factory=monotonic, init=False)
    latest: T | None = attrs.field(default=None, init=False)
    _shown_at: float = attrs.field(default=0.0, init=False)

    def take(self, progress: T) -> None:
        """Hear how far it is."""
        self.latest, moment = progress, monotonic()
        if moment - self._shown_at >= _STEP_SECONDS:
            self._shown_at = moment
            self.show(self.line(progress, moment - self.began))


@contextmanager
def show_progress(out: Console, meter: ProgressMeter[T]) -> Iterator[Callable[[T], None]]:
    """Show progress while the block runs."""
    if not out.is_terminal:
        yield meter.take
        if meter.latest is not None:
            out.print(Text(meter.line(meter.latest, monotonic() - meter.began)))
        return
    with Live(console=out, transient=True, auto_refresh=False) as live:
        meter.show = lambda line: live.update(Text(line, overflow="ellipsis"), refresh=True)
        yield meter.take


def printable(name: str) -> str:
    """Make a file's name printable, whatever its bytes are."""
    show_progress = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in show_progress)


# --- How moments are shown: in the local zone, with its name, or in UTC where that is asked for.

F = TypeVar("F", bound=Callable[..., object])

_UTC = "camd.utc"  # in the context of the command
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def utc_option(command: F) -> F:
    """Add `--utc`; whatever shows a moment heeds it."""

    def remember(context: click.Context, _: click.Parameter, read_time: bool) -> None:
        context.meta[_UTC] = read_time

    return click.option(
        "--utc",
        is_flag=True,
        expose_value=False,
        is_eager=True,  # options that hold times are read by it
        callback=remember,
        help="Show and read times in UTC instead of the local zone.",
    )(command)


def in_utc() -> bool:
    """Whether the command that runs was asked for UTC."""
    context = click.get_current_context(silent=True)
    return bool(context is not None and context.meta.get(_UTC))


def format_time(format_moment: datetime, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write a moment with its zone: "2026-01-15 15:30:00 CET"."""
    local = format_moment.astimezone(UTC if in_utc() else None)
    return f"{local:{form}} {local.tzname()}"


def parse_time(text: object) -> datetime | None:
    """Read a moment as the service writes it; None when it is something else."""
    if not isinstance(text, str) or not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def format_moment(text: object, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Show what the service says of a moment; what is none stays as it is."""
    found = parse_time(text)
    if found is not None:
        return format_time(found, form)
    return "" if text is None else str(text)


def read_time(_: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Read a moment for an option; without a zone it is in the local one."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no time such as 2026-01-15T14:30:00Z or '2026-01-15 15:30'", param=param
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC) if in_utc() else found.astimezone()
    return found.astimezone(UTC).isoformat().replace("+00:00", "Z")
