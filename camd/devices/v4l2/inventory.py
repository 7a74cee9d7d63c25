"""What is plugged in, as far as it is known: what was seen, what was asked, what was answered.

Pure: the survey tells it what it saw and heard, and carries out what it wants asked.
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
    """Everything that one look sees without opening anything."""

    nodes: tuple[NodeStat, ...] = ()
    links: Mapping[str, tuple[Path, ...]] = attrs.field(factory=dict)  # by the node's name
    cards: Mapping[str, str] = attrs.field(factory=dict)  # sound cards by USB device's folder
    left_out: int = 0  # nodes beyond MOST_NODES


@attrs.frozen
class NodeAnswer:
    """What came of asking a node; nothing set: it is no capture node."""

    capabilities: Capabilities | None = None
    problem: Problem | None = None
    gone: bool = False


@attrs.frozen
class QueryJob:
    """A node that has to be asked, in one of its lives."""

    sighting: NodeStat
    plugged: int


@attrs.define(eq=False)
class _Entry:
    """One node in one of its lives."""

    sighting: NodeStat
    plugged: int
    asking: bool = False
    late: bool = False  # the question is open for longer than anybody should wait
    facts: SysfsFacts | None = None
    answer: NodeAnswer | None = None
    capabilities: Capabilities | None = None  # the last ones of this life

    @property
    def restless(self) -> bool:
        """Whether the answer may be another one next time, although nothing is said."""
        if self.answer is None or self.answer.problem is not None or self.answer.gone:
            return True
        return self.facts is not None and self.facts.virtual


@attrs.define(eq=False)
class Inventory:
    """The nodes that are there, and what is known of them."""

    _dev: Path
    _ignore: tuple[str, ...] = ()
    _entries: dict[str, _Entry] = attrs.field(factory=dict, init=False)
    _scene: Scan | None = attrs.field(default=None, init=False)
    _plugged: int = attrs.field(default=0, init=False)

    def see(self, scene: Scan) -> list[QueryJob]:
        """Take in a look; return what has to be asked because of it.

        That is what is new, and what had no answer that lasts; but nothing that is being asked.
        """
        self._scene = scene
        entries: dict[str, _Entry] = {}
        for sighting in scene.nodes:
            entry = self._entries.get(sighting.name)
            if entry is None or entry.sighting != sighting:
                self._plugged += 1
                entry = _Entry(sighting, self._plugged)
            entries[sighting.name] = entry
        self._entries = entries
        return [self._ask(e) for e in entries.values() if e.restless and not e.asking]

    def ask_again(self, name: str) -> tuple[QueryJob | None, bool]:
        """Return the job of asking a node once more, and whether it has to be begun now."""
        entry = self._entries.get(name)
        if entry is None:
            return None, False
        fresh = not entry.asking
        return (self._ask(entry) if fresh else QueryJob(entry.sighting, entry.plugged)), fresh

    def _ask(self, entry: _Entry) -> QueryJob:
        entry.asking, entry.late = True, False
        return QueryJob(entry.sighting, entry.plugged)

    def know(self, job: QueryJob, facts: SysfsFacts | None) -> NodeAnswer | None:
        """Take in a node's facts; return the answer where the node need not be opened for it."""
        entry = self._find(job)
        if entry is None or facts is None:
            return NodeAnswer(gone=True)
        entry.facts = facts
        return NodeAnswer() if self._is_ignored(entry) else None

    def hear(self, job: QueryJob, answer: NodeAnswer) -> None:
        """Take in an answer, however late; one of a former life is nobody's."""
        if (entry := self._find(job)) is None:
            return
        entry.asking = entry.late = False
        entry.answer = answer
        if answer.problem is None:
            entry.capabilities = answer.capabilities

    def lose_patience(self, job: QueryJob) -> bool:
        """Take note that an answer takes too long; return whether that is news."""
        entry = self._find(job)
        if entry is None or not entry.asking:
            return False
        entry.late = True
        return entry.answer is None or entry.answer.problem is None

    def _find(self, job: QueryJob) -> _Entry | None:
        entry = self._entries.get(job.sighting.name)
        return entry if entry is not None and entry.plugged == job.plugged else None

    # --- what others see ---

    @property
    def settled(self) -> bool:
        """Whether everything seen has answered once, or was waited for long enough."""
        entries = self._entries.values()
        return self._scene is not None and all(e.answer is not None or e.late for e in entries)

    @property
    def devices(self) -> tuple[Device, ...]:
        """What is listed, in the order of the nodes' numbers."""
        return tuple(
            device
            for entry in sorted(self._entries.values(), key=lambda e: e.sighting.number)
            if (device := self._show(entry)) is not None
        )

    def find(self, name: str) -> Device | None:
        """Find what is listed of one node."""
        entry = self._entries.get(name)
        return None if entry is None else self._show(entry)

    def _show(self, entry: _Entry) -> Device | None:
        facts, problem = entry.facts, entry.answer.problem if entry.answer else None
        if entry.late and problem is None:  # else it would be another one with every look
            problem = HUNG
        if facts is None or self._is_ignored(entry):
            return None
        if entry.capabilities is None and (problem is None or not facts.plausible):
            return None
        return self._make_device(entry, facts, problem)

    def _make_device(self, entry: _Entry, facts: SysfsFacts, problem: Problem | None) -> Device:
        name, known = entry.sighting.name, entry.capabilities
        assert self._scene is not None
        place = find_usb_place(entry.sighting.folder)
        card = known.card if known else ""
        return Device(
            node=self._dev / name,
            plugged=entry.plugged,
            name=simplify(facts.label or card) or facts.product or name,
            bus_info=(known.bus_info if known else "") or facts.bus_path,
            usb=facts.usb,
            links=self._scene.links.get(name, ()),
            capabilities=known,
            problem=problem,
            sound_card=self._scene.cards.get(place.folder, "") if place else "",
        )

    def _is_ignored(self, entry: _Entry) -> bool:
        if not self._ignore or entry.facts is None or self._scene is None:
            return False
        facts, usb, name = entry.facts, entry.facts.usb, entry.sighting.name
        names = [str(self._dev / name), simplify(facts.label), facts.product]
        names += map(str, self._scene.links.get(name, ()))
        if usb is not None:
            names += [usb.serial, usb.port, usb.kernel_name, f"{usb.vendor}:{usb.product}"]
        return matches(self._ignore, filter(None, names))


def matches(patterns: Iterable[str], names: Iterable[str]) -> bool:
    """Whether one of the names fits one of the patterns (fnmatch), capital letters or not."""
    lowered = [name.lower() for name in names]
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns for name in lowered)


def simplify(label: str) -> str:
    """Shorten a name that says the same twice, as uvcvideo's do: "Camera: Came" (cut at 31)."""
    first, colon, second = label.partition(": ")
    return first if colon and first.startswith(second) else label
