"""Steps of the wall clock: told from slewing and from slow machines."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import EPOCH

from camd.capture.rules.clocks import STEP_SECONDS, TORN_SECONDS, ClockStepDetector

NONE = timedelta(0)


def seconds(count: float) -> timedelta:
    """Say it shorter."""
    return timedelta(seconds=count)


def look(watch: ClockStepDetector, monotonic: float, ahead: float = 0.0) -> timedelta:
    """Look when the wall clock is so much ahead of where it was."""
    return watch.look(monotonic, EPOCH + seconds(monotonic + ahead), monotonic)


@given(st.lists(st.tuples(st.floats(0.01, 1e5), st.floats(-0.49, 0.49)), max_size=30))
def test_time_that_passes_is_no_step(looks: list[tuple[float, float]]) -> None:
    """However long nobody looked, and with every small correction."""
    watch, at, ahead = ClockStepDetector(), 0.0, 0.0
    for passed, nudge in looks:
        at, ahead = at + passed, ahead + nudge
        assert look(watch, at, ahead) == NONE


@pytest.mark.parametrize("by", [STEP_SECONDS, -STEP_SECONDS, 3600.0, -86400.0 * 365])
def test_a_step_is_noticed_once(by: float) -> None:
    """By how much, with its sign; the look after it finds nothing."""
    watch = ClockStepDetector()
    assert look(watch, 10) == NONE
    assert look(watch, 10.5, by) == seconds(by)
    assert look(watch, 11.0, by) == NONE
    assert look(watch, 500.0, 0) == seconds(-by)


def test_clocks_that_were_not_read_together_say_nothing() -> None:
    """A process that lost the processor between two readings has seen no step; it looks again."""
    watch = ClockStepDetector()
    assert look(watch, 10) == NONE
    late = 10.5 + TORN_SECONDS * 30
    assert watch.look(10.5, EPOCH + seconds(late), late) == NONE
    assert look(watch, 20) == NONE
    assert look(watch, 21, 2) == seconds(2)
