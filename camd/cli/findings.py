"""What `camd check` says of one thing it looked at."""

from __future__ import annotations

import enum

import attrs


class Grade(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@attrs.frozen
class CheckFinding:
    """One thing that was looked at; `advice` says what to do, when something is to do."""

    subject: str
    grade: Grade
    text: str
    advice: str = ""
