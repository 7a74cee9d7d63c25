"""The time line of a camera: exact while there are few files, bounded and honest with many."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, gap, segment

from camd.model import CameraId, GapCause, SegmentState
from camd.model.timeline import Timeline
from camd.storage.index.index_database import IndexDatabase
from camd.storage.index.timeline_query import MOST_GAPS, MOST_SPANS
from camd.storage.rules.journal_records import GapNoted, SegmentNoted
from camd.storage.rules.time_index import NEVER, NO_TIMES, SortedTimes, covered_ranges

CAMERA = CameraId("camera0")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[IndexDatabase]:
    """Return an empty database."""
    opened = IndexDatabase.open(tmp_path / "index.sqlite")
    yield opened
    opened.close()


def moment(minutes: float) -> datetime:
    """Return a time in minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def note(database: IndexDatabase, begin: float, end: float, **facts: object) -> None:
    """Put a file into the index; times are minutes after noon."""
    made = segment(f"camera0_{begin}.mp4", start=moment(begin), end=moment(end))
    if facts:
        made = segment(**{"filename": made.filename, "start": made.start, "end": made.end} | facts)
    database.apply([SegmentNoted(made)])


def timeline(database: IndexDatabase, since: float, until: float) -> Timeline:
    """Return the time line of a range in minutes after noon."""
    return database.timelines.timeline(CAMERA, moment(since), moment(until))


def minutes(value: datetime | None) -> float | None:
    """Return a time as minutes after noon."""
    return None if value is None else (value - NOON).total_seconds() / 60


def test_spans_are_the_files_that_reach_into_the_range(database: IndexDatabase) -> None:
    """Oldest first, with their own ends, and with the nearest footage outside of the range."""
    for begin, end in ((0, 10), (10, 20), (25, 30), (40, 50)):
        note(database, begin, end)
    note(database, 12, 18, camera_id=CameraId("camera1"), filename="camera1_12.mp4")
    found = timeline(database, 15, 26)
    assert [(minutes(s.start), minutes(s.end), s.merged) for s in found.spans] == [
        (10, 20, 1),
        (25, 30, 1),
    ]
    assert (minutes(found.before), minutes(found.after)) == (10, 40)
    outside = timeline(database, 60, 70)
    assert (outside.spans, minutes(outside.before), outside.after) == ((), 50, None)
    assert timeline(database, 20, 25).spans == ()


def test_what_cannot_be_played_is_said(database: IndexDatabase) -> None:
    """Matroska has no pieces, an open file grows, and one that is gone is a gap."""
    note(database, 0, 10, filename="camera0_0.mkv")
    note(database, 10, 20, state=SegmentState.MISSING)
    note(database, 20, 20, state=SegmentState.OPEN)
    found = timeline(database, 0, 30)
    assert [(s.filename, s.playable, s.growing) for s in found.spans] == [
        ("camera0_0.mkv", False, False),
        ("camera0_20.mp4", True, True),
    ]
    assert minutes(found.spans[1].end) == 30
    (removed,) = found.gaps
    assert (removed.cause, minutes(removed.start), minutes(removed.end)) == ("file_removed", 10, 20)
    assert timeline(database, 10, 20).spans == ()


def test_gaps_are_those_of_the_ledger_that_reach_into_the_range(database: IndexDatabase) -> None:
    """With their causes, and exact where the ledger is; also one that began long before."""
    entries = [
        gap(0, end=moment(100), cause=GapCause.DAEMON_DOWN, exact=False),
        *(gap(20 + n, "s1") for n in range(5)),
        gap(50, "s2", camera_id=CameraId("camera1")),
    ]
    database.apply([GapNoted(each) for each in entries])
    found = timeline(database, 22, 60).gaps
    assert [(minutes(g.start), g.cause, g.exact) for g in found] == [
        (0, "daemon_down", False),
        (22, "storage_slow", True),
        (23, "storage_slow", True),
        (24, "storage_slow", True),
    ]
    assert timeline(database, 200, 300).gaps == ()


