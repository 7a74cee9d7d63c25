"""From bytes to a level, and from a wish to an admission: the guard's decisions, pure.

Used percent is `(total − available) / total × 100` with `f_bavail` (statvfs(3)): what an
unprivileged writer may still use, so the file system's own reserve counts as used.
"""

from __future__ import annotations

import errno
from typing import Any

import attrs

from camd.errors import (
    STORAGE_CRITICAL,
    STORAGE_FAILING,
    STORAGE_LOW,
    STORAGE_MISSING,
    STORAGE_NO_INODES,
    STORAGE_READ_ONLY,
    STORAGE_UNRESPONSIVE,
    ErrorKind,
    Refusal,
)
from camd.model import StorageLevel, StorageStatus

HYSTERESIS_PERCENT = 1.0
CRITICAL_PERCENT = 95.0
SEAL_RESERVE_BYTES = 8 * 1024 * 1024
_FEWEST_INODES = 100
_INODE_SHARE = 1000  # a thousandth of all inodes …
_SMALL_INODE_SHARE = 10  # … but never more than a tenth, however small the volume

# Want of room has levels of its own, and the rest says nothing about the volume.
_NOT_THE_VOLUME = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENODATA, errno.ENOENT, errno.ENOTDIR),
        *(errno.EEXIST, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    }
)


@attrs.frozen
class Usage:
    """One sample of a volume, in bytes; inodes as the file system counts them."""

    total_bytes: int
    available_bytes: int
    free_inodes: int = -1  # -1: the file system does not count them
    read_only: bool = False
    total_inodes: int = 0

    @property
    def inode_line(self) -> int:
        """Below how many free inodes nothing new begins: 100, or a thousandth of all."""
        line = max(_FEWEST_INODES, self.total_inodes // _INODE_SHARE)
        return min(line, self.total_inodes // _SMALL_INODE_SHARE)

    def short_of_inodes(self, already: bool) -> bool:
        """Say whether so few are left; when it is so already, 10 % above the line ends it."""
        if self.free_inodes < 0:
            return False
        line = self.inode_line
        return self.free_inodes < (line + line // 10 if already else line)

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
    if usage.short_of_inodes(previous is StorageLevel.NO_INODES):
        full = percent >= thresholds.critical
        return StorageLevel.CRITICAL if full else StorageLevel.NO_INODES
    for level in _BY_USE:
        line = thresholds.line(level)
        held = previous in _BY_USE and _BY_USE.index(previous) <= _BY_USE.index(level)
        if percent >= line or (held and percent > line - HYSTERESIS_PERCENT):
            return level
    return StorageLevel.OK


@attrs.frozen
class Fault:
    """Why a volume cannot be used, found by looking at it; texts where more is known."""

    level: StorageLevel
    reason: str = ""
    suggestion: str = ""


def weigh(by_use: StorageLevel, fault: Fault | None, *, hung: bool, failing: bool) -> StorageLevel:
    """Choose the level to show of all that is the matter.

    What stops running sessions goes first: a call that hangs on the lost disk must not hide that
    the disk is lost. What only stops new ones follows.
    """
    if fault is not None:
        return fault.level
    if by_use in (StorageLevel.CRITICAL, StorageLevel.READ_ONLY):
        return by_use
    if hung:
        return StorageLevel.UNRESPONSIVE
    return StorageLevel.FAILING if failing else by_use


def blames_volume(error: OSError) -> bool:
    """Say whether an error of a write, sync or create means that the volume fails."""
    return error.errno not in _NOT_THE_VOLUME


_KINDS = {
    StorageLevel.LOW: STORAGE_LOW,
    StorageLevel.BLOCKED: STORAGE_CRITICAL,
    StorageLevel.CRITICAL: STORAGE_CRITICAL,
    StorageLevel.MISSING: STORAGE_MISSING,
    StorageLevel.READ_ONLY: STORAGE_READ_ONLY,
    StorageLevel.UNRESPONSIVE: STORAGE_UNRESPONSIVE,
    StorageLevel.NO_INODES: STORAGE_NO_INODES,
    StorageLevel.FAILING: STORAGE_FAILING,
}


@attrs.frozen
class Notice:
    """What people and programs are told about a level that is not ok."""

    kind: ErrorKind
    message: str
    suggestion: str


def notice_of(status: StorageStatus) -> Notice | None:
    """Say what is the matter and what to do; None while all is well."""
    kind = _KINDS.get(status.level)
    if kind is None:
        return None
    suggestion = status.suggestion or kind.suggestion
    if status.level is StorageLevel.LOW:
        suggestion = "Free space on the recordings volume."
    return Notice(kind, status.reason or kind.message, suggestion)


def room_below_block(status: StorageStatus) -> int:
    """Bytes that may still be promised before the block line, never negative."""
    line = int(status.total_bytes * status.block_percent / 100.0)
    used = status.total_bytes - status.available_bytes
    return max(0, line - used - status.promised_bytes - SEAL_RESERVE_BYTES)


def admit(status: StorageStatus, rate: float, seconds: float) -> tuple[str, ...]:
    """Decide on a recording of `seconds` at `rate` bytes/s: warnings for the answer.

    Raises Refusal: −1010 at the block line or above, −1008 when it would not fit below it, and
    why when the volume cannot be used.
    """
    facts = space_facts(status)
    notice = notice_of(status)
    if notice is not None and status.level is not StorageLevel.LOW:
        raise Refusal(notice.kind, notice.message, suggestion=notice.suggestion, **facts)
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
