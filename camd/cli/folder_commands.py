"""What `camd recover` and `camd verify` do with a recordings folder."""

from __future__ import annotations

import os
import pwd
import shlex
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape

from camd.cli.exit import CommandFailed, ExitCode
from camd.cli.service_access import configured
from camd.cli.tables import file_size, table_of
from camd.cli.terminal import ProgressMeter, console, messages, print_json, printable, show_progress
from camd.clock import SYSTEM_CLOCK
from camd.runtime import priority
from camd.runtime.folders.access_advice import explain_refused_access
from camd.runtime.folders.format_marker import FormatRefusedError
from camd.storage.index.recording_index import (
    FOLDER,
    INDEX,
    NOT_A_FILE,
    FolderInUseError,
    misplaced_folders,
)
from camd.storage.recovery.offline import HashingProgress, OfflineRecovery, OfflineResult
from camd.storage.recovery.reconcile import FileOutcome, ReconcileFinding
from camd.storage.verify.folder import FolderVerification, VerifyProgress, VerifyResult
from camd.storage.verify.rules.findings import Finding

# --- recover

_MEANINGS = {  # after a recovery, and in a dry run
    FileOutcome.SEALED: ("sealed in place", "would be sealed in place"),
    FileOutcome.NEW_TO_INDEX: ("taken into the index", "would be taken into the index"),
    FileOutcome.RENAMED: ("indexed by its new name", "would be indexed by its new name"),
    FileOutcome.COPY: ("a copy, left alone", "a copy, left alone"),
    FileOutcome.EMPTY: ("holds no footage, left alone", "holds no footage, left alone"),
    FileOutcome.FOREIGN: ("not camd's, left alone", "not camd's, left alone"),
    FileOutcome.UNREADABLE: ("cannot be read, left alone", "cannot be read, left alone"),
    FileOutcome.UNFINISHED: (
        "a partial MKV, removed",
        "a partial MKV, would be removed",
    ),
    FileOutcome.MISSING: ("gone, listed as missing", "gone, would be listed as missing"),
}
_COLOURS = {
    FileOutcome.SEALED: "green",
    FileOutcome.NEW_TO_INDEX: "green",
    FileOutcome.RENAMED: "green",
}
_COLOURS |= {FileOutcome.UNREADABLE: "red", FileOutcome.MISSING: "red"}


def recover_folder(
    config_path: Path | None, *, dry_run: bool, reindex: bool, as_json: bool
) -> None:
    """Carry out `camd recover`."""
    config = configured(config_path)
    folder = config.storage.recordings_dir
    refuse_misplaced(folder, but_index=reindex)
    if not dry_run:
        _refuse_for_others(folder, config.file)
    out = console()

    def on_finding(finding: ReconcileFinding) -> None:
        if not as_json:
            out.print(recovered_line(finding, dry_run=dry_run), soft_wrap=True)

    try:
        with show_progress(messages(), ProgressMeter(hashing_line)) as progress:
            recovery = OfflineRecovery(
                folder, dry_run, reindex, on_finding, progress, clock=SYSTEM_CLOCK
            )
            result = recovery.run()
    except FormatRefusedError as error:
        raise CommandFailed(str(error)) from None
    except FolderInUseError as error:
        raise CommandFailed(
            f"{error}\n  Stop it first (`systemctl stop camd`), or see with --dry-run what has to "
            "be done; the service does the same when it starts."
        ) from None
    except OSError as error:
        path = Path(error.filename or folder)
        raise CommandFailed(explain_refused_access(path, error, "used")) from None
    except sqlite3.Error as error:
        raise CommandFailed(
            f"the index cannot be used: {error}\n  `camd recover --reindex` sets it aside and "
            "makes a new one from the journal and the files."
        ) from None
    if as_json:
        print_json(recover_values(result))
    else:
        _print(result)
    sys.exit(ExitCode.FAILED if result.to_do else ExitCode.OK)


def refuse_misplaced(recordings: Path, *, but_index: bool = False) -> None:
    """End the command when a directory stands where index, journal or lock should be."""
    for path in misplaced_folders(recordings):
        if not (but_index and path.name == INDEX):
            raise CommandFailed(f"{path} {NOT_A_FILE}")


def _refuse_for_others(folder: Path, config_file: Path | None) -> None:
    """Refuse root, whose files the user of the service could not write.

    The advice names the configuration: the other user's default may be another folder.
    """
    known = folder / FOLDER
    try:
        owner = (known if os.path.exists(known) else folder).stat().st_uid
    except OSError:
        return
    if os.geteuid() == 0 and owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        command = ["sudo", "-u", name, "camd", "recover"]
        if config_file is not None:
            command += ["--config", str(config_file.absolute())]
        raise CommandFailed(f"{folder} belongs to the user {name}\n  Run: {shlex.join(command)}")


def recovered_line(finding: ReconcileFinding, *, dry_run: bool) -> str:
    """Describe the outcome for a file in one line of rich markup."""
    words = [_MEANINGS[finding.outcome][dry_run]]
    if finding.outcome in (FileOutcome.COPY, FileOutcome.RENAMED, FileOutcome.UNREADABLE):
        words.append(escape(printable(finding.detail)))
    if finding.frames:
        words.append(f"{finding.frames} frames")
    if finding.torn_bytes:
        words.append(f"{file_size(finding.torn_bytes)} at its end are not whole")
    colour = _COLOURS.get(finding.outcome, "yellow")
    name = escape(printable(finding.filename))
    return f"[{colour}]{finding.outcome.value:<10}[/] [bold]{name}[/]  {', '.join(words)}"


