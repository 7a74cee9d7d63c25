"""Pages of rows with a start and an end: the same whatever is known of their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import NOON, gap, segment, session

from camd.model import (
    CameraId,
    RecordingQuery,
    SegmentState,
    SessionId,
    SessionState,
)
from camd.storage.index.index_database import IndexDatabase
from camd.storage.rules.journal_records import (
    GapNoted,
    Record,
    SegmentNoted,
    SegmentRemovalNoted,
    SessionNoted,
)

HOUR = timedelta(hours=1)
IN_MEMORY = Path(":memory:")


@attrs.frozen
class Row:
    """A row: hours after noon; `end` None: it is not over."""

    camera: str
    start: int
    end: int | None

    @property
    def begin(self) -> datetime:
        return NOON + self.start * HOUR

    @property
    def until(self) -> datetime:
        return NOON + (self.start if self.end is None else self.end) * HOUR


Noted = Callable[[int, Row], Record]
Listed = Callable[[IndexDatabase, RecordingQuery], tuple[list[str], int]]


def as_session(number: int, row: Row) -> Record:
    return SessionNoted(
        session(
            session_id=SessionId(f"n{number:03}"),
            camera_id=CameraId(row.camera),
            start=row.begin,
            state=SessionState.RECORDING if row.end is None else SessionState.ENDED,
            end=None if row.end is None else row.until,
        )
    )


def as_gap(number: int, row: Row) -> Record:
    return GapNoted(
        gap(
            60 * row.start,
            f"n{number:03}",
            camera_id=CameraId(row.camera),
            end=row.until,
        )
    )


def as_segment(number: int, row: Row) -> Record:
    state = SegmentState.OPEN if row.end is None else SegmentState.SEALED
    return SegmentNoted(
        segment(
            f"n{number:03}",
            camera_id=CameraId(row.camera),
            start=row.begin,
            end=row.until,
            state=state,
        )
    )


def sessions_of(database: IndexDatabase, query: RecordingQuery) -> tuple[list[str], int]:
    page = database.sessions_page(query)
    return [each.session_id for each in page.sessions], page.total


def gaps_of(database: IndexDatabase, query: RecordingQuery) -> tuple[list[str], int]:
    page = database.gaps_page(query)
    return [each.session_id for each in page.gaps], page.total


def segments_of(database: IndexDatabase, query: RecordingQuery) -> tuple[list[str], int]:
    page = database.page(query)
    return [each.filename for each in page.segments], page.total


KINDS: dict[str, tuple[Noted, Listed]] = {
    "sessions": (as_session, sessions_of),
    "gaps": (as_gap, gaps_of),
    "segments": (as_segment, segments_of),
}
ROWS = st.lists(
    st.builds(
        lambda camera, start, length: Row(camera, start, None if length < 0 else start + length),
        st.sampled_from("ab"),
        st.integers(0, 200),
        st.sampled_from((0, 1, 1, 1, 2, 24, 30, 100, -1)),
    ),
    max_size=30,
)


def matching(rows: Sequence[Row], query: RecordingQuery, *, open_ended: bool) -> list[str]:
    """Look at every row: which ones match, newest first."""
    found = []
    for number, row in enumerate(rows):
        until = max(row.until, row.begin + timedelta(microseconds=1))
        if row.end is None and open_ended:
            until = datetime.max.replace(tzinfo=NOON.tzinfo)
        fits = query.camera_id in (None, row.camera)
        fits &= query.since is None or until > query.since
        fits &= query.until is None or row.begin < query.until
        if fits:
            found.append((row.begin, f"n{number:03}"))
    return [name for _, name in sorted(found, reverse=True)]


@pytest.fixture
def database() -> Iterator[IndexDatabase]:
    """Return an empty database."""
    opened = IndexDatabase.open(IN_MEMORY)
    yield opened
    opened.close()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(
    before=ROWS,
    after=ROWS,
    steps=st.lists(st.integers(1, 5), max_size=12),
    camera=st.sampled_from(["a", "b", "c", None]),
    since=st.none() | st.integers(-1, 320),
    until=st.none() | st.integers(-1, 320),
    limit=st.integers(1, 7),
)
def test_pages_are_what_looking_at_all_rows_finds(
    kind: str,
    before: list[Row],
    after: list[Row],
    steps: list[int],
    camera: str | None,
    since: int | None,
    until: int | None,
    limit: int,
) -> None:
    """With the times of no row, of some, or of all; rows that come while times are read are
    neither forgotten nor counted twice; rows that last for days are found behind short ones."""
    noted, listed = KINDS[kind]
    rows = before + after
    with closing(IndexDatabase.open(IN_MEMORY)) as database:
        database.apply(noted(number, row) for number, row in enumerate(before))
        late = list(enumerate(rows))[len(before) :]
        for step in steps:
            database.read_times(step)
            if late:
                database.apply([noted(*late.pop(0))])
        database.apply(noted(*each) for each in late)
        query = RecordingQuery(
            limit=limit,
            camera_id=None if camera is None else CameraId(camera),
            since=None if since is None else NOON + since * HOUR,
            until=None if until is None else NOON + until * HOUR,
        )
        wanted = matching(rows, query, open_ended=kind != "gaps")
        for _ in range(2):  # with what is known by now, and with all times
            found: list[str] = []
            for offset in range(0, len(rows) + limit, limit):
                page, total = listed(database, attrs.evolve(query, offset=offset))
                assert total == len(wanted)
                found += page
            assert found == wanted
            while not database.times_known:
                database.read_times(limit)


@settings(max_examples=40)
@given(rows=ROWS, steps=st.lists(st.integers(1, 5), max_size=20), data=st.data())
def test_rows_that_change_while_times_are_read_are_followed(
    rows: list[Row],
    steps: list[int],
    data: st.DataObject,
) -> None:
    """A file that was open is sealed, another one is removed: pages are those of the index."""
    with closing(IndexDatabase.open(IN_MEMORY)) as database:
        database.apply(as_segment(number, row) for number, row in enumerate(rows))
        kept = dict(enumerate(rows))
        for step in steps:
            database.read_times(step)
            if kept:
                number = data.draw(st.sampled_from(sorted(kept)))
                row = kept.pop(number)
                if data.draw(st.booleans()):
                    sealed = Row(row.camera, row.start, row.start + 3)
                    kept[number] = sealed
                    database.apply([as_segment(number, sealed)])
                else:
                    database.apply([SegmentRemovalNoted(f"n{number:03}", "")])
        while not database.times_known:
            database.read_times(3)
        query = RecordingQuery(limit=1000, since=NOON + 50 * HOUR, until=NOON + 150 * HOUR)
        gone = Row("z", 10_000, 10_001)
        wanted = matching([kept.get(n, gone) for n in range(len(rows))], query, open_ended=True)
        assert segments_of(database, query) == (wanted, len(wanted))


def test_a_change_that_fails_makes_the_times_unknown(database: IndexDatabase) -> None:
    """They are read anew, so that a page never counts what was rolled back."""
    rows = [Row("a", number, number + 1) for number in range(5)]
    database.apply(as_segment(number, row) for number, row in enumerate(rows))
    while not database.times_known:
        database.read_times()

    def failing() -> Iterator[Record]:
        yield as_segment(9, Row("a", 9, 10))
        raise OSError(5, "failed")

    with pytest.raises(OSError, match="failed"):
        database.apply(failing())
    assert not database.times_known
    assert segments_of(database, RecordingQuery())[1] == 5
    while not database.times_known:
        database.read_times()
    assert segments_of(database, RecordingQuery(until=NOON + 3 * HOUR)) == (
        ["n002", "n001", "n000"],
        3,
    )
