"""The clocks of the machine; wall time and the boot id are read nowhere else.

Code that needs times takes a `Clock`; tests pass another one than `SYSTEM_CLOCK`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import attrs

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Read the wall clock: an aware datetime in UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Read CLOCK_MONOTONIC in seconds, for durations (clock_gettime(2)); it never steps."""
    return time.monotonic()


def from_unix_micros(micros: int) -> datetime:
    """Convert microseconds since 1970 (UTC) to a datetime, exactly."""
    return _EPOCH + timedelta(microseconds=micros)


def to_unix_micros(moment: datetime) -> int:
    """Convert an aware datetime to microseconds since 1970 (UTC), exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


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
    return Path("/run/systemd/timesync/synchronized").exists()


@attrs.frozen
class Clock:
    """The clocks that a part of the program reads; each field is a function."""

    now: Callable[[], datetime] = now  # wall time
    monotonic: Callable[[], float] = monotonic
    boottime: Callable[[], float] = boottime
    boot_id: Callable[[], str] = boot_id
    synchronised: Callable[[], bool] = synchronised


SYSTEM_CLOCK = Clock()
