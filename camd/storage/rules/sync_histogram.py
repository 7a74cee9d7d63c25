"""Histogram of the durations of syncs since the daemon started. Pure."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator

import attrs

# Upper bounds in seconds: from a fast SSD to a disk that hangs for a minute.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


@attrs.frozen
class SyncHistogram:
    """How many syncs took how long. `counts` has a number for each of BOUNDS, and one above."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total_seconds: float = 0.0

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each upper bound with the number of syncs that took no longer; infinity last."""
        so_far = 0
        for bound, count in zip((*BOUNDS, math.inf), self.counts, strict=True):
            so_far += count
            yield bound, so_far


@attrs.define(eq=False)
class SyncCounter:
    """Counts syncs into a histogram; `add` may be called in any thread, one value at a time."""

    _counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1), init=False)
    _seconds: float = attrs.field(default=0.0, init=False)

    def add(self, seconds: float) -> None:
        """Count one sync."""
        self._counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    @property
    def histogram(self) -> SyncHistogram:
        """The histogram as of now."""
        return SyncHistogram(tuple(self._counts), self._seconds)
