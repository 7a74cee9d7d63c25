"""Admission of recordings: whether the volume can be used, and has space for what was asked. Pure.

A recording is refused at and above the block threshold, and when it does not fit below it.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from camd.errors import STORAGE_CRITICAL, STORAGE_LOW, Refusal
from camd.model import StorageLevel, StorageStatus
from camd.storage.rules.levels import message_of

SEAL_RESERVE_BYTES = 8 * 1024 * 1024
OPEN_ENDED_SECONDS = 60.0  # reserved at a time for a recording without a duration
_SCARCE_SECONDS = 3600.0  # warn when there is room for less
_MAX_FORECAST_SECONDS = 1e9  # longer forecasts mean nothing
_SECONDS_IN_MINUTE = 60


def room_below_block(status: StorageStatus) -> int:
    """Return the bytes that can still be reserved below the block threshold."""
    line = int(status.total_bytes * status.block_percent / 100.0)
    used = status.total_bytes - status.available_bytes
    return max(0, line - used - status.promised_bytes - SEAL_RESERVE_BYTES)


@attrs.frozen
class SpaceNeed:
    """The space a recording needs: `rate` in bytes per second, duration and pre-roll.

    Without `seconds` it runs until it is stopped, and a minute is enough to begin.
    """

    rate: float
    seconds: float | None
    preroll_seconds: float = 0.0
    file_seconds: float = 0.0  # length of a file

    @property
    def bytes(self) -> float:
        """The space to reserve."""
        seconds = OPEN_ENDED_SECONDS if self.seconds is None else self.seconds
        return self.rate * (seconds + self.preroll_seconds)

    def fits_seconds(self, room: int) -> int | None:
        """Return how long a recording fits into so many bytes; None: too long to forecast."""
        fits = room / self.rate - self.preroll_seconds if self.rate > 0 else math.inf
        return int(max(0.0, fits)) if fits < _MAX_FORECAST_SECONDS else None


@attrs.frozen
class Admission:
    """A recording may begin. `fits_seconds`: how long there is room; None: very long."""

    warnings: tuple[str, ...] = ()
    fits_seconds: int | None = None


def admit(status: StorageStatus, need: SpaceNeed) -> Admission:
    """Decide whether a recording may begin; warnings are in the answer.

    Raises Refusal: −1010 at or above the block threshold, and when not even a minute fits below it;
    −1008 when the requested duration does not fit; or why the volume cannot be used.
    """
    facts = space_facts(status)
    message = message_of(status)
    if message is not None and status.level is not StorageLevel.LOW:
        raise Refusal(message.kind, message.message, suggestion=message.suggestion, **facts)
    room = room_below_block(status)
    fits = need.fits_seconds(room)
    if need.bytes > room:
        facts |= {"fits_seconds": fits}
        if need.seconds is not None:
            raise Refusal(STORAGE_LOW, **facts)
        text = f"{STORAGE_CRITICAL.message}: there is no room for a minute of recording"
        raise Refusal(STORAGE_CRITICAL, text, **facts)
    warnings: tuple[str, ...] = ()
    if status.level is StorageLevel.LOW:
        warnings += (f"Storage space is low: {status.used_percent:.1f} % used",)
    scarce = max(_SCARCE_SECONDS, need.file_seconds)
    if need.seconds is None and fits is not None and fits < scarce:
        warnings += (
            f"There is room for about {_spoken(fits)} of this recording until "
            f"{status.block_percent:g} % of the storage volume are used",
        )
    return Admission(warnings, fits)


def _spoken(seconds: int) -> str:
    """Return a duration in words, rounded down."""
    if seconds < _SECONDS_IN_MINUTE * 2:
        return f"{seconds} s"
    minutes = seconds // _SECONDS_IN_MINUTE
    return f"{minutes} min" if minutes < 2 * 60 else f"{minutes // 60} h {minutes % 60} min"


def space_facts(status: StorageStatus) -> dict[str, Any]:
    """Return the data of an error about space."""
    return {
        "available_space": status.available_bytes,
        "total_space": status.total_bytes,
        "usage_percent": round(status.used_percent, 2),
    }
