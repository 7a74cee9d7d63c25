"""Looks at devices that block: seeing what there is, and asking one node. For threads."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import attrs
import trio

from camd.devices.sysfs import (
    SysfsRoots,
    list_nodes,
    read_cards,
    read_facts,
    read_links,
    see_node,
)
from camd.devices.v4l2 import access
from camd.devices.v4l2.inventory import MOST_NODES, NodeAnswer, Scan
from camd.devices.v4l2.node import NodeStat, SysfsFacts
from camd.model import Capabilities

Query = Callable[[Path], Capabilities | None]  # blocks; None: no capture node; raises OSError
T = TypeVar("T")

# A thread that hangs keeps its place until the driver lets go of it, so there are more places
# than nodes.
_THREADS = 2 * MOST_NODES


class DeviceProbe(Protocol):
    """How a survey looks and asks; a test puts its own world behind it."""

    async def look(self) -> Scan:
        """See what there is. Quick."""

    async def read_facts(self, sighting: NodeStat) -> SysfsFacts | None:
        """Read what is said of a node; None when it is gone. May take for ever."""

    async def ask(self, sighting: NodeStat) -> NodeAnswer:
        """Open a node and ask what it can do. May take for ever."""


@attrs.define(eq=False)
class ThreadProbe:
    """The real thing: each question in a thread of its own, left behind when cancelled."""

    roots: SysfsRoots
    query: Query
    _limiter: trio.CapacityLimiter = attrs.field(
        factory=lambda: trio.CapacityLimiter(_THREADS), init=False
    )

    async def look(self) -> Scan:
        """As `see`."""
        return await self._run(lambda: see(self.roots))

    async def read_facts(self, sighting: NodeStat) -> SysfsFacts | None:
        """As `sysfs.read_facts`."""
        return await self._run(lambda: read_facts(sighting, self.roots))

    async def ask(self, sighting: NodeStat) -> NodeAnswer:
        """As `ask`."""
        return await self._run(lambda: ask(self.roots.dev / sighting.name, self.query))

    async def _run(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)


def see(roots: SysfsRoots) -> Scan:
    """See what there is without opening anything; quick. Never raises OSError."""
    names = list_nodes(roots)
    sighted = (see_node(name, roots) for name in names[:MOST_NODES])
    return Scan(
        nodes=tuple(sighting for sighting in sighted if sighting is not None),
        links=read_links(roots),
        cards=read_cards(roots.sys),
        left_out=max(0, len(names) - MOST_NODES),
    )


def ask(node: Path, query: Query) -> NodeAnswer:
    """Ask a node what it can do, and put a refusal into words. Blocks; no OSError comes out."""
    try:
        return NodeAnswer(query(node))
    except OSError as error:
        if access.is_gone(error):
            return NodeAnswer(gone=True)
        if access.is_foreign(error):
            return NodeAnswer()
        if access.is_denied(error):
            return NodeAnswer(problem=access.denied(str(node), read_access(node)))
        return NodeAnswer(problem=access.describe(error))


def read_access(node: Path) -> access.NodeAccess:
    """Read who may open a node, and who we are. May block, where users are on a server."""
    user = _name_user(os.geteuid())
    group, member, entitled = "", False, os.access(node, os.R_OK | os.W_OK, effective_ids=True)
    with suppress(OSError, KeyError):
        facts = node.stat()
        if facts.st_gid and facts.st_mode & stat.S_IRGRP and facts.st_mode & stat.S_IWGRP:
            listed = grp.getgrgid(facts.st_gid)
            group, member = listed.gr_name, user in listed.gr_mem
    return access.NodeAccess(group, user, member, entitled, _is_contained())


def _name_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return ""


def _is_contained() -> bool:
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"), Path("/run/systemd/container"))
    return any(mark.exists() for mark in marks)
