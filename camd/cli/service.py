"""Commands about the service as a whole: run and check."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import click
import trio
from rich.markup import escape

from camd.cli.exits import ExitCode
from camd.cli.findings import CheckFinding, Grade
from camd.cli.inspection import inspect
from camd.cli.output import console, print_json
from camd.cli.reach import config_option, configured, json_option
from camd.logs import set_up_logging

_MARKS = {Grade.OK: "[green]✓[/]", Grade.WARNING: "[yellow]![/]", Grade.PROBLEM: "[red]✗[/]"}


@click.command(short_help="Run the service in the foreground.")
@config_option
def run(config_path: Path | None) -> None:
    """Run the service in the foreground until SIGTERM or Ctrl-C; SIGHUP reloads."""
    from camd.daemon import run_daemon  # noqa: PLC0415 - other commands start faster without it

    sys.exit(run_daemon(config_path))


@click.command(short_help="Look for what would keep it from recording.")
@config_option
@json_option
def check(config_path: Path | None, as_json: bool) -> None:
    """Look for what would keep the service from recording, and say what to do.

    Checks the configuration, the folders and their space, FFmpeg, and each camera's source.
    Exits with 0 when recording will work, 78 for a wrong configuration, 1 for other problems.
    """
    config = configured(config_path)
    set_up_logging("error")
    findings = trio.run(inspect, config)
    problems = [finding for finding in findings if finding.grade is Grade.PROBLEM]
    if as_json:
        print_json([attrs.asdict(item, value_serializer=_plain) for item in findings])
    else:
        out = console()
        for finding in findings:
            out.print(_line(finding), soft_wrap=True)
        out.print("All is well." if not problems else f"{len(problems)} to repair.")
    if problems:
        sys.exit(ExitCode.FAILED)


def _line(finding: CheckFinding) -> str:
    text = f"{_MARKS[finding.grade]} [bold]{escape(finding.subject)}[/]: {escape(finding.text)}"
    return f"{text}\n    {escape(finding.advice)}" if finding.advice else text


def _plain(instance: object, field: object, value: object) -> object:
    return value.value if isinstance(value, Grade) else value
