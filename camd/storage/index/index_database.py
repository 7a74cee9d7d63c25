"""The index database: segments, sessions and gaps in SQLite.

It is rebuilt from files and journal whenever needed (I6). One connection, one thread: SQLite before
3.51.3 can corrupt a WAL database under two writers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import attrs

from camd.clock import from_unix_micros, to_unix_micros
from camd.model import (
    CameraId,
    Gap,
    GapPage,
    RecordingPage,
    RecordingQuery,
    Segment,
    SegmentState,
    Session,
    SessionId,
    SessionPage,
)
from camd.runtime.file_presence import is_there
from camd.storage.index.index_journal import JournalPosition
from camd.storage.index.snapshot_table import SnapshotTable
from camd.storage.index.timed_table import TimedTable
from camd.storage.index.timeline_query import TimelineQuery
from camd.storage.rules.journal_records import (
    GapNoted,
    Record,
    SegmentNoted,
    SegmentRemovalNoted,
    SessionNoted,
)
from camd.storage.rules.rows import (
    MIGRATIONS,
    SCHEMA,
    SCHEMA_VERSION,
    OrderedByTime,
    SessionStartMoment,
    Values,
    gap_of,
    gap_row,
    segment_of,
    segment_row,
    session_of,
    session_row,
    session_start_of,
    summary_of,
)
from camd.storage.rules.time_index import NEVER

# --- The database file

_SUFFIXES = ("", "-wal", "-shm")  # SQLite's files for one name


def open_database(path: Path) -> sqlite3.Connection:
    """Open or create the database. Raises sqlite3.DatabaseError when it cannot be used."""
    db = sqlite3.connect(path, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last transactions: files and journal have them.
        db.execute("PRAGMA synchronous = NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif (version := migrate(db, version)) != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"index version {version}, expected {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection, version: int) -> int:
    """Bring the tables of an older version up to date; return the version that they have then."""
    while version in MIGRATIONS:
        db.executescript(
            f"BEGIN; {MIGRATIONS[version]} PRAGMA user_version = {version + 1}; COMMIT;"
        )
        version += 1
    return version


def put_aside(path: Path) -> None:
    """Rename a database that cannot be used, with its WAL files. Raises OSError."""
    free = _free_name(path.with_name(f"{path.name}.unreadable"))
    for suffix in _SUFFIXES:
        old = path.with_name(path.name + suffix)
        if is_there(old):
            old.rename(free.with_name(free.name + suffix))


def _free_name(path: Path) -> Path:
    number, free = 0, path
    while any(is_there(free.with_name(free.name + suffix)) for suffix in _SUFFIXES):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the database is corrupt, not the disk or the query."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


TIMES_READ = 10_000  # rows whose times are read in one step

# --- Pages, newest first: when rows are over, and sums of sessions

_SESSION_END = f"coalesce(max(end_us, start_us + 1), {NEVER})"
_GAP_END = "max(end_us, start_us + 1)"
_IS_MISSING = "state != 'completed' AND state = 'missing'"  # uses the partial index

_OF_SESSION = "FROM segments s WHERE s.session_id = sessions.session_id AND s.state"
_SUMMARIES = f"""
SELECT sessions.*,
  (SELECT count(*) {_OF_SESSION} != 'missing') AS files,
  (SELECT count(*) {_OF_SESSION} = 'missing') AS files_missing,
  (SELECT coalesce(sum(frames), 0) {_OF_SESSION} != 'missing') AS frames,
  (SELECT coalesce(sum(size_bytes), 0) {_OF_SESSION} != 'missing') AS size_bytes,
  (SELECT coalesce(sum(duration_seconds), 0) {_OF_SESSION} != 'missing') AS recorded,
  (SELECT coalesce(sum(duration_seconds), 0) {_OF_SESSION} = 'missing') AS missing,
  (SELECT count(*) FROM gaps g WHERE g.session_id = sessions.session_id) AS gaps,
  (SELECT coalesce(sum(duration_seconds), 0) FROM gaps g
    WHERE g.session_id = sessions.session_id AND g.cause != 'clock_step') AS lost
