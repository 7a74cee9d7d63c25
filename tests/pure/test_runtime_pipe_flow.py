"""How long a pipe can wait for its next read, by its rate and by how full it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.runtime.pipe_poller import (
    FILLED_SHARE,
    FULL_SECONDS,
    ROUND_SECONDS,
    WINDOW_SECONDS,
    PipeFillEstimate,
)

MEBIBYTE = 1024 * 1024
MOST = FILLED_SHARE * MEBIBYTE / ROUND_SECONDS  # bytes a second that leave room until a round


def flowing(flow: PipeFillEstimate, rate: float, step: float, *, since: float, end: float) -> None:
    """Read so many bytes a second, `step` seconds after each other."""
    moment = since
    while moment < end:
        moment += step
        flow.came(int(rate * step), moment)


def test_a_usual_camera_waits_for_each_round() -> None:
    """Half a second of 8 Mbit/s at once, over and over, leaves room in a pipe of a mebibyte."""
    flow = PipeFillEstimate(MEBIBYTE)
    for number in range(200):
        flow.found(500_000, number * 0.5)
        assert flow.seconds == ROUND_SECONDS
        assert flow.may_wait


def test_a_small_pipe_cannot_wait() -> None:
    """With what an unprivileged process gets past its share, the same camera is read at once."""
    flow = PipeFillEstimate(65536)
    flow.found(50_000, 0.0)
    assert not flow.may_wait
    flowing(flow, 1_000_000, 0.02, since=0.0, end=3 * WINDOW_SECONDS)
    assert not flow.may_wait


@given(st.floats(1.1, 4), st.floats(0.01, 0.1))
def test_a_pipe_that_would_fill_is_read_sooner(excess: float, step: float) -> None:
    """Before more than its share has gathered; noticed within the window."""
    flow = PipeFillEstimate(MEBIBYTE)
    flowing(flow, MOST * excess, step, since=0.0, end=WINDOW_SECONDS * 1.2)
    assert flow.seconds * MOST * excess <= 1.1 * FILLED_SHARE * MEBIBYTE
    assert flow.seconds > ROUND_SECONDS / excess / 1.3
    assert flow.may_wait


@given(st.floats(7, 50), st.floats(0.01, 0.05))
def test_a_pipe_that_would_fill_at_once_does_not_wait(excess: float, step: float) -> None:
    """Rounds so close to each other would save nothing."""
    flow = PipeFillEstimate(MEBIBYTE)
    flowing(flow, MOST * excess, step, since=0.0, end=WINDOW_SECONDS * 1.2)
    assert not flow.may_wait


@given(st.floats(0.01, 0.9), st.floats(0.05, 0.5))
def test_a_pipe_whose_rate_fell_can_wait_again(share: float, step: float) -> None:
    """Half as long at first: what has filled it once may come again."""
    flow = PipeFillEstimate(MEBIBYTE)
    flow.found(MEBIBYTE, 0.0)
    assert not flow.may_wait
    flowing(flow, MOST * share, step, since=0.0, end=3 * WINDOW_SECONDS)
    assert flow.seconds == ROUND_SECONDS / 2
    flowing(flow, MOST * share, step, since=3 * WINDOW_SECONDS, end=FULL_SECONDS - 1)
    assert flow.seconds == ROUND_SECONDS / 2
    flowing(flow, MOST * share, step, since=FULL_SECONDS, end=FULL_SECONDS + 3 * WINDOW_SECONDS)
    assert flow.seconds == ROUND_SECONDS


@given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0.2, 0.3)), min_size=1))
def test_a_pipe_far_from_full_always_can_wait(reads: list[tuple[int, float]]) -> None:
    """However unevenly it comes."""
    flow, moment = PipeFillEstimate(MEBIBYTE), 0.0
    for size, step in reads:
        moment += step
        flow.found(size, moment)
        assert flow.seconds == ROUND_SECONDS


def test_a_pipe_that_gets_nothing_can_wait() -> None:
    """A camera that has fallen silent fills nothing."""
    flow = PipeFillEstimate(MEBIBYTE)
    flowing(flow, MOST * 3, 0.1, since=0.0, end=WINDOW_SECONDS)
    flowing(flow, 0, 0.1, since=WINDOW_SECONDS, end=4 * WINDOW_SECONDS)
    assert flow.seconds == ROUND_SECONDS


@pytest.mark.parametrize("rate", [0.98, 1.02])
def test_near_the_threshold_little_changes(rate: float) -> None:
    """A camera whose rate is about the highest that can wait for a round waits about as long."""
    flow = PipeFillEstimate(MEBIBYTE)
    flowing(flow, MOST * rate, 0.1, since=0.0, end=10 * WINDOW_SECONDS)
    assert ROUND_SECONDS * 0.9 < flow.seconds <= ROUND_SECONDS
