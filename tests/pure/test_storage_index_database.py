"""The index: what is put in comes out, pages are in order, and nothing old is deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
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
    SegmentNoted,
    SegmentRemovalNoted,
    SessionNoted,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[IndexDatabase]:
    """Return an empty database."""
    opened = IndexDatabase.open(tmp_path / "index.sqlite")
    yield opened
    opened.close()


def minutes(begin: float, end: float | None = None, camera: str = "camera0", **facts: object):
    """Describe a segment that lasts from `begin` to `end`, in minutes after noon."""
    until = begin + 1 if end is None else end
    return segment(
        f"{camera}_{begin}.mp4",
        camera_id=CameraId(camera),
        start=NOON + timedelta(minutes=begin),
        end=NOON + timedelta(minutes=until),
        **facts,
    )


def names(database: IndexDatabase, **query: object) -> list[str]:
    """List file names by a query; times are minutes after noon."""
    for bound in ("since", "until"):
        if bound in query:
            query[bound] = NOON + timedelta(minutes=query[bound])
    page = database.page(RecordingQuery(**query))
    assert page.total >= len(page.segments)
    return [found.filename for found in page.segments]


def test_a_segment_comes_out_as_it_went_in(database: IndexDatabase) -> None:
    """Every field survives, microseconds and the lack of a hash included."""
    put = minutes(0.1234567, state=SegmentState.OPEN, sha256=None)
    database.apply([SegmentNoted(put)])
    assert database.segment(put.filename) == put
    assert database.segment("other.mp4") is None


def test_a_newer_account_replaces_the_older(database: IndexDatabase) -> None:
    """Putting a segment again changes its row and adds none; dropping it takes it away."""
    put = minutes(0, state=SegmentState.OPEN, sha256=None)
    sealed = attrs.evolve(put, state=SegmentState.SEALED, size_bytes=5000, sha256="cd" * 32)
    database.apply([SegmentNoted(put)])
    database.apply([SegmentNoted(sealed)])
    assert database.page(RecordingQuery()).segments == (sealed,)
    assert database.total_bytes() == 5000
    database.apply([SegmentRemovalNoted(put.filename, "")])
    database.apply([SegmentRemovalNoted("never there.mp4", "")])
    assert database.page(RecordingQuery()).total == database.total_bytes() == 0


def test_pages_are_newest_first_and_count_everything(database: IndexDatabase) -> None:
    """Limit and offset cut the list, newest first; the total does not depend on them."""
    for minute in (3, 1, 4, 0, 2):
        database.apply([SegmentNoted(minutes(minute))])
    assert names(database) == [f"camera0_{minute}.mp4" for minute in (4, 3, 2, 1, 0)]
    assert names(database, limit=2, offset=1) == ["camera0_3.mp4", "camera0_2.mp4"]
    page = database.page(RecordingQuery(limit=2, offset=4))
    assert (len(page.segments), page.total) == (1, 5)
    assert database.page(RecordingQuery(offset=9)).total == 5


def test_segments_of_one_moment_have_a_fixed_order(database: IndexDatabase) -> None:
    """Segments that start together are ordered by name, so that pages never overlap."""
    for name in ("b", "a", "c"):
        database.apply([SegmentNoted(minutes(0, camera=name))])
    pages = [names(database, limit=1, offset=offset) for offset in range(3)]
    assert pages == [["c_0.mp4"], ["b_0.mp4"], ["a_0.mp4"]]


def test_filters_hold_together(database: IndexDatabase) -> None:
    """Camera, session and time all have to match."""
    database.apply([SegmentNoted(minutes(0))])
    database.apply([SegmentNoted(minutes(1, session_id=SessionId("s1")))])
    database.apply([SegmentNoted(minutes(1, camera="camera1", session_id=SessionId("s1")))])
    assert names(database, camera_id="camera0") == ["camera0_1.mp4", "camera0_0.mp4"]
    assert names(database, session_id="s1") == ["camera1_1.mp4", "camera0_1.mp4"]
    assert names(database, camera_id="camera0", session_id="s1") == ["camera0_1.mp4"]
    assert names(database, camera_id="camera1", until=1) == []
    assert names(database, camera_id="' OR 1=1 --") == []


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (5, 15, True),  # over its begin
        (15, 25, True),  # over its end
        (12, 18, True),  # within
        (0, 30, True),  # around
        (0, 10, False),  # ends as it begins
        (20, 30, False),  # begins as it ends
        (0, 9, False),
        (21, 30, False),
    ],
)
def test_time_means_overlap(database: IndexDatabase, since: int, until: int, found: bool) -> None:
    """A segment is listed when it shares a moment with the time that is asked for."""
    database.apply([SegmentNoted(minutes(10, 20))])
    assert bool(names(database, since=since, until=until)) is found


def test_a_growing_segment_goes_on(database: IndexDatabase) -> None:
    """A growing segment is listed for any time since it began: its row is not kept up to date."""
    database.apply([SegmentNoted(minutes(10, 10.1, state=SegmentState.OPEN))])
    assert names(database, since=15, until=20) == ["camera0_10.mp4"]
    assert names(database, since=0, until=10) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.sampled_from("ab"))),
    camera=st.sampled_from(["a", "b", None]),
    since=st.none() | st.integers(0, 15),
    until=st.none() | st.integers(0, 15),
    limit=st.integers(1, 5),
)
def test_pages_put_together_are_the_whole(database, spans, camera, since, until, limit) -> None:
    """Whatever is asked for, the pages joined are exactly the segments that match, in order."""
    for row in database.page(RecordingQuery(limit=1000)).segments:
        database.apply([SegmentRemovalNoted(row.filename, "")])
    wanted = set()
    for number, (begin, length, who) in enumerate(spans):
        put = minutes(begin, begin + length, camera=who)
        put = attrs.evolve(put, filename=f"{who}_{number:03}.mp4")
        database.apply([SegmentNoted(put)])
        if (
            (camera is None or camera == who)
            and (since is None or begin + length > since)
            and (until is None or begin < until)
        ):
            wanted.add((begin, put.filename))
    query = {"camera_id": camera, "limit": limit}
    query |= {} if since is None else {"since": since}
    query |= {} if until is None else {"until": until}
    offsets = range(0, len(spans) + limit, limit)
    got = [name for offset in offsets for name in names(database, offset=offset, **query)]
    assert got == [name for _, name in sorted(wanted, reverse=True)]


def test_what_a_crash_left_open_is_marked(database: IndexDatabase) -> None:
    """Open segments become interrupted; sealed ones stay as they are."""
    sealed = minutes(0)
    left = minutes(1, state=SegmentState.OPEN, sha256=None)
    for put in (sealed, left):
        database.apply([SegmentNoted(put)])
    database.interrupt()
    interrupted = attrs.evolve(left, state=SegmentState.INTERRUPTED)
    assert database.segments_in(SegmentState.OPEN) == ()
    assert database.segments_in(SegmentState.INTERRUPTED) == (interrupted,)
    assert database.page(RecordingQuery()).segments == (interrupted, sealed)


def test_the_ledger_is_read_by_session_in_order_of_time(database: IndexDatabase) -> None:
    """Entries come out as they went in, of one session, oldest first."""
    late, early = gap(5), gap(1, exact=False)
    database.apply(map(GapNoted, [late, gap(3, session="s1")]))
    database.apply(map(GapNoted, [early]))
    database.apply(map(GapNoted, []))
    assert database.gaps(SessionId("s0")) == (early, late)
    assert database.gaps(SessionId("s2")) == ()


def test_a_session_is_put_again_and_again(database: IndexDatabase, tmp_path: Path) -> None:
    """A session's newer facts replace the older."""
    timed = session(duration_limit=timedelta(minutes=5))
    database.apply([SessionNoted(timed)])
    ended = attrs.evolve(timed, state=SessionState.ENDED, end=NOON, frames_written=10)
    database.apply([SessionNoted(ended)])
    other = sqlite3.connect(tmp_path / "index.sqlite")
    rows = other.execute("SELECT state, duration_limit, frames_written FROM sessions").fetchall()
    other.close()
    assert rows == [("ENDED", 300.0, 10)]


