"""The index's table of snapshots: rebuilt from the snapshots folder whenever needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import attrs

from camd.clock import from_unix_micros, to_unix_micros
from camd.model import CameraId, RecordingQuery, SnapshotPage, StoredSnapshot


@attrs.frozen
class SnapshotTotals:
    """How many snapshots there are, and their bytes."""

    count: int = 0
    size_bytes: int = 0


@attrs.frozen
class SnapshotTable:
    """Every method blocks on the disk; for the index's thread. Raises sqlite3.Error."""

    _db: sqlite3.Connection

    def put(self, snapshots: Iterable[StoredSnapshot]) -> None:
        """Insert snapshots, or replace what was known of them; all or none."""
        rows = [
            (
                each.filename,
                each.camera_id,
                to_unix_micros(each.time),
                each.size_bytes,
                each.width,
                each.height,
                to_unix_micros(each.modified),
            )
            for each in snapshots
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO snapshots VALUES (?,?,?,?,?,?,?)", rows)

    def drop(self, filenames: Iterable[str]) -> None:
        """Delete rows; all or none."""
        with self._db:
            self._db.executemany(
                "DELETE FROM snapshots WHERE filename = ?", [(name,) for name in filenames]
            )

    def find(self, filename: str) -> StoredSnapshot | None:
        """Find a snapshot by its name."""
        row = self._db.execute("SELECT * FROM snapshots WHERE filename = ?", (filename,)).fetchone()
        return _snapshot_of(row) if row else None

    def filenames(self) -> tuple[str, ...]:
        """Return the names of all snapshots."""
        return tuple(name for (name,) in self._db.execute("SELECT filename FROM snapshots"))

    def totals(self) -> SnapshotTotals:
        """Count all snapshots and their bytes."""
        row = self._db.execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM snapshots")
        return SnapshotTotals(*row.fetchone())

    def oldest(self, limit: int) -> tuple[StoredSnapshot, ...]:
        """Return the oldest snapshots, the oldest first."""
        rows = self._db.execute(
            "SELECT * FROM snapshots ORDER BY time_us, filename LIMIT ?", (limit,)
        )
        return tuple(map(_snapshot_of, rows))

    def page(self, query: RecordingQuery) -> SnapshotPage:
        """List snapshots, newest first, with the number of all that match.

        A snapshot belongs to no session: a query for one matches nothing.
        """
        conditions, values = ["1"], list[object]()
        if query.session_id is not None:
            conditions.append("0")
        if query.camera_id is not None:
            conditions.append("camera_id = ?")
            values.append(query.camera_id)
        if query.since is not None:
            conditions.append("time_us >= ?")
            values.append(to_unix_micros(query.since))
        if query.until is not None:
            conditions.append("time_us < ?")
            values.append(to_unix_micros(query.until))
        where = " AND ".join(conditions)
        count = f"SELECT count(*) FROM snapshots WHERE {where}"  # noqa: S608
        (total,) = self._db.execute(count, values).fetchone()
        rows = self._db.execute(
            f"SELECT * FROM snapshots WHERE {where}"  # noqa: S608
            " ORDER BY time_us DESC, filename DESC LIMIT ? OFFSET ?",
            (*values, query.limit, query.offset),
        )
        return SnapshotPage(tuple(map(_snapshot_of, rows)), total)


def _snapshot_of(row: sqlite3.Row) -> StoredSnapshot:
    return StoredSnapshot(
        filename=row["filename"],
        camera_id=CameraId(row["camera_id"]),
        time=from_unix_micros(row["time_us"]),
        size_bytes=row["size_bytes"],
        width=row["width"],
        height=row["height"],
        modified=from_unix_micros(row["modified_us"]),
    )
