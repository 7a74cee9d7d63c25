"""At which instant a clock on the wall shows a time, where summer time skips and repeats some.

A time that the clocks skip stands for the instant of the skip. A time that they show twice is two
instants, and the caller says which one is meant.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_SECOND = timedelta(seconds=1)


def instant_of(local: datetime, zone: tzinfo, *, last: bool) -> datetime:
    """Return the instant at which clocks in `zone` show the naive time `local`, in UTC.

    `last`: the later one of two. For a time that is skipped: the first instant after it.
    """
    readings = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [at for at in readings if at.astimezone(zone).replace(tzinfo=None) == local]
    if not shown:
        return _end_of_skip(min(readings), max(readings), zone)
    return max(shown) if last else min(shown)


def _end_of_skip(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Find the instant, to the second, when the offset from UTC is no longer that of `before`."""
    offset = before.astimezone(zone).utcoffset()
    seconds = range(1, (after - before) // _SECOND + 1)
    low, high = 0, len(seconds) - 1
    while low < high:
        middle = (low + high) // 2
        at = before + seconds[middle] * _SECOND
        if at.astimezone(zone).utcoffset() == offset:
            low = middle + 1
        else:
            high = middle
    return before + seconds[high] * _SECOND
