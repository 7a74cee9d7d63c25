"""How long the disk takes: what is under way, what the latest syncs cost, when it is slow. Pure.

An operation is what a recorder waits for; its steps are single calls to the disk. What counts is
the age of the step: a recovery that reads a file in thousands of calls does not hang.
"""

from __future__ import annotations

import math
from collections import deque

import attrs

from camd.model import SyncLatency

WINDOW_SYNCS = 256
SLOW_SECONDS = 1.0  # a step that takes so long …
SLOW_MEMORY_SECONDS = 30.0  # … makes the disk slow for so long


@attrs.define(eq=False)
class PendingOperation:
    """One operation that has not returned. Seconds of the monotonic clock."""

    since: float  # when its latest step began


@attrs.define(eq=False)
class IoStats:
    """The account of operations. Times are seconds of the monotonic clock, handed in.

    `begin` and `end` belong to the event loop; `step` and `synced` are called in writers' threads
    and change one value each.
    """

    _under_way: set[PendingOperation] = attrs.field(factory=set, init=False)
    _syncs: deque[float] = attrs.field(factory=lambda: deque(maxlen=WINDOW_SYNCS), init=False)
    _slow_at: float = attrs.field(default=-math.inf, init=False)

    def begin(self, monotonic: float) -> PendingOperation:
        """Take note of an operation that begins."""
        operation = PendingOperation(monotonic)
        self._under_way.add(operation)
        return operation

    def step(self, operation: PendingOperation, monotonic: float) -> None:
        """Take note that an operation goes on with another call."""
        self._judge(operation, monotonic)
        operation.since = monotonic

    def end(self, operation: PendingOperation, monotonic: float) -> None:
        """Take note that an operation has returned or failed."""
        self._under_way.discard(operation)
        self._judge(operation, monotonic)

    def _judge(self, operation: PendingOperation, monotonic: float) -> None:
        if monotonic - operation.since >= SLOW_SECONDS:
            self._slow_at = monotonic

    def synced(self, seconds: float) -> None:
        """Count a sync that took so long, whether it worked or not."""
        self._syncs.append(seconds)

    def pending_seconds(self, monotonic: float) -> float:
        """Return the age of the oldest step that has not returned; 0 when there is none."""
        return max((monotonic - operation.since for operation in self._under_way), default=0.0)

    def slow(self, monotonic: float) -> bool:
        """Say whether a step takes, or took within the last half minute, a second or longer."""
        recently = monotonic - self._slow_at < SLOW_MEMORY_SECONDS
        return recently or self.pending_seconds(monotonic) >= SLOW_SECONDS

    def syncs(self) -> SyncLatency:
        """Sum up the latest syncs; percentiles by nearest rank."""
        latest = tuple(self._syncs)
        if not latest:
            return SyncLatency()
        ranked = sorted(latest)

        def rank(share: float) -> float:
            return round(ranked[math.ceil(share * len(ranked)) - 1], 6)

        return SyncLatency(len(latest), round(latest[-1], 6), rank(0.5), rank(0.95), rank(1.0))
