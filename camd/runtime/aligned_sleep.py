"""Sleep until moments that periodic tasks share, so that one wake-up serves all of them.

To wake up costs more than a short task does. Tasks that sleep for the same time, each from a moment
of its own, wake the program up once for each of them.
"""

from __future__ import annotations

import trio


def next_aligned(seconds: float) -> float:
    """Return the next multiple of `seconds` on Trio's clock: at most that much later than now."""
    now = trio.current_time()
    moment = (now // seconds + 1) * seconds
    return moment if moment > now else moment + seconds  # it was rounded


async def sleep_aligned(seconds: float) -> None:
    """Sleep until the next multiple of `seconds` on Trio's clock."""
    await trio.sleep_until(next_aligned(seconds))
