"""The survey: which capture nodes are plugged in at the moment, kept up to date.

Each node is asked in a thread of its own, and a driver that hangs delays nobody: what is known of
its node is published, and its answer is used whenever it comes.
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

from camd.config.schema import DiscoveryConfig
from camd.devices.probe import DeviceProbe, Query, ThreadProbe
from camd.devices.sysfs import SYSTEM, SysfsRoots, follow, list_nodes, see_node
from camd.devices.v4l2.inventory import MOST_NODES, Inventory, QueryJob
from camd.devices.v4l2.node import NodeStat
from camd.model import Device
from camd.runtime.actor import Mailbox
from camd.runtime.broadcast import Published

# --- When devices come and go: udev's word, or where udev has none, a look every second.

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
class PollSnapshot:
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
    _look: Callable[[], Awaitable[PollSnapshot]]

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

    async def _listen(self, announcer: ChangeAnnouncer, known: PollSnapshot) -> PollSnapshot:
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

    async def _scan(self, known: PollSnapshot) -> None:
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


def stat_nodes(roots: SysfsRoots) -> PollSnapshot:
    """Look at what is compared: blocks for less than a millisecond per node."""
    nodes, modes = [], []
    for name in list_nodes(roots):
        sighting = see_node(name, roots)
        with suppress(OSError):
            facts = (roots.dev / name).stat()
            modes.append((facts.st_mode, facts.st_uid, facts.st_gid))
        if sighting is not None:
            nodes.append(sighting)
    return PollSnapshot(tuple(nodes), tuple(modes))


def _how(reason: str) -> str:
    if reason:
        return f"a look every second: {reason}"
    return f"udev's events, and a look every {SAFETY_SECONDS:.0f} s"


@asynccontextmanager
async def open_watch(roots: SysfsRoots = SYSTEM) -> AsyncIterator[ChangeWatch]:
    """Watch for devices while the block runs; what comes after this has been entered counts."""

    async def look() -> PollSnapshot:
        return await trio.to_thread.run_sync(stat_nodes, roots, abandon_on_cancel=True)

    announcer, reason = await trio.to_thread.run_sync(
        open_announcer, roots.udev, abandon_on_cancel=True
    )
    async with run_watch(look, announcer, reason) as watch:
        yield watch


@asynccontextmanager
async def run_watch(
    look: Callable[[], Awaitable[PollSnapshot]], announcer: ChangeAnnouncer | None, reason: str = ""
) -> AsyncIterator[ChangeWatch]:
    """Watch by any means; `reason` says why there is no announcer."""
    # Keep the latest only: two changes that nobody has looked at yet are one.
    send, receive = trio.open_memory_channel[None](1)
    watch = ChangeWatch(_how(reason), receive)
    async with trio.open_nursery() as nursery:
        await nursery.start(_Watcher(watch, send, look).serve, announcer, reason)
        yield watch
        nursery.cancel_scope.cancel()


# --- The survey: which capture nodes are plugged in at the moment, kept up to date.

PATIENCE_SECONDS = 2.0  # for one node's answer


class ChangeSource(Protocol):
    """What a survey needs of a watch."""

    @property
    def how(self) -> str:
        """By what means it knows of changes, for people."""

    async def wait_change(self) -> None:
        """Wait until something may have changed."""


# --- requests and the handle ---------------------------------------------------------------


@attrs.frozen
class _LookAgain:
    """Ask one node once more."""

    node: Path


@attrs.define(eq=False)
class DeviceMonitor:
    """What is plugged in. The devices are in the order of their nodes' numbers."""

    present: Published[tuple[Device, ...]] = attrs.field(
        factory=lambda: Published[tuple[Device, ...]](()), init=False
    )
    settled: trio.Event = attrs.field(factory=trio.Event, init=False)
    _watch: ChangeSource | None = None
    _mailbox: Mailbox[_LookAgain] = attrs.field(factory=Mailbox, init=False)

    @property
    def how(self) -> str:
        """By what means it is kept up to date, for people."""
        return "switched off" if self._watch is None else self._watch.how

    async def look_again(self, node: Path) -> Device | None:
        """Ask a node, or what a link points to, once more; None when it is no camera, or gone.

        Waits for the answer, at most PATIENCE_SECONDS for the driver; where an earlier question
        still hangs there, no second one is asked. Raises ActorGoneError after the survey's end.
        """
        if self._watch is None:
            return None
        device: Device | None = await self._mailbox.ask(_LookAgain(node))
        return device


# --- the actor -----------------------------------------------------------------------------


