"""The clocks of the machine; wall time and the boot id are read nowhere else.

Code that needs times takes a `Clock`; tests pass another one than `SYSTEM_CLOCK`. Inside, times are
monotonic seconds; an `Anchor` converts them to wall time and back.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import attrs

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> datetime:
    """Read the wall clock: an aware datetime in UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Read CLOCK_MONOTONIC in seconds, for durations (clock_gettime(2)); it never steps."""
    return time.monotonic()


def from_unix_micros(micros: int) -> datetime:
    """Convert microseconds since 1970 (UTC) to a datetime, exactly."""
    return _EPOCH + micros * _MICROSECOND


def to_unix_micros(moment: datetime) -> int:
    """Convert an aware datetime to microseconds since 1970 (UTC), exactly."""
    return (moment - _EPOCH) // _MICROSECOND


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot (Documentation/admin-guide/sysctl/kernel.rst, random).

    Blocks the first time, so the service calls it before its event loop runs. "" when unreadable.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def boottime() -> float:
    """Read CLOCK_BOOTTIME in seconds: CLOCK_MONOTONIC plus the time that the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Timex(ctypes.Structure):
    """The first fields of struct timex, with room for the rest (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_UNSYNCHRONISED = 0x0040  # STA_UNSYNC; the kernel sets it too when the clock is set


def synchronised() -> bool:
    """Whether a time service keeps the wall clock right, by the kernel (adjtimex(2)).

    Where adjtimex is not permitted: whether systemd-timesyncd says so.
    """
    timex = _Timex()
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) >= 0:
            return not timex.status & _UNSYNCHRONISED
    except (OSError, AttributeError):
        pass
    return os.path.exists("/run/systemd/timesync/synchronized")


STEP_SECONDS = 0.5  # a smaller change of the wall clock is a correction, and no step
TORN_SECONDS = 0.1  # two clocks that were read further apart cannot be compared


@attrs.frozen
class Anchor:
    """What the wall clock showed at one moment of the monotonic clock."""

    monotonic: float
    wall: datetime

    def wall_at(self, monotonic: float) -> datetime:
        """Convert monotonic seconds to wall time."""
        return self.wall + timedelta(seconds=monotonic - self.monotonic)

    def monotonic_at(self, wall: datetime) -> float:
        """Convert wall time to monotonic seconds."""
        return self.monotonic + (wall - self.wall).total_seconds()

    def step_to(self, later: Anchor) -> timedelta:
        """By how much the wall clock was set between two anchors; forward is positive."""
        step = later.wall - self.wall_at(later.monotonic)
        return step if abs(step.total_seconds()) >= STEP_SECONDS else timedelta(0)


@attrs.frozen
class Clock:
    """The clocks that a part of the program reads; each field is a function."""

    now: Callable[[], datetime] = now  # wall time
    monotonic: Callable[[], float] = monotonic
    boottime: Callable[[], float] = boottime
    boot_id: Callable[[], str] = boot_id
    synchronised: Callable[[], bool] = synchronised

    def anchor(self, known: Anchor | None = None) -> Anchor:
        """Read both clocks; return `known` where they were read too far apart to be compared."""
        before = self.monotonic()
        anchor = Anchor(before, self.now())
        torn = self.monotonic() - before > TORN_SECONDS
        return known if torn and known is not None else anchor


SYSTEM_CLOCK = Clock()
