"""What waits for a viewer is bounded; a viewer that is too slow begins anew, and is told."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import captured, fragments_of

from camd.capture.consumer import CaptureBegan, CapturedFragment, CaptureEnded, ClockStepped
from camd.live.rules.viewer_backlog import JOINED_BYTES, FramesLost, ViewerBacklog
from camd.mp4.fragments import Init

BEFORE = -1.0  # no fragment had arrived when the viewer came


def stream(
    *counts: int, frame_bytes: int = 100, group: int = 10
) -> tuple[Init, list[CapturedFragment]]:
    """Make fragments of so many frames each, ten frames a second."""
    init, fragments = fragments_of(*counts, frame_bytes=frame_bytes, group=group)
    return init, list(captured(fragments))


def filled(
    items: list[CapturedFragment], init: Init, *, began: float = BEFORE, **limits: float
) -> ViewerBacklog:
    """Make a backlog that nobody has taken from."""
    backlog = ViewerBacklog(began, **limits)  # type: ignore[arg-type]
    backlog.put(CaptureBegan(init))
    for item in items:
        backlog.put(item)
    return backlog


def test_everything_is_taken_in_order_and_together() -> None:
    """The header first; fragments that wait are one piece."""
    init, items = stream(*[1] * 20)
    backlog = filled(items, init)
    assert backlog.take() == CaptureBegan(init)
    assert backlog.take() == tuple(items)
    assert backlog.take() is None
    assert backlog.waiting_bytes == 0
    assert backlog.lost is None


def test_a_piece_has_a_bound() -> None:
    """A viewer with a slow line makes progress that can be seen."""
    init, items = stream(*[1] * 15, frame_bytes=JOINED_BYTES // 3)
    backlog = filled(items, init, limit_bytes=1 << 30)
    backlog.take()
    pieces = []
    while piece := backlog.take():
        assert isinstance(piece, tuple)
        pieces.append(len(piece))
    assert pieces == [3] * 5


def test_a_viewer_that_takes_nothing_for_two_seconds_loses_everything() -> None:
    """Nothing is kept any more, however long it goes on; the frames are counted."""
    init, items = stream(*[1] * 100)
    backlog = filled(items[:20], init, began=0.05)
    assert backlog.lost is None
    backlog = filled(items, init, began=0.05)
    assert backlog.waiting_bytes == 0
    assert backlog.group == ()
    assert backlog.take() is None
    assert backlog.lost is not None
    assert backlog.lost.frames == 100
    assert round(backlog.lost.seconds, 3) == 10.0


def test_bytes_are_bounded_before_the_time_is_over() -> None:
    """Four megabytes by default, here less."""
    init, items = stream(*[1] * 10, frame_bytes=1000)
    assert filled(items[:5], init, limit_bytes=6000).lost is None
    backlog = filled(items[:6], init, limit_bytes=6000)
    assert backlog.lost == FramesLost(6, backlog.lost.seconds, items[5].arrived)  # type: ignore[union-attr]
    assert backlog.waiting_bytes == 0


def test_the_group_that_the_hub_holds_is_given_whole() -> None:
    """However old its key frame is, and however large it is: it is in memory in any case."""
    init, items = stream(*[1] * 100, frame_bytes=1000, group=1000)
    backlog = filled(items, init, began=items[-1].arrived, limit_bytes=6000)
    assert backlog.lost is None
    assert backlog.waiting_bytes == 0
    assert backlog.group == tuple(items)
    assert backlog.take() == CaptureBegan(init)
    taken: list[CapturedFragment] = []
    while piece := backlog.take():
        taken += piece  # type: ignore[arg-type]
    assert taken == items


def test_a_viewer_that_does_not_take_that_group_lags_too() -> None:
    """From its coming on, not from the time of the key frame."""
    init, items = stream(*[1] * 150, group=1000)
    backlog = filled(items[:119], init, began=items[99].arrived)
    assert backlog.lost is None
    for item in items[119:]:
        backlog.put(item)
    assert backlog.lost is not None


def test_what_comes_again_is_not_lost() -> None:
    """The group with which a viewer goes on may hold frames that were counted."""
    _, items = stream(*[1] * 30)
    lost = FramesLost(18, 1.8, items[24].arrived)
    left = lost.without(tuple(items[20:]))
    assert (left.frames, round(left.seconds, 3)) == (13, 1.3)
    assert lost.without(tuple(items)).frames == 0


def test_it_begins_with_a_key_frame() -> None:
    """A capture may begin in the middle of a group."""
    init, items = stream(*[1] * 12)
    backlog = filled(items[3:], init)
    backlog.take()
    assert backlog.take() == tuple(items[10:])


def test_another_header_is_another_piece() -> None:
    """The viewer has to be given it first."""
    init, items = stream(5, 5, 5, 5)
    other = attrs.evolve(init, moov=init.moov + b"\0\0\0\x08free")
    later = [attrs.evolve(each, init=other) for each in items[2:]]
    backlog = filled([*items[:2], *later], init)
    backlog.take()
    assert backlog.take() == tuple(items[:2])
    assert backlog.take() == tuple(later)


def test_the_end_of_a_capture_comes_behind_its_last_frame() -> None:
    """And the next capture, when it begins before that was taken, is all that counts."""
    init, items = stream(5, 5)
    backlog, end = filled(items, init), CaptureEnded(None, "over")
    backlog.put(end)
    assert [backlog.take() for _ in range(4)] == [CaptureBegan(init), tuple(items), end, None]
    backlog = filled(items, init)
    backlog.put(end)
    backlog.put(CaptureBegan(init))
    backlog.put(items[0])
    assert [backlog.take() for _ in range(3)] == [CaptureBegan(init), (items[0],), None]


def test_the_end_is_kept_for_a_viewer_that_lags() -> None:
    """It has to be told that the camera is gone."""
    init, items = stream(*[1] * 100)
    backlog = filled(items, init, began=0.0)
    backlog.put(CaptureEnded(None, "over"))
    assert backlog.take() == CaptureEnded(None, "over")


def test_attempts_that_fail_take_no_memory() -> None:
    """A camera that cannot be opened ends again and again; the last end counts."""
    backlog = ViewerBacklog(0.0)
    ends = [CaptureEnded(None, str(number)) for number in range(5)]
    for end in ends:
        backlog.put(end)
    assert [backlog.take(), backlog.take()] == [ends[-1], None]


def test_a_step_of_the_clock_is_remembered() -> None:
    """Until the viewer was told."""
    init, items = stream(5)
    backlog = filled(items, init)
    assert not backlog.clock_stepped
    backlog.put(ClockStepped(items[0].end - items[0].start, items[0].end))
    assert backlog.clock_stepped


@given(st.lists(st.tuples(st.sampled_from("fbet"), st.integers(1, 3000)), max_size=200))
def test_memory_is_bounded_whatever_comes(events: list[tuple[str, int]]) -> None:
    """Bytes, time and the number of items, while the viewer takes now and then."""
    init, items = stream(*[1] * 200)
    backlog, taken = ViewerBacklog(0.0, limit_bytes=5000, limit_seconds=1.0), 0
    for (kind, size), item in zip(events, items, strict=False):
        if kind == "f":
            grown = attrs.evolve(item.fragment, mdat=bytes(size))
            backlog.put(attrs.evolve(item, fragment=grown))
        elif kind == "b":
            backlog.put(CaptureBegan(init))
        elif kind == "e":
            backlog.put(CaptureEnded(None, ""))
        elif isinstance(piece := backlog.take(), tuple):
            taken += len(piece)
        assert backlog.waiting_bytes <= 5000
        group = backlog.group
        assert sum(each.fragment.size_bytes for each in group) == backlog.waiting_bytes
        assert not group or group[-1].arrived - group[0].arrived <= 1.0
        if backlog.lost is not None:
            backlog = ViewerBacklog(item.arrived, limit_bytes=5000, limit_seconds=1.0)