@attrs.define(eq=False)
class _Monitor:
    """Looks, asks, and publishes what came of it."""

    _monitor: DeviceMonitor
    _watch: ChangeSource
    _probe: DeviceProbe
    _inventory: Inventory
    _nursery: trio.Nursery
    _looking: trio.Lock = attrs.field(factory=trio.Lock, init=False)  # the newest look comes last
    _open: dict[QueryJob, trio.Event] = attrs.field(
        factory=dict, init=False
    )  # set: nobody need wait
    _crowded: bool = attrs.field(default=False, init=False)

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look whenever something may have changed; take requests meanwhile."""
        self._nursery.start_soon(self._receive)
        task_status.started()
        while True:
            await self._look()
            await self._watch.wait_change()

    async def _receive(self) -> None:
        while True:
            ask = await self._monitor._mailbox.receive()
            self._nursery.start_soon(self._look_again, ask.request.node, ask.answer)

    async def _look_again(self, node: Path, answer: Callable[[object], None]) -> None:
        target = await trio.to_thread.run_sync(follow, node, abandon_on_cancel=True)
        name = Path(target).name
        await self._look()
        job, fresh = self._inventory.ask_again(name)
        if job is not None and fresh:
            self._begin(job)
        if job is not None and job in self._open:
            await self._open[job].wait()
        answer(self._inventory.find(name))

    async def _look(self) -> None:
        async with self._looking:
            scene = await self._probe.look()
            if scene.left_out and not self._crowded:
                self._crowded = True
                log.warning("devices_left_out", most=MOST_NODES, left_out=scene.left_out)
            for job in self._inventory.see(scene):
                self._begin(job)
            self._publish()

    def _begin(self, job: QueryJob) -> None:
        self._open[job] = trio.Event()
        self._nursery.start_soon(self._ask, job)

    async def _ask(self, job: QueryJob) -> None:
        """Ask one node, however long that takes; after a while, say that it takes too long."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lose_patience, job)
            facts = await self._probe.read_facts(job.sighting)
            answer = self._inventory.know(job, facts)
            if answer is None:
                answer = await self._probe.ask(job.sighting)
            nursery.cancel_scope.cancel()
        # In one step: a look in between would ask again before this question is closed.
        self._inventory.hear(job, answer)
        self._open.pop(job).set()
        self._publish()

    async def _lose_patience(self, job: QueryJob) -> None:
        await trio.sleep(PATIENCE_SECONDS)
        if self._inventory.lose_patience(job):
            log.warning("device_does_not_answer", device=job.sighting.name)
        self._open[job].set()
        self._publish()

    def _publish(self) -> None:
        before, after = self._monitor.present.value, self._inventory.devices
        if before != after:
            _report(before, after)
            self._monitor.present.publish(after)
        if self._inventory.settled:
            self._monitor.settled.set()


def _report(before: tuple[Device, ...], after: tuple[Device, ...]) -> None:
    """Log what came, went, or fares differently."""
    old, new = ({device.plugged: device for device in devices} for devices in (before, after))
    for device in before:
        if device.plugged not in new:
            log.info("device_unplugged", device=str(device.node), name=device.name)
    for device in after:
        known = old.get(device.plugged)
        if known is None:
            serial = device.usb.serial if device.usb else ""
            log.info("device_plugged", device=str(device.node), name=device.name, serial=serial)
        if device.problem is not None and (known is None or known.problem != device.problem):
            log.warning(
                "device_in_trouble", device=str(device.node), cause=device.problem.cause,
                message=device.problem.message, suggestion=device.problem.suggestion,
            )  # fmt: skip


@asynccontextmanager
async def open_monitor(
    config: DiscoveryConfig, *, query: Query, roots: SysfsRoots = SYSTEM
) -> AsyncIterator[DeviceMonitor]:
    """Keep an account of what is plugged in while the block runs.

    `query` asks one node what it can do; it runs in a thread, may block for as long as the driver
    does, returns None for what is no capture node, and raises OSError. Leaves threads that hang
    behind.
    """
    if not config.v4l2:
        monitor = DeviceMonitor()
        monitor.settled.set()
        yield monitor
        return
    async with (
        open_watch(roots) as watch,
        run_monitor(config, watch, ThreadProbe(roots, query), roots.dev) as monitor,
    ):
        log.info("devices_watched", how=watch.how)
        yield monitor


@asynccontextmanager
async def run_monitor(
    config: DiscoveryConfig, watch: ChangeSource, probe: DeviceProbe, dev: Path
) -> AsyncIterator[DeviceMonitor]:
    """Run a survey on any watch and probe; nodes are named as in the folder `dev`."""
    monitor = DeviceMonitor(watch)
    inventory = Inventory(dev, config.ignore)
    async with trio.open_nursery() as nursery:
        monitor_loop = _Monitor(monitor, watch, probe, inventory, nursery)
        with monitor._mailbox.opened():
            await nursery.start(monitor_loop.serve)
            yield monitor
            nursery.cancel_scope.cancel()
