"""When cleanups run by themselves: to the second, on a clock that jumps."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import RetentionConfig
from camd.errors import STORAGE_UNRESPONSIVE, Refusal
from camd.runtime.broadcast import Fanout
from camd.storage.retention.cleanup import BATCHES, Retention
from camd.storage.rules.retention_plan import PolicyType, RetentionPolicy

AGE = RetentionPolicy(PolicyType.AGE, True, max_age_days=30)
HOUR = 3600.0


@attrs.define(eq=False)
class Noted(Retention):
    """Retention that only notes when it would clean up, and what it is refused."""

    runs: list[tuple[float, str]] = attrs.field(factory=list, kw_only=True)
    refuse: bool = attrs.field(default=False, kw_only=True)

    async def clean_up(self, asked_by: str, *, force: bool = False) -> Any:
        """Note it."""
        assert not force
        self.runs.append((trio.current_time(), asked_by))
        if self.refuse:
            raise Refusal(STORAGE_UNRESPONSIVE)


def noted(policy: RetentionPolicy, interval: timedelta = timedelta(hours=1)) -> Noted:
    """Return retention without a storage."""
    config = RetentionConfig(interval=interval)
    return Noted(
        storage=None,  # type: ignore[arg-type]
        config=config,
        state_dir=Path("/nowhere"),
        events=Fanout(),
        in_use=dict,
        policy=policy,
        trusted_clock=None,  # type: ignore[arg-type]
        clock=SYSTEM_CLOCK,
        batches=BATCHES,
    )


async def run_for(retention: Noted, seconds: float) -> list[float]:
    """Let it run, and say when it would have cleaned up, since the start."""
    begun = trio.current_time()
    with trio.move_on_after(seconds):
        await retention.run_when_due()
    assert all(by == "schedule" for _, by in retention.runs)
    return [moment - begun for moment, _ in retention.runs]


async def test_it_runs_a_while_after_the_start_and_then_regularly(
    autojump_clock: MockClock,
) -> None:
    """Five minutes, then once an hour; a short interval is the first wait, too."""
    assert await run_for(noted(AGE), 3 * HOUR) == [300, 300 + HOUR, 300 + 2 * HOUR]
    assert await run_for(noted(AGE, timedelta(minutes=1)), 150) == [60, 120]


async def test_without_an_enabled_policy_it_never_runs(autojump_clock: MockClock) -> None:
    """Off is off, and manual does nothing by itself."""
    for policy in (
        RetentionPolicy(),
        RetentionPolicy(enabled=True),
        attrs.evolve(AGE, enabled=False),
    ):
        assert await run_for(noted(policy), 100 * HOUR) == []


async def test_a_policy_that_is_enabled_later_counts_from_the_next_time(
    autojump_clock: MockClock,
) -> None:
    """Nothing has to be restarted."""
    retention = noted(RetentionPolicy())

    async def enable() -> None:
        await trio.sleep(2 * HOUR)
        retention.policy = AGE

    async with trio.open_nursery() as nursery:
        nursery.start_soon(enable)
        assert await run_for(retention, 4 * HOUR) == [300 + 2 * HOUR, 300 + 3 * HOUR]


async def test_a_disk_that_does_not_answer_is_tried_again(autojump_clock: MockClock) -> None:
    """A refused run is logged, and the next one comes in its time."""
    retention = noted(AGE)
    retention.refuse = True
    assert await run_for(retention, 2 * HOUR) == [300, 300 + HOUR]
