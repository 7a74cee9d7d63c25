"""Names of snapshots, which of them are deleted, and their table in the index."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.errors import Refusal
from camd.ffmpeg.text.still_args import PictureOptions, still_arguments
from camd.model import CameraId, RecordingQuery, SessionId, StoredSnapshot
from camd.snapshots.rules.expiry import SnapshotLimits, expired
from camd.snapshots.rules.snapshot_names import (
    is_part_name,
    may_be_snapshot,
    names_for,
    parse_camd_name,
    part_name,
    read_name,
)
from camd.storage.index.index_database import IndexDatabase, open_database
from camd.storage.rules.rows import SCHEMA_VERSION

NOW = datetime(2026, 1, 15, 14, 30, tzinfo=UTC)
CAMERA = CameraId("camera0")


def snapshot(number: int, size: int = 10, camera: str = CAMERA) -> StoredSnapshot:
    """Make up a snapshot, `number` hours before NOW."""
    time = NOW - timedelta(hours=number)
    return StoredSnapshot(f"s{number}.jpg", CameraId(camera), time, size, 640, 480, time)


# --- names --------------------------------------------------------------------------------


def test_a_taken_name_gets_a_number() -> None:
    """Names are UTC, sorted by camera and time, and told apart within a second."""
    assert list(islice(names_for(CAMERA, NOW, "png"), 3)) == [
        "camera0_2026-01-15_14-30-00.png",
        "camera0_2026-01-15_14-30-00_1.png",
        "camera0_2026-01-15_14-30-00_2.png",
    ]
    for name in islice(names_for(CAMERA, NOW, "jpg"), 3):
        assert parse_camd_name(name) == (CAMERA, NOW)


@pytest.mark.parametrize(
    ("filename", "format", "chosen"),
    [
        (None, None, (None, "jpg")),
        (None, "png", (None, "png")),
        ("front", None, ("front.jpg", "jpg")),
        ("front", "png", ("front.png", "png")),
        ("front.png", None, ("front.png", "png")),
        ("Front door.JPEG", "jpg", ("Front door.JPEG", "jpg")),
        ("2026.01.15.jpg", None, ("2026.01.15.jpg", "jpg")),
    ],
)
def test_a_name_and_a_format_make_one_name(
    filename: str | None, format: str | None, chosen: tuple[str | None, str]
) -> None:
    """A suffix is added where there is none, and tells the format where none is given."""
    named = read_name(filename, format)
    assert (named.filename, named.format) == chosen


@pytest.mark.parametrize(
    "filename",
    [
        *("", "..", ".jpg", "../x.jpg", "a/b.jpg", "/etc/x.jpg", "..\\x.jpg", ".hidden.jpg"),
        *("x.jpg\0", "x\n.jpg", "x.exe", "x.mp4", "x.jpg.exe", "a" * 252 + ".jpg", "ä" * 126),
        "\ud800.jpg",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(filename: str) -> None:
    """Paths, hidden names, control characters, other suffixes, and names that are too long."""
    with pytest.raises(Refusal) as refused:
        read_name(filename, None)
    assert refused.value.kind.code == -32602
    assert refused.value.details["errors"][0]["path"] == "filename"  # type: ignore[index]


def test_a_suffix_that_contradicts_the_format_is_refused() -> None:
    """A PNG is never called .jpg."""
    with pytest.raises(Refusal, match=r"format is png"):
        read_name("front.jpg", "png")


def test_a_part_is_never_listed() -> None:
    """A picture that is being written has a name that no listing and no client can use."""
    name = part_name("0123456789abcdef")
    assert is_part_name(name)
    assert not may_be_snapshot(name)
    for other in ("front.jpg", ".front.jpg.part", ".0123.part", "0123456789abcdef.part"):
        assert not is_part_name(other)


@pytest.mark.parametrize("name", ["x_2026-01-15_14-30-00.gif", "a_2026-13-15_14-30-00.jpg", "x"])
def test_other_names_tell_nothing(name: str) -> None:
    """Camera and time are read only from names that camd gives."""
    assert parse_camd_name(name) is None


# --- expiry -------------------------------------------------------------------------------

LIMITS = SnapshotLimits(None, max_size=100, max_count=5)


def choose(
    held: list[StoredSnapshot], limits: SnapshotLimits = LIMITS, kept: frozenset[str] = frozenset()
) -> list[str]:
    """Name what is deleted of `held`, which is in order, the oldest first."""
    size = sum(each.size_bytes for each in held)
    chosen = expired(held, limits, count=len(held), size_bytes=size, now=NOW, kept=kept)
    return [each.filename for each in chosen]


def test_the_oldest_go_until_the_rest_fits() -> None:
    """Number and size are both limits; nothing goes while both are kept."""
    held = [snapshot(number) for number in (8, 7, 6, 5, 4, 3, 2)]
    assert choose(held) == ["s8.jpg", "s7.jpg"]
    assert choose(held[2:]) == []
    large = [attrs.evolve(each, size_bytes=40) for each in held[3:]]
    assert choose(large) == ["s5.jpg", "s4.jpg"]


def test_what_is_too_old_goes_whatever_its_size() -> None:
    """An age is a limit of its own."""
    held = [snapshot(number) for number in (8, 7, 3)]
    limits = attrs.evolve(LIMITS, max_age=timedelta(hours=7))
    assert choose(held, limits) == ["s8.jpg"]


def test_what_is_read_or_new_stays() -> None:
    """A file that is being sent, and the one just taken, are passed over; the next one goes."""
    held = [snapshot(number) for number in (8, 7, 6, 5, 4, 3)]
    assert choose(held, kept=frozenset({"s8.jpg"})) == ["s7.jpg"]
    one = [snapshot(1, 1000)]
    assert choose(one, kept=frozenset({"s1.jpg"})) == []


@given(
    st.lists(st.integers(0, 60), max_size=12),
    st.integers(0, 200),
    st.integers(0, 8),
    st.sets(st.integers(0, 12), max_size=3),
)
def test_limits_hold_and_nothing_more_goes(
    sizes: list[int], most: int, count: int, leased: set[int]
) -> None:
    """After a deletion the limits hold, or only kept files are left of the oldest; and without the
    last one that was deleted they would not."""
    held = [snapshot(20 - n, size) for n, size in enumerate(sizes)]
    kept = frozenset(f"s{20 - n}.jpg" for n in leased)
    limits = SnapshotLimits(None, most, count)
    gone = choose(held, limits, kept)
    left = [each for each in held if each.filename not in gone]
    assert not kept & set(gone)
    if limits.exceeded(len(left), sum(each.size_bytes for each in left)):
        assert {each.filename for each in left} <= kept
    if gone:
        back = [each for each in held if each.filename not in gone[:-1]]
        assert limits.exceeded(len(back), sum(each.size_bytes for each in back))


# --- the index ----------------------------------------------------------------------------


def test_the_table_lists_newest_first_by_camera_and_time(tmp_path: Path) -> None:
    """Filters, pages and totals; a session has no snapshots."""
    database = IndexDatabase.open(tmp_path / "index.sqlite")
    table = database.snapshots
    held = [snapshot(n, camera="camera1" if n % 2 else "camera0") for n in range(6)]
    table.put(held)
    table.put([attrs.evolve(held[0], size_bytes=15)])
    assert (table.totals().count, table.totals().size_bytes) == (6, 65)
    page = table.page(RecordingQuery(limit=2, offset=1))
    assert ([each.filename for each in page.snapshots], page.total) == (["s1.jpg", "s2.jpg"], 6)
    page = table.page(RecordingQuery(camera_id=CAMERA, since=NOW - timedelta(hours=2), until=NOW))
    assert ([each.filename for each in page.snapshots], page.total) == (["s2.jpg"], 1)
    assert table.page(RecordingQuery(session_id=SessionId("5f0c"))).total == 0
    assert [each.filename for each in table.oldest(2)] == ["s5.jpg", "s4.jpg"]
    assert table.find("s3.jpg") == held[3]
    table.drop(["s3.jpg", "unknown.jpg"])
    assert table.find("s3.jpg") is None
    assert set(table.filenames()) == {"s0.jpg", "s1.jpg", "s2.jpg", "s4.jpg", "s5.jpg"}
    database.close()


def test_an_index_of_the_version_before_gets_the_table(tmp_path: Path) -> None:
    """It is brought up to date in place: recordings stay in it, and nothing is set aside."""
    path = tmp_path / "index.sqlite"
    db = open_database(path)
    db.execute("INSERT INTO journal VALUES (3, 77)")
    db.executescript("DROP TABLE snapshots; PRAGMA user_version = 4;")
    db.close()
    database = IndexDatabase.open(path)
    assert (database.position.file, database.position.offset) == (3, 77)
    database.snapshots.put([snapshot(1)])
    assert database.snapshots.totals().count == 1
    database.close()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert [each.name for each in tmp_path.glob("*unreadable*")] == []


# --- arguments ----------------------------------------------------------------------------


def test_quality_is_that_of_libjpeg() -> None:
    """The tables are the usual ones, scaled; 50 gives them as they are, 100 all ones."""

    def table(quality: int) -> list[int]:
        arguments = still_arguments("ffmpeg", PictureOptions(quality=quality))
        return [int(n) for n in arguments[arguments.index("-intra_matrix") + 1].split(",")]

    assert table(50)[:8] == [16, 11, 10, 16, 24, 40, 51, 61]
    assert table(85)[:8] == [5, 3, 3, 5, 7, 12, 15, 18]
    assert set(table(100)) == {1}
    assert table(1)[:3] == [255, 255, 255]
    for lower, higher in zip(range(1, 100), range(2, 101), strict=True):
        assert sum(table(lower)) >= sum(table(higher))


def test_a_movie_comes_through_stdin_only() -> None:
    """No path and no address is among the arguments, and a width never enlarges."""
    arguments = still_arguments("ffmpeg", PictureOptions("png", width=320))
    assert "pipe:0" in arguments
    assert any("scale=w='min(320,iw)':h=-1" in each for each in arguments)
    assert "-intra_matrix" not in arguments
