"""Scans the nodes, and queries one node and explains its errors; all of it blocks, in threads."""

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
    stat_node,
)
from camd.devices.v4l2 import node_errors
from camd.devices.v4l2.inventory import MOST_NODES, NodeAnswer, Scan
from camd.devices.v4l2.node import NodeStat, SysfsFacts
from camd.model import Capabilities

Query = Callable[[Path], Capabilities | None]  # blocks; None: no capture node; raises OSError
T = TypeVar("T")

# A thread that hangs keeps its place until its driver returns, so there are more than nodes.
_THREADS = 2 * MOST_NODES


class NodeReader(Protocol):
    """How the monitor reads devices: `ThreadedNodeReader`, or a fake in tests."""

    async def scan(self) -> Scan:
        """Scan all nodes; takes milliseconds."""

    async def read_facts(self, node: NodeStat) -> SysfsFacts | None:
        """Read sysfs and udev's database of a node; None when it is gone. May never return."""

    async def query_node(self, node: NodeStat) -> NodeAnswer:
        """Open a node and query its capabilities. May never return."""


@attrs.define(eq=False)
class ThreadedNodeReader:
    """Reads the real devices, each call in a thread that is abandoned when cancelled."""

    roots: SysfsRoots
    query: Query
    _limiter: trio.CapacityLimiter = attrs.field(
        factory=lambda: trio.CapacityLimiter(_THREADS), init=False
    )

    async def scan(self) -> Scan:
        """Run `scan_nodes`."""
        return await self._run(lambda: scan_nodes(self.roots))

    async def read_facts(self, node: NodeStat) -> SysfsFacts | None:
        """Run `sysfs.read_facts`."""
        return await self._run(lambda: read_facts(node, self.roots))

    async def query_node(self, node: NodeStat) -> NodeAnswer:
        """Run `query_node`."""
        return await self._run(lambda: query_node(self.roots.dev / node.name, self.query))

    async def _run(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)


def scan_nodes(roots: SysfsRoots) -> Scan:
    """Scan all nodes without opening one; takes milliseconds. Never raises OSError."""
    names = list_nodes(roots)
    nodes = (stat_node(name, roots) for name in names[:MOST_NODES])
    return Scan(
        nodes=tuple(node for node in nodes if node is not None),
        links=read_links(roots),
        cards=read_cards(roots.sys),
        left_out=max(0, len(names) - MOST_NODES),
    )


def query_node(node: Path, query: Query) -> NodeAnswer:
    """Query a node; an OSError becomes a problem in the answer. Blocks."""
    try:
        return NodeAnswer(query(node))
    except OSError as error:
        if node_errors.is_gone(error):
            return NodeAnswer(gone=True)
        if node_errors.is_foreign(error):
            return NodeAnswer()
        if node_errors.is_denied(error):
            return NodeAnswer(problem=node_errors.denied(str(node), read_access(node)))
        return NodeAnswer(problem=node_errors.describe_error(error))


def read_access(node: Path) -> node_errors.NodeAccess:
    """Read who may open a node, and who this process is. May block on the users' database."""
    user = _user_name(os.geteuid())
    group, member, entitled = "", False, os.access(node, os.R_OK | os.W_OK, effective_ids=True)
    with suppress(OSError, KeyError):
        status = node.stat()
        if status.st_gid and status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP:
            found = grp.getgrgid(status.st_gid)
            group, member = found.gr_name, user in found.gr_mem
    return node_errors.NodeAccess(group, user, member, entitled, _in_container())


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return ""


def _in_container() -> bool:
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"), Path("/run/systemd/container"))
    return any(map(os.path.exists, marks))
