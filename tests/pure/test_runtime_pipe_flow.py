"""Whether a pipe can wait for the next round, by its rate and by how full it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from camd.runtime.pipe_poller import FILLED_SHARE, ROUND_SECONDS, WINDOW_SECONDS, PipeFillEstimate

MEBIBYTE = 1024 * 1024
MOST = FILLED_SHARE * MEBIBYTE / ROUND_SECONDS  # bytes a second


def test_a_usual_camera_can_wait() -> None:
    """Half a second of 8 Mbit/s at once, over and over, leaves room in a pipe of a mebibyte."""
    flow = PipeFillEstimate(MEBIBYTE)
    for number in range(200):
        flow.found(500_000, number * 0.5)
        assert not flow.urgent


def test_a_small_pipe_cannot_wait() -> None:
    """With what an unprivileged process gets past its share, the same camera is read at once."""
    flow = PipeFillEstimate(65536)
    flow.found(50_000, 0.0)
    assert flow.urgent


@given(st.floats(1.1, 20), st.floats(0.01, 0.1))
def test_a_pipe_that_would_fill_is_not_waited_for(excess: float, step: float) -> None:
    """More than a third between two rounds, on average: noticed within the window."""
    flow, moment = PipeFillEstimate(MEBIBYTE), 0.0
    while moment <= WINDOW_SECONDS * 1.1:
        flow.came(int(MOST * excess * step), moment)
        moment += step
    assert flow.urgent


@given(st.floats(0.01, 0.7), st.floats(0.05, 0.5))
def test_a_pipe_whose_rate_fell_can_wait_again(share: float, step: float) -> None:
    """Below four fifths of that rate it is calm after a window or two."""
    flow, moment = PipeFillEstimate(MEBIBYTE), 0.0
    flow.found(MEBIBYTE, moment)
    assert flow.urgent
    while moment <= 3 * WINDOW_SECONDS:
        moment += step
        flow.came(int(MOST * share * step), moment)
    assert not flow.urgent


@given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0.1, 0.2)), min_size=1))
def test_a_pipe_far_from_full_always_can_wait(reads: list[tuple[int, float]]) -> None:
    """However unevenly it comes."""
    flow, moment = PipeFillEstimate(MEBIBYTE), 0.0
    for size, step in reads:
        moment += step
        flow.found(size, moment)
        assert not flow.urgent


def test_a_pipe_at_the_threshold_does_not_alternate() -> None:
    """Between the two lines it stays as it is."""
    for before in (False, True):
        flow, moment = PipeFillEstimate(MEBIBYTE), 0.0
        if before:
            flow.found(MEBIBYTE, moment)
        for _ in range(100):
            moment += 0.1
            flow.came(int(MOST * 0.9 * 0.1), moment)
            assert flow.urgent is before
