"""How moments are shown: in the local zone, with its name, or in UTC where that is asked for.

What a command prints as JSON keeps the service's own form, which is UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

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
