"""Pure: the durations of frames that were stamped alike: they share the time until the next stamp.

Some cameras count time in tenths of a second or more, and FFmpeg writes frames with one stamp a
single tick apart: all but the last of them would never be seen. Where a fragment ends among such
frames, time is lent to them, which the next frames give back.
"""

from __future__ import annotations

from array import array

import attrs

MOST_EACH = 2.0  # times the usual interval; a longer time is a gap behind the last of them
MOST_LENT = 8.0  # times the usual interval


@attrs.frozen
class SharedDurations:
    """Durations of samples in ticks, and how many ticks they last longer than their stamps say."""

    durations: array[int]
    lent: int


def share(stamped: array[int], *, equal: int, usual: int, lent: int) -> SharedDurations:
    """Share the time of frames that were stamped less than `equal` ticks apart.

    `usual` is the usual interval in ticks (0: unknown), `lent` by how many the frames before last
    too long.
    """
    durations, group, length = array("I"), 0, 0
    for ticks in stamped:
        group, length = group + 1, length + ticks
        if ticks < equal:
            continue
        room = max(group, length - lent)
        lent += room - length
        durations.extend(_divided(room, group, usual))
        group = length = 0
    if usual and group and lent + usual * group - length <= MOST_LENT * usual:
        durations.extend([usual] * group)
        lent += usual * group - length
    else:
        durations.extend(stamped[len(durations) :])
    return SharedDurations(durations, lent)


def _divided(room: int, group: int, usual: int) -> list[int]:
    """Divide `room` ticks among the frames of a group; a gap comes behind them."""
    if usual and group > 1 and room > MOST_EACH * usual * group:
        return [usual] * (group - 1) + [room - usual * (group - 1)]
    return [room * (n + 1) // group - room * n // group for n in range(group)]
