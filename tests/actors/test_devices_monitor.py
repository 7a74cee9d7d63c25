"""The device monitor on an autojump clock, with nodes that answer after a given time."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel

from camd.config.schema import DiscoveryConfig
from camd.devices.hotplug import ChangeWatch
from camd.devices.monitor import QUERY_TIMEOUT_SECONDS, DeviceMonitor, run_monitor
from camd.devices.v4l2.inventory import NodeAnswer, Scan
from camd.devices.v4l2.node import NodeStat, SysfsFacts
from camd.errors import sole_exception
from camd.model import Capabilities, Device, GapCause, Problem
from camd.runtime.actor import ActorGoneError

DEV = Path("/dev")
CAPABLE = Capabilities("uvcvideo", "Camera", "usb-0000:00:14.0-1", ())
BUSY = Problem("busy", "It is busy", "Wait", GapCause.CAMERA_BUSY)
FACTS = SysfsFacts(label="Camera", index=0, says_capture=True)


@attrs.define(eq=False)
class FakeProbe:
    """Nodes with the seconds that each takes to answer."""

    delays: dict[str, float] = attrs.field(factory=dict)
    stamp: int = 0
    queried: list[str] = attrs.field(factory=list)
    refuses: bool = False
    _channels: tuple = attrs.field(factory=lambda: trio.open_memory_channel[None](1))

    def plug(self, **delays: float) -> None:
        """Plug in exactly these nodes, and wake the monitor."""
        self.delays = delays
        with suppress(trio.WouldBlock):
            self._channels[0].send_nowait(None)

    async def scan(self) -> Scan:
        """Scan the nodes."""
        await trio.sleep(0.01)
        return Scan(tuple(NodeStat(name, (self.stamp,), "") for name in self.delays))

    async def read_facts(self, node: NodeStat) -> SysfsFacts | None:
        """Return the same facts for all nodes."""
        await trio.lowlevel.checkpoint()
        return FACTS

    async def query_node(self, node: NodeStat) -> NodeAnswer:
        """Answer for a node, after its delay."""
        self.queried.append(node.name)
        await trio.sleep(self.delays[node.name])
        return NodeAnswer(problem=BUSY) if self.refuses else NodeAnswer(CAPABLE)


def open_test_monitor(probe: FakeProbe):
    """Run a monitor on a fake probe."""
    return run_monitor(DiscoveryConfig(), ChangeWatch("test", probe._channels[1]), probe, DEV)


async def history(monitor: DeviceMonitor, seconds: float) -> list[tuple[float, list[str]]]:
    """Return what is listed from now on, as name or name!cause, with the time of each change."""
    begun, before, seen = trio.current_time(), None, []

    def differs(devices: tuple[Device, ...]) -> bool:
        return devices != before

    with trio.move_on_after(seconds):
        while True:
            before = await monitor.present.wait_until(differs)
            names = [d.node.name + (f"!{d.problem.kind}" if d.problem else "") for d in before]
            seen.append((round(trio.current_time() - begun, 2), names))
    return seen


async def test_each_node_is_listed_when_it_has_answered(autojump_clock) -> None:
    """Five nodes answer after different times, and each is listed with its answer."""
    probe = FakeProbe()
    probe.plug(video4=0.1, video3=0.2, video2=0.3, video1=0.4, video0=1.5)
    async with open_test_monitor(probe) as monitor:
        seen = await history(monitor, 5)
    assert [time for time, _ in seen] == [0, 0.11, 0.21, 0.31, 0.41, 1.51]
    assert seen[-1][1] == ["video0", "video1", "video2", "video3", "video4"]


async def test_settled_is_set_by_the_last_answer_or_its_timeout(autojump_clock) -> None:
    """The monitor is all_queried when the slowest node has answered or its query has timed out."""
    probe = FakeProbe()
    for slowest, expected in ((0.5, 0.51), (60, 0.01 + QUERY_TIMEOUT_SECONDS)):
        probe.plug(video0=0.1, video1=slowest)
        begun = trio.current_time()
        async with open_test_monitor(probe) as monitor:
            await monitor.all_queried.wait()
            assert trio.current_time() - begun == pytest.approx(expected)


async def test_without_nodes_it_is_settled_after_one_scan(autojump_clock) -> None:
    """With nothing plugged in, the empty list is final."""
    async with open_test_monitor(FakeProbe()) as monitor:
        await monitor.all_queried.wait()
        assert monitor.present.value == ()


async def test_a_start_that_fails_gives_its_own_reason(autojump_clock) -> None:
    """What uses the monitor fails: nothing is raised besides, and who still asks is refused."""
    probe, refused = FakeProbe(), []
    probe.plug(video0=60)

    async def ask(monitor: DeviceMonitor) -> None:
        try:
            await monitor.query_again(DEV / "video0")
        except ActorGoneError:
            refused.append(True)

    async def fail(nursery: trio.Nursery) -> None:
        async with open_test_monitor(probe) as monitor:
            nursery.start_soon(ask, monitor)
            await trio.sleep(1)
            raise OSError("the port is taken")

    async with trio.open_nursery() as nursery:
        with pytest.raises(ExceptionGroup) as raised:
            await fail(nursery)
    error = sole_exception(raised.value)
    assert (type(error), str(error)) == (OSError, "the port is taken")
    assert refused == [True]


async def test_a_slow_answer_is_used_when_it_comes(autojump_clock) -> None:
    """A node that hangs for a minute is listed as hung, queried once, and then listed as usual."""
    probe = FakeProbe()
    probe.plug(video0=60)
    async with open_test_monitor(probe) as monitor:
        assert await history(monitor, 30) == [(0, []), (2.01, ["video0!hung"])]
        probe.plug(video0=60)
        assert await history(monitor, 60) == [(0, ["video0!hung"]), (30.01, ["video0"])]
    assert len(probe.queried) == 1


async def test_a_replugged_node_is_queried_although_the_former_query_hangs(autojump_clock) -> None:
    """A node that is replugged between two scans gets its own query and its own answer."""
    probe = FakeProbe()
    probe.plug(video0=60)
    async with open_test_monitor(probe) as monitor:
        await monitor.all_queried.wait()
        probe.stamp = 1
        probe.plug(video0=0.1)
        seen = await history(monitor, 100)
        assert seen == [(0, ["video0!hung"]), (0.01, []), (0.11, ["video0"])]
    assert len(probe.queried) == 2


async def test_a_scan_at_the_time_of_an_answer_does_no_harm(autojump_clock) -> None:
    """A node that always refuses is queried at each scan, also at the moment of its answer."""
    probe = FakeProbe()
    probe.refuses = True
    probe.plug(video0=0.01)
    async with open_test_monitor(probe) as monitor:
        for _ in range(200):
            probe.plug(video0=0.01)
            await trio.sleep(0.01)
        (device,) = monitor.present.value
        assert device.problem is not None
    assert len(probe.queried) > 20
