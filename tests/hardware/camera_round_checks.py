"""Checks rounds in which cameras were unplugged and plugged in again while they recorded. Pure.

Times are seconds since 1970 by the clock of the machine that records.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

HARMLESS = frozenset(("frames_dropped_by_source",))  # the source's own doing, and true
STEP_SECONDS = 0.3  # between two looks at the cameras


@attrs.frozen
class Moment:
    """When something was done: not before, and not after."""

    since: float
    until: float


@attrs.frozen
class Pull:
    """One round."""

    number: int
    camera: str
    pulled: Moment
    plugged: Moment
    port: str  # "same", or the other one
    gone: float | None = None  # announced so
    listed: float | None = None
    back: float | None = None  # records again; None: it never did

    @property
    def return_seconds(self) -> float | None:
        """How long it took from the plug to the recording."""
        return None if self.back is None else self.back - self.plugged.until


@attrs.frozen
class LedgerGap:
    """One entry of a session's ledger."""

    start: float
    end: float
    cause: str
    missing: float | None = None  # seconds of footage, where that is not the whole span

    @property
    def seconds(self) -> float:
        """How much is missing."""
        return self.end - self.start if self.missing is None else self.missing


@attrs.frozen
class Tally:
    """What the service held at one moment."""

    pid: int
    descriptors: int
    threads: int
    memory: int  # KiB
    processes: int


@attrs.frozen
class Account:
    """What a stopped session's receipt says, and what came before."""

    started_as: str
    stopped_as: str
    gaps: tuple[LedgerGap, ...]
    captured: int
    written: int
    durable: bool
    lost: int = 0  # frames that the ledger has exactly


@attrs.frozen
class Limits:
    """How exact times have to be, and how much may be kept."""

    moment: float = 1.0  # seconds between a pull and the end of footage
    gone: float = 1.0  # seconds until a camera is called gone
    listed: float = 2.0
    descriptors: int = 0
    threads: int = 2  # of the pool that waits for disks
    memory: int = 16 * 1024  # KiB


def check_rounds(
    pulls: Sequence[Pull],
    accounts: Mapping[str, Account],
    before: Tally,
    after: Tally,
    limits: Limits,
) -> list[str]:
    """Report everything that is not as it should be."""
    return [
        *_returns(pulls),
        *check_arrivals(pulls, limits),
        *(c for camera, account in accounts.items() for c in _session(camera, account)),
        *(
            c
            for camera, account in accounts.items()
            for c in _ledger(camera, account, pulls, limits)
        ),
        *_leaks(before, after, limits),
    ]


def _returns(pulls: Iterable[Pull]) -> Iterator[str]:
    for pull in pulls:
        if pull.back is None:
            yield f"round {pull.number}, {pull.camera}: does not record again"


def check_arrivals(pulls: Iterable[Pull], limits: Limits) -> Iterator[str]:
    """Report every camera that was called gone or present too late, or never."""
    for pull in pulls:
        name = f"round {pull.number}, {pull.camera}"
        if pull.gone is None or pull.gone > pull.pulled.until + limits.gone:
            yield f"{name}: called gone {_after(pull.gone, pull.pulled)}"
        if pull.listed is None or pull.listed > pull.plugged.until + limits.listed:
            yield f"{name}: called present {_after(pull.listed, pull.plugged)}"


def _after(moment: float | None, done: Moment) -> str:
    return "never" if moment is None else f"after {moment - done.until:.2f} s"


def _session(camera: str, account: Account) -> Iterator[str]:
    if account.started_as != account.stopped_as:
        yield f"{camera}: session {account.started_as} became {account.stopped_as}"
    if not account.durable:
        yield f"{camera}: its receipt says that it is not durable"
    if account.captured != account.written + account.lost:
        yield (
            f"{camera}: captured {account.captured} is not written {account.written}"
            f" and ledgered {account.lost}"
        )


