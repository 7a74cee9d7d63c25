"""The index of what is on disk: segments, sessions and the ledger, in SQLite.

A cache of what the files say, except for hashes and ledger entries, which only live here. One
connection, one thread: SQLite before 3.51.3 can corrupt a WAL database under two writers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import attrs

from camd.clock import from_unix_micros, to_unix_micros
from camd.model import (
    CameraId,
    Cause,
    Gap,
    RecordingPage,
    RecordingQuery,
    Segment,
    SegmentState,
    Session,
    SessionId,
    SessionState,
)

SCHEMA_VERSION = 1
_SUFFIXES = ("", "-wal", "-shm")  # what SQLite makes of one name, and finds by it again
_SCHEMA = """
CREATE TABLE segments (
  filename TEXT PRIMARY KEY, camera_id TEXT NOT NULL, session_id TEXT NOT NULL,
  number INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
  duration_seconds REAL NOT NULL, frames INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  sha256 TEXT, state TEXT NOT NULL, codec TEXT NOT NULL, width INTEGER NOT NULL,
  height INTEGER NOT NULL, modified_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX segments_by_start ON segments (start_us);
CREATE INDEX segments_by_camera ON segments (camera_id, start_us);
CREATE INDEX segments_by_session ON segments (session_id, number);
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, camera_id TEXT NOT NULL, owner TEXT NOT NULL, key TEXT,
  format TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER, duration_limit REAL,
  state TEXT NOT NULL, reason TEXT NOT NULL,
  frames_captured INTEGER NOT NULL, frames_written INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_start ON sessions (camera_id, start_us);
CREATE TABLE gaps (
  id INTEGER PRIMARY KEY, camera_id TEXT NOT NULL, session_id TEXT NOT NULL,
  start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, duration_seconds REAL NOT NULL,
  frames INTEGER NOT NULL, exact INTEGER NOT NULL, cause TEXT NOT NULL, action TEXT NOT NULL
);
CREATE INDEX gaps_by_session ON gaps (session_id, start_us);
CREATE INDEX gaps_by_camera ON gaps (camera_id, start_us);
"""


@attrs.define(eq=False)
class Catalog:
    """The open database. Every method blocks on the disk: call it in the catalog's thread."""

    _db: sqlite3.Connection

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """Open or create the database; one of another version or garbage is put aside first.

        Nothing is deleted: the old files stay beside the new one, under one free name.
        Raises OSError or sqlite3.Error when the folder itself cannot be used.
        """
        try:
            return cls(_connect(path))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) or not path.exists():
                raise
            free = _free_name(path.with_name(f"{path.name}.unreadable"))
            for suffix in _SUFFIXES:
                old = path.with_name(path.name + suffix)
                if old.exists():
                    old.rename(free.with_name(free.name + suffix))
            return cls(_connect(path))

    def close(self) -> None:
        """Fold the log into the database and close it."""
        self._db.close()

    # --- segments ---

    def put_segment(self, segment: Segment) -> None:
        """Insert the segment, or replace what was known of it."""
        with self._db:
            self._db.execute(
                f"INSERT OR REPLACE INTO segments VALUES ({','.join('?' * 15)})",  # noqa: S608
                _segment_row(segment),
            )

    def drop_segment(self, filename: str) -> None:
        """Forget a file that is no longer there."""
        with self._db:
            self._db.execute("DELETE FROM segments WHERE filename = ?", (filename,))

    def segment(self, filename: str) -> Segment | None:
        """Look one segment up by its name."""
        row = self._db.execute("SELECT * FROM segments WHERE filename = ?", (filename,)).fetchone()
        return _segment(row) if row else None

    def filenames(self) -> tuple[str, ...]:
        """Name every segment."""
        return tuple(name for (name,) in self._db.execute("SELECT filename FROM segments"))

    def interrupt_open_segments(self) -> tuple[Segment, ...]:
        """Mark what a crash left open, and return it; for start-up, before anything records."""
        rows = self._db.execute(
            "SELECT * FROM segments WHERE state = ?", (SegmentState.OPEN.value,)
        ).fetchall()
        found = tuple(attrs.evolve(_segment(r), state=SegmentState.INTERRUPTED) for r in rows)
        for segment in found:
            self.put_segment(segment)
        return found

    def page(self, query: RecordingQuery) -> RecordingPage:
        """List segments, newest first, and count all that match."""
        where, values = _conditions(query)
        (total,) = self._db.execute(f"SELECT count(*) FROM segments{where}", values).fetchone()  # noqa: S608
        rows = self._db.execute(
            f"SELECT * FROM segments{where} ORDER BY start_us DESC, filename DESC LIMIT ? OFFSET ?",  # noqa: S608
            (*values, query.limit, query.offset),
        )
        return RecordingPage(tuple(_segment(row) for row in rows), total)

    def total_bytes(self) -> int:
        """Add up the sizes of all segments."""
        (total,) = self._db.execute("SELECT coalesce(sum(size_bytes), 0) FROM segments").fetchone()
        return int(total)

    # --- sessions and the ledger ---

    def put_session(self, session: Session) -> None:
        """Insert the session, or replace what was known of it (its gaps are kept apart)."""
        limit = session.duration_limit.total_seconds() if session.duration_limit else None
        row = (
            session.session_id,
            session.camera_id,
            session.owner,
            session.key,
            session.format,
            to_unix_micros(session.start),
            to_unix_micros(session.end) if session.end else None,
            limit,
            session.state.value,
            session.reason,
            session.frames_captured,
            session.frames_written,
        )
        with self._db:
            self._db.execute(
                f"INSERT OR REPLACE INTO sessions VALUES ({','.join('?' * 12)})",  # noqa: S608
                row,
            )

    def unfinished_sessions(self) -> tuple[Session, ...]:
        """Read the sessions that no one has ended, newest first, with segments and gaps."""
        rows = self._db.execute(
            "SELECT * FROM sessions WHERE state != ? ORDER BY start_us DESC",
            (SessionState.ENDED.value,),
        ).fetchall()
        return tuple(self._session(row) for row in rows)

    def _session(self, row: sqlite3.Row) -> Session:
        session_id = SessionId(row["session_id"])
        found = self._db.execute(
            "SELECT * FROM segments WHERE session_id = ? ORDER BY number", (session_id,)
        )
        segments = tuple(_segment(segment) for segment in found)
        gaps = self.gaps(session_id)
        written = sum(segment.frames for segment in segments)
        limit, end = row["duration_limit"], row["end_us"]
        return Session(
            session_id=session_id,
            camera_id=CameraId(row["camera_id"]),
            owner=row["owner"],
            key=row["key"],
            format=row["format"],
            start=_time(row["start_us"]),
            duration_limit=timedelta(seconds=limit) if limit is not None else None,
            state=SessionState(row["state"]),
            reason=row["reason"],
            segments=segments,
            gaps=gaps,
            frames_captured=written + sum(gap.frames for gap in gaps if gap.exact),
            frames_written=written,
            bytes_written=sum(segment.size_bytes for segment in segments),
            elapsed_seconds=0.0,
            durable=True,
            healthy=False,
            end=_time(end) if end is not None else None,
        )

    def put_gaps(self, gaps: Iterable[Gap]) -> None:
        """Write entries into the ledger; they are never changed afterwards."""
        with self._db:
            self._db.executemany(
                "INSERT INTO gaps (camera_id, session_id, start_us, end_us, duration_seconds,"
                " frames, exact, cause, action) VALUES (?,?,?,?,?,?,?,?,?)",
                [_gap_row(gap) for gap in gaps],
            )

    def gaps(self, session_id: SessionId) -> tuple[Gap, ...]:
        """Read a session's ledger, in order of time."""
        rows = self._db.execute(
            "SELECT * FROM gaps WHERE session_id = ? ORDER BY start_us, id", (session_id,)
        )
        return tuple(_gap(row) for row in rows)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"index version {version}, expected {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def _free_name(path: Path) -> Path:
    number, free = 0, path
    while any(free.with_name(free.name + suffix).exists() for suffix in _SUFFIXES):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def _conditions(query: RecordingQuery) -> tuple[str, list[object]]:
    conditions: list[tuple[str, object]] = []
    if query.camera_id is not None:
        conditions.append(("camera_id = ?", query.camera_id))
    if query.session_id is not None:
        conditions.append(("session_id = ?", query.session_id))
    if query.since is not None:
        # The row of a growing segment is as old as its first fragment; the segment goes on.
        goes_on = f"state = '{SegmentState.OPEN.value}'"
        conditions.append((f"(end_us > ? OR {goes_on})", to_unix_micros(query.since)))
    if query.until is not None:
        conditions.append(("start_us < ?", to_unix_micros(query.until)))
    if not conditions:
        return "", []
    return " WHERE " + " AND ".join(c for c, _ in conditions), [v for _, v in conditions]


