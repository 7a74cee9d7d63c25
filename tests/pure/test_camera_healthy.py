"""Health is judged by when pictures were last written and synced."""

from __future__ import annotations

import pytest

from camd.camera.health import judge


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
    """Pictures within five seconds, durable bytes within the cadence and four seconds."""
    assert judge(written, durable, cadence, 100.0).good is good
