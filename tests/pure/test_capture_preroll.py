"""The pre-roll buffer: enough footage, in whole GOPs, within its bounds."""

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
    """Make fragments of so many frames, without a gap, at ten frames per second."""
    return list(captured(fragments_of(*counts, group=group)[1]))


def filled(buffer: PrerollBuffer, what: list[CapturedFragment]) -> PrerollBuffer:
    """Add everything to the buffer."""
    for piece in what:
        buffer.add(piece)
    return buffer


def ago(what: list[CapturedFragment], seconds: float) -> list[CapturedFragment]:
    """Return what a start at the end of `what` must begin with."""
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
    """For any requested pre-roll within the configured one."""
    footage = pieces(*[5] * count, group=group)
    buffer = filled(PrerollBuffer(kept, PLENTY), footage)
    asked = kept * share
    got = buffer.since(footage[-1].arrived - asked)
    assert got == ago(footage, asked)


@given(st.integers(1, 200), st.sampled_from([0.0, 2.0, 7.5]))
def test_no_more_than_needed_is_kept(count: int, kept: float) -> None:
    """A GOP is dropped when the next one begins early enough."""
    footage = pieces(*[5] * count)
    buffer = filled(PrerollBuffer(kept, PLENTY), footage)
    held = buffer.since(-86_400.0)
    margin = MARGIN_SECONDS if kept else 0.0
    assert sum(each.fragment.frames for each in held) <= (kept + margin + 1) * FPS + 10
    assert buffer.size_bytes == sum(each.fragment.size_bytes for each in held)


@given(st.integers(1, 100), st.integers(500, 20_000), st.sampled_from([10, 30, 1000]))
def test_memory_is_bounded(count: int, limit: int, group: int) -> None:
    """Whole GOPs are dropped, the oldest first; the rest begins with a key frame, without a gap."""
    footage = pieces(*[5] * count, group=group)
    buffer = PrerollBuffer(60.0, limit)
    for number, piece in enumerate(footage):
        buffer.add(piece)
        held = buffer.since(-86_400.0)
        assert buffer.size_bytes == sum(each.fragment.size_bytes for each in held) <= limit
        assert not held or held[0].fragment.starts_with_sync
        assert held == footage[number + 1 - len(held) : number + 1]


def test_a_group_that_is_too_large_is_not_kept() -> None:
    """Its rest is not kept either; the next key frame begins anew."""
    footage = pieces(*[5] * 12, group=50)
    buffer = filled(PrerollBuffer(0.0, 4 * footage[0].fragment.size_bytes), footage)
    assert buffer.since(footage[-1].arrived) == footage[10:]


def test_when_nothing_is_early_enough_all_is_returned() -> None:
    """Then everything is returned; nothing from an empty buffer."""
    footage = pieces(5, 5, 5, 5)
    buffer = filled(PrerollBuffer(30.0, PLENTY), footage)
    assert buffer.since(-20.0) == footage
    buffer.clear()
    assert (buffer.since(0.0), buffer.size_bytes) == ([], 0)


# --- what may be asked for ----------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 5, 2.5, None])
def test_whole_and_broken_seconds_may_be_asked_for(value: float | None) -> None:
    """None means the configured pre-roll."""
    start = ParamsReader(StartRequest).read({"device": "camera0", "preroll": value})
    assert isinstance(start, StartRequest)
    assert start.preroll == value


@pytest.mark.parametrize("value", [-0.1, 86_401, float("nan"), float("inf"), "5", True, [5]])
def test_what_is_no_time_is_refused(value: object) -> None:
    """The error names the parameter."""
    with pytest.raises(Refusal) as caught:
        ParamsReader(StartRequest).read({"device": "camera0", "preroll": value})
    assert caught.value.kind.code == -32602
    errors = caught.value.data["errors"]
    assert isinstance(errors, list)
    assert [error["path"] for error in errors] == ["preroll"]
