"""Listings, and the start of the service, with a million recordings.

    python bench/index.py [--rows 1000000] [--folder DIR]

The index is filled with segments and ledger entries of four cameras, a session for each four
segments; with --folder it is kept for the next time. The service is started on it, and pages are
asked for over its WebSocket; the baseline is a `ping` on the same connection, and SQLite's own
count and OFFSET on the same rows. A page should take less than 5 ms, one of sessions, whose files
are summed up, less than 50 ms.

The start: seconds until the service answers, until the first page is there, and until a recording
has its first durable frame; the baseline is the same with an empty folder.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from running import Camd, another, running

from camd.clock import to_unix_micros
from camd.model import (
    CameraId,
    Gap,
    GapCause,
    Segment,
    SegmentState,
    Session,
    SessionId,
    SessionState,
)
from camd.storage.index.index_database import IndexDatabase
from camd.storage.rules.rows import Values, gap_row, segment_row, session_row

BEGIN = datetime(2016, 1, 1, tzinfo=UTC)
LENGTH = timedelta(minutes=5)
CAMERAS = 4
ROUNDS = 50

_MICROS = 300_000_000  # of LENGTH
_SEGMENT = Segment(
    filename="",
    camera_id=CameraId(""),
    session_id=SessionId(""),
    number=0,
    start=BEGIN,
    end=BEGIN + LENGTH,
    duration_seconds=LENGTH.total_seconds(),
    frames=9000,
    size_bytes=300_000_000,
    sha256="ab" * 32,
    state=SegmentState.SEALED,
    codec="avc1",
    width=1920,
    height=1080,
    modified=BEGIN + LENGTH,
)
_SESSION = Session(
    session_id=SessionId(""),
    camera_id=CameraId(""),
    owner="bench",
    key=None,
    format="mp4",
    start=BEGIN,
    duration_limit=None,
    state=SessionState.ENDED,
    reason="stopped",
    segments=(),
    gaps=(),
    frames_captured=36_000,
    frames_written=36_000,
    bytes_written=0,
    elapsed_seconds=0.0,
    durable=True,
    healthy=False,
)
_GAP = Gap(
    camera_id=CameraId(""),
    session_id=SessionId(""),
    start=BEGIN,
    end=BEGIN,
    duration_seconds=2.0,
    frames=60,
    exact=True,
    cause=GapCause.STORAGE_SLOW,
    action="",
)


def fill(path: Path, rows: int) -> timedelta:
    """Fill an index: as many segments of five minutes as ledger entries, a session for each four.

    Return the time that they span.
    """
    IndexDatabase.open(path).close()
    db = sqlite3.connect(path)
    with db:
        _insert(db, "segments", segment_row(_SEGMENT), map(_segment_values, range(rows)))
        _insert(db, "sessions", session_row(_SESSION), map(_session_values, range(rows // 4)))
        _insert(db, "gaps", (None, *gap_row(_GAP)), map(_gap_values, range(rows)))
    db.close()
    return rows // CAMERAS * LENGTH


def _insert(
    db: sqlite3.Connection, table: str, row: Values, changes: Iterable[dict[str, object]]
) -> None:
    """Insert rows that are like one row, but for some columns."""
    columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
    named = dict(zip(columns, row, strict=True))
    values = ",".join(f":{name}" for name in columns)
    db.executemany(f"INSERT INTO {table} VALUES ({values})", (named | each for each in changes))


def _place(number: int) -> tuple[str, int]:
    """Return the camera of a segment, and when it begins (microseconds)."""
    camera, place = number % CAMERAS, number // CAMERAS
    return f"camera{camera}", to_unix_micros(BEGIN) + place * _MICROS + camera * 1_000_000


def _session_of(number: int) -> str:
    return f"session{number // 4 // CAMERAS}-{number % CAMERAS}"


def _segment_values(number: int) -> dict[str, object]:
    camera, start = _place(number)
    name = time.strftime("%Y-%m-%d_%H-%M-%S", time.gmtime(start // 1_000_000))
    return {
        "filename": f"{camera}_{name}.mp4",
        "camera_id": camera,
        "session_id": _session_of(number),
        "number": number // CAMERAS % 4,
        "start_us": start,
        "end_us": start + _MICROS,
        "until_us": start + _MICROS,
    }


def _session_values(number: int) -> dict[str, object]:
    first = number // CAMERAS * 4 * CAMERAS + number % CAMERAS
    camera, start = _place(first)
    return {
        "session_id": _session_of(first),
        "camera_id": camera,
        "start_us": start,
        "end_us": start + 4 * _MICROS,
    }


def _gap_values(number: int) -> dict[str, object]:
    camera, start = _place(number)
    return {
        "id": number + 1,
        "camera_id": camera,
        "session_id": _session_of(number),
        "start_us": start + _MICROS // 2,
        "end_us": start + _MICROS // 2 + 2_000_000,
    }


def make_files(index: Path) -> None:
    """Make an empty file for each recording of an index."""
    db = sqlite3.connect(index)
    for (filename,) in db.execute("SELECT filename FROM segments"):
        os.close(os.open(index.parent.parent / filename, os.O_CREAT | os.O_WRONLY))
    db.close()


def milliseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Median and worst of some rounds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times), max(times)


def by_sqlite(index: Path, offset: int) -> None:
    """Do the same with SQLite alone: count, and skip rows one by one."""
    db = sqlite3.connect(f"file:{index}?mode=ro", uri=True)
    db.execute("SELECT count(*) FROM segments").fetchone()
    order = "ORDER BY start_us DESC, filename DESC LIMIT 100 OFFSET ?"
    db.execute(f"SELECT * FROM segments {order}", (offset,)).fetchall()
    db.close()


def show(name: str, call: Callable[[], object]) -> None:
    """Print a row."""
    median, worst = milliseconds(call)
    print(f"{name:52}  {median:7.2f}  {worst:7.2f}", flush=True)


def measure(camd: Camd, index: Path, rows: int, span: timedelta) -> None:
    """Print a row for each kind of question."""
    print(f"{rows} recordings, pages of 100                           median    worst ms")
    show("ping", lambda: camd.call("ping"))
    show("SQLite alone: count, OFFSET of the last page", lambda: by_sqlite(index, rows - 100))
    for method, count in (
        ("list_recordings", rows),
        ("get_sessions", rows // 4),
        ("get_gaps", rows),
    ):
        measure_pages(camd, method, count, span)


def measure_pages(camd: Camd, method: str, count: int, span: timedelta) -> None:
    """Print the rows of one method."""

    def at(share: float) -> str:
        return (BEGIN + share * span).isoformat()

    def page(what: str, **params: object) -> None:
        show(f"{method}, {what}", lambda: camd.call(method, **params))

    for share in (0.0, 0.5, 1.0):
        offset = max(0, int(count * share) - 100)
        page(f"offset {offset}", offset=offset)
    quarter = count // CAMERAS
    page("a camera's last page", camera="camera1", offset=quarter - 100)
    page("the oldest day", **{"from": at(0.0), "to": at(0.0003)})
    page("half of the time, its last page", **{"from": at(0.5), "offset": count // 2 - 50})
    page(
        "a camera, half of the time, in the middle",
        **{"camera": "camera2", "from": at(0.2), "to": at(0.7), "offset": quarter // 4},
    )
    page("a session", session_id="session9-1")
    page("a range without any", **{"from": at(2.0)})


def measure_start(folder: str, what: str) -> None:
    """Print how long a start takes: until it answers, has listed a page, and has recorded."""
    camera = '[[camera]]\nid = "camera9"\nsource = "test:?size=320x180&rate=30"\n'
    begin = time.perf_counter()

    def seconds() -> float:
        return time.perf_counter() - begin

    with running(camera, storage__recordings_dir=folder, ffmpeg__encoder="libx264") as camd:
        answered = seconds()

        def listed() -> float:
            with another(camd) as other:
                other.call("list_recordings")
                return seconds()

        with ThreadPoolExecutor() as pool:
            page = pool.submit(listed)
            camd.call("start_recording", device="camera9")
            recorded = seconds()
            print(f"{what:20}{answered:10.2f}{page.result():10.2f}{recorded:10.2f}", flush=True)
        stopped = camd.call("stop_recording", device="camera9")
        for each in stopped["receipt"]["files"]:
            camd.call("delete_recording", filename=each["filename"])


def wait_times(camd: Camd) -> float:
    """Wait until the service has read the times of all recordings; return the seconds."""
    begin = time.perf_counter()
    while True:
        with suppress(RuntimeError):  # it says that it still reads them
            camd.call("get_timeline", camera="camera0", to=BEGIN.isoformat())
            return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    rows = options.rows
    with tempfile.TemporaryDirectory(prefix="camd-bench-") as name:
        folder = options.folder or Path(name) / "recordings"
        index = folder / ".camd" / "index.sqlite"
        if not index.exists():
            index.parent.mkdir(parents=True)
            fill(index, rows)
            make_files(index)
        empty = Path(name) / "empty"
        empty.mkdir()
        print(f"{'start, seconds':20}{'answers':>10}{'a page':>10}{'records':>10}")
        for _ in range(3):
            measure_start(str(empty), "an empty folder")
            measure_start(str(folder), f"{rows} files")
        with running("", storage__recordings_dir=str(folder)) as camd:
            print(f"all times are read after {wait_times(camd):.1f} s", flush=True)
            measure(camd, index, rows, rows // CAMERAS * LENGTH)


if __name__ == "__main__":
    main()
