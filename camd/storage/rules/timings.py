"""The timeouts, pauses and bounds of storage, in one value; tests pass another one. Pure."""

from __future__ import annotations

import attrs

from camd.growing_delay import GrowingDelay


@attrs.frozen
class StorageLimits:
    """The limits of one recordings folder; the defaults are those of the service."""

    sample_seconds: float = 1.0  # between samples of the volume, while anything records
    idle_sample_seconds: float = 5.0
    sample_timeout_seconds: float = 3.0
    hang_seconds: float = 10.0  # a disk call that takes longer hangs: level UNRESPONSIVE
    trial_seconds: float = 3.0  # between trial writes to a failing volume
    slow_seconds: float = 1.0  # a longer step makes the disk slow …
    slow_memory_seconds: float = 30.0  # … for so long
    read_timeout_seconds: float = 10.0  # of a look-up in the index
    write_retry: GrowingDelay = GrowingDelay(1.0, 30.0)  # after a failed write to the index
    search_retry: GrowingDelay = GrowingDelay(1.0, 300.0)  # after a search that failed
    search_progress_seconds: float = 2.0  # between two events about a search
    resume_timeout_seconds: float = 15.0  # unfinished sessions wait this long for the search
    max_pending: int = 10_000  # records that wait while nothing can be written


STORAGE_LIMITS = StorageLimits()
