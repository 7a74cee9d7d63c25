"""The only place that reads wall time and the boot id; everything else is handed them."""

from __future__ import annotations

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


def synchronised() -> bool:
    """Whether a time service says that the wall clock is right (systemd's marker file)."""
    return Path("/run/systemd/timesync/synchronized").exists()
