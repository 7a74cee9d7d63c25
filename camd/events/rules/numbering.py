"""Numbers of events: none comes twice, across restarts and power cuts, and nobody waits for one.

Numbers are reserved on disk in blocks before they are used. After a stop that could not say which
numbers of its block were used, the next run begins behind the block.
"""

from __future__ import annotations

import math

import attrs

BLOCK = 1024  # numbers that are reserved at once


@attrs.define(eq=False)
class EventNumbers:
    """Gives out numbers. Those below `limit` are reserved on disk."""

    next: int = 1
    limit: float = 1  # infinite: the disk cannot reserve, and the numbers are those of a clock

    def take(self, unix_ms: int) -> int:
        """Give the next number; never waits.

        When the disk has not reserved it in time, the numbers go on from the milliseconds since
        1970: they are above all that a disk could have reserved, so that no later run repeats them
        even if this one is never written.
        """
        if self.next >= self.limit:
            self.next = max(self.next, unix_ms)
            self.limit = math.inf
        self.next += 1
        return self.next - 1

    @property
    def wanted_limit(self) -> int | None:
        """The limit that should be reserved now; None while enough numbers are."""
        if math.isinf(self.limit) or self.limit - self.next < BLOCK // 2:
            return self.next + BLOCK
        return None

    def reserved(self, limit: int) -> None:
        """Take over what is now durable on disk; an older limit than the next number is of no use.

        A run whose numbers come from a clock goes on counting from where it is.
        """
        if limit > self.next:
            self.limit = limit


def first_event_number(last_kept: int, limit: int | None, *, unix_ms: int) -> int:
    """Give the first number of a run, above all that an earlier one may have used.

    `last_kept` is the newest in the files, 0 without any. `limit` is what was reserved; None when
    that cannot be read, and then a clock gives the number. So it does when the newest one was not
    reserved, but a clock's: those behind it may be lost.
    """
    if limit is None or last_kept >= limit:
        return max(last_kept + BLOCK, unix_ms)
    return limit
