"""Whether a session may write at this moment, and when to try again. Pure."""

from __future__ import annotations

import errno

import attrs

from camd.model import Cause, StorageLevel

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_ROOMY = (StorageLevel.OK, StorageLevel.LOW)
_TRIED_ALL_THE_SAME = (StorageLevel.UNRESPONSIVE, StorageLevel.FAILING)


@attrs.define(eq=False)
class WriteBackoff:
    """Paused or not, and since which kind of trouble. Times are seconds of the monotonic clock."""

    paused: Cause | None = attrs.field(default=None, init=False)
    _retry_at: float = attrs.field(default=0.0, init=False)
    _retry_delay: float = attrs.field(default=FIRST_RETRY_SECONDS, init=False)

    def stopped_by(self, level: StorageLevel, monotonic: float) -> Cause | None:
        """Say why nothing may be written; None: it may, and a pause is over.

        What was paused for want of space goes on only below the block line, so that it does not
        come and go at the edge. A volume that does not answer, or fails for others, is no reason
        to stop: this session's own writes will say. After errors it tries again by itself, the
        guard's trials or not.
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
