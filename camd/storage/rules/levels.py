"""Levels of the recordings volume: what each says, and when it begins and ends. Pure.

Used percent is `(total − available) / total × 100` with `f_bavail` (statvfs(3)): what an
unprivileged writer can still use, so the file system's own reserve counts as used.
"""

from __future__ import annotations

import errno

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
)
from camd.model import StorageLevel, StorageStatus

HYSTERESIS_PERCENT = 1.0
CRITICAL_PERCENT = 95.0
_FEWEST_INODES = 100
_INODE_SHARE = 1000  # a thousandth of all inodes …
_SMALL_INODE_SHARE = 10  # … but at most a tenth on small volumes

# A full volume has levels of its own; the others say nothing about the volume.
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
        """The number of free inodes below which nothing new begins: 100, or a thousandth of all."""
        line = max(_FEWEST_INODES, self.total_inodes // _INODE_SHARE)
        return min(line, self.total_inodes // _SMALL_INODE_SHARE)

    def short_of_inodes(self, already: bool) -> bool:
        """Return whether too few are left; once it is so, 10 % above the line ends it."""
        if self.free_inodes < 0:
            return False
        line = self.inode_line
        return self.free_inodes < (line + line // 10 if already else line)

    @property
    def used_percent(self) -> float:
        """Percent of the volume that cannot be used; 100 for a volume of no size."""
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
        """Return where `level` begins."""
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
    """Return the level of `usage`; a level is left only 1 % below its threshold (hysteresis)."""
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
class VolumeFault:
    """Why a volume cannot be used, as a sample found it; texts where more is known."""

    level: StorageLevel
    reason: str = ""
    suggestion: str = ""


def classify_level(
    by_use: StorageLevel, fault: VolumeFault | None, *, hangs: bool, failing: bool
) -> StorageLevel:
    """Choose the level to show when several apply.

    Levels that stop running sessions come first: a call that hangs on a lost disk must not hide
    that the disk is lost. Levels that only stop new sessions follow.
    """
    if fault is not None:
        return fault.level
    if by_use in (StorageLevel.CRITICAL, StorageLevel.READ_ONLY):
        return by_use
    if hangs:
        return StorageLevel.UNRESPONSIVE
    return StorageLevel.FAILING if failing else by_use


def blames_volume(error: OSError) -> bool:
    """Return whether an error of a write, sync or create means that the volume fails."""
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
class LevelMessage:
    """The message for a level that is not OK."""

    kind: ErrorKind
    message: str
    suggestion: str


def message_of(status: StorageStatus) -> LevelMessage | None:
    """Return the message for the present level; None when it is OK."""
    kind = _KINDS.get(status.level)
    if kind is None:
        return None
    suggestion = status.suggestion or kind.suggestion
    if status.level is StorageLevel.LOW:
        suggestion = "Free space on the recordings volume."
    return LevelMessage(kind, status.reason or kind.message, suggestion)


def seconds_until_blocked(status: StorageStatus) -> float | None:
    """Forecast when the block threshold is reached at the present write rate; None: never."""
    if status.write_rate <= 0:
        return None
    line = status.total_bytes * status.block_percent / 100.0
    left = line - (status.total_bytes - status.available_bytes)
    return round(max(0.0, left / status.write_rate), 1)
