"""Restarts after bugs: when, how often, and without delaying a shutdown."""

from __future__ import annotations

import trio

from camd.runtime.actor import supervise


async def lives(*plan: float) -> tuple[list[float], int]:
    """Supervise lives of these lengths, all but the last ending in a bug; return when each
    began, counted from the first, and how many crashes were told."""
    births: list[float] = []
    crashes = 0

    async def life() -> None:
        births.append(trio.current_time())
        await trio.sleep(plan[len(births) - 1])
        if len(births) < len(plan):
            raise ZeroDivisionError

    def crashed() -> None:
        nonlocal crashes
        crashes += 1

    await supervise("actor", life, crashed)
    return [birth - births[0] for birth in births], crashes


def pauses(births: list[float], *plan: float) -> list[float]:
    """Return the time between each life's end and the next one's begin."""
    ends = [birth + length for birth, length in zip(births, plan, strict=True)]
    return [later - end for end, later in zip(ends, births[1:], strict=False)]


async def test_a_run_that_returns_is_the_last(autojump_clock) -> None:
    """What ends by itself is not started again, and nothing crashed."""
    assert await lives(5) == ([0], 0)


async def test_pauses_double_up_to_a_minute(autojump_clock) -> None:
    """Crash after crash the pause grows from a second to a minute and stays there."""
    births, crashes = await lives(*[0] * 10)
    assert pauses(births, *[0] * 10) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert crashes == 9


async def test_a_long_run_resets_the_delay(autojump_clock) -> None:
    """After a life of more than a minute the pause is a second again; a shorter one is not
    settled."""
    plan = (0, 0, 60, 61, 0, 0)
    births, _ = await lives(*plan)
    assert pauses(births, *plan) == [1, 2, 4, 1, 2]


async def test_a_crash_is_reported_before_the_delay(autojump_clock) -> None:
    """Whoever shows the actor's state knows of the crash while the actor rests."""
    events: list[tuple[str, float]] = []

    async def life() -> None:
        events.append(("life", trio.current_time()))
        if len(events) < 3:
            async with trio.open_nursery():
                raise ZeroDivisionError

    born = trio.current_time()
    await supervise("actor", life, lambda: events.append(("crashed", trio.current_time())))
    assert [(what, when - born) for what, when in events] == [
        *(("life", 0), ("crashed", 0), ("life", 1)),
    ]


async def test_a_cancelled_run_is_no_crash(autojump_clock) -> None:
    """A shutdown passes through, and nothing is restarted."""
    crashes: list[None] = []
    births: list[float] = []

    async def life() -> None:
        births.append(trio.current_time())
        await trio.sleep_forever()

    with trio.move_on_after(3) as scope:
        await supervise("actor", life, lambda: crashes.append(None))
    assert scope.cancelled_caught
    assert (len(births), crashes) == (1, [])


async def test_a_crash_during_a_shutdown_is_reported_and_not_restarted(autojump_clock) -> None:
    """Of a group of a bug and a cancellation, the bug is told, the cancellation goes on, and the
    shutdown ends well."""
    crashes: list[None] = []
    births: list[float] = []

    async def falters() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def life() -> None:
        births.append(trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(falters)
            nursery.start_soon(trio.sleep_forever)

    with trio.move_on_after(3) as scope:
        await supervise("actor", life, lambda: crashes.append(None))
    assert scope.cancelled_caught
    assert (len(births), len(crashes)) == (1, 1)


async def test_a_shutdown_ends_the_pause(autojump_clock) -> None:
    """Nobody has to wait for a restart that is not wanted any more."""

    async def life() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with trio.move_on_after(100) as scope:
        await supervise("actor", life, lambda: None)
    assert scope.cancelled_caught
    assert trio.current_time() == scope.deadline


async def test_other_base_exceptions_are_raised(autojump_clock) -> None:
    """An interrupt among bugs is not held back: it ends the program."""

    crashes: list[None] = []
    interrupted = False

    async def life() -> None:
        await trio.lowlevel.checkpoint()
        raise BaseExceptionGroup("both", [ZeroDivisionError(), KeyboardInterrupt()])

    try:
        await supervise("actor", life, lambda: crashes.append(None))
    except* KeyboardInterrupt:
        interrupted = True
    assert interrupted
    assert len(crashes) == 1
