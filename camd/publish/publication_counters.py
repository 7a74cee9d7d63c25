"""What one camera's publisher has done since it was started, for the metrics."""

from __future__ import annotations

from collections import Counter

import attrs


@attrs.define(eq=False)
class PublicationCounters:
    """Totals that only grow. `failures` counts publications that ended badly, by problem kind."""

    bytes_sent: int = 0  # of the stream, given to FFmpeg
    frames_dropped: int = 0  # of queues that are not used any more
    failures: Counter[str] = attrs.field(factory=Counter)
