"""Pure: whether the arrivals of frames confirm that frames are missing at a drop of their times.

A camera that sets its clock forward by part of a second leaves the same drop in its time stamps as
one that lost frames. But then no time passes between the arrivals: by their stamps, the frames
behind the drop arrive earlier than any before it did. The time at which a stream's timeline would
have begun, by the arrival of a fragment, is that fragment's zero. The network only makes it later.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs

from camd.model.recordings import CLOCK_DRIFT

CONFIRMING_SECONDS = 3.0  # of stream behind a drop, in which the network may delay fragments
EARLY_SHARE = 0.5  # of what is missing: so much earlier deny a drop …
LEAST_EARLY_SECONDS = 0.1  # … but not less: frames are read in rounds, and arrivals estimated
MOST_FRAGMENTS = 512  # whose arrivals are kept


@attrs.define(eq=False)
class DropEvidence:
    """The zeros of a stream's fragments: the earliest so far, and those of the latest seconds."""

    earliest: datetime | None = attrs.field(default=None, init=False)  # rises with CLOCK_DRIFT
    _latest: deque[tuple[float, datetime]] = attrs.field(
        factory=lambda: deque(maxlen=MOST_FRAGMENTS), init=False
    )  # the end of each fragment, and its zero
    _end: float = attrs.field(default=0.0, init=False)

    def note(self, end: float, zero: datetime) -> None:
        """Take a fragment that ends at `end` seconds of the stream."""
        if self.earliest is not None:
            drift = timedelta(seconds=CLOCK_DRIFT * max(0.0, end - self._end))
            self.earliest = min(zero, self.earliest + drift)
        else:
            self.earliest = zero
        self._end = end
        self._latest.append((end, zero))

    def denies(self, end: float, seconds: float, before: datetime | None) -> bool:
        """Whether no frame is missing in the `seconds` before `end`.

        `before` is the earliest zero of the fragments before the drop.
        """
        behind = [zero for until, zero in self._latest if until > end]
        if before is None or not behind:
            return False
        early = (before - min(behind)).total_seconds()
        return early > max(EARLY_SHARE * seconds, LEAST_EARLY_SECONDS)

    def move(self, by: timedelta) -> None:
        """The wall clock was set by so much."""
        self.earliest = self.earliest and self.earliest + by
        moved = [(end, zero + by) for end, zero in self._latest]
        self._latest = deque(moved, MOST_FRAGMENTS)

    def clear(self) -> None:
        """Forget all fragments."""
        self.earliest, self._end = None, 0.0
        self._latest.clear()
