"""Frames that were stamped alike share the time until the next stamp, and none is lost or made."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.capture.rules.equal_stamps import MOST_LENT, share

EQUAL, USUAL = 15, 512  # ticks


@pytest.mark.parametrize(
    ("stamped", "lent", "durations", "left"),
    [
        ([512, 512, 512], 0, [512, 512, 512], 0),
        ([1, 1023, 512], 0, [512, 512, 512], 0),
        ([1, 1, 1, 2045], 0, [512, 512, 512, 512], 0),
        ([512, 1, 1], 0, [512, 512, 512], 1022),  # the fragment ends among them
        ([1, 1023], 1022, [1, 1], 0),  # all of it was lent
        ([1, 1, 512 * 3 - 2], 512 * 3, [1, 1, 1], 3),
        ([512], 512, [1], 1),
        ([2048], 1022, [1026], 0),
        ([1, 10_000], 0, [512, 9489], 0),  # frames are missing behind them
    ],
)
def test_time_is_shared(stamped: list[int], lent: int, durations: list[int], left: int) -> None:
    """In a fragment, and between two; where frames are missing, the gap stays one."""
    shared = share(array("I", stamped), equal=EQUAL, usual=USUAL, lent=lent)
    assert (list(shared.durations), shared.lent) == (durations, left)


@given(
    st.lists(
        st.lists(st.one_of(st.just(1), st.integers(1, 2000)), min_size=1, max_size=30), max_size=20
    ),
    st.sampled_from([0, USUAL]),
)
def test_no_time_is_made_or_lost(fragments: list[list[int]], usual: int) -> None:
    """Whatever the stamps are: each frame lasts a tick or more, and what is lent is given back."""
    lent = 0
    for stamped in fragments:
        shared = share(array("I", stamped), equal=EQUAL, usual=usual, lent=lent)
        assert len(shared.durations) == len(stamped)
        assert min(shared.durations) > 0
        assert sum(shared.durations) - sum(stamped) == shared.lent - lent
        assert 0 <= shared.lent <= max(lent + len(stamped), MOST_LENT * usual)
        lent = shared.lent
