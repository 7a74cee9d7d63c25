"""A survey's conversations: on a clock that jumps, with nodes that answer when a test says so."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel

from camd.config.schema import DiscoveryConfig
from camd.devices.monitor import PATIENCE_SECONDS, DeviceMonitor, run_monitor
from camd.devices.v4l2.inventory import NodeAnswer, Scan
from camd.devices.v4l2.node import NodeStat, SysfsFacts
from camd.model import Capabilities, Cause, Device, Problem

DEV = Path("/dev")
CAPABLE = Capabilities("uvcvideo", "Camera", "usb-0000:00:14.0-1", ())
BUSY = Problem("busy", "It is busy", "Wait", Cause.CAMERA_BUSY)
FACTS = SysfsFacts(label="Camera", index=0, says_capture=True)


@attrs.define(eq=False)
class Desk:
    """Nodes with the seconds that each takes to answer; a watch and a probe at once."""

    delays: dict[str, float] = attrs.field(factory=dict)
    stamp: int = 0
    asked: list[str] = attrs.field(factory=list)
    refuses: bool = False
    how: str = "by hand"
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def change(self, **delays: float) -> None:
        """Replace what is plugged in, and say so."""
        self.delays = delays
        self._changed.set()

    async def wait_change(self) -> None:
        """What is said."""
        await self._changed.wait()
        self._changed = trio.Event()

    async def look(self) -> Scan:
        """What is there."""
        await trio.sleep(0.01)
        return Scan(tuple(NodeStat(name, (self.stamp,), "") for name in self.delays))

    async def read_facts(self, sighting: NodeStat) -> SysfsFacts | None:
        """What is said of a node."""
        await trio.lowlevel.checkpoint()
        return FACTS

    async def ask(self, sighting: NodeStat) -> NodeAnswer:
        """What a node answers, after its delay."""
        self.asked.append(sighting.name)
        await trio.sleep(self.delays[sighting.name])
        return NodeAnswer(problem=BUSY) if self.refuses else NodeAnswer(CAPABLE)


def survey_of(desk: Desk):
    """Open a survey of a desk."""
    return run_monitor(DiscoveryConfig(), desk, desk, DEV)


async def history(monitor: DeviceMonitor, seconds: float) -> list[tuple[float, list[str]]]:
    """What is listed from now on, as name or name!cause, with the time of each change."""
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
    """Five nodes answer in their own time, and the last one is listed with its answer."""
    desk = Desk()
    desk.change(video4=0.1, video3=0.2, video2=0.3, video1=0.4, video0=1.5)
    async with survey_of(desk) as monitor:
        seen = await history(monitor, 5)
    assert [time for time, _ in seen] == [0, 0.11, 0.21, 0.31, 0.41, 1.51]
    assert seen[-1][1] == ["video0", "video1", "video2", "video3", "video4"]


async def test_settled_comes_with_the_last_answer_or_with_patience(autojump_clock) -> None:
    """It is settled when all have answered, or the slowest was waited for long enough."""
    desk = Desk()
    for slowest, expected in ((0.5, 0.51), (60, 0.01 + PATIENCE_SECONDS)):
        desk.change(video0=0.1, video1=slowest)
        begun = trio.current_time()
        async with survey_of(desk) as monitor:
            await monitor.settled.wait()
            assert trio.current_time() - begun == pytest.approx(expected)


async def test_without_nodes_it_is_settled_after_one_look(autojump_clock) -> None:
    """Nothing plugged in is an answer too."""
    desk = Desk()
    async with survey_of(desk) as monitor:
        await monitor.settled.wait()
        assert monitor.present.value == ()


async def test_a_slow_answer_is_used_when_it_comes(autojump_clock) -> None:
    """A node that hangs for a minute is in trouble meanwhile, is asked once, and comes back."""
    desk = Desk()
    desk.change(video0=60)
    async with survey_of(desk) as monitor:
        assert await history(monitor, 30) == [(0, []), (2.01, ["video0!hung"])]
        desk.change(video0=60)
        assert await history(monitor, 60) == [(0, ["video0!hung"]), (30.01, ["video0"])]
    assert len(desk.asked) == 1


async def test_a_replug_between_looks_is_asked_anew(autojump_clock) -> None:
    """The former life's question may still hang: the new one gets its own, and its own answer."""
    desk = Desk()
    desk.change(video0=60)
    async with survey_of(desk) as monitor:
        await monitor.settled.wait()
        desk.stamp = 1
        desk.change(video0=0.1)
        seen = await history(monitor, 100)
        assert seen == [(0, ["video0!hung"]), (0.01, []), (0.11, ["video0"])]
    assert len(desk.asked) == 2


async def test_looks_and_answers_that_coincide_do_no_harm(autojump_clock) -> None:
    """A node that always refuses is asked again with every look, also while it just answers."""
    desk = Desk()
    desk.refuses = True
    desk.change(video0=0.01)
    async with survey_of(desk) as monitor:
        for _ in range(200):
            desk.change(video0=0.01)
            await trio.sleep(0.01)
        (device,) = monitor.present.value
        assert device.problem is not None
    assert len(desk.asked) > 20
