"""When a session may say that it is recording (I7): while pictures become durable. Pure."""

from __future__ import annotations

import attrs

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
    patience = UNHEALTHY_AFTER_SECONDS + (sync_seconds or 0.0)
    all_synced = None not in (written_at, durable_at) and _ago(durable_at, written_at or 0.0) <= 0
    return RecordingHealth(
        written=_ago(written_at, time) < max(WRITTEN_WITHIN_SECONDS, STALL_SHARE * stall_seconds),
        durable=sync_seconds is None or all_synced or _ago(durable_at, time) < patience,
    )


def _ago(moment: float | None, time: float) -> float:
    return float("inf") if moment is None else time - moment
