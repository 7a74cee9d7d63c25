"""The exit codes of `camd`, and which failure has which."""

from __future__ import annotations

import enum
from typing import ClassVar

import click

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