FROM sessions"""  # noqa: S608


# --- The database


@attrs.define(eq=False)
class IndexDatabase:
    """The open database. Every method blocks on the disk; for one thread at a time."""

    _db: sqlite3.Connection
    _segments: TimedTable = attrs.field(init=False)
    _missing: TimedTable = attrs.field(init=False)  # segments whose files are gone
    _sessions: TimedTable = attrs.field(init=False)
    _gaps: TimedTable = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._segments = TimedTable(self._db, "segments", "filename", "until_us")
        self._missing = attrs.evolve(
            self._segments, source="segments INDEXED BY segments_by_state", condition=_IS_MISSING
        )
        self._sessions = TimedTable(self._db, "sessions", "session_id", _SESSION_END)
        self._gaps = TimedTable(self._db, "gaps", "id", _GAP_END)

    @property
    def _timed(self) -> tuple[TimedTable, ...]:
        return self._segments, self._missing, self._gaps, self._sessions

    @classmethod
    def open(cls, path: Path) -> IndexDatabase:
        """Open or create the database; an unusable one is set aside first, never deleted.

        Raises OSError or sqlite3.Error when the folder itself cannot be used.
        """
        try:
            return cls(open_database(path))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) or not is_there(path):
                raise
            put_aside(path)
            return cls(open_database(path))

    @property
    def snapshots(self) -> SnapshotTable:
        """The table of snapshots."""
        return SnapshotTable(self._db)

    @property
    def timelines(self) -> TimelineQuery:
        """Queries over ranges of time; times that are not known are read first."""
        return TimelineQuery(self._db, self._segments.times, self._missing.times, self._gaps.times)

    def knows_camera(self, camera_id: str) -> bool:
        """Return whether there is a recording of this camera, or an entry in the ledger."""
        row = self._db.execute(
            "SELECT 1 FROM segments WHERE camera_id = ?"
            " UNION ALL SELECT 1 FROM gaps WHERE camera_id = ? LIMIT 1",
            (camera_id, camera_id),
        ).fetchone()
        return row is not None

    def close(self) -> None:
        """Checkpoint and close the database."""
        self._db.close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Run the block as one transaction; on failure the times are read anew."""
        try:
            with self._db:
                yield
        except BaseException:
            for table in self._timed:
                table.forget_times()
            raise

    # --- the journal ---

    @property
    def position(self) -> JournalPosition:
        """The journal position up to which records have been applied."""
        row = self._db.execute("SELECT file, offset FROM journal").fetchone()
        return JournalPosition(row["file"], row["offset"]) if row else JournalPosition()

    def apply(self, records: Iterable[Record], position: JournalPosition | None = None) -> None:
        """Apply records, all or none; `position` is how far the journal is applied then.

        Segments and sessions replace what was known of them; a gap is inserted once.
        """
        with self._changing():
            for record in records:
                match record:
                    case SegmentNoted(segment):
                        self._put_segment(segment)
                    case SegmentRemovalNoted(filename):
                        self._drop_segment(filename)
                    case SessionNoted(session):
                        self._put_session(session)
                    case GapNoted(gap):
                        self._put_gap(gap)
            if position is not None:
                self._db.execute("DELETE FROM journal")
                values = (position.file, position.offset)
                self._db.execute("INSERT INTO journal VALUES (?, ?)", values)

    # --- segments ---

    def _put_segment(self, segment: Segment) -> None:
        with self._changing_segment(segment.filename):
            self._put("segments", segment_row(segment))

    def _drop_segment(self, filename: str) -> None:
        with self._changing_segment(filename):
            self._db.execute("DELETE FROM segments WHERE filename = ?", (filename,))

    @contextmanager
    def _changing_segment(self, filename: str) -> Iterator[None]:
        with self._segments.changing(filename), self._missing.changing(filename):
            yield

    def _put(self, table: str, row: Values) -> None:
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({_placeholders(row)})", row)  # noqa: S608

    def segment(self, filename: str) -> Segment | None:
        """Find a segment by filename."""
        row = self._db.execute("SELECT * FROM segments WHERE filename = ?", (filename,)).fetchone()
        return segment_of(row) if row else None

    def segment_of_session(self, session_id: SessionId, number: int) -> Segment | None:
        """Find a segment by session and number."""
        row = self._db.execute(
            "SELECT * FROM segments WHERE session_id = ? AND number = ?", (session_id, number)
        ).fetchone()
        return segment_of(row) if row else None

    def filenames(self) -> tuple[str, ...]:
        """Return the names of all segments."""
        return tuple(name for (name,) in self._db.execute("SELECT filename FROM segments"))

    def present_names(self, after: str, limit: int) -> tuple[str, ...]:
        """Return the next names behind `after` of segments that are not missing, in order."""
        rows = self._db.execute(
            "SELECT filename FROM segments WHERE filename > ? AND state != 'missing'"
            " ORDER BY filename LIMIT ?",
            (after, limit),
        )
        return tuple(name for (name,) in rows)

    def segments_in(self, *states: SegmentState) -> tuple[Segment, ...]:
        """Return the segments in one of these states, other than SEALED."""
        values = [state.value for state in states]
        some = f"state != 'completed' AND state IN ({_placeholders(values)})"
        rows = self._db.execute(f"SELECT * FROM segments WHERE {some} ORDER BY filename", values)  # noqa: S608
        return tuple(map(segment_of, rows))

    def interrupt(self) -> None:
        """Mark open segments as interrupted; at start-up, before anything records."""
        with self._changing():
            for segment in self.segments_in(SegmentState.OPEN):
                self._put_segment(attrs.evolve(segment, state=SegmentState.INTERRUPTED))

    def to_convert(self) -> tuple[Segment, ...]:
        """List the MP4s of sessions that asked for Matroska, oldest first."""
        rows = self._db.execute(
            "SELECT segments.* FROM sessions CROSS JOIN segments USING (session_id)"
            " WHERE sessions.format = 'mkv' AND segments.state = 'completed'"
            " AND segments.filename LIKE '%.mp4' ORDER BY segments.start_us"
        )
        return tuple(map(segment_of, rows))

    def awaits_mkv(self, filename: str) -> bool:
        """Return whether this file is to be replaced by an MKV."""
        return bool(
            self._db.execute(
                "SELECT 1 FROM segments JOIN sessions USING (session_id)"
                " WHERE segments.filename = ? AND sessions.format = 'mkv'",
                (filename,),
            ).fetchone()
        )

    def unhashed(self) -> tuple[Segment, ...]:
        """Return the sealed segments without a hash, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM segments WHERE sha256 IS NULL AND state = 'completed' ORDER BY start_us"
        )
        return tuple(map(segment_of, rows))

    def next_start(self, camera_id: str, after: datetime) -> datetime | None:
        """Return when the first segment of a camera begins after a moment."""
        row = self._db.execute(
            "SELECT start_us FROM segments WHERE camera_id = ? AND start_us > ?"
            " AND state != 'missing' ORDER BY start_us LIMIT 1",
            (camera_id, to_unix_micros(after)),
        ).fetchone()
        return None if row is None else from_unix_micros(row["start_us"])

    def oldest(self, behind: OrderedByTime | None, limit: int) -> tuple[Segment, ...]:
        """Return the next `limit` segments after `behind`, oldest first."""
        start = to_unix_micros(behind.start) if behind else -NEVER
        rows = self._db.execute(
            "SELECT * FROM segments WHERE (start_us, filename) > (?, ?)"
            " ORDER BY start_us, filename LIMIT ?",
            (start, behind.filename if behind else "", limit),
        )
        return tuple(map(segment_of, rows))

    def total_bytes(self) -> int:
        """Return the total size of all segments that are there."""
        (total,) = self._db.execute(
            "SELECT coalesce(sum(size_bytes), 0) FROM segments WHERE state != 'missing'"
        ).fetchone()
        return int(total)

    # --- pages ---

    def page(self, query: RecordingQuery) -> RecordingPage:
        """List segments, newest first, with the number of all that match."""
        found = self._segments.page(query)
        return RecordingPage(tuple(map(segment_of, found.rows)), found.total)

    def sessions_page(self, query: RecordingQuery) -> SessionPage:
        """List sessions with their sums, newest first, with the number of all that match."""
        found = self._sessions.page(query, _SUMMARIES)
        return SessionPage(tuple(map(summary_of, found.rows)), found.total)

    def gaps_page(self, query: RecordingQuery) -> GapPage:
        """List gaps, newest first, with the number of all that match."""
        found = self._gaps.page(query)
        return GapPage(tuple(map(gap_of, found.rows)), found.total)

    @property
    def times_known(self) -> bool:
        """Whether all times are in memory, so that every page is quick."""
        return all(table.complete for table in self._timed)

    def read_times(self, limit: int = TIMES_READ) -> None:
        """Read times of up to `limit` rows of one table, those that time lines need first."""
        table = next((table for table in self._timed if not table.complete), None)
        if table is not None:
            table.read_times(limit)

    # --- sessions and gaps ---

    def _put_session(self, session: Session) -> None:
        with self._sessions.changing(session.session_id):
            self._put("sessions", session_row(session))

    def session(self, session_id: SessionId) -> Session | None:
        """Find a session, with its segments and gaps."""
        row = self._db.execute(
            "SELECT * FROM sessions WHERE session_id = ?", (session_id,)
        ).fetchone()
        return self._session(row) if row else None

    def session_start(self, session_id: SessionId) -> SessionStartMoment | None:
        """Return when a session began."""
        row = self._db.execute(
            "SELECT start_us, boot_id, monotonic_start FROM sessions WHERE session_id = ?",
            (session_id,),
        ).fetchone()
        return session_start_of(row) if row else None

    def unfinished_sessions(self) -> tuple[Session, ...]:
        """Return the sessions that have not ended, newest first, with segments and gaps."""
        rows = self._db.execute(
            "SELECT * FROM sessions WHERE state != 'ENDED' ORDER BY start_us DESC"
        ).fetchall()
        return tuple(self._session(row) for row in rows)

    def unfinished_since(self, camera_id: CameraId) -> datetime | None:
        """Return when the oldest session of a camera that has not ended began; None: all have."""
        (start,) = self._db.execute(
            "SELECT min(start_us) FROM sessions WHERE state != 'ENDED' AND camera_id = ?",
            (camera_id,),
        ).fetchone()
        return None if start is None else from_unix_micros(start)

    def _session(self, row: sqlite3.Row) -> Session:
        session_id = SessionId(row["session_id"])
        segments = self._db.execute(
            "SELECT * FROM segments WHERE session_id = ? ORDER BY number", (session_id,)
        )
        return session_of(row, tuple(map(segment_of, segments)), self.gaps(session_id))

    def _put_gap(self, gap: Gap) -> None:
        done = self._db.execute(
            "INSERT OR IGNORE INTO gaps (camera_id, session_id, start_us, end_us, duration_seconds,"
            " frames, exact, cause, action) VALUES (?,?,?,?,?,?,?,?,?)",
            gap_row(gap),
        )
        if done.rowcount and done.lastrowid is not None:
            self._gaps.follow_new(done.lastrowid)

    def gaps(self, session_id: SessionId) -> tuple[Gap, ...]:
        """Return a session's gaps in order of time."""
        rows = self._db.execute(
            "SELECT * FROM gaps WHERE session_id = ? ORDER BY start_us, id", (session_id,)
        )
        return tuple(map(gap_of, rows))


def _placeholders(values: Values | Sequence[object]) -> str:
    return ",".join("?" * len(values))
