"""Which files an export reads, what of each, where a new movie begins, and what is missing."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, gap, segment

from camd.export.rules.byte_ranges import (
    UnsatisfiableRangeError,
    overlaps,
    requested_span,
)
from camd.export.rules.export_plan import (
    ExportFile,
    ExportGap,
    ExportRange,
    ShownSpan,
    ended_by_itself,
    later_by,
    list_missing,
    plan_files,
    seconds_between,
)
from camd.model import CameraId, GapCause, Segment, SegmentState
from camd.mp4.movies.cut_movie import ByteSpan

CAMERA = CameraId("camera0")


def after(seconds: float) -> Any:
    """Return an instant so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def file(number: int, begin: float, end: float, **facts: Any) -> Segment:
    """Describe a file by its times, in seconds after noon."""
    return segment(
        f"{facts.get('session_id', 's0')}-{number}.mp4",
        number=number,
        start=after(begin),
        end=after(end),
        duration_seconds=end - begin,
        frames=round((end - begin) * 30),
        **({"leading_frames": 0} | facts),
    )


def wanted(begin: float, end: float) -> ExportRange:
    """Return a range, in seconds after noon."""
    return ExportRange(CAMERA, after(begin), after(end))


def plan(*files: Segment, begin: float, end: float, gaps: Any = ()) -> list[ExportFile]:
    """Plan files in no order."""
    return list(plan_files(reversed(files), gaps, wanted(begin, end)))


def test_files_that_follow_each_other_are_wanted_whole_between() -> None:
    """The times of two files overlap by as much as arrivals are uneven: no frame is lost there."""
    files = file(0, 0, 60), file(1, 59.9, 120), file(2, 120.2, 180)
    found = plan(*files, begin=10, end=150)
    assert [each.segment.number for each in found] == [0, 1, 2]
    assert [(each.begin, each.end) for each in found] == [
        (Fraction(10), None),
        (None, None),
        (None, Fraction(298, 10)),
    ]
    assert [each.joined for each in found] == [False, True, True]
    assert found[1].continues(found[0])
    assert not found[2].continues(found[0])


@pytest.mark.parametrize(
    "second",
    [
        file(1, 61.5, 120),  # later than arrivals can be uneven
        file(2, 60, 120),  # one file between is missing
        file(1, 60, 120, session_id="s1"),
    ],
)
def test_files_of_which_something_is_missing_between_are_not_joined(second: Segment) -> None:
    """Each is cut by its own times then."""
    found = plan(file(0, 0, 60), second, begin=10, end=100)
    assert [each.joined for each in found] == [False, False]
    assert all(each.begin is not None and each.end is not None for each in found)


def test_a_ledger_entry_at_a_seam_says_that_frames_are_missing() -> None:
    """Lost footage parts two files, a clock step does not; an entry elsewhere does not either."""
    files = file(0, 0, 60), file(1, 60, 120)
    for cause, minute, joined in (
        (GapCause.STORAGE_SLOW, 1, False),
        (GapCause.CLOCK_STEP, 1, True),
        (GapCause.STORAGE_SLOW, 0.5, True),
    ):
        found = plan(*files, begin=0, end=120, gaps=[gap(minute, cause=cause)])
        assert found[1].joined is joined


def test_a_session_is_in_the_order_of_its_numbers() -> None:
    """The clock was set back by an hour within it: what was recorded later comes later."""
    files = file(0, 3600, 3660), file(1, 0, 60)
    later = file(0, 3700, 3760, session_id="s1")
    found = plan(*files, later, begin=0, end=4000)
    assert [each.segment for each in found] == [*files, later]


def test_leading_frames_of_a_file_lie_before_its_start() -> None:
    """A range that begins or ends among them has both files; others have what they overlap."""
    files = file(0, 0, 60), file(1, 60, 120, leading_frames=3)
    assert [each.segment.number for each in plan(*files, begin=0, end=59.89)] == [0]
    until = plan(*files, begin=0, end=59.95)
    assert [(each.segment.number, each.goes_on) for each in until] == [(0, True), (1, False)]
    assert until[0].end is None
    alone = ended_by_itself(until[0])  # where the later file has no frame before its start
    assert (alone.end, alone.goes_on) == (Fraction(5995, 100), False)
    since = plan(*files, begin=59.95, end=70)
    assert [(each.segment.number, each.leads_in) for each in since] == [(0, True), (1, False)]
    (later,) = plan(*files, begin=60, end=70)
    assert later.segment == files[1]
    assert later.lead_in is not None  # where its first frames need the file before
    assert (later.lead_in.segment, later.lead_in.leads_in) == (files[0], True)
    assert later.continues(later.lead_in)
    (far,) = plan(file(0, 0, 60), file(1, 60, 300), begin=120, end=126)
    assert far.lead_in is None
    (apart,) = plan(file(0, 0, 60), file(2, 60, 120), begin=61, end=62)
    assert apart.lead_in is None


