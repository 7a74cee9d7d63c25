"""What `camd check` says of one subject, and how serious that is."""

from __future__ import annotations

import enum

import attrs


class Grade(enum.Enum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@attrs.frozen
class CheckFinding:
    """The result for one subject; `advice` says what to do, if anything."""

    subject: str
    grade: Grade
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> CheckFinding:
    """Return a finding of something that is as it should be."""
    return CheckFinding(subject, Grade.OK, text)


def warning(subject: str, text: str, advice: str) -> CheckFinding:
    """Return a finding of something that does not keep the service from recording."""
    return CheckFinding(subject, Grade.WARNING, text, advice)


def problem(subject: str, text: str, advice: str) -> CheckFinding:
    """Return a finding of something that keeps the service from recording."""
    return CheckFinding(subject, Grade.PROBLEM, text, advice)
