"""When a change watch wakes its waiter, on an autojump clock with fake polls and udev events."""

from __future__ import annotations

import attrs
import pytest
import trio

from camd.devices.hotplug import ChangeWatch, PollSnapshot, run_change_watch
from camd.devices.v4l2.node import NodeStat

BY_EVENTS = "udev events, and polling every 10 s"


@attrs.define(eq=False)
class FakeNode:
    """One node that can be replugged, with or without a udev event."""

    stamp: int = 0
    mode: int = 0o660
    event: trio.Event = attrs.field(factory=trio.Event)

    async def poll(self) -> PollSnapshot:
        """Return the node as it is now."""
        return PollSnapshot((NodeStat("video0", (self.stamp,), ""),), ((self.mode, 0, 44),))

    async def wait_event(self) -> None:
        """Wait for the next event."""
        await self.event.wait()
        self.event = trio.Event()

    def replug(self, *, announce: bool) -> None:
        """Plug the node in again."""
        self.stamp += 1
        if announce:
            self.event.set()


async def wakes(watch: ChangeWatch, seconds: float) -> list[float]:
    """Return the times at which a watch wakes, from now on."""
    begun, times = trio.current_time(), []
    with trio.move_on_after(seconds):
        while True:
            await watch.wait_change()
            times.append(round(trio.current_time() - begun, 3))
    return times


async def test_an_event_wakes_at_once(autojump_clock) -> None:
    """Besides the safety poll every ten seconds, an event wakes without delay."""
    node = FakeNode()
    async with (
        run_change_watch(node.poll, node.wait_event) as watch,
        trio.open_nursery() as nursery,
    ):

        async def replug_after_3_seconds() -> None:
            await trio.sleep(3)
            node.replug(announce=True)

        nursery.start_soon(replug_after_3_seconds)
        assert await wakes(watch, 25) == [3, 13, 23]
        assert watch.method == BY_EVENTS


async def test_events_that_were_not_received_count_as_one(autojump_clock) -> None:
    """A waiter that was busy during three events is woken once."""
    node = FakeNode()
    async with run_change_watch(node.poll, node.wait_event) as watch:
        for _ in range(3):
            node.replug(announce=True)
            await trio.sleep(1)
        assert await wakes(watch, 1) == [0]


async def test_a_poll_before_the_event_does_not_end_the_use_of_events(autojump_clock) -> None:
    """A safety poll may see a camera shortly before its event arrives."""
    node = FakeNode()
    async with (
        run_change_watch(node.poll, node.wait_event) as watch,
        trio.open_nursery() as nursery,
    ):

        async def announce_late() -> None:
            await trio.sleep(9.9)
            node.replug(announce=False)
            await trio.sleep(0.3)
            node.event.set()

        nursery.start_soon(announce_late)
        assert await wakes(watch, 25) == [10, 10.2, 20.2]
        assert watch.method == BY_EVENTS


async def test_changes_without_events_end_the_use_of_events(autojump_clock) -> None:
    """Where udev's events do not arrive, polling every second takes their place."""
    node = FakeNode()
    async with run_change_watch(node.poll, node.wait_event) as watch:
        node.replug(announce=False)
        assert await wakes(watch, 20.5) == [10, 20]
        assert watch.method == "polling every second: udev does not announce what comes and goes"
        node.replug(announce=False)
        assert await wakes(watch, 3) == [0.5]


@pytest.mark.parametrize("changed", ["stamp", "mode"])
async def test_without_events_polling_finds_a_change(autojump_clock, changed: str) -> None:
    """A new camera, and new permissions of an old one, are found within a second."""
    node = FakeNode()
    async with run_change_watch(node.poll, None, "udev is not running") as watch:
        assert watch.method == "polling every second: udev is not running"
        assert await wakes(watch, 2.5) == []
        setattr(node, changed, 1)
        assert await wakes(watch, 11) == [0.5, 10.5]
