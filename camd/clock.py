"""The only place that reads wall time and the boot id; everything else is handed them."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The wall clock, as an aware datetime in UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds of CLOCK_MONOTONIC, for durations (clock_gettime(2)); never steps."""
    return time.monotonic()


def from_unix_micros(micros: int) -> datetime:
    """Turn microseconds since 1970 (UTC) into a datetime, exactly."""
    return _EPOCH + timedelta(microseconds=micros)


def to_unix_micros(moment: datetime) -> int:
    """Turn an aware datetime into microseconds since 1970 (UTC), exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@cache
def boot_id() -> str:
    """The kernel's id of this boot (Documentation/admin-guide/sysctl/kernel.rst, random).

    Blocks the first time: the service asks before its event loop runs.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def boottime() -> float:
    """Seconds of CLOCK_BOOTTIME: as CLOCK_MONOTONIC, and goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and room for the rest of it (adjtimex(2))."""

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
    """Whether the kernel says that a time service keeps the wall clock right (adjtimex(2)).

    Where it may not be asked, whether systemd's own service has said so.
    """
    facts = _Timex()
    try:
        if ctypes.CDLL(None).adjtimex(ctypes.byref(facts)) >= 0:
            return not facts.status & _UNSYNCHRONISED
    except (OSError, AttributeError):
        pass
    return Path("/run/systemd/timesync/synchronized").exists()
