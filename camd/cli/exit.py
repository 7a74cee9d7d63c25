"""How a command ends: its exit code, the failures that have one, and its standard streams."""

from __future__ import annotations

import enum
import errno
import io
import os
import signal
import sys
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import click

from camd import early_signals
from camd.errors import NOT_AUTHENTICATED


class ExitCode(enum.IntEnum):
    """The exit codes of `camd`."""

    OK = 0
    FAILED = 1
    USAGE = 2  # click's own
    UNREACHABLE = 3
    REFUSED = 4
    UNAUTHENTICATED = 5
    CONFIGURATION = 78  # EX_CONFIG of sysexits.h; systemd does not restart the service after it


EPILOG = """\b
Exit codes:
  0   done
  1   failed
  2   the command line is wrong
  3   the service cannot be reached
  4   the service refused the call
  5   the service did not accept the token
  78  the configuration is wrong
  130 ended by Ctrl-C
"""


class CommandFailed(click.ClickException):
    """Ends the command with a message on stderr and an exit code."""

    exit_code: ClassVar[int] = ExitCode.FAILED


class ServiceUnreachableFailure(CommandFailed):
    """The service cannot be reached, or the connection was lost."""

    exit_code: ClassVar[int] = ExitCode.UNREACHABLE


class CallRefused(CommandFailed):
    """The service refused the call."""

    exit_code: ClassVar[int] = ExitCode.REFUSED


class Unauthenticated(CommandFailed):
    """The service did not accept the token."""

    exit_code: ClassVar[int] = ExitCode.UNAUTHENTICATED


class Misconfigured(CommandFailed):
    """The configuration is wrong, or lacks what the command needs."""

    exit_code: ClassVar[int] = ExitCode.CONFIGURATION


def misconfigured(mistakes: tuple[str, ...]) -> Misconfigured:
    """Make the failure for a wrong configuration: its mistakes, one a line."""
    count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return Misconfigured("\n  ".join([f"the configuration has {count}:", *mistakes]))


_NEAREST = {
    "nearest_before": "recorded until",
    "nearest_after": "recorded again from",
    "frame_before": "the frame before",
    "frame_after": "the next frame",
}


def refused(code: int, message: str, data: object, hint: str = "") -> CallRefused | Unauthenticated:
    """Make the failure for an error answer: message, details, cause, instants, suggestion."""
    details = data if isinstance(data, dict) else {}
    if hint and code == NOT_AUTHENTICATED.code:  # no token was sent: what to send, and nothing else
        return Unauthenticated(f"{message} ({code}): {hint}")
    lines = [f"{message} ({code})"]
    for mistake in details.get("errors") or ():
        values = mistake.values() if isinstance(mistake, dict) else [mistake]
        words = [str(value) for value in values]
        if " ".join(words) not in message:
            lines.append(": ".join(words))
    reason = details.get("reason") or details.get("cause")
    if isinstance(reason, str) and reason:
        lines.append(f"reason: {reason}")
    if details.get("owner"):
        lines.append(f"started by: {details['owner']}")
    lines += _nearest_instants(details)
    if details.get("suggestion"):
        lines.append(str(details["suggestion"]))
    if code != NOT_AUTHENTICATED.code:
        return CallRefused("\n  ".join(lines))
    return Unauthenticated("\n  ".join(lines))


def _nearest_instants(details: Mapping[str, Any]) -> list[str]:
    """Say where the footage next to an instant without any is."""
    found = {words: details[name] for name, words in _NEAREST.items() if details.get(name)}
    if not found:
        return []
    from camd.cli.terminal import format_moment

    return [f"{words}: {format_moment(when)}" for words, when in found.items()]


# --- running a command: failures of its output, Ctrl-C and groups of exceptions -----------------

_STDOUT, _STDERR = 1, 2


class OutputError(Exception):
    """Standard output cannot be written. Not an OSError, which would mean a file of camd's."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class StandardStream(io.RawIOBase):
    """A standard stream; its first failure raises OutputError if `reports`, others are ignored."""

    def __init__(self, descriptor: int, *, closed: bool, reports: bool) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._problem = errno.EBADF if closed else 0
        self._reports = reports

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the output goes to a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: bytes) -> int:  # type: ignore[override]  # any buffer
        """Write as much as the descriptor accepts. Raises OutputError."""
        if not self._problem:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self._problem = error.errno or errno.EIO
        if self._reports:
            self._reports = False  # for the rest of the buffer, too
            raise OutputError(self._problem)
        return len(data)


def run_command(command: click.Command, closed: Collection[int] = ()) -> int:
    """Run the command line and return its exit status; `closed` are closed standard streams.

    Replaces the standard streams. Afterwards SIGINT ends the process at once.
    """
    sys.stdout = _stream(
        sys.stdout, StandardStream(_STDOUT, closed=_STDOUT in closed, reports=True)
    )
    sys.stderr = _stream(
        sys.stderr, StandardStream(_STDERR, closed=_STDERR in closed, reports=False)
    )
    try:
        status = _run(command)
    except KeyboardInterrupt:
        status = early_signals.INTERRUPTED
    except OutputError as error:
        status = _report_output_error(error)
    except BaseExceptionGroup as group:
        status = _status_of(group)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        early_signals.end_at_once(early_signals.INTERRUPTED, [signal.SIGINT])
    return status


def _run(command: click.Command) -> int:
    """Run the command with click; flush its output, so that write errors are noticed."""
    if sys.argv[1:2] != ["run"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = command.main(prog_name="camd", standalone_mode=False)
        status = result if isinstance(result, int) else ExitCode.OK
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else ExitCode.OK
    except click.ClickException as failure:
        failure.show()
        status = failure.exit_code
    except click.Abort as abort:
        if not isinstance(abort.__cause__, EOFError):
            raise KeyboardInterrupt from None
        click.echo("Aborted: there was no answer.", err=True)
        status = ExitCode.FAILED
    sys.stdout.flush()
    return int(status)


def _status_of(group: BaseExceptionGroup[BaseException]) -> int:
    """Return the status for Ctrl-C or an output error in a group; raise any other group."""
    if group.subgroup(KeyboardInterrupt) is not None:
        return early_signals.INTERRUPTED
    found: BaseException | None = group.subgroup(OutputError)
    if found is None:
        raise group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, OutputError)
    return _report_output_error(found)


def _report_output_error(error: OutputError) -> int:
    if error.number != errno.EPIPE:  # the reader has ended, as `head` does
        click.echo(f"camd: standard output cannot be written: {error}", err=True)
    return ExitCode.FAILED


def _stream(before: io.TextIOBase | object, output: StandardStream) -> io.TextIOWrapper:
    """Wrap `output` with the encoding of `before`; UTF-8 if that was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(output),  # type: ignore[type-var]  # a RawIOBase, as it wants
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors=getattr(before, "errors", None) or "backslashreplace",
        line_buffering=output.isatty() or not output._reports,
    )
