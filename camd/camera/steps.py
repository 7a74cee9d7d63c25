"""Whether somebody set the wall clock, by how it moves against the monotonic one. Pure.

Slewing moves both alike (adjtimex(2)), so that only a step shows. A machine that slept looks the
same as a clock that was set forward: CLOCK_MONOTONIC stands still meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

STEP_SECONDS = 0.5  # less is no step
TORN_SECONDS = 0.1  # two clocks that were read further apart say nothing about each other


@attrs.define(eq=False)
class ClockStepDetector:
    """Compares the clocks each time they are read."""

    _wall: datetime | None = attrs.field(default=None, init=False)
    _monotonic: float = attrs.field(default=0.0, init=False)

    def look(self, before: float, wall: datetime, after: float) -> timedelta:
        """Say by how much the clock was set since the last look; forward is positive.

        `before` and `after` are the monotonic clock, read around the wall clock.
        """
        if after - before > TORN_SECONDS:
            return timedelta(0)
        step = timedelta(0)
        if self._wall is not None:
            step = wall - self._wall - timedelta(seconds=before - self._monotonic)
        self._wall, self._monotonic = wall, before
        if abs(step.total_seconds()) < STEP_SECONDS:
            return timedelta(0)
        return step