def _segment_row(s: Segment) -> tuple[object, ...]:
    return (
        s.filename,
        s.camera_id,
        s.session_id,
        s.number,
        to_unix_micros(s.start),
        to_unix_micros(s.end),
        s.duration_seconds,
        s.frames,
        s.size_bytes,
        s.sha256,
        s.state.value,
        s.codec,
        s.width,
        s.height,
        to_unix_micros(s.modified),
    )


def _segment(row: sqlite3.Row) -> Segment:
    return Segment(
        filename=row["filename"],
        camera_id=CameraId(row["camera_id"]),
        session_id=SessionId(row["session_id"]),
        number=row["number"],
        start=_time(row["start_us"]),
        end=_time(row["end_us"]),
        duration_seconds=row["duration_seconds"],
        frames=row["frames"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        state=SegmentState(row["state"]),
        codec=row["codec"],
        width=row["width"],
        height=row["height"],
        modified=_time(row["modified_us"]),
    )


def _gap_row(gap: Gap) -> tuple[object, ...]:
    return (
        gap.camera_id,
        gap.session_id,
        to_unix_micros(gap.start),
        to_unix_micros(gap.end),
        gap.duration_seconds,
        gap.frames,
        gap.exact,
        gap.cause.value,
        gap.action,
    )


def _gap(row: sqlite3.Row) -> Gap:
    return Gap(
        camera_id=CameraId(row["camera_id"]),
        session_id=SessionId(row["session_id"]),
        start=_time(row["start_us"]),
        end=_time(row["end_us"]),
        duration_seconds=row["duration_seconds"],
        frames=row["frames"],
        exact=bool(row["exact"]),
        cause=Cause(row["cause"]),
        action=row["action"],
    )


def _time(micros: int) -> datetime:
    return from_unix_micros(micros)
