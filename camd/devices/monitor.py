"""The device monitor: an actor that keeps the list of capture devices that are plugged in.

At each change it scans the nodes and queries the new ones. Each query runs in a thread of its own,
so a driver that hangs delays no other node: the device is listed with the problem `hung`, and its
answer is used whenever it comes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import structlog
import trio

from camd.config.schema import DiscoveryConfig
from camd.devices.hotplug import ChangeWatch, open_change_watch
from camd.devices.node_reader import NodeReader, Query, ThreadedNodeReader
from camd.devices.sysfs import SYSTEM, SysfsRoots, follow
from camd.devices.v4l2.inventory import MOST_NODES, Inventory, QueryJob
from camd.model import Device
from camd.runtime.actor import Mailbox
from camd.runtime.broadcast import LatestValue

log = structlog.get_logger("camd.devices")

QUERY_TIMEOUT_SECONDS = 2.0  # then a node is listed as hung


@attrs.frozen
class _QueryAgain:
    node: Path


@attrs.define(eq=False)
class DeviceMonitor:
    """The capture devices that are plugged in, in the order of their nodes' numbers."""

    present: LatestValue[tuple[Device, ...]] = attrs.field(
        factory=lambda: LatestValue[tuple[Device, ...]](()), init=False
    )
    all_queried: trio.Event = attrs.field(
        factory=trio.Event, init=False
    )  # all nodes were queried once
    _watch: ChangeWatch | None = None
    _mailbox: Mailbox[_QueryAgain] = attrs.field(factory=Mailbox, init=False)

    @property
    def method(self) -> str:
        """How changes are detected, for people."""
        return "switched off" if self._watch is None else self._watch.method

    async def query_again(self, node: Path) -> Device | None:
        """Query a node, or the target of a link, once more; None when it is no capture device.

        Waits for the answer, at most QUERY_TIMEOUT_SECONDS for the driver; while an earlier query
        of the node hangs, no second one is made. Raises ActorGoneError after the monitor's end.
        """
        if self._watch is None:
            return None
        device: Device | None = await self._mailbox.ask(_QueryAgain(node))
        return device


@asynccontextmanager
async def open_monitor(
    config: DiscoveryConfig, *, query: Query, roots: SysfsRoots = SYSTEM
) -> AsyncIterator[DeviceMonitor]:
    """Run the monitor of this machine while the block runs; an empty one if switched off.

    `query` runs in a thread and may block for as long as the driver does; it returns None for a
    node that does not capture, and raises OSError. Threads that hang are abandoned at the end.
    """
    if not config.v4l2:
        monitor = DeviceMonitor()
        monitor.all_queried.set()
        yield monitor
        return
    async with (
        open_change_watch(roots) as watch,
        run_monitor(config, watch, ThreadedNodeReader(roots, query), roots.dev) as monitor,
    ):
        log.info("device_monitor_started", method=watch.method)
        yield monitor


@asynccontextmanager
async def run_monitor(
    config: DiscoveryConfig, watch: ChangeWatch, reader: NodeReader, dev: Path
) -> AsyncIterator[DeviceMonitor]:
    """Run a monitor on any watch and reader of nodes; `dev` is the folder of the nodes."""
    monitor = DeviceMonitor(watch)
    inventory = Inventory(dev, config.ignore)
    with monitor._mailbox.opened():  # until the loop has ended, which must not see it closed
        async with trio.open_nursery() as nursery:
            loop = _MonitorLoop(monitor, watch, reader, inventory, nursery)
            await nursery.start(loop.serve)
            yield monitor
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _MonitorLoop:
    """The actor: scans, queries and publishes."""

    _monitor: DeviceMonitor
    _watch: ChangeWatch
    _reader: NodeReader
    _inventory: Inventory
    _nursery: trio.Nursery
    _scanning: trio.Lock = attrs.field(factory=trio.Lock, init=False)  # keeps scans in order
    _finished: dict[QueryJob, trio.Event] = attrs.field(factory=dict, init=False)  # or timed out
    _too_many: bool = attrs.field(default=False, init=False)  # logged once

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Scan at each change, and take requests; never returns."""
        self._nursery.start_soon(self._receive)
        task_status.started()
        while True:
            await self._scan()
            await self._watch.wait_change()

    async def _receive(self) -> None:
        while True:
            ask = await self._monitor._mailbox.receive()
            self._nursery.start_soon(self._query_again, ask.request.node, ask.answer)

    async def _query_again(self, node: Path, answer: Callable[[object], None]) -> None:
        target = await trio.to_thread.run_sync(follow, node, abandon_on_cancel=True)
        name = Path(target).name
        await self._scan()
        job, is_new = self._inventory.query_again(name)
        if job is not None and is_new:
            self._start_query(job)
        if job is not None and job in self._finished:
            await self._finished[job].wait()
        answer(self._inventory.find(name))

    async def _scan(self) -> None:
        async with self._scanning:
            scan = await self._reader.scan()
            if scan.left_out and not self._too_many:
                self._too_many = True
                log.warning("devices_left_out", most=MOST_NODES, left_out=scan.left_out)
            for job in self._inventory.apply_scan(scan):
                self._start_query(job)
            self._publish()

    def _start_query(self, job: QueryJob) -> None:
        self._finished[job] = trio.Event()
        self._nursery.start_soon(self._query, job)

    async def _query(self, job: QueryJob) -> None:
        """Query one node, however long that takes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._time_out, job)
            facts = await self._reader.read_facts(job.node)
            answer = self._inventory.record_facts(job, facts)
            if answer is None:
                answer = await self._reader.query_node(job.node)
            nursery.cancel_scope.cancel()
        # No checkpoint between these: a scan in between would query the node again.
        self._inventory.record_answer(job, answer)
        self._finished.pop(job).set()
        self._publish()

    async def _time_out(self, job: QueryJob) -> None:
        await trio.sleep(QUERY_TIMEOUT_SECONDS)
        if self._inventory.mark_late(job):
            log.warning("device_does_not_answer", device=job.node.name)
        self._finished[job].set()
        self._publish()

    def _publish(self) -> None:
        before, after = self._monitor.present.value, self._inventory.devices
        if before != after:
            _log_changes(before, after)
            self._monitor.present.publish(after)
        if self._inventory.all_queried:
            self._monitor.all_queried.set()


def _log_changes(before: tuple[Device, ...], after: tuple[Device, ...]) -> None:
    old, new = ({device.plug_id: device for device in devices} for devices in (before, after))
    for device in before:
        if device.plug_id not in new:
            log.info("device_unplugged", device=str(device.node), name=device.name)
    for device in after:
        known = old.get(device.plug_id)
        if known is None:
            serial = device.usb.serial if device.usb else ""
            log.info("device_plugged", device=str(device.node), name=device.name, serial=serial)
        if device.problem is not None and (known is None or known.problem != device.problem):
            log.warning(
                "device_has_problem", device=str(device.node), cause=device.problem.kind,
                message=device.problem.message, suggestion=device.problem.suggestion,
            )  # fmt: skip