def _ledger(camera: str, account: Account, pulls: Iterable[Pull], limits: Limits) -> Iterator[str]:
    """Each pull has one entry, from then until it recorded again; there is no other entry."""
    mine = [pull for pull in pulls if pull.camera == camera]
    gaps = [gap for gap in account.gaps if gap.cause not in HARMLESS]
    for pull in mine:
        name = f"round {pull.number}, {camera}"
        last = pull.back if pull.back is not None else float("inf")
        near = [h for h in gaps if h.end > pull.pulled.since and h.start < last]
        if len(near) != 1:
            yield f"{name}: {len(near)} ledger entries: {', '.join(h.cause for h in near)}"
        for gap in near:
            gaps.remove(gap)
            yield from (f"{name}: {finding}" for finding in _entry(gap, pull, last, limits))
    for gap in gaps:
        yield f"{camera}: {gap.cause} of {gap.seconds:.2f} s where nobody pulled"


def _entry(gap: LedgerGap, pull: Pull, last: float, limits: Limits) -> Iterator[str]:
    if gap.cause != "camera_lost":
        yield f"the ledger says {gap.cause}"
    early, late = pull.pulled.since - limits.moment, pull.pulled.until + limits.moment
    if not early <= gap.start <= late:
        yield f"the gap begins {gap.start - pull.pulled.until:+.2f} s from the pull"
    if gap.end < pull.plugged.since:
        yield f"the gap ends {pull.plugged.since - gap.end:.2f} s before the plug"
    if gap.end > last + STEP_SECONDS:
        yield f"the gap ends {gap.end - last:.2f} s after it recorded again"


def _leaks(before: Tally, after: Tally, limits: Limits) -> Iterator[str]:
    if before.pid != after.pid:
        yield f"the service was restarted: process {before.pid}, then {after.pid}"
    if after.processes != before.processes:
        yield f"{after.processes} capture processes, {before.processes} before"
    for name in ("descriptors", "threads", "memory"):
        grown = getattr(after, name) - getattr(before, name)
        if grown > getattr(limits, name):
            yield f"{name}: {grown} more than before"


def summary(pulls: Sequence[Pull]) -> str:
    """Say how long the returns took, in seconds."""
    returned = sum(pull.back is not None for pull in pulls)
    lines = [f"{len(pulls)} rounds" + (f", {returned} recorded again" if returned else "")]
    times = {
        "recording again after": [p.return_seconds for p in pulls],
        "called gone after": [p.gone and p.gone - p.pulled.until for p in pulls],
        "called present after": [p.listed and p.listed - p.plugged.until for p in pulls],
    }
    for name, seconds in times.items():
        if known := [s for s in seconds if s is not None]:
            lines.append(
                f"{name}: median {statistics.median(known):.2f} s, worst {max(known):.2f} s"
            )
    return "\n".join(lines)


# --- what the machine told ----------------------------------------------------------------


def read_pull(pull: Pull, lines: Iterable[Mapping[str, Any]]) -> Pull:
    """Find in what was told when the camera was called gone and present, and recorded again."""
    gone = listed = back = None
    for line in lines:
        if line.get("camera_id", line.get("c")) != pull.camera or line["t"] < pull.pulled.since:
            continue
        if line["k"] == "event" and line["m"] == "recording_status_update":
            told = line["status"] == "GAP" and line.get("reason") not in HARMLESS
            if told and line["t"] >= pull.plugged.since and back is None:
                back = line["t"]
        elif line["k"] in ("event", "camera"):
            if gone is None and line["status"] == "DISCONNECTED":
                gone = line["t"]
            there = line["status"] == "CONNECTED" and line["t"] >= pull.plugged.since
            if there and gone is not None and listed is None:
                listed = line["t"]
    return attrs.evolve(pull, gone=gone, listed=listed, back=back)


def read_account(started_as: str, stopped: Mapping[str, Any]) -> Account:
    """Read the answer to a stop."""
    receipt = stopped["receipt"]
    return Account(
        started_as,
        stopped["session_id"],
        tuple(
            LedgerGap(_unix(g["from"]), _unix(g["to"]), g["cause"], g["duration"])
            for g in receipt["gaps"]
        ),
        receipt["frames_captured"],
        receipt["frames_written"],
        receipt["durable"],
        sum(gap["frames"] for gap in receipt["gaps"] if gap["exact"]),
    )


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
