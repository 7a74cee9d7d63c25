"""The exit codes of `camd`, and which failure has which."""

from __future__ import annotations

import enum

import click

from camd.errors import NOT_AUTHENTICATED


class Exit(enum.IntEnum):
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
"""


class Failure(click.ClickException):  # noqa: N818 - an exit with a sentence, not a fault
    """Ends the command with a sentence on stderr and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = int(code)


def configuration_failure(mistakes: tuple[str, ...]) -> Failure:
    """List the mistakes of a configuration, one a line."""
    heading = (
        "the configuration has a mistake:"
        if len(mistakes) == 1
        else (f"the configuration has {len(mistakes)} mistakes:")
    )
    return Failure("\n  ".join([heading, *mistakes]), Exit.CONFIGURATION)


def refusal(code: int, message: str, data: object) -> Failure:
    """Turn an error that the service answered into a failure: what, why, what to do."""
    details = data if isinstance(data, dict) else {}
    lines = [f"{message} ({code})"]
    for mistake in details.get("errors") or ():
        if isinstance(mistake, dict):
            lines.append(" ".join(str(value) for value in mistake.values()))
        else:
            lines.append(str(mistake))
    reason = details.get("reason") or details.get("cause")
    if isinstance(reason, str) and reason:
        lines.append(f"reason: {reason}")
    if details.get("suggestion"):
        lines.append(str(details["suggestion"]))
    unauthenticated = code == NOT_AUTHENTICATED.code
    return Failure("\n  ".join(lines), Exit.UNAUTHENTICATED if unauthenticated else Exit.REFUSED)
