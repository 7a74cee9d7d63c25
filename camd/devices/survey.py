"""The survey: which capture nodes are plugged in at the moment, kept up to date.

Each node is asked in a thread of its own, and a driver that hangs delays nobody: what is known of
its node is published, and its answer is used whenever it comes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from camd.config.schema import DiscoveryConfig
from camd.devices.inventory import MOST_NODES, Inventory, QueryJob
from camd.devices.probe import DeviceProbe, Query, ThreadProbe
from camd.devices.sysfs import SYSTEM, SysfsRoots, follow
from camd.devices.watch import open_watch
from camd.model import Device
from camd.runtime.mailbox import Mailbox
from camd.runtime.published import Published

log = structlog.get_logger("camd.devices")

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

    _survey: DeviceMonitor
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
            ask = await self._survey._mailbox.receive()
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
        before, after = self._survey.present.value, self._inventory.devices
        if before != after:
            _report(before, after)
            self._survey.present.publish(after)
        if self._inventory.settled:
            self._survey.settled.set()


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
        if device.trouble is not None and (known is None or known.trouble != device.trouble):
            log.warning(
                "device_in_trouble", device=str(device.node), cause=device.trouble.cause,
                message=device.trouble.message, suggestion=device.trouble.suggestion,
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
        survey = DeviceMonitor()
        survey.settled.set()
        yield survey
        return
    async with (
        open_watch(roots) as watch,
        run_monitor(config, watch, ThreadProbe(roots, query), roots.dev) as survey,
    ):
        log.info("devices_watched", how=watch.how)
        yield survey


@asynccontextmanager
async def run_monitor(
    config: DiscoveryConfig, watch: ChangeSource, probe: DeviceProbe, dev: Path
) -> AsyncIterator[DeviceMonitor]:
    """Run a survey on any watch and probe; nodes are named as in the folder `dev`."""
    survey = DeviceMonitor(watch)
    inventory = Inventory(dev, config.ignore)
    async with trio.open_nursery() as nursery:
        surveyor = _Monitor(survey, watch, probe, inventory, nursery)
        with survey._mailbox.opened():
            await nursery.start(surveyor.serve)
            yield survey
            nursery.cancel_scope.cancel()
