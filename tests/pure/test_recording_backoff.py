"""When a session writes, pauses and tries again."""

from __future__ import annotations

import errno

import pytest

from camd.model import GapCause, StorageLevel
from camd.recording.rules.durability import WriteBackoff

FULL, ERROR = GapCause.STORAGE_FULL, GapCause.STORAGE_ERROR
STOPS = {
    StorageLevel.CRITICAL: FULL,
    StorageLevel.MISSING: ERROR,
    StorageLevel.READ_ONLY: ERROR,
}
RESUMES = {
    StorageLevel.OK: {FULL, ERROR},
    StorageLevel.LOW: {FULL, ERROR},
    StorageLevel.BLOCKED: {ERROR},
    StorageLevel.NO_INODES: {ERROR},
    StorageLevel.FAILING: {ERROR},
}


@pytest.mark.parametrize("level", list(StorageLevel))
def test_only_some_levels_stop_a_running_session(level: StorageLevel) -> None:
    """Critical, missing and read-only stop it; at other levels only its own write errors do."""
    assert WriteBackoff().stopped_by(level, 0.0) is STOPS.get(level)


@pytest.mark.parametrize("level", list(StorageLevel))
@pytest.mark.parametrize("paused", [FULL, ERROR])
def test_a_pause_ends_where_its_reason_may_be_over(level: StorageLevel, paused: GapCause) -> None:
    """A full volume: below the block line; after an error: wherever writing may work."""
    brake = WriteBackoff()
    brake.paused = paused
    resumes = paused in RESUMES.get(level, set())
    assert brake.stopped_by(level, 0.0) is (None if resumes else paused)
    assert brake.paused is (None if resumes else paused)


def test_each_error_in_a_row_waits_longer() -> None:
    """A failing disk is tried at 1, 2, 4 … seconds, at most every 30; success resets the delay."""
    brake, now, waits = WriteBackoff(), 0.0, []
    for _ in range(7):
        brake.paused = brake.failed(OSError(errno.EIO, "words"), now)
        begun = now
        while brake.stopped_by(StorageLevel.FAILING, now) is not None:
            now += 0.5
        waits.append(now - begun)
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    brake.worked()
    brake.paused = brake.failed(OSError(errno.ENOSPC, "words"), now)
    assert brake.paused is FULL
    assert brake.stopped_by(StorageLevel.OK, now + 1.0) is None