def hashing_line(at: HashingProgress, seconds: float) -> str:
    """Describe the progress of hashing."""
    return (
        f"hashing {at.number} of {at.total}  {printable(at.filename)}  {file_size(at.read_bytes)}"
    )


def _print(result: OfflineResult) -> None:
    """Print the result."""
    out, report = console(), result.report
    if report.counts:
        table = table_of("outcome", ">files", "")
        for outcome, meaning in _MEANINGS.items():
            if number := report.counts.get(outcome):
                table.add_row(outcome.value, str(number), meaning[report.dry_run])
        out.print(table)
    for name, why in result.unhashed:
        out.print(f"[red]{escape(printable(name))} cannot be hashed:[/] {escape(why)}")
    if result.hashed:
        verb = "to hash" if report.dry_run else "hashed"
        out.print(f"{result.hashed} files {verb}.")
    if result.new_index:
        out.print(f"A new index {'would be' if report.dry_run else 'was'} made.")
    elif not report.counts and not result.hashed:
        out.print("Nothing has to be done.")


def recover_values(result: OfflineResult) -> dict[str, object]:
    """Convert a result to JSON values."""
    report = result.report
    return {
        "dry_run": report.dry_run,
        "began": report.began.isoformat(),
        "ended": report.ended.isoformat() if report.ended else None,
        "files": report.files,
        "counts": report.counted,
        "findings": [
            {
                "filename": printable(finding.filename),
                "outcome": finding.outcome.value,
                "detail": printable(finding.detail),
                "frames": finding.frames,
                "torn_bytes": finding.torn_bytes,
            }
            for finding in report.findings
        ],
        "hashed": result.hashed,
        "unhashed": [{"filename": printable(n), "reason": why} for n, why in result.unhashed],
        "new_index": result.new_index,
        "to_do": result.to_do,
    }


# --- verify


def verify_folder(
    config_path: Path | None, files: Sequence[str], *, fast: bool, as_json: bool
) -> None:
    """Carry out `camd verify`."""
    folder = configured(config_path).storage.recordings_dir
    names = [_name_in(folder, file) for file in files]
    refuse_misplaced(folder)
    priority.lower_priority()
    out = console()

    def on_finding(finding: Finding) -> None:
        if not as_json:
            out.print(finding_line(finding), soft_wrap=True)

    try:
        with show_progress(messages(), ProgressMeter(verify_progress)) as progress:
            result = FolderVerification(folder, fast, progress, on_finding).run(names)
    except OSError as error:
        raise CommandFailed(explain_refused_access(folder, error, "listed")) from None
    if as_json:
        print_json(verify_values(result))
    else:
        out.print(summary(result))
    sys.exit(ExitCode.OK if result.clean else ExitCode.FAILED)


def _name_in(folder: Path, file: str) -> str:
    """Return the name of a recording that is given by name or by path."""
    if "/" not in file:
        return file
    path = Path(file)
    if path.parent.resolve() != folder.resolve():
        raise click.UsageError(f"{file} is not in {folder}, where recordings are")
    return path.name


def finding_line(finding: Finding) -> str:
    """Describe a finding in one line of rich markup."""
    mark = "[yellow]![/]" if finding.fault.harmless else "[red]✗[/]"
    subject, text = escape(printable(finding.subject)), escape(finding.text)
    return f"{mark} [bold]{subject}[/] {text}. {escape(finding.advice)}"


def summary(result: VerifyResult) -> str:
    """Summarise a verification in one line."""
    parts = [f"{result.files} files checked"]
    if result.busy:
        parts.append(f"{len(result.busy)} being recorded")
    bad = sum(not finding.fault.harmless for finding in result.findings)
    warnings = len(result.findings) - bad
    if warnings and not bad:
        parts.append(f"{warnings} warning{'s' if warnings > 1 else ''}")
    parts.append(f"{bad} problem{'s' if bad > 1 else ''}" if bad else "no problems")
    return ", ".join(parts) + "."


def verify_values(result: VerifyResult) -> dict[str, object]:
    """Convert a result to JSON values."""
    return {
        "clean": result.clean,
        "files": result.files,
        "read_bytes": result.read_bytes,
        "recording": [printable(name) for name in result.busy],
        "findings": [
            {
                "subject": printable(finding.subject),
                "fault": finding.fault.value,
                "harmless": finding.fault.harmless,
                "text": finding.text,
                "advice": finding.advice,
            }
            for finding in result.findings
        ],
    }


def verify_progress(at: VerifyProgress, seconds: float) -> str:
    """Describe the progress of a verification after so many seconds."""
    parts = [
        f"{at.files} of {at.files_total} files",
        f"{file_size(min(at.done_bytes, at.total_bytes))} of {file_size(at.total_bytes)}",
    ]
    if seconds > 0:
        parts.append(f"{file_size(at.done_bytes / seconds)}/s")
    return "  ".join([*parts, printable(at.filename)]).rstrip()
