"""Pages of the index, newest first: which rows match, how many there are, and the page itself.

All of it blocks on the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import attrs

from camd.clock import to_unix_micros
from camd.model import GapPage, RecordingPage, RecordingQuery, Segment, SessionPage
from camd.storage.rows import gap_of, segment_of, summary_of
from camd.storage.timeline import TimeIndex

Database = sqlite3.Connection

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


def segments_page(db: Database, timeline: TimeIndex, query: RecordingQuery) -> RecordingPage:
    """List segments; any page of any range takes the same time, thanks to the timeline."""
    since = None if query.since is None else to_unix_micros(query.since)
    until = None if query.until is None else to_unix_micros(query.until)
    backwards = since is not None and until is not None and since > until
    if query.session_id is not None or backwards:
        return _page_by_count(db, timeline, query)
    camera_id = query.camera_id
    total = timeline.count(camera_id, since, until)
    # One upper bound for the start, the lowest: with two, SQLite may seek to the other one.
    where, values = _conditions(attrs.evolve(query, until=None), "until_us")
    if since is not None:
        where.append("start_us >= ?")
        values.append(timeline.floor(since))
        within = timeline.begin_between(camera_id, since, until)
        if query.offset >= within:  # only what began earlier and is not over is left: not many
            where.append("start_us < ?")
            values.append(since)
            rows = _segments(db, where, values, query.limit, query.offset - within)
            return RecordingPage(rows, total)
    position = timeline.position(camera_id, until, query.offset)
    if position is None:
        return RecordingPage((), total)
    where.append("start_us <= ?")
    values.append(position.start)
    return RecordingPage(_segments(db, where, values, query.limit, position.skip), total)


def _page_by_count(db: Database, timeline: TimeIndex, query: RecordingQuery) -> RecordingPage:
    """List what is few by nature: a session's segments, or what lies around a moment."""
    where, values = _conditions(query, "until_us")
    if query.since is not None:
        where.append("start_us >= ?")
        values.append(timeline.floor(to_unix_micros(query.since)))
    total = _count(db, "segments", where, values)
    return RecordingPage(_segments(db, where, values, query.limit, query.offset), total)


def sessions_page(db: Database, query: RecordingQuery) -> SessionPage:
    """List sessions with the sums of their segments and gaps."""
    where, values = _conditions(query, "coalesce(end_us, 1 << 62)")
    rows = db.execute(
        f"{_SUMMARIES}{_where(where)} ORDER BY start_us DESC, session_id DESC LIMIT ? OFFSET ?",
        (*values, query.limit, query.offset),
    )
    total = _count(db, "sessions", where, values)
    return SessionPage(tuple(map(summary_of, rows)), total)


def gaps_page(db: Database, query: RecordingQuery) -> GapPage:
    """List ledger entries."""
    where, values = _conditions(query, "max(end_us, start_us + 1)")
    rows = db.execute(
        f"SELECT * FROM gaps{_where(where)} ORDER BY start_us DESC, id DESC LIMIT ? OFFSET ?",  # noqa: S608
        (*values, query.limit, query.offset),
    )
    return GapPage(tuple(map(gap_of, rows)), _count(db, "gaps", where, values))


def _segments(
    db: Database, where: Sequence[str], values: Sequence[object], limit: int, skip: int
) -> tuple[Segment, ...]:
    rows = db.execute(
        f"SELECT * FROM segments{_where(where)}"  # noqa: S608
        " ORDER BY start_us DESC, filename DESC LIMIT ? OFFSET ?",
        (*values, limit, skip),
    )
    return tuple(map(segment_of, rows))


def _count(db: Database, table: str, where: Sequence[str], values: Sequence[object]) -> int:
    query = f"SELECT count(*) FROM {table}{_where(where)}"  # noqa: S608
    return int(db.execute(query, values).fetchone()[0])


def _conditions(query: RecordingQuery, until: str) -> tuple[list[str], list[object]]:
    """Say what has to hold, and with which values; `until` is when a row is over."""
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
