"""How long disk calls take: pending operations, recent syncs, and whether the disk is slow. Pure.

An operation is what a caller waits for; its steps are single disk calls. The age of the step
counts: a recovery that reads a file in thousands of calls does not hang.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Iterator

import attrs

from camd.model import SyncLatency
from camd.storage.rules.timings import STORAGE_LIMITS, StorageLimits

WINDOW_SYNCS = 256
# Upper bounds in seconds: from a fast SSD to a disk that hangs for a minute.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


@attrs.frozen
class DurationHistogram:
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
class DurationCounter:
    """Counts syncs into a histogram; `add` may be called in any thread, one value at a time."""

    _counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1), init=False)
    _seconds: float = attrs.field(default=0.0, init=False)

    def add(self, seconds: float) -> None:
        """Count one sync."""
        self._counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    @property
    def histogram(self) -> DurationHistogram:
        """The histogram as of now."""
        return DurationHistogram(tuple(self._counts), self._seconds)


@attrs.define(eq=False)
class PendingOperation:
    """An operation that has not returned. Seconds of the monotonic clock."""

    since: float  # when its latest step began


@attrs.define(eq=False)
class IoStats:
    """Statistics of disk operations. Times are passed in, as seconds of the monotonic clock.

    `begin` and `end` belong to the event loop; `step` and `synced` are called in writer threads and
    change one value each.
    """

    limits: StorageLimits = STORAGE_LIMITS
    _under_way: set[PendingOperation] = attrs.field(factory=set, init=False)
    _syncs: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW_SYNCS), init=False)
    _slow_at: float = attrs.field(default=-math.inf, init=False)
    sync_counter: DurationCounter = attrs.field(factory=DurationCounter, init=False)

    def begin(self, monotonic: float) -> PendingOperation:
        """Note the beginning of an operation."""
        operation = PendingOperation(monotonic)
        self._under_way.add(operation)
        return operation

    def step(self, operation: PendingOperation, monotonic: float) -> None:
        """Note that an operation goes on with another call."""
        self._judge(operation, monotonic)
        operation.since = monotonic

    def end(self, operation: PendingOperation, monotonic: float) -> None:
        """Note that an operation has returned or failed."""
        self._under_way.discard(operation)
        self._judge(operation, monotonic)

    def _judge(self, operation: PendingOperation, monotonic: float) -> None:
        if monotonic - operation.since >= self.limits.slow_seconds:
            self._slow_at = monotonic

    def synced(self, seconds: float) -> None:
        """Count a sync, failed ones included."""
        self._syncs.append(seconds)
        self.sync_counter.add(seconds)

    def pending_seconds(self, monotonic: float) -> float:
        """Return the age of the oldest pending step; 0 without any."""
        return max((monotonic - operation.since for operation in self._under_way), default=0.0)

    def slow(self, monotonic: float) -> bool:
        """Return whether a step takes, or took within the last half minute, a second or longer."""
        recently = monotonic - self._slow_at < self.limits.slow_memory_seconds
        return recently or self.pending_seconds(monotonic) >= self.limits.slow_seconds

    def syncs(self) -> SyncLatency:
        """Summarise recent syncs; percentiles by nearest rank."""
        latest = tuple(self._syncs)
        if not latest:
            return SyncLatency()
        ranked = sorted(latest)

        def rank(share: float) -> float:
            return round(ranked[math.ceil(share * len(ranked)) - 1], 6)

        return SyncLatency(len(latest), round(latest[-1], 6), rank(0.5), rank(0.95), rank(1.0))
