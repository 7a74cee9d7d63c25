"""Steps of the wall clock are distinguished from slewing and from slow readings."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import EPOCH

from camd.clock import STEP_SECONDS, TORN_SECONDS, Anchor, Clock

NONE = timedelta(0)


def seconds(count: float) -> timedelta:
    """Abbreviate timedelta."""
    return timedelta(seconds=count)


def anchor(monotonic: float, ahead: float = 0.0) -> Anchor:
    """Make an anchor whose wall clock is so much ahead of where it was."""
    return Anchor(monotonic, EPOCH + seconds(monotonic + ahead))


@given(st.lists(st.tuples(st.floats(0.01, 1e5), st.floats(-0.49, 0.49)), max_size=30))
def test_time_that_passes_is_no_step(looks: list[tuple[float, float]]) -> None:
    """After any time between two anchors, and with any small correction."""
    known, at, ahead = anchor(0.0), 0.0, 0.0
    for passed, nudge in looks:
        at, ahead = at + passed, ahead + nudge
        before, known = known, anchor(at, ahead)
        assert before.step_to(known) == NONE


@pytest.mark.parametrize("by", [STEP_SECONDS, -STEP_SECONDS, 3600.0, -86400.0 * 365])
def test_a_step_is_noticed_once(by: float) -> None:
    """Its size has a sign; the next anchor shows no step."""
    assert anchor(10).step_to(anchor(10.5, by)) == seconds(by)
    assert anchor(10.5, by).step_to(anchor(11.0, by)) == NONE
    assert anchor(11.0, by).step_to(anchor(500.0)) == seconds(-by)


def test_clocks_that_were_not_read_together_say_nothing() -> None:
    """A pause between the two readings is no step; the known anchor stays."""
    late = 10.5 + TORN_SECONDS * 30
    readings = iter([10.5, late, 20.0, 20.0])
    walls = iter([EPOCH + seconds(late), EPOCH + seconds(20)])
    clock = Clock(now=lambda: next(walls), monotonic=lambda: next(readings))
    assert clock.anchor(anchor(10)) == anchor(10)
    assert clock.anchor(anchor(10)) == anchor(20)


@given(st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_an_anchor_converts_there_and_back(monotonic: float, away: float) -> None:
    """Exactly to the microsecond."""
    known = anchor(monotonic)
    assert known.wall_at(known.monotonic) == known.wall
    there = known.monotonic_at(known.wall_at(monotonic + away))
    assert there == pytest.approx(monotonic + away, abs=1e-6)
