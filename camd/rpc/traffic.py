"""How much was asked, how long it took, how often it failed; for the metrics."""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class CallStats:
    """Counters of one server; the front writes them, everybody may read."""

    connections: int = 0
    refused_connections: int = 0
    requests: int = 0
    errors: int = 0  # answered with an error, whatever its kind
    crashes: int = 0  # of these, bugs
    busy_seconds: float = 0.0
    notifications: int = 0

    @property
    def average_response_ms(self) -> float:
        """How long a call took on average."""
        return self.busy_seconds / self.requests * 1000 if self.requests else 0.0

    @property
    def error_rate(self) -> float:
        """The share of calls that were answered with an error, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0
