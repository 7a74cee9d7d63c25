"""The command that reads recordings back and compares them with what was recorded."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
from rich.markup import escape

from camd.cli.exits import CommandFailed, ExitCode
from camd.cli.output import console, messages, print_json
from camd.cli.progress import ProgressMeter, printable, show_progress
from camd.cli.reach import config_option, configured, json_option
from camd.cli.recover import refuse_misplaced
from camd.cli.tables import file_size
from camd.runtime import priority
from camd.storage.audit import CheckProgress, CheckResult, FolderCheck
from camd.storage.complaints import Finding


@click.command(short_help="Read recordings back and compare them.")
@click.argument("files", nargs=-1, metavar="[FILE…]")
@click.option("--fast", is_flag=True, help="Structure and accounts only: no file is read whole.")
@config_option
@json_option
def verify(files: tuple[str, ...], fast: bool, config_path: Path | None, as_json: bool) -> None:
    """Check recordings: structure, hashes, and that index, ledger and files agree.

    Checks all that there is, or the FILEs. The service may run meanwhile: what it is recording is
    left out, and nothing is changed. What camd removed is no finding. Warnings (!) say what
    somebody else removed, or what is not camd's; findings (✗) what is to be looked after.

    Exits with 0 when there are no findings, warnings or not; with 1 when there are, when a FILE
    is not there, or when the folder cannot be listed.
    """
    folder = configured(config_path).storage.recordings_dir
    names = [_name_in(folder, file) for file in files]
    refuse_misplaced(folder)
    priority.be_nice()
    out = console()

    def complain(complaint: Finding) -> None:
        if not as_json:
            out.print(finding_line(complaint), soft_wrap=True)

    try:
        with show_progress(messages(), ProgressMeter(verify_progress)) as progress:
            verdict = FolderCheck(folder, fast, progress, complain).run(names)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(128 + signal.SIGINT) from None
    except OSError as error:
        raise CommandFailed(f"{folder} cannot be listed: {error.strerror or error}") from None
    if as_json:
        print_json(verify_values(verdict))
    else:
        out.print(summary(verdict))
    sys.exit(ExitCode.OK if verdict.clean else ExitCode.FAILED)


def _name_in(folder: Path, file: str) -> str:
    """Accept a name, or a path into the recordings folder."""
    if "/" not in file:
        return file
    path = Path(file)
    if path.parent.resolve() != folder.resolve():
        raise click.UsageError(f"{file} is not in {folder}, where recordings are")
    return path.name


def finding_line(complaint: Finding) -> str:
    """Say one complaint in one line, with rich's markup."""
    mark = "[yellow]![/]" if complaint.fault.harmless else "[red]✗[/]"
    subject, text = escape(printable(complaint.subject)), escape(complaint.text)
    return f"{mark} [bold]{subject}[/] {text}. {escape(complaint.advice)}"


def summary(verdict: CheckResult) -> str:
    """Sum a check up in one line."""
    parts = [f"{verdict.files} files checked"]
    if verdict.busy:
        parts.append(f"{len(verdict.busy)} being recorded")
    bad = sum(not complaint.fault.harmless for complaint in verdict.complaints)
    warnings = len(verdict.complaints) - bad
    if warnings and not bad:
        parts.append(f"{warnings} warning{'s' if warnings > 1 else ''}")
    parts.append(f"{bad} to look after" if bad else "all is well")
    return ", ".join(parts) + "."


def verify_values(verdict: CheckResult) -> dict[str, object]:
    """Turn a verdict into values for JSON."""
    return {
        "clean": verdict.clean,
        "files": verdict.files,
        "read_bytes": verdict.read_bytes,
        "recording": [printable(name) for name in verdict.busy],
        "findings": [
            {
                "subject": printable(complaint.subject),
                "fault": complaint.fault.value,
                "harmless": complaint.fault.harmless,
                "text": complaint.text,
                "advice": complaint.advice,
            }
            for complaint in verdict.complaints
        ],
    }


def verify_progress(at: CheckProgress, seconds: float) -> str:
    """Say how far a check has come after so many seconds."""
    parts = [
        f"{at.files} of {at.files_total} files",
        f"{file_size(min(at.done_bytes, at.total_bytes))} of {file_size(at.total_bytes)}",
    ]
    if seconds > 0:
        parts.append(f"{file_size(at.done_bytes / seconds)}/s")
    return "  ".join([*parts, printable(at.filename)]).rstrip()
