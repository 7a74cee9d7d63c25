"""The past that a camera keeps: enough of it, by whole groups, and never too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import FPS, captured, fragments_of

from camd.api.recording_methods import StartRequest
from camd.capture.consumer import CapturedFragment
from camd.capture.rules.preroll import MARGIN_SECONDS, PrerollBuffer
from camd.errors import Refusal
from camd.rpc.params import ParamsReader

PLENTY = 10**9


def pieces(*counts: int, group: int = 10) -> list[CapturedFragment]:
    """Make fragments of so many frames, without a hole, ten frames a second."""
    return list(captured(fragments_of(*counts, group=group)[1]))


def filled(ring: PrerollBuffer, what: list[CapturedFragment]) -> PrerollBuffer:
    """Put everything into the ring."""
    for piece in what:
        ring.add(piece)
    return ring


def ago(what: list[CapturedFragment], seconds: float) -> list[CapturedFragment]:
    """Say what a start must begin with that is asked for at the end of `what`."""
    moment = what[-1].arrived - seconds
    first = [n for n, each in enumerate(what) if each.fragment.starts_with_sync]
    early = [n for n in first if what[n].began <= moment]
    return what[max(early, default=first[0]) :]


@given(
    st.integers(1, 120),
    st.sampled_from([0.0, 0.3, 2.0, 7.5]),
    st.floats(0, 1),
    st.sampled_from([5, 10, 25]),
)
def test_a_start_begins_at_the_latest_key_frame_that_is_early_enough(
    count: int, kept: float, share: float, group: int
) -> None:
    """Whatever is asked for up to what is kept, and at any moment."""
    footage = pieces(*[5] * count, group=group)
    ring = filled(PrerollBuffer(kept, PLENTY), footage)
    asked = kept * share
    got = ring.since(footage[-1].arrived - asked)
    assert got == ago(footage, asked)


@given(st.integers(1, 200), st.sampled_from([0.0, 2.0, 7.5]))
def test_no_more_than_needed_is_kept(count: int, kept: float) -> None:
    """A group whose successor begins early enough goes."""
    footage = pieces(*[5] * count)
    ring = filled(PrerollBuffer(kept, PLENTY), footage)
    held = ring.since(-86_400.0)
    margin = MARGIN_SECONDS if kept else 0.0
    assert sum(each.fragment.frames for each in held) <= (kept + margin + 1) * FPS + 10
    assert ring.size_bytes == sum(each.fragment.size_bytes for each in held)


@given(st.integers(1, 100), st.integers(500, 20_000), st.sampled_from([10, 30, 1000]))
def test_memory_is_bounded(count: int, limit: int, group: int) -> None:
    """Whole groups go, the oldest first; what is left begins with a key frame and has no hole."""
    footage = pieces(*[5] * count, group=group)
    ring = PrerollBuffer(60.0, limit)
    for number, piece in enumerate(footage):
        ring.add(piece)
        held = ring.since(-86_400.0)
        assert ring.size_bytes == sum(each.fragment.size_bytes for each in held) <= limit
        assert not held or held[0].fragment.starts_with_sync
        assert held == footage[number + 1 - len(held) : number + 1]


def test_a_group_that_is_too_large_is_not_kept() -> None:
    """Its rest is of no use either; the next key frame begins anew."""
    footage = pieces(*[5] * 12, group=50)
    ring = filled(PrerollBuffer(0.0, 4 * footage[0].fragment.size_bytes), footage)
    assert ring.since(footage[-1].arrived) == footage[10:]


def test_when_nothing_is_early_enough_there_is_what_there_is() -> None:
    """More than is kept cannot be had, and nothing of nothing."""
    footage = pieces(5, 5, 5, 5)
    ring = filled(PrerollBuffer(30.0, PLENTY), footage)
    assert ring.since(-20.0) == footage
    ring.clear()
    assert (ring.since(0.0), ring.size_bytes) == ([], 0)


# --- what may be asked for ----------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 5, 2.5, None])
def test_whole_and_broken_seconds_may_be_asked_for(value: float | None) -> None:
    """And nothing, which means what is configured."""
    start = ParamsReader(StartRequest).read({"device": "camera0", "preroll": value})
    assert isinstance(start, StartRequest)
    assert start.preroll == value


@pytest.mark.parametrize("value", [-0.1, 86_401, float("nan"), float("inf"), "5", True, [5]])
def test_what_is_no_time_is_refused(value: object) -> None:
    """With the name of the parameter."""
    with pytest.raises(Refusal) as caught:
        ParamsReader(StartRequest).read({"device": "camera0", "preroll": value})
    assert caught.value.kind.code == -32602
    errors = caught.value.data["errors"]
    assert isinstance(errors, list)
    assert [error["path"] for error in errors] == ["preroll"]
