"""Restarts after bugs: when, how often, and without delaying a shutdown."""

from __future__ import annotations

import trio

from camd.runtime.actor import supervise


async def supervise_runs(*plan: float) -> tuple[list[float], int]:
    """Supervise runs of these lengths, all but the last ending in a bug; return when each
    began, counted from the first, and how many crashes were told."""
    starts: list[float] = []
    crashes = 0

    async def run() -> None:
        starts.append(trio.current_time())
        await trio.sleep(plan[len(starts) - 1])
        if len(starts) < len(plan):
            raise ZeroDivisionError

    def crashed() -> None:
        nonlocal crashes
        crashes += 1

    await supervise("actor", run, crashed)
    return [start - starts[0] for start in starts], crashes


def pauses(starts: list[float], *plan: float) -> list[float]:
    """Return the time between the end of each run and the start of the next."""
    ends = [start + length for start, length in zip(starts, plan, strict=True)]
    return [later - end for end, later in zip(ends, starts[1:], strict=False)]


async def test_a_run_that_returns_is_the_last(autojump_clock) -> None:
    """What ends by itself is not started again, and nothing crashed."""
    assert await supervise_runs(5) == ([0], 0)


async def test_pauses_double_up_to_a_minute(autojump_clock) -> None:
    """Crash after crash the pause grows from a second to a minute and stays there."""
    starts, crashes = await supervise_runs(*[0] * 10)
    assert pauses(starts, *[0] * 10) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert crashes == 9


async def test_a_long_run_resets_the_delay(autojump_clock) -> None:
    """After a run of more than a minute the delay is a second again; a shorter run is not
    settled."""
    plan = (0, 0, 60, 61, 0, 0)
    starts, _ = await supervise_runs(*plan)
    assert pauses(starts, *plan) == [1, 2, 4, 1, 2]


async def test_a_crash_is_reported_before_the_delay(autojump_clock) -> None:
    """Whoever shows the actor's state knows of the crash while the actor rests."""
    events: list[tuple[str, float]] = []

    async def run() -> None:
        events.append(("run", trio.current_time()))
        if len(events) < 3:
            async with trio.open_nursery():
                raise ZeroDivisionError

    began = trio.current_time()
    await supervise("actor", run, lambda: events.append(("crashed", trio.current_time())))
    assert [(what, when - began) for what, when in events] == [
        *(("run", 0), ("crashed", 0), ("run", 1)),
    ]


async def test_a_cancelled_run_is_no_crash(autojump_clock) -> None:
    """A shutdown passes through, and nothing is restarted."""
    crashes: list[None] = []
    starts: list[float] = []

    async def run() -> None:
        starts.append(trio.current_time())
        await trio.sleep_forever()

    with trio.move_on_after(3) as scope:
        await supervise("actor", run, lambda: crashes.append(None))
    assert scope.cancelled_caught
    assert (len(starts), crashes) == (1, [])


async def test_a_crash_during_a_shutdown_is_reported_and_not_restarted(autojump_clock) -> None:
    """Of a group of a bug and a cancellation, the bug is told, the cancellation goes on, and the
    shutdown ends well."""
    crashes: list[None] = []
    starts: list[float] = []

    async def falters() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def run() -> None:
        starts.append(trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(falters)
            nursery.start_soon(trio.sleep_forever)

    with trio.move_on_after(3) as scope:
        await supervise("actor", run, lambda: crashes.append(None))
    assert scope.cancelled_caught
    assert (len(starts), len(crashes)) == (1, 1)


async def test_a_shutdown_ends_the_pause(autojump_clock) -> None:
    """A shutdown does not wait for the restart."""

    async def run() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    with trio.move_on_after(100) as scope:
        await supervise("actor", run, lambda: None)
    assert scope.cancelled_caught
    assert trio.current_time() == scope.deadline


async def test_other_base_exceptions_are_raised(autojump_clock) -> None:
    """An interrupt among bugs is not held back: it ends the program."""

    crashes: list[None] = []
    interrupted = False

    async def run() -> None:
        await trio.lowlevel.checkpoint()
        raise BaseExceptionGroup("both", [ZeroDivisionError(), KeyboardInterrupt()])

    try:
        await supervise("actor", run, lambda: crashes.append(None))
    except* KeyboardInterrupt:
        interrupted = True
    assert interrupted
    assert len(crashes) == 1
