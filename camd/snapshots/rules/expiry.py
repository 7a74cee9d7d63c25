"""Decide which snapshots are deleted: the oldest ones, until the rest keeps within its limits."""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import datetime, timedelta

import attrs

from camd.model import StoredSnapshot


@attrs.frozen
class SnapshotLimits:
    """What may be kept, at most. Bytes; `max_age` None: any age."""

    max_age: timedelta | None
    max_size: int
    max_count: int

    def exceeded(self, count: int, size_bytes: int) -> bool:
        """Return whether there are too many or too large ones, whatever their age."""
        return count > self.max_count or size_bytes > self.max_size


def expired(
    oldest: Iterable[StoredSnapshot],
    limits: SnapshotLimits,
    *,
    count: int,
    size_bytes: int,
    now: datetime,
    kept: Container[str],
) -> list[StoredSnapshot]:
    """Choose the snapshots to delete among the oldest ones, which come in order.

    `count` and `size_bytes` are those of all snapshots. Files in `kept` are being read, or were
    made a moment ago: they stay.
    """
    chosen: list[StoredSnapshot] = []
    for each in oldest:
        too_old = limits.max_age is not None and each.time < now - limits.max_age
        if not too_old and not limits.exceeded(count, size_bytes):
            break
        if each.filename not in kept:
            chosen.append(each)
            count, size_bytes = count - 1, size_bytes - each.size_bytes
    return chosen
