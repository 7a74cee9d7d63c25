"""Counters of the calls that a server answers. Pure."""

from __future__ import annotations

import attrs


@attrs.define
class ServerCounters:
    """Counters of one server, for metrics. Its connections write them; everybody may read them."""

    connections: int = 0
    refused_connections: int = 0
    requests: int = 0
    errors: int = 0  # answered with an error of any kind
    busy_seconds: float = 0.0
    notifications: int = 0

    @property
    def average_response_ms(self) -> float:
        """Average time from a call to its answer, in milliseconds; 0 before the first."""
        return self.busy_seconds / self.requests * 1000 if self.requests else 0.0

    @property
    def error_rate(self) -> float:
        """Share of calls that were answered with an error, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0
