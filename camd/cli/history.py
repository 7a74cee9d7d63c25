"""Commands that look back: sessions and how much of them there is, gaps and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from rich.table import Table

from camd.cli import tables
from camd.cli.output import console, print_json
from camd.cli.reach import ServiceAccess, ask, json_option, page_options, remote_options


@click.command(short_help="List sessions, newest first.")
@page_options
@remote_options
@json_option
def sessions(reach: ServiceAccess, as_json: bool, **page: object) -> None:
    """List sessions, newest first, with how much of each is in files."""
    _show(reach, as_json, "get_sessions", "sessions", tables.sessions, page)


@click.command()
@page_options
@remote_options
@json_option
def gaps(reach: ServiceAccess, as_json: bool, **page: object) -> None:
    """List footage that is missing, newest first, and why."""
    _show(reach, as_json, "get_gaps", "gaps", tables.gaps, page)


def _show(
    reach: ServiceAccess,
    as_json: bool,
    method: str,
    noun: str,
    table: Callable[[Any], Table],
    page: dict[str, object],
) -> None:
    answer = ask(reach, method, **page)
    if as_json:
        print_json(answer)
        return
    rows, out = answer[noun], console()
    if rows:
        out.print(table(rows))
    if answer["offset"] + len(rows) < answer["total"] or not rows:
        out.print(f"{len(rows)} of {answer['total']} {noun}")
