"""When something that failed is tried again: a growing delay, and a circuit breaker with it."""

from __future__ import annotations

import attrs

HEALTHY_SECONDS = 2.0  # between two requests to a server that answers
FAILURES = 3  # in a row, after which only single trials are sent


@attrs.frozen
class GrowingDelay:
    """Delays that double from `first_seconds` to `longest_seconds`, each shortened at random.

    So clients that failed at the same moment do not all retry at the same moment.
    """

    first_seconds: float = 1.0
    longest_seconds: float = 60.0

    def after(self, failures: int, share: float) -> float:
        """Return the delay after so many failures; `share`, 0 to 1, is random."""
        doublings = min(max(failures, 1) - 1, 32)
        whole = min(self.longest_seconds, self.first_seconds * 2.0**doublings)
        return whole * (1 + share) / 2


@attrs.define(eq=False)
class CircuitBreaker:
    """Whether a server may be asked.

    After FAILURES failures in a row it is open: calls are refused without asking. One trial after
    each pause finds out whether the server is back; its success closes the breaker.
    """

    delay: GrowingDelay = GrowingDelay()
    failures: int = attrs.field(default=0, init=False)

    @property
    def open(self) -> bool:
        """Whether calls are refused for now."""
        return self.failures >= FAILURES

    def succeeded(self) -> None:
        """Note an answer."""
        self.failures = 0

    def failed(self) -> None:
        """Note a question without a useful answer."""
        self.failures += 1

    def pause_seconds(self, share: float) -> float:
        """Return how long to wait before the next question; `share` as in GrowingDelay."""
        return self.delay.after(self.failures, share) if self.failures else HEALTHY_SECONDS