@given(st.fractions(0, 10**6, max_denominator=10**6), st.integers(1, 10**6))
def test_times_are_exact(start: Fraction, denominator: int) -> None:
    """A range from a frame's time to another's has the first and not the second."""
    frame = start + Fraction(1, denominator)
    shown = seconds_between(NOON, later_by(NOON, frame))
    assert frame - Fraction(1, 1_000_000) < shown <= frame


# --- what is missing


def missing(*spans: tuple[float, float], **facts: Any) -> list[tuple[float, float, str]]:
    """List what is missing from 0 to 100 s, in seconds after noon."""
    values: dict[str, Any] = {"gaps": (), "missing": (), "now": after(1000), "growing": False}
    found = list_missing(
        [ShownSpan(after(begin), after(end)) for begin, end in spans],
        wanted=wanted(0, 100),
        **(values | facts),
    )
    return [(seconds(each, "start"), seconds(each, "end"), each.cause) for each in found]


def seconds(found: ExportGap, name: str) -> float:
    """Return a time of a gap in seconds after noon."""
    return float((getattr(found, name) - NOON).total_seconds())


def test_what_no_file_covers_is_missing() -> None:
    """At both ends and between, from half a second on."""
    assert missing((0, 100)) == []
    assert missing((0, 40), (40.4, 100)) == []
    assert missing((10, 40), (41, 99.9)) == [(0, 10, "not_recorded"), (40, 41, "not_recorded")]
    assert missing() == [(0, 100, "not_recorded")]


def test_the_ledger_explains_what_is_missing() -> None:
    """Its entries are listed as they are, whatever their length, and nothing for the same time."""
    entry = gap(40 / 60, end=after(50), cause=GapCause.CAMERA_LOST, frames=300)
    short = gap(1.5, end=after(90.01), cause=GapCause.FRAMES_DROPPED_BY_SOURCE)
    step = gap(0.1, end=after(30), cause=GapCause.CLOCK_STEP)
    far = gap(5, end=after(301), cause=GapCause.CAMERA_LOST)
    found = missing((0, 40), (50, 100), gaps=(entry, short, step, far))
    assert found == [(40, 50, "camera_lost"), (90, 90.01, "frames_dropped_by_source")]


def test_a_file_that_is_gone_is_missing() -> None:
    """Its part of the range has a cause of its own."""
    gone = file(1, 40, 120, state=SegmentState.MISSING)
    assert missing((0, 40), missing=(gone,)) == [(40, 100, "missing")]


def test_the_end_of_a_running_recording_is_not_durable_yet() -> None:
    """It is listed from a tenth of a second on; the future is not missing."""
    assert missing((0, 99), growing=True) == [(99, 100, "not_durable_yet")]
    assert missing((0, 99.95), growing=True) == []
    assert missing((0, 40), growing=True, now=after(41)) == [(40, 41, "not_durable_yet")]
    assert missing((0, 40), now=after(40.2)) == []


# --- ranges of bytes


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", ByteSpan(0, 100)),
        ("bytes=0-0", ByteSpan(0, 1)),
        ("bytes=99-1000", ByteSpan(99, 100)),
        ("bytes=-1", ByteSpan(99, 100)),
        ("bytes=-1000", ByteSpan(0, 100)),
        ("bytes= 1-2 ", ByteSpan(1, 3)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("bytes=a-b", None),
        ("items=0-1", None),
        ("bytes=٣-٤", None),
        ("bytes=" + "9" * 30 + "-", None),
        ("", None),
    ],
)
def test_a_range_is_one_span_or_everything(header: str, span: ByteSpan | None) -> None:
    """What is not one valid range of bytes is ignored (RFC 9110, 14.2)."""
    assert requested_span({"range": header}, '"tag"', 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str) -> None:
    """The client is told the length."""
    with pytest.raises(UnsatisfiableRangeError):
        requested_span({"range": header}, '"tag"', 100)


def test_a_range_of_another_version_is_everything() -> None:
    """If-Range has to name this version; weak tags and dates do not."""
    for tag, span in (('"tag"', ByteSpan(1, 2)), ('"x"', None), ('W/"tag"', None), ("Thu", None)):
        assert requested_span({"range": "bytes=1-1", "if-range": tag}, '"tag"', 9) == span


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 30), st.integers(0, 30))
def test_blocks_of_a_span_are_its_bytes(sizes: list[int], begin: int, size: int) -> None:
    """Every byte of the span once, in order, and no other."""
    every = [(number, at) for number, each in enumerate(sizes) for at in range(each)]
    found = [
        (number, at)
        for number, span in overlaps(sizes, ByteSpan(begin, begin + size))
        for at in range(span.begin, span.end)
    ]
    assert found == every[begin : begin + size]
