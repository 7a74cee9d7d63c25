"""Whether a session's frames become durable (I7), and whether it may write now. Pure."""

from __future__ import annotations

import errno

import attrs

from camd.growing_delay import GrowingDelay
from camd.model import GapCause, StorageLevel

UNHEALTHY_AFTER_SECONDS = 4.0  # without a durable byte, on top of the time between syncs
WRITTEN_WITHIN_SECONDS = 5.0  # frames, whatever the syncs: a fragment comes every half second
STALL_SHARE = 0.5  # or within this share of the time after which a camera counts as stalled
AWAITS_DISK = "storage: the disk does not take what is to be written"
AWAITS_CAMERA = "the camera delivers no pictures"


@attrs.frozen
class RecordingHealth:
    """Whether frames were written, and became durable, a moment ago."""

    written: bool
    durable: bool

    @property
    def good(self) -> bool:
        """Whether the session may be reported as recording."""
        return self.written and self.durable


def judge_health(
    written_at: float | None,
    durable_at: float | None,
    sync_seconds: float | None,
    time: float,
    stall_seconds: float = 0.0,
) -> RecordingHealth:
    """Judge by when frames were last written and synced; all times are monotonic seconds.

    Both count: syncs that are far apart would hide a camera that delivers nothing. With
    `sync_seconds` None, bytes are synced when a segment is sealed, and only writing counts. A
    camera may deliver nothing for a share of `stall_seconds`.
    """
    timeout = UNHEALTHY_AFTER_SECONDS + (sync_seconds or 0.0)
    all_synced = None not in (written_at, durable_at) and _ago(durable_at, written_at or 0.0) <= 0
    return RecordingHealth(
        written=_ago(written_at, time) < max(WRITTEN_WITHIN_SECONDS, STALL_SHARE * stall_seconds),
        durable=sync_seconds is None or all_synced or _ago(durable_at, time) < timeout,
    )


def _ago(moment: float | None, time: float) -> float:
    return float("inf") if moment is None else time - moment


# --- Whether a session may write now, and when to try again.

RETRY_DELAY = GrowingDelay(1.0, 30.0)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_ROOMY = (StorageLevel.OK, StorageLevel.LOW)
_WRITTEN_ALL_THE_SAME = (StorageLevel.UNRESPONSIVE, StorageLevel.FAILING)


@attrs.define(eq=False)
class WriteBackoff:
    """Whether a session is paused, and why. Times are monotonic seconds."""

    paused: GapCause | None = attrs.field(default=None, init=False)
    _retry_at: float = attrs.field(default=0.0, init=False)
    _failures: int = attrs.field(default=0, init=False)  # in a row

    def stopped_by(self, level: StorageLevel, monotonic: float) -> GapCause | None:
        """Return why nothing may be written; None: writing is allowed, and a pause is over.

        A pause for want of space ends only below the block threshold (hysteresis). A volume that
        hangs, or fails for others, does not pause a session: only its own write errors
        do. After an error it tries again after a delay, whatever the space monitor says.
        """
        if not level.writable and level not in _WRITTEN_ALL_THE_SAME:
            full = level is StorageLevel.CRITICAL
            return self.paused or (GapCause.STORAGE_FULL if full else GapCause.STORAGE_ERROR)
        if self.paused is None:
            return None
        tries = level.writable or level is StorageLevel.FAILING
        again = level in _ROOMY or (tries and self.paused is GapCause.STORAGE_ERROR)
        if not again or monotonic < self._retry_at:
            return self.paused
        self.paused = None
        return None

    def failed(self, error: OSError, monotonic: float) -> GapCause:
        """Count an error: each next try is later. Returns the cause for the ledger."""
        self._failures += 1
        self._retry_at = monotonic + RETRY_DELAY.after(self._failures)
        return GapCause.STORAGE_FULL if error.errno in _NO_ROOM else GapCause.STORAGE_ERROR

    def worked(self) -> None:
        """Something was written: the delay begins anew."""
        self._failures = 0
