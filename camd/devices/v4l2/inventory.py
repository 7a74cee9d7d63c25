"""What is known of each node: scans, queries that run, answers; the listed devices follow from it.

The device monitor passes in its scans and what udev reports, and carries out the queries that
come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from camd.devices.v4l2.node import NodeStat, SysfsFacts, find_usb_place
from camd.model import Capabilities, Device, Problem
from camd.model.problems import HUNG

MOST_NODES = 256


@attrs.frozen
class Scan:
    """What can be seen of all nodes without opening one."""

    nodes: tuple[NodeStat, ...] = ()
    links: Mapping[str, tuple[Path, ...]] = attrs.field(factory=dict)  # by the node's name
    cards: Mapping[str, str] = attrs.field(factory=dict)  # sound cards by USB device's folder
    left_out: int = 0  # nodes beyond MOST_NODES


@attrs.frozen
class NodeAnswer:
    """The result of a query; the default: it is no capture node."""

    capabilities: Capabilities | None = None
    problem: Problem | None = None
    gone: bool = False


@attrs.frozen
class QueryJob:
    """A node to query, as it was plugged in."""

    node: NodeStat
    plug_id: int


@attrs.define(eq=False)
class _Entry:
    """A node from plugging it in to unplugging it."""

    node: NodeStat
    plug_id: int
    querying: bool = False
    late: bool = False  # the query takes longer than it should
    facts: SysfsFacts | None = None
    answer: NodeAnswer | None = None
    capabilities: Capabilities | None = None  # the last known ones, kept when a query fails

    @property
    def job(self) -> QueryJob:
        """Its query."""
        return QueryJob(self.node, self.plug_id)

    @property
    def may_change(self) -> bool:
        """Whether the next answer may differ although no change is announced."""
        if self.answer is None or self.answer.problem is not None or self.answer.gone:
            return True
        return self.facts is not None and self.facts.virtual


@attrs.define(eq=False)
class Inventory:
    """The nodes that are plugged in, and what is known of them."""

    _dev: Path
    _ignore: tuple[str, ...] = ()
    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)
    _scan: Scan | None = attrs.field(default=None, init=False)
    _last_plug_id: int = attrs.field(default=0, init=False)

    def apply_scan(self, scan: Scan) -> list[QueryJob]:
        """Update the nodes; return the queries to start.

        These are of new nodes and of those whose answer may change, unless one is running.
        """
        self._scan = scan
        entries: dict[str, _Entry] = {}
        for node in scan.nodes:
            entry = self._entries.get(node.name)
            if entry is None or entry.node != node:
                self._last_plug_id += 1
                entry = _Entry(node, self._last_plug_id)
            entries[node.name] = entry
        self._entries = entries
        return [self._start(e) for e in entries.values() if e.may_change and not e.querying]

    def query_again(self, name: str) -> tuple[QueryJob | None, bool]:
        """Return the query of a node, and whether it has to be started: it may be running."""
        entry = self._entries.get(name)
        if entry is None:
            return None, False
        return (entry.job, False) if entry.querying else (self._start(entry), True)

    def _start(self, entry: _Entry) -> QueryJob:
        entry.querying, entry.late = True, False
        return entry.job

    def record_facts(self, job: QueryJob, facts: SysfsFacts | None) -> NodeAnswer | None:
        """Store a node's facts; return the answer if the node need not be opened for it."""
        entry = self._find(job)
        if entry is None or facts is None:
            return NodeAnswer(gone=True)
        entry.facts = facts
        return NodeAnswer() if self._is_ignored(entry) else None

    def record_answer(self, job: QueryJob, answer: NodeAnswer) -> None:
        """Store an answer, however late; of a node that was unplugged meanwhile, drop it."""
        if (entry := self._find(job)) is None:
            return
        entry.querying = entry.late = False
        entry.answer = answer
        if answer.problem is None:
            entry.capabilities = answer.capabilities

    def mark_late(self, job: QueryJob) -> bool:
        """Note that a query takes too long; return whether the node had no problem before."""
        entry = self._find(job)
        if entry is None or not entry.querying:
            return False
        entry.late = True
        return entry.answer is None or entry.answer.problem is None

    def _find(self, job: QueryJob) -> _Entry | None:
        entry = self._entries.get(job.node.name)
        return entry if entry is not None and entry.plug_id == job.plug_id else None

    # --- what is listed ---

    @property
    def all_queried(self) -> bool:
        """Whether every node has answered or is late."""
        entries = self._entries.values()
        return self._scan is not None and all(e.answer is not None or e.late for e in entries)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The listed devices, in the order of their nodes' numbers."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.node.number)
        found = (self._device(entry) for entry in entries)
        return tuple(device for device in found if device is not None)

    def find(self, name: str) -> Device | None:
        """Return the listed device of one node."""
        entry = self._entries.get(name)
        return None if entry is None else self._device(entry)

    def _device(self, entry: _Entry) -> Device | None:
        """Describe a node; None when it is not listed.

        A node without capabilities is listed with its problem if sysfs or udev say that it
        captures.
        """
        facts, problem = entry.facts, entry.answer.problem if entry.answer else None
        if entry.late and problem is None:  # keep an earlier problem: the two would alternate
            problem = HUNG
        if facts is None or self._is_ignored(entry):
            return None
        if entry.capabilities is None and (problem is None or not facts.plausible):
            return None
        return self._make_device(entry, facts, problem)

    def _make_device(self, entry: _Entry, facts: SysfsFacts, problem: Problem | None) -> Device:
        name, known = entry.node.name, entry.capabilities
        assert self._scan is not None
        place = find_usb_place(entry.node.folder)
        card = known.card if known else ""
        return Device(
            node=self._dev / name,
            plug_id=entry.plug_id,
            name=simplify(facts.label or card) or facts.product or name,
            bus_info=(known.bus_info if known else "") or facts.bus_path,
            usb=facts.usb,
            links=self._scan.links.get(name, ()),
            capabilities=known,
            problem=problem,
            sound_card=self._scan.cards.get(place.folder, "") if place else "",
        )

    def _is_ignored(self, entry: _Entry) -> bool:
        if not self._ignore or entry.facts is None or self._scan is None:
            return False
        facts, usb, name = entry.facts, entry.facts.usb, entry.node.name
        names = [str(self._dev / name), simplify(facts.label), facts.product]
        names += map(str, self._scan.links.get(name, ()))
        if usb is not None:
            names += [usb.serial, usb.port, usb.kernel_name, f"{usb.vendor}:{usb.product}"]
        return matches(self._ignore, filter(None, names))


def matches(patterns: Iterable[str], names: Iterable[str]) -> bool:
    """Tell whether a name matches a pattern (fnmatch), ignoring case."""
    lowered = [name.lower() for name in names]
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns for name in lowered)


def simplify(label: str) -> str:
    """Remove a repeated name, as uvcvideo makes it: "Camera: Came" (cut at 31 characters)."""
    first, colon, second = label.partition(": ")
    return first if colon and first.startswith(second) else label
