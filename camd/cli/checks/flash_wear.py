"""How much a configuration writes, and what that means for flash memory. Pure."""

from __future__ import annotations

import attrs

SECONDS_A_DAY = 86_400
SYNC_BYTES = 24_600  # written by ext4 beside the data of one fdatasync(2): bench/flash_wear.py
ENDURANCE_BYTES = 100e12  # what a small SSD is typically guaranteed to take
_INTERVALS = {"1s": 1.0, "5s": 5.0, "30s": 30.0}  # of storage.durability, in seconds


@attrs.frozen
class DailyWrites:
    """What is written in a day of recording, in bytes."""

    footage: float
    syncs: float

    @property
    def total(self) -> float:
        """Return both together."""
        return self.footage + self.syncs

    @property
    def years(self) -> float:
        """Return how many years ENDURANCE_BYTES last."""
        return ENDURANCE_BYTES / self.total / 365


def daily_writes(
    bits_per_second: float, cameras: int, durability: str, rotation_seconds: float
) -> DailyWrites:
    """Estimate the writes of cameras that record all day, with this `storage.durability`.

    `bits_per_second` is that of all cameras together. Durability `segment` syncs once a segment.
    """
    interval = _INTERVALS.get(durability, rotation_seconds)
    return DailyWrites(
        footage=bits_per_second / 8 * SECONDS_A_DAY,
        syncs=cameras * SECONDS_A_DAY / interval * SYNC_BYTES,
    )
