"""The exit codes of `camd`, and which failure has which."""

from __future__ import annotations

import enum
import errno
import io
import os
import signal
import sys
from collections.abc import Collection
from typing import ClassVar

import click

from camd import early_signals
from camd.errors import NOT_AUTHENTICATED


class ExitCode(enum.IntEnum):
    """What a program that calls `camd` can tell apart."""

    OK = 0
    FAILED = 1
    USAGE = 2  # click's own
    UNREACHABLE = 3
    REFUSED = 4
    UNAUTHENTICATED = 5
    CONFIGURATION = 78  # EX_CONFIG of sysexits.h; systemd does not restart after it


EPILOG = """\b
Exit codes:
  0   done
  1   failed
  2   the command line is wrong
  3   the service cannot be reached
  4   the service refused, and said why
  5   the service did not accept the token
  78  the configuration is wrong
  130 ended by Ctrl-C
"""


class CommandFailed(click.ClickException):
    """Ends the command with a sentence on stderr and an exit code; the base of the others."""

    exit_code: ClassVar[int] = ExitCode.FAILED


class ServiceUnreachable(CommandFailed):
    """The service cannot be reached, or was lost."""

    exit_code: ClassVar[int] = ExitCode.UNREACHABLE


class CallRefused(CommandFailed):
    """The service said no."""

    exit_code: ClassVar[int] = ExitCode.REFUSED


class Unauthenticated(CommandFailed):
    """The service did not accept the token."""

    exit_code: ClassVar[int] = ExitCode.UNAUTHENTICATED


class Misconfigured(CommandFailed):
    """The configuration is wrong, or lacks what the command needs."""

    exit_code: ClassVar[int] = ExitCode.CONFIGURATION


def misconfigured(mistakes: tuple[str, ...]) -> Misconfigured:
    """List the mistakes of a configuration, one a line."""
    count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return Misconfigured("\n  ".join([f"the configuration has {count}:", *mistakes]))


def refused(code: int, message: str, data: object, hint: str = "") -> CallRefused | Unauthenticated:
    """Turn an error that the service answered into a failure: what, why, what to do."""
    details = data if isinstance(data, dict) else {}
    lines = [f"{message} ({code})"]
    for mistake in details.get("errors") or ():
        words = mistake.values() if isinstance(mistake, dict) else [mistake]
        said = [str(each) for each in words]
        if " ".join(said) not in message:
            lines.append(": ".join(said))
    reason = details.get("reason") or details.get("cause")
    if isinstance(reason, str) and reason:
        lines.append(f"reason: {reason}")
    if details.get("suggestion"):
        lines.append(str(details["suggestion"]))
    if code != NOT_AUTHENTICATED.code:
        return CallRefused("\n  ".join(lines))
    return Unauthenticated("\n  ".join([*lines, hint] if hint else lines))


# --- How a command ends: with its exit status, whatever becomes of what it prints, or of it.

_STDOUT, _STDERR = 1, 2


class OutputError(Exception):
    """Standard output cannot be written. No OSError: it is no trouble with a file of camd's."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class CheckedOutput(io.RawIOBase):
    """A standard stream whose first failure raises OutputError, or none does."""

    def __init__(self, descriptor: int, *, closed: bool, tells: bool) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._problem = errno.EBADF if closed else 0
        self._tells = tells

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Say whether the output goes to a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: bytes) -> int:  # type: ignore[override]  # any buffer
        """Write what the descriptor takes. Raises OutputError."""
        if not self._problem:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self._problem = error.errno or errno.EIO
        if self._tells:
            self._tells = False  # what is still buffered has nowhere to go
            raise OutputError(self._problem)
        return len(data)


def run_command(command: click.Command, closed: Collection[int] = ()) -> int:
    """Run the command line and return its exit status; `closed` descriptors cannot be printed to.

    Replaces the standard streams, and ends with a handler for SIGINT that ends the process.
    """
    sys.stdout = _stream(sys.stdout, CheckedOutput(_STDOUT, closed=_STDOUT in closed, tells=True))
    sys.stderr = _stream(sys.stderr, CheckedOutput(_STDERR, closed=_STDERR in closed, tells=False))
    try:
        status = _run(command)
    except KeyboardInterrupt:
        status = early_signals.INTERRUPTED
    except OutputError as error:
        status = _unprinted(error)
    except BaseExceptionGroup as group:
        status = _status_of(group)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        early_signals.end_at_once(early_signals.INTERRUPTED, [signal.SIGINT])
    return status


def _run(command: click.Command) -> int:
    """Let click run the command; flush what it printed, so that failures are found."""
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
        click.echo("Aborted: the answer is missing.", err=True)
        status = ExitCode.FAILED
    sys.stdout.flush()
    return int(status)


def _status_of(group: BaseExceptionGroup[BaseException]) -> int:
    """Find what ended a command among what ended with it; a bug travels on."""
    if group.subgroup(KeyboardInterrupt) is not None:
        return early_signals.INTERRUPTED
    found: BaseException | None = group.subgroup(OutputError)
    if found is None:
        raise group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, OutputError)
    return _unprinted(found)


def _unprinted(error: OutputError) -> int:
    if error.number != errno.EPIPE:  # who read it has enough, as `head` has
        click.echo(f"camd: standard output cannot be written: {error}", err=True)
    return ExitCode.FAILED


def _stream(before: io.TextIOBase | object, output: CheckedOutput) -> io.TextIOWrapper:
    """Print to `output` as `before` would, or as UTF-8 where that was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(output),  # type: ignore[type-var]  # a RawIOBase, as it wants
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors=getattr(before, "errors", None) or "backslashreplace",
        line_buffering=output.isatty() or not output._tells,
    )
