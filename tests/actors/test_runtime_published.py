"""A published value can be read at any time, and waited for without polling."""

from __future__ import annotations

import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from camd.runtime.broadcast import LatestValue


async def test_the_latest_value_is_there_without_waiting(autojump_clock) -> None:
    """Reading gives the newest value at once, and waiting for what is true takes no time."""
    published = LatestValue(1)
    published.publish(2)
    assert published.value == 2
    with trio.fail_after(1):
        assert await published.wait_until(lambda value: value == 2) == 2


async def test_everybody_who_waits_is_woken(autojump_clock) -> None:
    """Each waiter gets the first value that satisfies its predicate."""
    published = LatestValue(0)
    got: list[tuple[int, int, float]] = []

    async def wait_for(least: int) -> None:
        value = await published.wait_until(lambda value: value >= least)
        got.append((least, value, trio.current_time() - born))

    born = trio.current_time()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for least in (3, 1, 3):
                nursery.start_soon(wait_for, least)
            for value in (1, 2, 5):
                await trio.sleep(1)
                published.publish(value)
    assert sorted(got) == [(1, 1, 1.0), (3, 5, 3.0), (3, 5, 3.0)]


async def test_only_the_latest_value_counts(autojump_clock) -> None:
    """Values that are replaced before a waiter runs are forgotten, and it goes on waiting."""
    published = LatestValue(0)
    seen: list[int] = []

    def is_two(value: int) -> bool:
        seen.append(value)
        return value == 2

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(published.wait_until, is_two)
            await wait_all_tasks_blocked()
            for value in (1, 2, 3):
                published.publish(value)
            await wait_all_tasks_blocked()
            assert seen == [0, 3]
            published.publish(2)


async def test_a_waiter_can_be_cancelled(autojump_clock) -> None:
    """Waiting for what never comes ends with the caller's scope."""
    published = LatestValue(0)
    with trio.move_on_after(5) as scope, assert_checkpoints():
        await published.wait_until(lambda value: value == 1)
    assert scope.cancelled_caught
    published.publish(1)
