"""When a media server that failed is asked again: a circuit breaker."""

from __future__ import annotations

import attrs

from camd.growing_delay import GrowingDelay

RETRY_DELAY = GrowingDelay(1.0, 60.0)  # of publications, too
HEALTHY_SECONDS = 2.0  # between two requests to a server that answers
FAILURES = 3  # in a row, after which only single trials are sent


@attrs.define(eq=False)
class CircuitBreaker:
    """Whether a server may be asked.

    After FAILURES failures in a row it is open: calls are refused without asking. One trial after
    each pause finds out whether the server is back; its success closes the breaker.
    """

    delay: GrowingDelay = RETRY_DELAY
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
        """Return how long to wait before the next question; `share` as in `GrowingDelay`."""
        return self.delay.after(self.failures, share) if self.failures else HEALTHY_SECONDS
