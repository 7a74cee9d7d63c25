"""Checks what camd said and did about a camera's fault. Pure.

Times are seconds since 1970 by the clock of the machine that records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
from camera_round_checks import HARMLESS, LedgerGap, Moment

UNHEALTHY_SECONDS = 5.0  # without a durable byte, until a recording is called unhealthy
TOLD_SECONDS = 2.0  # until that is seen; a slow machine takes longer, camd's own time stays


@attrs.frozen
class Expected:
    """What a fault has to look like."""

    causes: frozenset[str] = frozenset()  # one of these is shown, and no other; empty: none
    ledger: frozenset[str] = frozenset()  # one of these per gap; empty: no gap
    says: tuple[str, ...] = ()  # words in message or suggestion
    also: frozenset[str] = frozenset()  # causes that may be shown as well
    refuses: bool = False  # a start is refused
    processes: int = 1  # that run when all is well again


@attrs.frozen
class Shown:
    """A problem that the status or a refusal showed."""

    cause: str
    message: str
    suggestion: str
    after: float  # seconds after the fault began


@attrs.frozen
class Seen:
    """What came of a fault."""

    shown: tuple[Shown, ...] = ()
    unhealthy: tuple[float, ...] = ()  # when a recording was called unhealthy
    gaps: tuple[LedgerGap, ...] = ()
    refused: bool = False
    session_before: str = ""
    session_after: str = ""
    recovered_after: float | None = None  # seconds after the fault was over
    processes: int = 1  # when all was well again
    processes_left: int = 0  # after the stop
    unaccounted: int = 0  # frames that are neither written nor ledgered


def check_fault(expected: Expected, seen: Seen, timeout_factor: float = 1.0) -> list[str]:
    """Report everything that is not as expected, with time limits multiplied by the factor."""
    return [
        *_causes(expected, seen.shown),
        *_unhealthy_gaps(expected, seen, UNHEALTHY_SECONDS + TOLD_SECONDS * timeout_factor),
        *_outcome(expected, seen),
    ]


def _causes(expected: Expected, shown: Iterable[Shown]) -> Iterator[str]:
    names = [problem.cause for problem in shown]
    if expected.causes and not expected.causes & set(names):
        yield f"no problem of {_names(expected.causes)} was shown, but {_names(names)}"
    for problem in shown:
        if problem.cause not in expected.causes | expected.also:
            yield f"{problem.cause} was shown: {problem.message}"
        if not problem.message or not problem.suggestion:
            yield f"{problem.cause} comes without words"
    text = " ".join(f"{t.message} {t.suggestion}" for t in shown if t.cause in expected.causes)
    for word in expected.says:
        if word not in text:
            yield f'nothing says "{word}": {text}'


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))) or "none"


def _unhealthy_gaps(expected: Expected, seen: Seen, unhealthy: float) -> Iterator[str]:
    for gap in seen.gaps:
        if gap.cause in HARMLESS:
            continue
        if gap.cause not in expected.ledger:
            yield f"the ledger says {gap.cause}, {gap.seconds:.2f} s"
        if gap.end - gap.start > unhealthy:
            told = [t - gap.start for t in seen.unhealthy if gap.start <= t <= gap.end + 1.0]
            if min(told, default=float("inf")) > unhealthy:
                when = f"after {min(told):.1f} s" if told else "never"
                yield f"a gap of {gap.end - gap.start:.1f} s was called unhealthy {when}"
    if expected.ledger and not any(gap.cause in expected.ledger for gap in seen.gaps):
        yield f"the ledger has no {_names(expected.ledger)}"


def _outcome(expected: Expected, seen: Seen) -> Iterator[str]:
    if expected.refuses and not seen.refused:
        yield "the start was not refused"
    if seen.refused and not expected.refuses:
        yield "the start was refused"
    if seen.recovered_after is None:
        yield "it does not record again"
    if seen.session_after != seen.session_before:
        yield f"session {seen.session_before} became {seen.session_after or 'none'}"
    if seen.processes != expected.processes:
        yield f"{seen.processes} capture processes"
    if seen.processes_left:
        yield f"{seen.processes_left} capture processes are left after the stop"
    if seen.unaccounted:
        yield f"{seen.unaccounted} frames are neither written nor ledgered"


def read_shown(lines: Iterable[Mapping[str, Any]], camera: str, fault: Moment) -> tuple[Shown, ...]:
    """Find the problems that were reported of a camera since its fault, each once."""
    found: dict[tuple[str, str], Shown] = {}
    for line in lines:
        if line["k"] != "camera" or line["t"] < fault.since:
            continue
        if line["c"] == camera and line.get("cause"):
            key = (line["cause"], line["message"])
            after = line["t"] - fault.until
            found.setdefault(key, Shown(*key, line["suggestion"] or "", after))
    return tuple(found.values())


def read_unhealthy(lines: Iterable[Mapping[str, Any]], camera: str) -> tuple[float, ...]:
    """Find when a camera's recording was called unhealthy."""
    mine = [line for line in lines if line["k"] == "camera" and line["c"] == camera]
    return tuple(line["t"] for line in mine if line["recording"] and not line["recording_healthy"])
