"""The index of what is on disk: segments, sessions and the ledger, in SQLite.

A cache of what the files and the journal say: it can be thrown away (I6). One connection, one
thread: SQLite before 3.51.3 can corrupt a WAL database under two writers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from camd.clock import to_unix_micros
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
from camd.storage.database import connect, put_aside
from camd.storage.journal import JournalPosition
from camd.storage.pages import gaps_page, segments_page, sessions_page
from camd.storage.records import GapNoted, Record, SegmentNoted, SegmentRemoved, SessionNoted
from camd.storage.rows import (
    OrderedByTime,
    SessionStart,
    Values,
    beginning_of,
    gap_of,
    gap_row,
    segment_of,
    segment_row,
    session_of,
    session_row,
    span_of,
)
from camd.storage.timeline import NEVER, TimeIndex


@attrs.define(eq=False)
class Catalog:
    """The open database. Every method blocks on the disk: call it in the catalog's thread."""

    _db: sqlite3.Connection
    _timeline: TimeIndex | None = attrs.field(default=None, init=False)

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """Open or create the database; one of another version or garbage is put aside first.

        Nothing is deleted: the old files stay beside the new one, under one free name.
        Raises OSError or sqlite3.Error when the folder itself cannot be used.
        """
        try:
            return cls(connect(path))
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) or not path.exists():
                raise
            put_aside(path)
            return cls(connect(path))

    def close(self) -> None:
        """Fold the log into the database and close it."""
        self._db.close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change all of it or nothing, and the timeline with it."""
        try:
            with self._db:
                yield
        except BaseException:
            self._timeline = None
            raise

    # --- the journal's records ---

    @property
    def place(self) -> JournalPosition:
        """Up to where the journal has been applied."""
        row = self._db.execute("SELECT file, offset FROM journal").fetchone()
        return JournalPosition(row["file"], row["offset"]) if row else JournalPosition()

    def apply(self, records: Iterable[Record], place: JournalPosition) -> None:
        """Take over what the journal says, up to `place`; all of it or nothing."""
        with self._changing():
            for record in records:
                match record:
                    case SegmentNoted(segment):
                        self._put_segment(segment)
                    case SegmentRemoved(filename):
                        self._drop_segment(filename)
                    case SessionNoted(session):
                        self._put_session(session)
                    case GapNoted(gap):
                        self._put_gap(gap)
            self._db.execute("DELETE FROM journal")
            self._db.execute("INSERT INTO journal VALUES (?, ?)", (place.file, place.offset))

    # --- segments ---

    def put_segment(self, segment: Segment) -> None:
        """Insert the segment, or replace what was known of it."""
        with self._changing():
            self._put_segment(segment)

    def _put_segment(self, segment: Segment) -> None:
        self._forget_time(segment.filename)
        row = segment_row(segment)
        self._db.execute(f"INSERT OR REPLACE INTO segments VALUES ({_marks(row)})", row)  # noqa: S608
        self._learn_time(segment.filename)

    def drop_segment(self, filename: str) -> None:
        """Forget a file that is no longer there."""
        with self._changing():
            self._drop_segment(filename)

    def _drop_segment(self, filename: str) -> None:
        self._forget_time(filename)
        self._db.execute("DELETE FROM segments WHERE filename = ?", (filename,))

    def segment(self, filename: str) -> Segment | None:
        """Look one segment up by its name."""
        row = self._db.execute("SELECT * FROM segments WHERE filename = ?", (filename,)).fetchone()
        return segment_of(row) if row else None

    def segment_of_session(self, session_id: SessionId, number: int) -> Segment | None:
        """Look a session's segment up by its number."""
        row = self._db.execute(
            "SELECT * FROM segments WHERE session_id = ? AND number = ?", (session_id, number)
        ).fetchone()
        return segment_of(row) if row else None

    def filenames(self) -> tuple[str, ...]:
        """Name every segment."""
        return tuple(name for (name,) in self._db.execute("SELECT filename FROM segments"))

    def segments_in(self, *states: SegmentState) -> tuple[Segment, ...]:
        """Return the segments in one of the `states`, but not of all that are sealed."""
        values = [state.value for state in states]
        some = f"state != 'completed' AND state IN ({_marks(values)})"
        rows = self._db.execute(f"SELECT * FROM segments WHERE {some} ORDER BY filename", values)  # noqa: S608
        return tuple(map(segment_of, rows))

    def interrupt(self) -> None:
        """Mark what a crash left open; for start-up, before anything records."""
        with self._changing():
            for segment in self.segments_in(SegmentState.OPEN):
                self._put_segment(attrs.evolve(segment, state=SegmentState.INTERRUPTED))

    def to_convert(self) -> tuple[Segment, ...]:
        """List MP4s of sessions that asked for Matroska, oldest first."""
        rows = self._db.execute(
            "SELECT segments.* FROM sessions CROSS JOIN segments USING (session_id)"
            " WHERE sessions.format = 'mkv' AND segments.state = 'completed'"
            " AND segments.filename LIKE '%.mp4' ORDER BY segments.start_us"
        )
        return tuple(map(segment_of, rows))

    def is_to_be_mkv(self, filename: str) -> bool:
        """Whether an MKV was asked for in the place of this file."""
        return bool(
            self._db.execute(
                "SELECT 1 FROM segments JOIN sessions USING (session_id)"
                " WHERE segments.filename = ? AND sessions.format = 'mkv'",
                (filename,),
            ).fetchone()
        )

    def unhashed(self) -> tuple[Segment, ...]:
        """Return sealed segments whose hash is not known, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM segments WHERE sha256 IS NULL AND state = 'completed' ORDER BY start_us"
        )
        return tuple(map(segment_of, rows))

    def oldest(self, behind: OrderedByTime | None, limit: int) -> tuple[Segment, ...]:
        """Return the `limit` oldest segments of those that are newer than `behind`."""
        start = to_unix_micros(behind.start) if behind else -NEVER
        rows = self._db.execute(
            "SELECT * FROM segments WHERE (start_us, filename) > (?, ?)"
            " ORDER BY start_us, filename LIMIT ?",
            (start, behind.filename if behind else "", limit),
        )
        return tuple(map(segment_of, rows))

    def total_bytes(self) -> int:
        """Add up the sizes of all segments that are there."""
        (total,) = self._db.execute(
            "SELECT coalesce(sum(size_bytes), 0) FROM segments WHERE state != 'missing'"
        ).fetchone()
        return int(total)

    # --- pages ---

    def page(self, query: RecordingQuery) -> RecordingPage:
        """List segments, newest first, and count all that match; any page takes the same time."""
        return segments_page(self._db, self.timeline(), query)

    def sessions_page(self, query: RecordingQuery) -> SessionPage:
        """List sessions with what they hold, newest first, and count all that match."""
        return sessions_page(self._db, query)

    def gaps_page(self, query: RecordingQuery) -> GapPage:
        """List ledger entries, newest first, and count all that match."""
        return gaps_page(self._db, query)

    def timeline(self) -> TimeIndex:
        """Return where in time all segments lie; the first call reads all of them."""
        if self._timeline is None:
            rows = self._db.execute("SELECT camera_id, start_us, until_us FROM segments")
            self._timeline = TimeIndex.of(map(span_of, rows))
        return self._timeline

    def _forget_time(self, filename: str) -> None:
        if self._timeline is not None and (row := self._time(filename)) is not None:
            self._timeline.remove(span_of(row))

    def _learn_time(self, filename: str) -> None:
        if self._timeline is not None and (row := self._time(filename)) is not None:
            self._timeline.add(span_of(row))

    def _time(self, filename: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(
            "SELECT camera_id, start_us, until_us FROM segments WHERE filename = ?", (filename,)
        ).fetchone()
        return row

    # --- sessions and the ledger ---

    def put_session(self, session: Session) -> None:
        """Insert the session, or replace what was known of it (its gaps are kept apart)."""
        with self._changing():
            self._put_session(session)

    def _put_session(self, session: Session) -> None:
        row = session_row(session)
        self._db.execute(f"INSERT OR REPLACE INTO sessions VALUES ({_marks(row)})", row)  # noqa: S608

    def session(self, session_id: SessionId) -> Session | None:
        """Look a session up, with its segments and gaps."""
        row = self._db.execute(
            "SELECT * FROM sessions WHERE session_id = ?", (session_id,)
        ).fetchone()
        return self._session(row) if row else None

    def beginning(self, session_id: SessionId) -> SessionStart | None:
        """Look up when a session began."""
        row = self._db.execute(
            "SELECT start_us, boot_id, monotonic_start FROM sessions WHERE session_id = ?",
            (session_id,),
        ).fetchone()
        return beginning_of(row) if row else None

    def unfinished_sessions(self) -> tuple[Session, ...]:
        """Read the sessions that no one has ended, newest first, with segments and gaps."""
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

    def put_gaps(self, gaps: Iterable[Gap]) -> None:
        """Write entries into the ledger, each once; they are never changed afterwards."""
        with self._changing():
            for gap in gaps:
                self._put_gap(gap)

    def _put_gap(self, gap: Gap) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO gaps (camera_id, session_id, start_us, end_us, duration_seconds,"
            " frames, exact, cause, action) VALUES (?,?,?,?,?,?,?,?,?)",
            gap_row(gap),
        )

    def gaps(self, session_id: SessionId) -> tuple[Gap, ...]:
        """Read a session's ledger, in order of time."""
        rows = self._db.execute(
            "SELECT * FROM gaps WHERE session_id = ? ORDER BY start_us, id", (session_id,)
        )
        return tuple(map(gap_of, rows))


def _marks(values: Values | Sequence[object]) -> str:
    return ",".join("?" * len(values))
