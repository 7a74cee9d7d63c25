"""When devices come and go: udev's word, or where udev has none, a look every second.

The only module that knows pyudev. It says *that* something changed and never what: whoever wants
to know looks for himself, so that a lost event costs time and never the truth.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs
import pyudev
import structlog
import trio

from camd.devices.facts import NodeStat
from camd.devices.sysfs import SYSTEM, SysfsRoots, list_nodes, see_node

log = structlog.get_logger("camd.devices")

SCAN_SECONDS = 1.0
SAFETY_SECONDS = 10.0  # some losses give no event, and some answers change without one
_BUFFER_BYTES = 1 << 20  # of events that nobody has read yet; a hub full of cameras sends 100 KB
_SUBSYSTEMS = ("video4linux", "sound")  # the microphone may come after the picture
_AT_ONCE = 1000  # events read in one go


class ChangeAnnouncer(Protocol):
    """Something that says when devices come and go."""

    async def wait_event(self) -> None:
        """Wait until something was said; what is said at the same time counts as one."""


@attrs.frozen
class NodesStat:
    """What is compared between two looks."""

    nodes: tuple[NodeStat, ...]
    modes: tuple[tuple[int, int, int], ...]  # of the nodes: mode, user, group


@attrs.define(eq=False)
class ChangeWatch:
    """Wakes whoever wants to know that something may have changed."""

    how: str  # by what means, for people
    _wakes: trio.MemoryReceiveChannel[None]

    async def wait_change(self) -> None:
        """Wait until something may have changed since the last time; now and then for nothing."""
        await self._wakes.receive()


@attrs.define(eq=False)
class _Watcher:
    """The loop behind a watch."""

    watch: ChangeWatch
    _wakes: trio.MemorySendChannel[None]
    _look: Callable[[], Awaitable[NodesStat]]

    async def serve(
        self,
        announcer: ChangeAnnouncer | None,
        reason: str,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Wake for ever, for what changes from now on."""
        known = await self._look()
        task_status.started()
        if announcer is not None:
            known = await self._listen(announcer, known)
            reason = "udev does not announce what comes and goes"
            log.warning("devices_watch_changed", reason=reason)
        self.watch.how = _how(reason)
        await self._scan(known)

    async def _listen(self, announcer: ChangeAnnouncer, known: NodesStat) -> NodesStat:
        """Wake at every event, and now and then without; return when events do not come.

        They do not where udev's messages are kept from us, as in a container with a network of
        its own. A change that was seen before its event is given another round.
        """
        missed = False
        while True:
            with trio.move_on_after(SAFETY_SECONDS) as quiet:
                await announcer.wait_event()
            self._wake()
            seen = await self._look()
            if not quiet.cancelled_caught:
                missed = False
            elif missed:
                return seen
            else:
                missed = seen.nodes != known.nodes
            known = seen

    async def _scan(self, known: NodesStat) -> None:
        """Wake when a look differs from the one before, and now and then when none does."""
        rested = 0.0
        while True:
            await trio.sleep(SCAN_SECONDS)
            rested += SCAN_SECONDS
            seen = await self._look()
            if seen != known or rested >= SAFETY_SECONDS:
                self._wake()
                known, rested = seen, 0.0

    def _wake(self) -> None:
        with suppress(trio.WouldBlock):  # it was woken already and has not looked yet
            self._wakes.send_nowait(None)


@attrs.define(eq=False)
class UdevAnnouncer:
    """udev's own messages, sent when it has done its part: links and permissions are there."""

    _monitor: pyudev.Monitor

    async def wait_event(self) -> None:
        """Wait for the socket, then read all that is there."""
        await trio.lowlevel.wait_readable(self._monitor.fileno())
        try:
            for _ in range(_AT_ONCE):
                if self._monitor.poll(0) is None:
                    break
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # events were lost: that is an event as well
                log.warning("udev_unreadable", error=str(error))
                await trio.sleep(SCAN_SECONDS)


def open_announcer(udev: Path = Path("/run/udev")) -> tuple[UdevAnnouncer | None, str]:
    """Open udev's messages; where there are none, say why. Blocks while libudev is looked for."""
    if not (udev / "control").exists():
        return None, "udev is not running"
    try:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), "udev")
        for subsystem in _SUBSYSTEMS:
            monitor.filter_by(subsystem)
        with suppress(OSError):  # beyond the system's limit only root may go
            monitor.set_receive_buffer_size(_BUFFER_BYTES)
        monitor.start()
    except ImportError:
        return None, "libudev is not installed"
    except OSError as error:
        return None, f"udev cannot be heard: {error.strerror or error}"
    return UdevAnnouncer(monitor), ""


def stat_nodes(roots: SysfsRoots) -> NodesStat:
    """Look at what is compared: blocks for less than a millisecond per node."""
    nodes, modes = [], []
    for name in list_nodes(roots):
        sighting = see_node(name, roots)
        with suppress(OSError):
            facts = (roots.dev / name).stat()
            modes.append((facts.st_mode, facts.st_uid, facts.st_gid))
        if sighting is not None:
            nodes.append(sighting)
    return NodesStat(tuple(nodes), tuple(modes))


def _how(reason: str) -> str:
    if reason:
        return f"a look every second: {reason}"
    return f"udev's events, and a look every {SAFETY_SECONDS:.0f} s"


@asynccontextmanager
async def open_watch(roots: SysfsRoots = SYSTEM) -> AsyncIterator[ChangeWatch]:
    """Watch for devices while the block runs; what comes after this has been entered counts."""

    async def look() -> NodesStat:
        return await trio.to_thread.run_sync(stat_nodes, roots, abandon_on_cancel=True)

    announcer, reason = await trio.to_thread.run_sync(
        open_announcer, roots.udev, abandon_on_cancel=True
    )
    async with run_watch(look, announcer, reason) as watch:
        yield watch


@asynccontextmanager
async def run_watch(
    look: Callable[[], Awaitable[NodesStat]], announcer: ChangeAnnouncer | None, reason: str = ""
) -> AsyncIterator[ChangeWatch]:
    """Watch by any means; `reason` says why there is no announcer."""
    # Keep the latest only: two changes that nobody has looked at yet are one.
    send, receive = trio.open_memory_channel[None](1)
    watch = ChangeWatch(_how(reason), receive)
    async with trio.open_nursery() as nursery:
        await nursery.start(_Watcher(watch, send, look).serve, announcer, reason)
        yield watch
        nursery.cancel_scope.cancel()
