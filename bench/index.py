"""The time of listings with a million recordings: any page of any range, measured at a client.

    python bench/index.py [--rows 1000000]

The index is filled with segments of four cameras, the service is started on it, and pages are
asked for over its WebSocket; the baseline is a `ping` on the same connection, and SQLite's own
count and OFFSET on the same rows. A page should take less than 5 ms.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from running import Camd, running

from camd.model import CameraId, Segment, SegmentState, SessionId
from camd.storage.index.catalog import Catalog
from camd.storage.rules.rows import segment_row

BEGIN = datetime(2016, 1, 1, tzinfo=UTC)
CAMERAS = 4
ROUNDS = 50


def fill(path: Path, rows: int) -> timedelta:
    """Put segments of five minutes into an index; return the time that they span."""
    Catalog.open(path).close()
    db = sqlite3.connect(path)
    length = timedelta(minutes=5)

    def values():
        for number in range(rows):
            camera, place = number % CAMERAS, number // CAMERAS
            start = BEGIN + place * length + camera * timedelta(seconds=1)
            yield segment_row(
                Segment(
                    filename=f"camera{camera}_{start:%Y-%m-%d_%H-%M-%S}.mp4",
                    camera_id=CameraId(f"camera{camera}"),
                    session_id=SessionId(f"session{place // 288}-{camera}"),
                    number=place % 288,
                    start=start,
                    end=start + length,
                    duration_seconds=length.total_seconds(),
                    frames=9000,
                    size_bytes=300_000_000,
                    sha256="ab" * 32,
                    state=SegmentState.SEALED,
                    codec="avc1",
                    width=1920,
                    height=1080,
                    modified=start + length,
                )
            )

    with db:
        columns = len(db.execute("PRAGMA table_info(segments)").fetchall())
        db.executemany(f"INSERT INTO segments VALUES ({','.join('?' * columns)})", values())
    db.close()
    return rows // CAMERAS * length


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


def measure(camd: Camd, index: Path, rows: int, span: timedelta) -> None:
    """Print a row for each kind of question."""

    def at(share: float) -> str:
        return (BEGIN + share * span).isoformat()

    def show(name: str, call: Callable[[], object]) -> None:
        median, worst = milliseconds(call)
        print(f"{name:44}  {median:7.2f}  {worst:7.2f}", flush=True)

    def page(**params: object) -> Callable[[], object]:
        return lambda: camd.call("list_recordings", **params)

    print(f"{rows} recordings, pages of 100                   median    worst ms")
    show("ping", lambda: camd.call("ping"))
    show("SQLite alone: count, OFFSET of the last page", lambda: by_sqlite(index, rows - 100))
    for share in (0.0, 0.5, 1.0):
        offset = max(0, int(rows * share) - 100)
        show(f"page at offset {offset}", page(offset=offset))
    quarter = rows // CAMERAS
    show("a camera's last page", page(camera="camera1", offset=quarter - 100))
    show("the oldest day", page(**{"from": at(0.0), "to": at(0.0003)}))
    show("half of the time, its last page", page(**{"from": at(0.5), "offset": rows // 2 - 50}))
    show(
        "a camera, half of the time, in the middle",
        page(**{"camera": "camera2", "from": at(0.2), "to": at(0.7), "offset": quarter // 4}),
    )
    show("a session", page(session_id="session9-1"))
    show("a range without recordings", page(**{"from": at(2.0)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="camd-bench-") as name:
        folder = Path(name)
        index = folder / ".camd" / "index.sqlite"
        index.parent.mkdir()
        span = fill(index, rows)
        db = sqlite3.connect(index)
        for (filename,) in db.execute("SELECT filename FROM segments"):
            os.close(os.open(folder / filename, os.O_CREAT | os.O_WRONLY))
        db.close()
        with running("", storage__recordings_dir=name) as camd:
            begin = time.perf_counter()
            camd.call("list_recordings")
            print(f"the first page, with reading all times: {time.perf_counter() - begin:.2f} s")
            measure(camd, index, rows, span)


if __name__ == "__main__":
    main()
