"""The index's tables, and values as rows. Pure.

Times are microseconds since 1970. `until_us` is when a recording is over for a search by time: an
open one is never over, and none is over before it has begun.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs

from camd.clock import from_unix_micros, to_unix_micros
from camd.model import (
    CameraId,
    Gap,
    GapCause,
    Segment,
    SegmentState,
    Session,
    SessionId,
    SessionState,
    SessionSummary,
)
from camd.storage.rules.time_index import NEVER

SCHEMA_VERSION = 6
_SNAPSHOTS = """
CREATE TABLE snapshots (
  filename TEXT PRIMARY KEY, camera_id TEXT NOT NULL, time_us INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
  modified_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX snapshots_by_time ON snapshots (time_us, filename);
CREATE INDEX snapshots_by_camera ON snapshots (camera_id, time_us, filename);
"""
# All that a time line needs of an entry, which is not looked up in its table then.
_GAPS_BY_CAMERA = """
CREATE INDEX gaps_by_camera ON gaps (camera_id, start_us, end_us, cause, exact);
"""
SCHEMA = f"""
CREATE TABLE segments (
  filename TEXT PRIMARY KEY, camera_id TEXT NOT NULL, session_id TEXT NOT NULL,
  number INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
  duration_seconds REAL NOT NULL, frames INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  sha256 TEXT, state TEXT NOT NULL, codec TEXT NOT NULL, width INTEGER NOT NULL,
  height INTEGER NOT NULL, modified_us INTEGER NOT NULL, certain INTEGER NOT NULL,
  until_us INTEGER NOT NULL, leading_frames INTEGER
) WITHOUT ROWID;
CREATE INDEX segments_by_start ON segments (start_us, filename, camera_id, until_us);
CREATE INDEX segments_by_camera ON segments (camera_id, start_us, filename);
CREATE INDEX segments_by_session ON segments (session_id, number);
CREATE INDEX segments_by_state ON segments (state) WHERE state != 'completed';
CREATE INDEX segments_unhashed ON segments (start_us) WHERE sha256 IS NULL;
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, camera_id TEXT NOT NULL, owner TEXT NOT NULL, key TEXT,
  format TEXT NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER, duration_limit REAL,
  state TEXT NOT NULL, reason TEXT NOT NULL,
  frames_captured INTEGER NOT NULL, frames_written INTEGER NOT NULL,
  boot_id TEXT NOT NULL, monotonic_start REAL NOT NULL, stepped_seconds REAL NOT NULL,
  preroll_seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_start ON sessions (start_us);
CREATE INDEX sessions_by_camera ON sessions (camera_id, start_us);
CREATE INDEX sessions_by_state ON sessions (state) WHERE state != 'ENDED';
CREATE TABLE gaps (
  id INTEGER PRIMARY KEY, camera_id TEXT NOT NULL, session_id TEXT NOT NULL,
  start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, duration_seconds REAL NOT NULL,
  frames INTEGER NOT NULL, exact INTEGER NOT NULL, cause TEXT NOT NULL, action TEXT NOT NULL,
  UNIQUE (session_id, start_us, end_us, cause, frames)
);
CREATE INDEX gaps_by_session ON gaps (session_id, start_us);
CREATE INDEX gaps_by_start ON gaps (start_us);
CREATE TABLE journal (file INTEGER NOT NULL, offset INTEGER NOT NULL);
{_GAPS_BY_CAMERA}{_SNAPSHOTS}"""
# What makes the next version of each older one.
MIGRATIONS = {4: _SNAPSHOTS, 5: f"DROP INDEX gaps_by_camera; {_GAPS_BY_CAMERA}"}

Values = tuple[object, ...]


class DatabaseRow(Protocol):
    """A row as SQLite returns it: columns by name."""

    def __getitem__(self, column: str, /) -> Any:
        """Return one column."""


class OrderedByTime(Protocol):
    """What has a position in the order of recordings."""

    @property
    def start(self) -> datetime:
        """Its start."""

    @property
    def filename(self) -> str:
        """Its filename."""


@attrs.frozen
class IndexedSession:
    """A session in the index, with the sums noted when it ended."""

    session: Session
    frames_captured: int
    frames_written: int


def segment_row(s: Segment) -> Values:
    """Return a segment's row."""
    start, end = to_unix_micros(s.start), to_unix_micros(s.end)
    until = NEVER if s.state is SegmentState.OPEN else max(end, start + 1)
    return (
        s.filename,
        s.camera_id,
        s.session_id,
        s.number,
        start,
        end,
        s.duration_seconds,
        s.frames,
        s.size_bytes,
        s.sha256,
        s.state.value,
        s.codec,
        s.width,
        s.height,
        to_unix_micros(s.modified),
        s.certain,
        until,
        s.leading_frames,
    )


def segment_of(row: DatabaseRow) -> Segment:
    """Read a row of `segments`."""
    return Segment(
        filename=row["filename"],
        camera_id=CameraId(row["camera_id"]),
        session_id=SessionId(row["session_id"]),
        number=row["number"],
        start=from_unix_micros(row["start_us"]),
        end=from_unix_micros(row["end_us"]),
        duration_seconds=row["duration_seconds"],
        frames=row["frames"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        state=SegmentState(row["state"]),
        codec=row["codec"],
        width=row["width"],
        height=row["height"],
        modified=from_unix_micros(row["modified_us"]),
        certain=bool(row["certain"]),
        leading_frames=row["leading_frames"],
    )


def session_row(s: Session) -> Values:
    """Return a session's row; segments and gaps are stored separately."""
    return (
        s.session_id,
        s.camera_id,
        s.owner,
        s.key,
        s.format,
        to_unix_micros(s.start),
        to_unix_micros(s.end) if s.end else None,
        s.duration_limit.total_seconds() if s.duration_limit else None,
        s.state.value,
        s.reason,
        s.frames_captured,
        s.frames_written,
        s.boot_id,
        s.monotonic_start,
        s.stepped_seconds,
        s.preroll_seconds,
    )


def session_of(row: DatabaseRow, segments: tuple[Segment, ...], gaps: tuple[Gap, ...]) -> Session:
    """Read a row of `sessions`; frames are those of the segments and of the ledger (I4)."""
    kept = tuple(s for s in segments if s.state is not SegmentState.MISSING)
    written = sum(segment.frames for segment in segments)
    limit, end = row["duration_limit"], row["end_us"]
    return Session(
        session_id=SessionId(row["session_id"]),
        camera_id=CameraId(row["camera_id"]),
        owner=row["owner"],
        key=row["key"],
        format=row["format"],
        start=from_unix_micros(row["start_us"]),
        duration_limit=timedelta(seconds=limit) if limit is not None else None,
        state=SessionState(row["state"]),
        reason=row["reason"],
        segments=segments,
        gaps=gaps,
        frames_captured=written + sum(gap.frames for gap in gaps if gap.exact),
        frames_written=written,
        bytes_written=sum(segment.size_bytes for segment in kept),
        elapsed_seconds=0.0,
        durable=True,
        healthy=False,
        end=from_unix_micros(end) if end is not None else None,
        boot_id=row["boot_id"],
        monotonic_start=row["monotonic_start"],
        stepped_seconds=row["stepped_seconds"],
        preroll_seconds=row["preroll_seconds"],
    )


@attrs.frozen
class SessionStartMoment:
    """When a session began: wall time, and seconds of a boot's monotonic clock."""

    start: datetime
    boot_id: str
    monotonic: float


def session_start_of(row: DatabaseRow) -> SessionStartMoment:
    """Read when a session began from its row of `sessions`."""
    return SessionStartMoment(
        from_unix_micros(row["start_us"]), row["boot_id"], row["monotonic_start"]
    )


def summary_of(row: DatabaseRow) -> SessionSummary:
    """Read a row of `sessions` with the sums of its segments and gaps."""
    limit, end = row["duration_limit"], row["end_us"]
    return SessionSummary(
        session_id=SessionId(row["session_id"]),
        camera_id=CameraId(row["camera_id"]),
        owner=row["owner"],
        format=row["format"],
        state=SessionState(row["state"]),
        reason=row["reason"],
        start=from_unix_micros(row["start_us"]),
        end=from_unix_micros(end) if end is not None else None,
        duration_limit=timedelta(seconds=limit) if limit is not None else None,
        files=row["files"],
        files_missing=row["files_missing"],
        frames=row["frames"],
        size_bytes=row["size_bytes"],
        gaps=row["gaps"],
        recorded_seconds=row["recorded"],
        missing_seconds=row["lost"] + row["missing"],
    )


def gap_row(gap: Gap) -> Values:
    """Return a gap's row, without its id."""
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


def gap_of(row: DatabaseRow) -> Gap:
    """Read a row of `gaps`."""
    return Gap(
        camera_id=CameraId(row["camera_id"]),
        session_id=SessionId(row["session_id"]),
        start=from_unix_micros(row["start_us"]),
        end=from_unix_micros(row["end_us"]),
        duration_seconds=row["duration_seconds"],
        frames=row["frames"],
        exact=bool(row["exact"]),
        cause=GapCause(row["cause"]),
        action=row["action"],
    )
