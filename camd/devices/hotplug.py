"""Detects that video nodes may have changed: by udev's events, or by polling where there are none.

Polling compares names, inodes and permissions of the nodes once a second. With udev events it runs
every ten seconds: some losses send no event. When polling sees changes that udev did not announce,
as in a container with a network of its own, udev is not trusted any more.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import pyudev
import structlog
import trio

from camd.devices.sysfs import SYSTEM, SysfsRoots, list_nodes, stat_node
from camd.devices.v4l2.node import NodeStat
from camd.runtime.aligned_sleep import sleep_aligned

log = structlog.get_logger("camd.devices")

POLL_SECONDS = 1.0
SAFETY_POLL_SECONDS = 10.0
_BUFFER_BYTES = 1 << 20  # of unread events; a hub full of cameras sends 100 KB
_SUBSYSTEMS = ("video4linux", "sound")  # the microphone may come after the video node
_MOST_EVENTS = 1000  # read in one go

WaitEvent = Callable[[], Awaitable[None]]  # waits for one or more udev events


@attrs.frozen
class PollSnapshot:
    """What two polls are compared by."""

    nodes: tuple[NodeStat, ...]
    modes: tuple[tuple[int, int, int], ...]  # of each node: mode, user, group


Poll = Callable[[], Awaitable[PollSnapshot]]


@attrs.define(eq=False)
class ChangeWatch:
    """Wakes one waiter when nodes may have changed; several changes count as one."""

    method: str  # "udev events, …" or "polling every second: why"
    _wakes: trio.MemoryReceiveChannel[None]

    async def wait_change(self) -> None:
        """Wait until nodes may have changed since the last call; also returns without a change."""
        await self._wakes.receive()


@asynccontextmanager
async def open_change_watch(roots: SysfsRoots = SYSTEM) -> AsyncIterator[ChangeWatch]:
    """Watch this machine's nodes while the block runs; no change after entering is missed."""

    async def poll() -> PollSnapshot:
        return await trio.to_thread.run_sync(poll_nodes, roots, abandon_on_cancel=True)

    wait_event, reason = await trio.to_thread.run_sync(
        open_udev_events, roots.udev, abandon_on_cancel=True
    )
    async with run_change_watch(poll, wait_event, reason) as watch:
        yield watch


@asynccontextmanager
async def run_change_watch(
    poll: Poll, wait_event: WaitEvent | None, reason: str = ""
) -> AsyncIterator[ChangeWatch]:
    """Watch by `poll` and `wait_event`; `reason` says why there are no events."""
    send, receive = trio.open_memory_channel[None](1)
    watch = ChangeWatch(_method(reason), receive)
    async with trio.open_nursery() as nursery:
        await nursery.start(_Watcher(watch, send, poll).serve, wait_event)
        yield watch
        nursery.cancel_scope.cancel()


def _method(reason: str) -> str:
    if reason:
        return f"polling every second: {reason}"
    return f"udev events, and polling every {SAFETY_POLL_SECONDS:.0f} s"


@attrs.define(eq=False)
class _Watcher:
    """The loop behind a watch."""

    watch: ChangeWatch
    _wakes: trio.MemorySendChannel[None]
    _poll: Poll

    async def serve(
        self,
        wait_event: WaitEvent | None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Wake the waiter at each change from now on; never returns."""
        known = await self._poll()
        task_status.started()
        if wait_event is not None:
            known = await self._follow_events(wait_event, known)
            reason = "udev does not announce what comes and goes"
            self.watch.method = _method(reason)
            log.warning("udev_events_missing", reason=reason)
        await self._follow_polls(known)

    async def _follow_events(self, wait_event: WaitEvent, known: PollSnapshot) -> PollSnapshot:
        """Wake at every event and safety poll; return when changes come without events.

        A poll may see a change before its event comes: only a second change in a row counts.
        """
        missed = False
        while True:
            with trio.move_on_after(SAFETY_POLL_SECONDS) as quiet:
                await wait_event()
            self._wake()
            seen = await self._poll()
            if not quiet.cancelled_caught:
                missed = False
            elif missed:
                return seen
            else:
                missed = seen.nodes != known.nodes
            known = seen

    async def _follow_polls(self, known: PollSnapshot) -> None:
        """Wake when a poll differs from the one before, and every SAFETY_POLL_SECONDS."""
        quiet_seconds = 0.0
        while True:
            await sleep_aligned(POLL_SECONDS)
            quiet_seconds += POLL_SECONDS
            seen = await self._poll()
            if seen != known or quiet_seconds >= SAFETY_POLL_SECONDS:
                self._wake()
                known, quiet_seconds = seen, 0.0

    def _wake(self) -> None:
        with suppress(trio.WouldBlock):  # an earlier wake has not been received yet
            self._wakes.send_nowait(None)


def open_udev_events(udev: Path = Path("/run/udev")) -> tuple[WaitEvent | None, str]:
    """Open udev's events, or return why there are none. Blocks while libudev is loaded.

    udev sends them after it has made links and set permissions.
    """
    if not os.path.exists(udev / "control"):
        return None, "udev is not running"
    try:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), "udev")
        for subsystem in _SUBSYSTEMS:
            monitor.filter_by(subsystem)
        with suppress(OSError):  # only root may exceed the system's limit
            monitor.set_receive_buffer_size(_BUFFER_BYTES)
        monitor.start()
    except ImportError:
        return None, "libudev is not installed"
    except OSError as error:
        return None, f"udev's events cannot be received: {error.strerror or error}"
    return partial(_wait_event, monitor), ""


async def _wait_event(monitor: pyudev.Monitor) -> None:
    await trio.lowlevel.wait_readable(monitor.fileno())
    try:
        for _ in range(_MOST_EVENTS):
            if monitor.poll(0) is None:
                break
    except OSError as error:
        if error.errno != errno.ENOBUFS:  # lost events count as an event
            log.warning("udev_events_unreadable", error=str(error))
            await trio.sleep(POLL_SECONDS)


def poll_nodes(roots: SysfsRoots) -> PollSnapshot:
    """Read what polls compare. Blocks, for less than a millisecond per node."""
    nodes, modes = [], []
    for name in list_nodes(roots):
        node = stat_node(name, roots)
        with suppress(OSError):
            status = (roots.dev / name).stat()
            modes.append((status.st_mode, status.st_uid, status.st_gid))
        if node is not None:
            nodes.append(node)
    return PollSnapshot(tuple(nodes), tuple(modes))
