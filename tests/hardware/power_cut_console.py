"""What a machine said on its console before its power was cut, as what camd guaranteed. Pure.

The lines are those of power_cuts_observer.py. The last of them may be torn, and other
programs write to a console, too: a line that cannot be parsed is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

MARK = "@camd "
RECENT_SECONDS = 10.0  # how long before the cut the machine's pace counts


@attrs.frozen
class Guaranteed:
    """One file as camd had described it when it called it sealed."""

    filename: str
    size: int
    sha256: str
    frames: int

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Guaranteed:
        """Read it from a fact, or from a file in a receipt."""
        return cls(line["f"], line["size"], line["sha"], line["n"])


@attrs.frozen
class Receipt:
    """What a stop had been answered with."""

    session_id: str
    files: tuple[Guaranteed, ...]
    captured: int
    written: int
    lost: int  # frames in the ledger whose number is exact
    durable: bool


@attrs.define
class Before:
    """Everything that was known of one boot of the machine when its power was cut."""

    boot: str = ""
    cut_at: float = 0.0  # the last heartbeat, by the machine's clock, seconds since 1970
    running: dict[str, str] = attrs.field(factory=dict)  # camera: session, which must go on
    undecided: set[str] = attrs.field(factory=set)  # cameras that were told to start or stop
    durable: dict[str, int] = attrs.field(factory=dict)  # session: frames, the most
    written: dict[str, list[tuple[float, int]]] = attrs.field(factory=dict)  # session: when, frames
    sealed: dict[str, Guaranteed] = attrs.field(factory=dict)
    receipts: dict[str, Receipt] = attrs.field(factory=dict)  # by session
    longest_sync: float = 0.0  # seconds
    ahead: dict[str, float] = attrs.field(factory=dict)  # camera: seconds; see `_take_status`
    ages: dict[str, list[float]] = attrs.field(factory=dict)  # camera: of its newest footage
    notification: list[str] = attrs.field(factory=list)
    last_trigger: tuple[str, float] = ("", 0.0)  # created or stopping, and when
    unreadable: int = 0

    @property
    def longest_lag(self) -> float:
        """How much older written footage became, lately, than it is when it is fresh."""
        return max((max(ages) - min(ages) for ages in self.ages.values()), default=0.0)

    def follow(self, earlier: Before) -> None:
        """Take over what an earlier boot had guaranteed and this one has not spoken of."""
        self.sealed = earlier.sealed | self.sealed
        self.receipts = earlier.receipts | self.receipts
        for session, frames in earlier.durable.items():
            self.durable[session] = max(frames, self.durable.get(session, 0))
        for camera, session in earlier.running.items():
            if camera not in self.undecided and session not in self.receipts:
                self.running.setdefault(camera, session)


def understand(lines: Iterable[str]) -> Before:
    """Read the last boot in what the console said."""
    before, facts = Before(), []
    for line in lines:
        _, mark, text = line.partition(MARK)
        if not mark:
            continue
        try:
            fact = json.loads(text)
            if fact["k"] == "boot":
                facts.clear()
                before.unreadable = 0
            facts.append(fact)
        except (ValueError, TypeError, KeyError):
            before.unreadable += 1
    before.cut_at = max((fact["t"] for fact in facts), default=0.0)
    for fact in facts:
        _take(before, fact)
    return before


def _take(before: Before, fact: Mapping[str, Any]) -> None:
    match fact["k"]:
        case "boot":
            before.boot = fact["boot"]
        case "beat":
            before.longest_sync = max(before.longest_sync, fact.get("p", 0) / 1000)
        case "sync":
            before.longest_sync = max(before.longest_sync, fact["ms"] / 1000)
        case "status":
            _take_status(before, fact)
        case "sealed":
            before.sealed[fact["f"]] = Guaranteed.of(fact)
        case "starting":
            before.undecided.add(fact["c"])
        case "started":
            before.undecided.discard(fact["c"])
            before.running[fact["c"]] = fact["id"]
        case "stopping":
            before.undecided.add(fact["c"])
            before.running.pop(fact["c"], None)
        case "receipt":
            _take_receipt(before, fact)
        case "event" if fact["w"] in ("GAP", "ERROR") and fact["r"] != "daemon_down":
            before.notification.append(f"{fact['c']} {fact['w']} {fact['r']}")
    if fact["k"] in ("created", "stopping"):
        before.last_trigger = (fact["k"], fact["t"])


def _take_status(before: Before, fact: Mapping[str, Any]) -> None:
    camera, session = fact["c"], fact["id"]
    if fact["d"]:
        before.durable[session] = max(before.durable.get(session, 0), fact["n"])
    before.written.setdefault(session, []).append((fact["t"], fact["n"]))
    if fact["s"] == "RECORDING" and fact["t"] > before.cut_at - RECENT_SECONDS:
        # A synthetic source runs late where the processor cannot keep up, and early where its
        # first frame was dated late: its clock is set by the freshest footage that was seen.
        ahead = fact["e"] - fact["t"]
        before.ahead[camera] = max(before.ahead.get(camera, ahead), ahead)
        before.ages.setdefault(camera, []).append(-ahead)
    # A status that was asked for before a stop may be told behind it.
    if camera not in before.undecided and session not in before.receipts:
        before.running[camera] = session


def _take_receipt(before: Before, fact: Mapping[str, Any]) -> None:
    receipt = Receipt(
        fact["id"],
        tuple(Guaranteed.of(file) for file in fact["files"]),
        fact["captured"],
        fact["written"],
        fact["lost"],
        fact["durable"],
    )
    before.undecided.discard(fact["c"])
    before.running.pop(fact["c"], None)
    before.receipts[receipt.session_id] = receipt
    if receipt.durable:
        before.sealed |= {file.filename: file for file in receipt.files}
