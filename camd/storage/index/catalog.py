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
from camd.storage.index.journal import JournalPosition
from camd.storage.index.snapshot_table import SnapshotTable
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
    span_of,
    summary_of,
)
from camd.storage.rules.time_index import NEVER, TimeIndex

# --- The database file

_SUFFIXES = ("", "-wal", "-shm")  # SQLite's files for one name


def connect(path: Path) -> sqlite3.Connection:
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
        if old.exists():
            old.rename(free.with_name(free.name + suffix))


def _free_name(path: Path) -> Path:
    number, free = 0, path
    while any(free.with_name(free.name + suffix).exists() for suffix in _SUFFIXES):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the database is corrupt, not the disk or the query."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


# --- Pages, newest first

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
class Catalog:
    """The open database. Every method blocks on the disk; for one thread at a time."""

    _db: sqlite3.Connection
    _time_index: TimeIndex | None = attrs.field(default=None, init=False)

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """Open or create the database; an unusable one is set aside first, never deleted.

        Raises OSError or sqlite3.Error when the folder itself cannot be used.
        """
        try:
            return cls(connect(path))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) or not path.exists():
                raise
            put_aside(path)
            return cls(connect(path))

    @property
    def snapshots(self) -> SnapshotTable:
        """The table of snapshots."""
        return SnapshotTable(self._db)

    @property
    def timelines(self) -> TimelineQuery:
        """Queries over ranges of time; the first one reads the times of all segments."""
        return TimelineQuery(self._db, self.time_index())

    def close(self) -> None:
        """Checkpoint and close the database."""
        self._db.close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Run the block as one transaction; on failure the time index is read anew."""
        try:
            with self._db:
                yield
        except BaseException:
            self._time_index = None
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
        self._forget_time(segment.filename)
        row = segment_row(segment)
        self._db.execute(f"INSERT OR REPLACE INTO segments VALUES ({_placeholders(row)})", row)  # noqa: S608
        self._learn_time(segment.filename)

    def _drop_segment(self, filename: str) -> None:
        self._forget_time(filename)
        self._db.execute("DELETE FROM segments WHERE filename = ?", (filename,))

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
        """List segments, newest first, with the number of all that match.

        Thanks to the time index, every page takes the same time.
        """
        since = None if query.since is None else to_unix_micros(query.since)
        until = None if query.until is None else to_unix_micros(query.until)
        backwards = since is not None and until is not None and since > until
        if query.session_id is not None or backwards:
            return self._page_by_count(query)
        time_index, camera_id = self.time_index(), query.camera_id
        total = time_index.count(camera_id, since, until)
        # One upper bound for the start, the lowest: with two, SQLite may seek by the wrong one.
        where, values = _conditions(attrs.evolve(query, until=None), "until_us")
        if since is not None:
            where.append("start_us >= ?")
            values.append(time_index.earliest_start(since))
            within = time_index.begin_between(camera_id, since, until)
            if query.offset >= within:  # only those that began earlier and are not over: few
                where.append("start_us < ?")
                values.append(since)
                rows = self._segments(where, values, query.limit, query.offset - within)
                return RecordingPage(rows, total)
        position = time_index.position(camera_id, until, query.offset)
        if position is None:
            return RecordingPage((), total)
        where.append("start_us <= ?")
        values.append(position.start)
        return RecordingPage(self._segments(where, values, query.limit, position.skip), total)

    def _page_by_count(self, query: RecordingQuery) -> RecordingPage:
        """List segments where few can match: of one session, or around one moment."""
        where, values = _conditions(query, "until_us")
        if query.since is not None:
            where.append("start_us >= ?")
            values.append(self.time_index().earliest_start(to_unix_micros(query.since)))
        total = self._count("segments", where, values)
        return RecordingPage(self._segments(where, values, query.limit, query.offset), total)

    def sessions_page(self, query: RecordingQuery) -> SessionPage:
        """List sessions with their sums, newest first, with the number of all that match."""
        where, values = _conditions(query, "coalesce(end_us, 1 << 62)")
        rows = self._db.execute(
            f"{_SUMMARIES}{_where(where)} ORDER BY start_us DESC, session_id DESC LIMIT ? OFFSET ?",
            (*values, query.limit, query.offset),
        )
        return SessionPage(tuple(map(summary_of, rows)), self._count("sessions", where, values))

    def gaps_page(self, query: RecordingQuery) -> GapPage:
        """List gaps, newest first, with the number of all that match."""
        where, values = _conditions(query, "max(end_us, start_us + 1)")
        rows = self._db.execute(
            f"SELECT * FROM gaps{_where(where)} ORDER BY start_us DESC, id DESC LIMIT ? OFFSET ?",  # noqa: S608
            (*values, query.limit, query.offset),
        )
        return GapPage(tuple(map(gap_of, rows)), self._count("gaps", where, values))

    def _segments(
        self, where: Sequence[str], values: Sequence[object], limit: int, skip: int
    ) -> tuple[Segment, ...]:
        rows = self._db.execute(
            f"SELECT * FROM segments{_where(where)}"  # noqa: S608
            " ORDER BY start_us DESC, filename DESC LIMIT ? OFFSET ?",
            (*values, limit, skip),
        )
        return tuple(map(segment_of, rows))

    def _count(self, table: str, where: Sequence[str], values: Sequence[object]) -> int:
        query = f"SELECT count(*) FROM {table}{_where(where)}"  # noqa: S608
        return int(self._db.execute(query, values).fetchone()[0])

    def time_index(self) -> TimeIndex:
        """Return the time index of all segments; the first call reads them all."""
        if self._time_index is None:
            rows = self._db.execute("SELECT camera_id, start_us, until_us FROM segments")
            self._time_index = TimeIndex.of(map(span_of, rows))
        return self._time_index

    def _forget_time(self, filename: str) -> None:
        if self._time_index is not None and (row := self._time(filename)) is not None:
            self._time_index.remove(span_of(row))

    def _learn_time(self, filename: str) -> None:
        if self._time_index is not None and (row := self._time(filename)) is not None:
            self._time_index.add(span_of(row))

    def _time(self, filename: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(
            "SELECT camera_id, start_us, until_us FROM segments WHERE filename = ?", (filename,)
        ).fetchone()
        return row

    # --- sessions and gaps ---

    def _put_session(self, session: Session) -> None:
        row = session_row(session)
        self._db.execute(f"INSERT OR REPLACE INTO sessions VALUES ({_placeholders(row)})", row)  # noqa: S608

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

    def _session(self, row: sqlite3.Row) -> Session:
        session_id = SessionId(row["session_id"])
        segments = self._db.execute(
            "SELECT * FROM segments WHERE session_id = ? ORDER BY number", (session_id,)
        )
        return session_of(row, tuple(map(segment_of, segments)), self.gaps(session_id))

    def _put_gap(self, gap: Gap) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO gaps (camera_id, session_id, start_us, end_us, duration_seconds,"
            " frames, exact, cause, action) VALUES (?,?,?,?,?,?,?,?,?)",
            gap_row(gap),
        )

    def gaps(self, session_id: SessionId) -> tuple[Gap, ...]:
        """Return a session's gaps in order of time."""
        rows = self._db.execute(
            "SELECT * FROM gaps WHERE session_id = ? ORDER BY start_us, id", (session_id,)
        )
        return tuple(map(gap_of, rows))


def _placeholders(values: Values | Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _conditions(query: RecordingQuery, until: str) -> tuple[list[str], list[object]]:
    """Return SQL conditions and their values; `until` is the expression of a row's end."""
    conditions: list[tuple[str, object]] = []
    if query.camera_id is not None:
        conditions.append(("camera_id = ?", query.camera_id))
    if query.session_id is not None:
        conditions.append(("session_id = ?", query.session_id))
    if query.since is not None:
        conditions.append((f"{until} > ?", to_unix_micros(query.since)))
    if query.until is not None:
        conditions.append(("start_us < ?", to_unix_micros(query.until)))
    return [condition for condition, _ in conditions], [value for _, value in conditions]


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
