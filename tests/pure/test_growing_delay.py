"""The delay before something that failed is tried again."""

from __future__ import annotations

import pytest

from camd.growing_delay import GrowingDelay


def test_delays_grow_up_to_the_longest() -> None:
    """They double with each failure in a row, however many there are; without one there is none."""
    delay = GrowingDelay(1.0, 60.0)
    assert [delay.after(failures) for failures in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert delay.after(10**9) == 60.0


def test_a_delay_may_grow_less() -> None:
    """By another factor than 2."""
    delay = GrowingDelay(0.2, 0.5, 1.5)
    assert [delay.after(failures) for failures in (1, 2, 3, 4)] == pytest.approx(
        [0.2, 0.3, 0.45, 0.5]
    )


def test_a_delay_is_shortened_by_a_half_at_most() -> None:
    """By a random share, so that not all who failed together come again together."""
    delay = GrowingDelay(1.0, 60.0)
    assert [delay.after(3, share) for share in (0.0, 0.5, 1.0)] == [2.0, 3.0, 4.0]
