"""Periodic tasks wake together, whenever each of them began."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from camd.runtime.aligned_sleep import next_aligned, sleep_aligned


async def test_tasks_that_began_apart_wake_together(autojump_clock: MockClock) -> None:
    """Those of every second and those of every two seconds: one wake-up for all."""
    woken: list[tuple[str, float]] = []

    async def wake(name: str, begin: float, seconds: float) -> None:
        await trio.sleep(begin)
        while True:
            await sleep_aligned(seconds)
            woken.append((name, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for name, begin, seconds in (("one", 0.2, 1.0), ("other", 0.7, 1.0), ("slow", 0.9, 2.0)):
            nursery.start_soon(wake, name, begin, seconds)
        await trio.sleep(4.5)
        nursery.cancel_scope.cancel()
    assert sorted(woken) == [
        *[("one", float(second)) for second in (1, 2, 3, 4)],
        *[("other", float(second)) for second in (1, 2, 3, 4)],
        ("slow", 2.0),
        ("slow", 4.0),
    ]


@given(st.integers(0, 10**6), st.floats(0.001, 100))
def test_an_aligned_moment_is_later_than_now(times: int, seconds: float) -> None:
    """Also at such a moment, which is rounded: a loop would not sleep any more."""

    async def main() -> None:
        now = trio.current_time()
        assert now < next_aligned(seconds) <= now + 1.001 * seconds + 1e-6

    clock = MockClock()
    clock.jump(times * seconds)
    trio.run(main, clock=clock)
