"""When a watch wakes whom: on a clock that jumps, with an announcer and looks of its own."""

from __future__ import annotations

import attrs
import pytest
import trio

from camd.devices.monitor import ChangeWatch, PollSnapshot, run_watch
from camd.devices.v4l2.node import NodeStat

BY_EVENTS = "udev's events, and a look every 10 s"


@attrs.define(eq=False)
class Desk:
    """A desk with a camera that is there or not, and a voice that says so or not."""

    lives: int = 0
    mode: int = 0o660
    voice: trio.Event = attrs.field(factory=trio.Event)

    async def look(self) -> PollSnapshot:
        """What is there."""
        return PollSnapshot((NodeStat("video0", (self.lives,), ""),), ((self.mode, 0, 44),))

    async def wait_event(self) -> None:
        """What is said."""
        await self.voice.wait()
        self.voice = trio.Event()

    def change(self, *, say: bool) -> None:
        """Plug another camera in."""
        self.lives += 1
        if say:
            self.voice.set()


async def wakes(watch: ChangeWatch, seconds: float) -> list[float]:
    """The times at which a watch wakes, from now on."""
    begun, times = trio.current_time(), []
    with trio.move_on_after(seconds):
        while True:
            await watch.wait_change()
            times.append(round(trio.current_time() - begun, 3))
    return times


async def test_an_event_wakes_at_once(autojump_clock) -> None:
    """Beside a safety look every ten seconds, an event needs no time at all."""
    desk = Desk()
    async with run_watch(desk.look, desk) as watch, trio.open_nursery() as nursery:

        async def change_at_three() -> None:
            await trio.sleep(3)
            desk.change(say=True)

        nursery.start_soon(change_at_three)
        assert await wakes(watch, 25) == [3, 13, 23]
        assert watch.how == BY_EVENTS


async def test_events_that_nobody_fetched_count_as_one(autojump_clock) -> None:
    """Whoever was busy meanwhile is woken once."""
    desk = Desk()
    async with run_watch(desk.look, desk) as watch:
        for _ in range(3):
            desk.change(say=True)
            await trio.sleep(1)
        assert await wakes(watch, 1) == [0]


async def test_a_change_before_its_event_is_no_reason_for_distrust(autojump_clock) -> None:
    """A safety look may see a camera whose event is still under way."""
    desk = Desk()
    async with run_watch(desk.look, desk) as watch, trio.open_nursery() as nursery:

        async def announce_late() -> None:
            await trio.sleep(9.9)
            desk.change(say=False)
            await trio.sleep(0.3)
            desk.voice.set()

        nursery.start_soon(announce_late)
        assert await wakes(watch, 25) == [10, 10.2, 20.2]
        assert watch.how == BY_EVENTS


async def test_changes_that_nobody_announces_end_the_trust_in_events(autojump_clock) -> None:
    """Where events are kept from us, a look every second takes their place."""
    desk = Desk()
    async with run_watch(desk.look, desk) as watch:
        desk.change(say=False)
        assert await wakes(watch, 20.5) == [10, 20]
        assert watch.how == "a look every second: udev does not announce what comes and goes"
        desk.change(say=False)
        assert await wakes(watch, 3) == [0.5]


@pytest.mark.parametrize("how", ["lives", "mode"])
async def test_without_events_a_look_every_second_finds_a_change(autojump_clock, how: str) -> None:
    """A new camera, and new rights to an old one, are found within a second."""
    desk = Desk()
    async with run_watch(desk.look, None, "udev is not running") as watch:
        assert watch.how == "a look every second: udev is not running"
        assert await wakes(watch, 2.5) == []
        setattr(desk, how, 1)
        assert await wakes(watch, 11) == [0.5, 10.5]