def test_many_files_are_joined_and_counted(database: IndexDatabase) -> None:
    """Never more than the bound; a break of some parts of the range is always seen, and missing
    files make one."""
    database.apply(
        SegmentNoted(
            segment(
                f"camera0_{n}.mp4",
                start=moment(n + (n >= 3000) * 100),
                end=moment(n + 1 + (n >= 3000) * 100),
                state=SegmentState.MISSING if 1000 <= n < 1050 else SegmentState.SEALED,
            )
        )
        for n in range(2 * MOST_SPANS + 500)
    )
    found = timeline(database, 0, 4700)
    assert [(minutes(s.start), minutes(s.end)) for s in found.spans] == [
        (0, 1000),
        (1050, 3000),
        (3100, 4600),
    ]
    assert sum(s.merged for s in found.spans) == 2 * MOST_SPANS + 500 - 50
    assert {s.filename for s in found.spans} == {None}
    century = database.timelines.timeline(CAMERA, moment(0) - timedelta(days=36500), moment(9999))
    (one,) = century.spans
    assert (one.merged, minutes(one.start), minutes(one.end)) == (4450, 0, 4600)


def test_many_gaps_are_joined_and_counted(database: IndexDatabase) -> None:
    """Never more than the bound; the sum of those that are merged is right."""
    count = 3 * MOST_GAPS
    database.apply(GapNoted(gap(n, f"s{n}")) for n in range(count))
    found = timeline(database, 0.5, count).gaps
    assert len(found) <= MOST_GAPS
    assert sum(each.merged for each in found) == count - 1
    assert [each.start for each in found] == sorted(each.start for each in found)
    assert all(each.end > each.start for each in found)


