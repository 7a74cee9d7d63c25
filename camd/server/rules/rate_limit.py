"""Rate limit for the calls of one client: a token bucket."""

from __future__ import annotations

import math

import attrs


@attrs.define(eq=False)
class TokenBucket:
    """Allows `per_minute` calls at once and as many in each minute; 0: no limit.

    Times are seconds of any monotonic clock.
    """

    per_minute: int
    _tokens: float = attrs.field(init=False)
    _updated: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.per_minute)

    def take(self, now: float) -> int:
        """Take one call: 0 when it is allowed, else the milliseconds to wait."""
        if self.per_minute <= 0:
            return 0
        if self._updated is not None:
            earned = (now - self._updated) * self.per_minute / 60
            self._tokens = min(float(self.per_minute), self._tokens + earned)
        self._updated = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return max(1, math.ceil((1 - self._tokens) * 60_000 / self.per_minute))