# --- what is found on opening ---


def beside(folder: Path) -> dict[str, bytes]:
    """Read the files that were put aside."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if "unreadable" in path.name}


def test_a_catalog_is_found_again(tmp_path: Path) -> None:
    """What was put in is there after closing and opening; nothing is put aside."""
    database = IndexDatabase.open(tmp_path / "index.sqlite")
    database.apply([SegmentNoted(minutes(0))])
    database.close()
    database = IndexDatabase.open(tmp_path / "index.sqlite")
    assert names(database) == ["camera0_0.mp4"]
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["index.sqlite"]


def test_garbage_is_put_aside(tmp_path: Path) -> None:
    """What is no database is kept under another name, and an empty database takes its place."""
    (tmp_path / "index.sqlite").write_bytes(b"garbage" * 1000)
    database = IndexDatabase.open(tmp_path / "index.sqlite")
    assert names(database) == []
    database.close()
    assert beside(tmp_path) == {"index.sqlite.unreadable": b"garbage" * 1000}


def test_a_database_put_aside_keeps_its_log(tmp_path: Path) -> None:
    """What is put aside overwrites nothing that was before, and a log that is still in use goes
    beside its own database: under its name, SQLite finds it again."""
    path = tmp_path / "index.sqlite"
    path.write_bytes(b"garbage" * 1000)
    IndexDatabase.open(path).close()
    reader = sqlite3.connect(path)
    reader.execute("PRAGMA user_version = 99")
    reader.execute("CREATE TABLE later (x)")
    IndexDatabase.open(path).close()
    reader.close()
    found = beside(tmp_path)
    assert found.pop("index.sqlite.unreadable") == b"garbage" * 1000
    assert found
    assert {name.removesuffix("-wal").removesuffix("-shm") for name in found} == {
        "index.sqlite.unreadable.1"
    }
    kept = sqlite3.connect(tmp_path / "index.sqlite.unreadable.1")
    assert kept.execute("SELECT count(*) FROM later").fetchone() == (0,)
    kept.close()


def test_another_version_is_put_aside(tmp_path: Path) -> None:
    """An index of a later version is kept whole, for the later version to find."""
    path = tmp_path / "index.sqlite"
    database = IndexDatabase.open(path)
    database.apply([SegmentNoted(minutes(0))])
    database.close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 99")
    later.close()
    database = IndexDatabase.open(path)
    assert names(database) == []
    database.close()
    kept = sqlite3.connect(tmp_path / "index.sqlite.unreadable")
    assert kept.execute("SELECT filename FROM segments").fetchall() == [("camera0_0.mp4",)]
    kept.close()


def definitions(path: Path) -> set[tuple[str, str]]:
    """Return names and definitions of all tables and indexes of a database."""
    with closing(sqlite3.connect(path)) as db:
        return set(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


EARLIER = {  # from the version that follows, back to each one
    5: "DROP INDEX gaps_by_camera;"
    "CREATE INDEX gaps_by_camera ON gaps (camera_id, start_us);"
    "PRAGMA user_version = 5;",
    4: "DROP TABLE snapshots; PRAGMA user_version = 4;",
}


@pytest.mark.parametrize("version", EARLIER)
def test_an_earlier_version_becomes_like_a_new_one(version: int, tmp_path: Path) -> None:
    """Tables and indexes are those of a new index, the rows stay, and nothing is set aside."""
    path, new = tmp_path / "index.sqlite", tmp_path / "new.sqlite"
    IndexDatabase.open(new).close()
    database = IndexDatabase.open(path)
    database.apply([SegmentNoted(minutes(0))])
    database.close()
    with closing(sqlite3.connect(path)) as earlier:
        for each in sorted(EARLIER, reverse=True):
            if each >= version:
                earlier.executescript(EARLIER[each])
    assert definitions(path) != definitions(new)
    database = IndexDatabase.open(path)
    assert names(database) == ["camera0_0.mp4"]
    database.close()
    assert definitions(path) == definitions(new)
    assert [each.name for each in tmp_path.glob("*unreadable*")] == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Without its folder a database cannot be opened, and nothing is put aside for that."""
    with pytest.raises(sqlite3.OperationalError):
        IndexDatabase.open(tmp_path / "nowhere" / "index.sqlite")
