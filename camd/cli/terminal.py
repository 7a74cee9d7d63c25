"""Printing: results to stdout, messages and progress to stderr; times in the local zone or UTC."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar

import attrs
import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from camd.clock import SYSTEM_CLOCK, Clock

_WIDE = 400  # columns, if the output is no terminal: lines are not folded


def console() -> Console:
    """Return the console for results; in a pipe it has no colours and does not fold."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


def messages() -> Console:
    """Return the console for messages."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE, highlight=False)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON in UTF-8."""
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
    sys.stdout.flush()


# --- progress of long work: a line that changes on a terminal, one line at the end in a pipe -----

T = TypeVar("T")

_STEP_SECONDS = 0.2  # between two updates


@attrs.define(eq=False)
class ProgressMeter(Generic[T]):
    """Shows progress as a line, not more often than somebody can read."""

    line: Callable[[T, float], str]  # from the progress and the seconds since the beginning
    show: Callable[[str], None] = lambda _: None
    clock: Clock = SYSTEM_CLOCK
    began: float = attrs.field(init=False)
    latest: T | None = attrs.field(default=None, init=False)
    _shown_at: float = attrs.field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        self.began = self.clock.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self.clock.monotonic() - self.began

    def take(self, progress: T) -> None:
        """Note how far the work is, and show it if the last update was long enough ago."""
        self.latest, moment = progress, self.seconds
        if moment - self._shown_at >= _STEP_SECONDS:
            self._shown_at = moment
            self.show(self.line(progress, moment))


@contextmanager
def show_progress(out: Console, meter: ProgressMeter[T]) -> Iterator[Callable[[T], None]]:
    """Show progress while the block runs."""
    with live_text(out) as show:
        meter.show = lambda line: show(Text(line, overflow="ellipsis"))
        yield meter.take
    if not out.is_terminal and meter.latest is not None:
        out.print(Text(meter.line(meter.latest, meter.seconds)))


@contextmanager
def live_text(out: Console) -> Iterator[Callable[[RenderableType], None]]:
    """Give a function that replaces the text that it showed before; it shows none in a pipe."""
    if not out.is_terminal:
        yield lambda text: None
        return
    with Live(console=out, transient=True, auto_refresh=False) as live:
        yield partial(live.update, refresh=True)


def printable(name: str) -> str:
    """Escape the unprintable characters and bytes of a file's name."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# --- times: in the local zone, with its name, or in UTC with --utc -------------------------------

F = TypeVar("F", bound=Callable[..., object])

_UTC = "camd.utc"  # key in `click.Context.meta`
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def utc_option(command: F) -> F:
    """Add `--utc`; all functions here that show or read times follow it."""

    def remember(context: click.Context, _: click.Parameter, utc: bool) -> None:
        context.meta[_UTC] = utc

    return click.option(
        "--utc",
        is_flag=True,
        expose_value=False,
        is_eager=True,  # before the options that contain times
        callback=remember,
        help="Show and read times in UTC instead of the local zone.",
    )(command)


def in_utc() -> bool:
    """Whether the running command has `--utc`."""
    context = click.get_current_context(silent=True)
    return bool(context is not None and context.meta.get(_UTC))


def format_time(moment: datetime, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Format a time with its zone: "2026-01-15 15:30:00 CET"."""
    local = moment.astimezone(UTC if in_utc() else None)
    return f"{local:{form}} {local.tzname()}"


def parse_time(text: object) -> datetime | None:
    """Parse a time as the service writes it; None when the value is something else."""
    if not isinstance(text, str) or not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def format_moment(text: object, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Format a value of the service that may be a time; other values stay as they are."""
    found = parse_time(text)
    if found is not None:
        return format_time(found, form)
    return "" if text is None else str(text)


def read_time(_: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Read the time of an option; without a zone it is in the local one."""
    from camd.model.notation import format_instant, parse_instant

    if value is None:
        return None
    try:
        return format_instant(parse_instant(value, datetime.now(UTC), UTC if in_utc() else None))
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from None


def read_duration(_: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """Read the duration of an option, such as 12h or 30d."""
    from camd.model.notation import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from None