@pytest.mark.parametrize("count", [5, 2 * MOST_GAPS])
def test_the_ledger_is_read_from_its_index_alone(database: IndexDatabase, count: int) -> None:
    """Few entries or many, the time line never looks one up in the table, which takes twice as
    long."""
    outage = gap(-500, end=moment(60 * 24 * 20), cause=GapCause.DAEMON_DOWN, exact=False)
    database.apply(map(GapNoted, [outage, *(gap(n, f"s{n}") for n in range(count))]))
    assert database.timelines  # all times are known
    statements: list[str] = []
    database._db.set_trace_callback(statements.append)
    assert sum(each.merged for each in timeline(database, 0, count).gaps) == count + 1
    database._db.set_trace_callback(None)
    plans = [
        row["detail"]
        for statement in statements
        if " FROM gaps " in statement
        for row in database._db.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    assert len(plans) > 1
    assert {plan.partition(" (")[0] for plan in plans} == {
        "SEARCH gaps USING COVERING INDEX gaps_by_camera"
    }


def test_an_entry_that_began_long_before_is_found_behind_many_others(
    database: IndexDatabase,
) -> None:
    """An outage of weeks is on the time line however many short entries began in between."""
    outage = gap(0, end=moment(60 * 24 * 20), cause=GapCause.DAEMON_DOWN, exact=False)
    short = (gap(1 + n, "s1") for n in range(1500))
    database.apply(map(GapNoted, [outage, *short]))
    (found,) = timeline(database, 20_000, 20_010).gaps
    assert (found.cause, minutes(found.start)) == ("daemon_down", 0)


def test_joined_gaps_keep_cause_end_and_inexactness(database: IndexDatabase) -> None:
    """Cause and start are those of the first, the end is that of the last of them."""
    count = 2 * MOST_GAPS
    database.apply(
        GapNoted(gap(n, f"s{n}", exact=n % 4 != 1, cause=GapCause.CAMERA_LOST))
        for n in range(count)
    )
    found = timeline(database, 0, count).gaps
    assert {each.cause for each in found} == {"camera_lost"}
    first = next(each for each in found if each.merged > 1)
    assert first.end - first.start == timedelta(minutes=first.merged - 1, seconds=1)
    assert any(not each.exact for each in found)


def test_missing_files_and_entries_together_stay_within_the_bound(database: IndexDatabase) -> None:
    """Both are gaps of a time line."""
    database.apply(
        SegmentNoted(
            segment(
                f"camera0_{n}.mp4",
                start=moment(2 * n),
                end=moment(2 * n + 1),
                state=SegmentState.MISSING,
            )
        )
        for n in range(1500)
    )
    database.apply(GapNoted(gap(2 * n + 1, f"s{n}")) for n in range(1500))
    found = timeline(database, 0, 3000).gaps
    assert len(found) <= MOST_GAPS
    assert sum(each.merged for each in found) == 3000


def test_missing_files_of_long_ago_do_not_hide_those_of_a_range(database: IndexDatabase) -> None:
    """However many there are."""
    gone = {*range(10_500), *range(12_000, 12_050)}
    database.apply(
        SegmentNoted(
            segment(
                f"camera0_{n}.mp4",
                start=moment(n),
                end=moment(n + 1),
                state=SegmentState.MISSING if n in gone else SegmentState.SEALED,
            )
        )
        for n in range(13_000)
    )
    found = timeline(database, 10_500, 13_000).spans
    assert [(minutes(s.start), minutes(s.end), s.merged) for s in found] == [
        (10_500, 12_000, 1500),
        (12_050, 13_000, 950),
    ]


def test_a_file_that_stands_alone_among_many_keeps_its_name(database: IndexDatabase) -> None:
    """Only those that are joined lose it."""
    database.apply(
        SegmentNoted(segment(f"camera0_{n}.mp4", start=moment(n), end=moment(n + 1)))
        for n in [*range(MOST_SPANS + 1), 9000]
    )
    joined, alone = timeline(database, 0, 10_000).spans
    assert (joined.filename, joined.merged) == (None, MOST_SPANS + 1)
    assert (alone.filename, alone.merged) == ("camera0_9000.mp4", 1)


def test_only_cameras_with_a_past_are_known(database: IndexDatabase) -> None:
    """By a file, or by an entry in the ledger."""
    assert not database.knows_camera("camera0")
    database.apply([GapNoted(gap(1))])
    assert database.knows_camera("camera0")
    note(database, 0, 1, camera_id=CameraId("camera1"))
    assert database.knows_camera("camera1")
    assert not database.knows_camera("camera2")


LENGTHS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40), st.booleans()), max_size=60)


@given(LENGTHS, st.integers(1, 40), st.integers(-50, 500), st.integers(1, 2000))
def test_covered_ranges_hide_nothing(
    breaks: list[tuple[int, int, bool]], most: int, since: int, length: int
) -> None:
    """Every recording of the range is in one of them, and they are as few as was asked for."""
    at, spans = 0, []
    for pause, lasts, is_gone in breaks:
        at += pause
        spans.append((at, at + lasts, is_gone))
        at += lasts
    until = since + length
    known = SortedTimes([s for s, _, _ in spans], [u for _, u, _ in spans])
    gone = SortedTimes([s for s, _, g in spans if g], [u for _, u, g in spans if g])
    found = list(covered_ranges(known, gone, since, until, most))
    assert len(found) <= most
    for begin, end, is_gone in spans:
        if not is_gone and begin < until and end > since:
            assert any(each.start <= begin and end <= each.until for each in found)
    part = -(-length // (2 * most))
    for before, after in pairwise(found):
        assert before.start <= after.start
    kept = [(b, e) for b, e, g in spans if not g and b < until and e > since]
    for (_, end), (begin, _) in pairwise(kept):
        if begin - end > 2 * part and end >= since and begin <= until:
            assert not any(
                each.start < end and begin < each.until for each in found if not gone.starts
            )


def test_an_open_recording_covers_everything_behind_its_start() -> None:
    """It is never over."""
    (found,) = covered_ranges(SortedTimes([5], [NEVER]), NO_TIMES, 0, 100, 10)
    assert (found.start, found.until, found.count) == (5, NEVER, 1)
