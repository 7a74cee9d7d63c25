"""From bytes to a level, and from a wish to an admission: the guard's decisions, pure.

Used percent is `(total − available) / total × 100` with `f_bavail` (statvfs(3)): what an
unprivileged writer may still use, so the file system's own reserve counts as used.
"""

from __future__ import annotations

from typing import Any

import attrs

from camd.errors import STORAGE_CRITICAL, STORAGE_LOW, Refusal
from camd.model import StorageLevel, StorageStatus

HYSTERESIS_PERCENT = 1.0
CRITICAL_PERCENT = 95.0
SEAL_RESERVE_BYTES = 8 * 1024 * 1024


@attrs.frozen
class Usage:
    """One sample of a volume, in bytes; inodes as the file system counts them."""

    total_bytes: int
    available_bytes: int
    free_inodes: int = -1  # -1: the file system does not count them
    read_only: bool = False

    @property
    def used_percent(self) -> float:
        """Percent of the volume that is gone for us; 100 for a volume of no size."""
        if self.total_bytes <= 0:
            return 100.0
        return (self.total_bytes - self.available_bytes) / self.total_bytes * 100.0


@attrs.frozen
class Thresholds:
    """Percent of use at which the levels begin."""

    warn: float = 80.0
    block: float = 90.0
    critical: float = CRITICAL_PERCENT

    def line(self, level: StorageLevel) -> float:
        """Where `level` begins."""
        return {
            StorageLevel.OK: 0.0,
            StorageLevel.LOW: self.warn,
            StorageLevel.BLOCKED: self.block,
            StorageLevel.CRITICAL: self.critical,
        }[level]


_BY_USE = (StorageLevel.CRITICAL, StorageLevel.BLOCKED, StorageLevel.LOW, StorageLevel.OK)


def level_of(
    usage: Usage, thresholds: Thresholds, previous: StorageLevel = StorageLevel.OK
) -> StorageLevel:
    """Name the level of `usage`; a level is left downwards only 1 % below where it begins."""
    if usage.read_only:
        return StorageLevel.READ_ONLY
    percent = usage.used_percent
    for level in _BY_USE:
        line = thresholds.line(level)
        held = previous in _BY_USE and _BY_USE.index(previous) <= _BY_USE.index(level)
        if percent >= line or (held and percent > line - HYSTERESIS_PERCENT):
            return level
    return StorageLevel.OK


def room_below_block(status: StorageStatus) -> int:
    """Bytes that may still be promised before the block line, never negative."""
    line = int(status.total_bytes * status.block_percent / 100.0)
    used = status.total_bytes - status.available_bytes
    return max(0, line - used - status.promised_bytes - SEAL_RESERVE_BYTES)


def admit(status: StorageStatus, rate: float, seconds: float) -> tuple[str, ...]:
    """Decide on a recording of `seconds` at `rate` bytes/s: warnings for the answer.

    Raises Refusal: −1010 at the block line or above, −1008 when it would not fit below it.
    """
    facts = space_facts(status)
    if status.level in (StorageLevel.BLOCKED, StorageLevel.CRITICAL):
        raise Refusal(STORAGE_CRITICAL, **facts)
    room = room_below_block(status)
    if rate * seconds > room:
        raise Refusal(STORAGE_LOW, **facts, fits_seconds=int(room / rate))
    if status.level is StorageLevel.LOW:
        return (f"Storage space is low: {status.used_percent:.1f} % used",)
    return ()


def space_facts(status: StorageStatus) -> dict[str, Any]:
    """What an error about space tells its reader."""
    return {
        "available_space": status.available_bytes,
        "total_space": status.total_bytes,
        "usage_percent": round(status.used_percent, 2),
    }


def seconds_until_blocked(status: StorageStatus) -> float | None:
    """Forecast when the block line is reached at the present write rate; None: not at all."""
    if status.write_rate <= 0:
        return None
    line = status.total_bytes * status.block_percent / 100.0
    left = line - (status.total_bytes - status.available_bytes)
    return round(max(0.0, left / status.write_rate), 1)
