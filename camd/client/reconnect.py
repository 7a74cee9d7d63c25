"""How long to wait before the next try to connect."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 30.0
STABLE_SECONDS = 5.0


@attrs.define(eq=False)
class ReconnectPauses:
    """Pauses that double with each try, up to LONGEST_SECONDS.

    Each is shortened by up to a half at random, so that many clients of a service that starts again
    do not come at the same moment.
    """

    draw: Callable[[], float] = random.random  # 0 to 1
    _seconds: float = attrs.field(default=FIRST_SECONDS, init=False)

    def connected_for(self, seconds: float) -> None:
        """Begin anew after a connection that lasted; not after one that was closed at once."""
        if seconds >= STABLE_SECONDS:
            self._seconds = FIRST_SECONDS

    def next(self) -> float:
        """Return the next pause in seconds."""
        seconds, self._seconds = self._seconds, min(self._seconds * 2, LONGEST_SECONDS)
        return seconds * (1 - self.draw() / 2)
