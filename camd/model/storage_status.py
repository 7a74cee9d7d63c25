"""Status of the recordings volume, and receipts of the retention policy."""

from __future__ import annotations

import enum
from datetime import datetime

import attrs


class StorageLevel(enum.Enum):
    """State of the recordings volume, from good to unusable."""

    OK = "ok"
    LOW = "low"
    BLOCKED = "blocked"
    CRITICAL = "critical"
    MISSING = "missing"
    READ_ONLY = "read_only"
    UNRESPONSIVE = "unresponsive"  # a call to the disk hangs
    NO_INODES = "no_inodes"  # almost no new files can be created
    FAILING = "failing"  # writes or syncs fail

    @property
    def writable(self) -> bool:
        """Whether running sessions may continue to write."""
        return self in (
            StorageLevel.OK,
            StorageLevel.LOW,
            StorageLevel.BLOCKED,
            StorageLevel.NO_INODES,
        )


@attrs.frozen
class SyncLatency:
    """Duration of the latest syncs (fdatasync(2), and fsync(2) of the folder), in seconds.

    `count` is their number, at most 256; the others are None while it is 0.
    """

    count: int = 0
    latest: float | None = None
    median: float | None = None
    p95: float | None = None
    worst: float | None = None


@attrs.frozen
class StorageStatus:
    """Status of the recordings volume. Bytes, percent, bytes per second, seconds."""

    level: StorageLevel
    total_bytes: int
    used_bytes: int
    available_bytes: int
    used_percent: float
    recordings_bytes: int
    promised_bytes: int
    write_rate: float
    seconds_until_blocked: float | None
    warn_percent: float
    block_percent: float
    critical_percent: float
    reason: str = ""  # why the volume cannot be used and …
    suggestion: str = ""  # … what to do, where more is known than the level
    free_inodes: int | None = None  # None: the file system does not count them
    sync_latency: SyncLatency = SyncLatency()
    pending_seconds: float = 0.0  # age of the oldest call to the disk that has not returned
    slow: bool = False  # such a call takes, or took within half a minute, a second or longer
    notes_waiting: int = 0  # what could not be written into index and journal yet
    notes_lost: int = 0  # since the start: too many waited
    snapshots_bytes: int = 0  # of all snapshots, on whichever volume


@attrs.frozen
class CleanupReceipt:
    """What one run of the retention policy did, and for whom. Bytes."""

    began: datetime
    ended: datetime
    asked_by: str
    policy_type: str
    rule: str  # in words
    files_planned: int
    files_deleted: int
    space_freed: int
    files: tuple[str, ...]  # that were deleted; the first thousand
    files_skipped: int  # planned, but in use or pinned meanwhile, or the disk failed
    files_kept: int  # that the policy would take and must not
    space_short: int  # how much more than the policy allows is left
    stopped_by_limit: bool
    complete: bool  # False: it was stopped
    message: str
