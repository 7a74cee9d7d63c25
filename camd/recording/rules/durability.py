"""When a session may say that it is recording (I7): while pictures become durable. Pure."""

from __future__ import annotations

import errno

import attrs

from camd.model import Cause, StorageLevel

UNHEALTHY_AFTER_SECONDS = 4.0  # without a durable byte, on top of the sync cadence
WRITTEN_WITHIN_SECONDS = 5.0  # pictures, whatever the cadence: a fragment comes every half second
STALL_SHARE = 0.5  # or within this share of the time after which a camera counts as stalled
AWAITS_DISK = "storage: the disk does not take what is to be written"
AWAITS_CAMERA = "the camera delivers no pictures"


@attrs.frozen
class RecordingHealth:
    """Whether pictures were written, and became durable, a moment ago."""

    written: bool
    durable: bool

    @property
    def good(self) -> bool:
        """Whether "recording" may be said."""
        return self.written and self.durable


def judge_health(
    written_at: float | None,
    durable_at: float | None,
    sync_seconds: float | None,
    time: float,
    stall_seconds: float = 0.0,
) -> RecordingHealth:
    """Judge by when pictures were last written and synced; all on one clock, in seconds.

    Durable bytes alone would hide a camera that is silent for as long as the cadence of syncs;
    None for that: bytes are synced when a segment is sealed, and only writing is looked at. A
    camera that may be silent for `stall_seconds` is waited for as well; meanwhile nothing is
    left to sync.
    """
    timeout = UNHEALTHY_AFTER_SECONDS + (sync_seconds or 0.0)
    all_synced = None not in (written_at, durable_at) and _ago(durable_at, written_at or 0.0) <= 0
    return RecordingHealth(
        written=_ago(written_at, time) < max(WRITTEN_WITHIN_SECONDS, STALL_SHARE * stall_seconds),
        durable=sync_seconds is None or all_synced or _ago(durable_at, time) < timeout,
    )


def _ago(moment: float | None, time: float) -> float:
    return float("inf") if moment is None else time - moment


# --- Whether a session may write at this moment, and when to try again. Pure.

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_ROOMY = (StorageLevel.OK, StorageLevel.LOW)
_TRIED_ALL_THE_SAME = (StorageLevel.UNRESPONSIVE, StorageLevel.FAILING)


@attrs.define(eq=False)
class WriteBackoff:
    """Paused or not, and after which kind of problem. Times are seconds of the monotonic clock."""

    paused: Cause | None = attrs.field(default=None, init=False)
    _retry_at: float = attrs.field(default=0.0, init=False)
    _retry_delay: float = attrs.field(default=FIRST_RETRY_SECONDS, init=False)

    def stopped_by(self, level: StorageLevel, monotonic: float) -> Cause | None:
        """Say why nothing may be written; None: it may, and a pause is over.

        What was paused for want of space goes on only below the block line, so that it does not
        come and go at the edge. A volume that does not answer, or fails for others, is no reason
        to stop: this session's own writes will say. After errors it tries again by itself, the
        space monitor's trials or not.
        """
        if not level.writable and level not in _TRIED_ALL_THE_SAME:
            full = level is StorageLevel.CRITICAL
            return self.paused or (Cause.STORAGE_FULL if full else Cause.STORAGE_ERROR)
        if self.paused is None:
            return None
        tries = level.writable or level is StorageLevel.FAILING
        again = level in _ROOMY or (tries and self.paused is Cause.STORAGE_ERROR)
        if not again or monotonic < self._retry_at:
            return self.paused
        self.paused = None
        return None

    def failed(self, error: OSError, monotonic: float) -> Cause:
        """Take note of an error: the next try is later each time. Returns the ledger's cause."""
        self._retry_at = monotonic + self._retry_delay
        self._retry_delay = min(LONGEST_RETRY_SECONDS, self._retry_delay * 2)
        return Cause.STORAGE_FULL if error.errno in _NO_ROOM else Cause.STORAGE_ERROR

    def worked(self) -> None:
        """Something was written: the next error is a fresh one."""
        self._retry_delay = FIRST_RETRY_SECONDS
