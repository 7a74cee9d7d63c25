"""Health depends on when frames were last written and synced."""

from __future__ import annotations

import pytest

from camd.recording.rules.durability import judge_health


@pytest.mark.parametrize(
    ("written", "durable", "stall", "good"),
    [
        (94.0, 94.1, 10.0, False),
        (86.0, 86.1, 30.0, True),
        (84.0, 84.1, 30.0, False),
        (86.0, 84.1, 30.0, False),
        (94.9, 96.0, 3.0, False),
    ],
)
def test_a_camera_that_may_be_silent_for_long_is_healthy_for_half_of_it(
    written: float, durable: float, stall: float, good: bool
) -> None:
    """Between its rare frames nothing is left to sync; unsynced bytes count soon."""
    assert judge_health(written, durable, 1.0, 100.0, stall).good is good


@pytest.mark.parametrize(
    ("written", "durable", "cadence", "good"),
    [
        (99.0, 99.0, 1.0, True),
        (95.1, 95.1, 1.0, True),
        (95.0, 99.0, 1.0, False),
        (99.0, 95.0, 1.0, False),
        (99.0, 70.0, 30.0, True),
        (90.0, 99.0, 30.0, False),
        (99.0, 66.0, 30.0, False),
        (99.0, None, None, True),
        (90.0, 99.0, None, False),
        (99.0, None, 1.0, False),
        (None, 99.0, 1.0, False),
    ],
)
def test_both_must_be_recent(
    written: float | None, durable: float | None, cadence: float | None, good: bool
) -> None:
    """Frames within five seconds, durable bytes within the time between syncs and four seconds."""
    assert judge_health(written, durable, cadence, 100.0).good is good
