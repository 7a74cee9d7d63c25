"""Sessions, segments and gaps, and queries for them."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import attrs

from camd.model.ids import CameraId, SessionId

CLOCK_DRIFT = 0.002  # share of the time by which two clocks differ without a missing frame


class GapCause(enum.Enum):
    """Why footage is missing (a ledger entry) or a source is not available."""

    CAMERA_LOST = "camera_lost"
    CAMERA_STALLED = "camera_stalled"  # there, but delivers nothing
    CAMERA_HUNG = "camera_hung"  # its capture process cannot be ended
    CAMERA_ERROR = "camera_error"  # it reported an error
    CAMERA_BUSY = "camera_busy"  # another program holds it
    CAMERA_SWAPPED = "camera_swapped"  # another camera is where it was
    NO_PERMISSION = "no_permission"
    NO_BANDWIDTH = "no_bandwidth"
    UNSUPPORTED_FORMAT = "unsupported_format"
    SOURCE_UNREACHABLE = "source_unreachable"  # a stream's host, server or credentials
    ENCODER_EXIT = "encoder_exit"
    STORAGE_SLOW = "storage_slow"
    STORAGE_FULL = "storage_full"
    STORAGE_ERROR = "storage_error"
    FILE_REMOVED = "file_removed"  # another program removed the file that was being recorded
    DAEMON_DOWN = "daemon_down"
    CLOCK_STEP = "clock_step"
    FRAMES_DROPPED_BY_SOURCE = "frames_dropped_by_source"


def clock_was_set(by: timedelta) -> str:
    """Return the action of a clock step's ledger entry, which `Gap.stepped` parses."""
    way, seconds = ("forward", by) if by > timedelta(0) else ("back", -by)
    return f"the clock was set {way} by {seconds.total_seconds():.3f} s; began a new file"


_STEP = re.compile(r"the clock was set (forward|back) by (\d+\.\d+) s", re.ASCII)


@attrs.frozen
class Gap:
    """One ledger entry: footage of a session that is in no file."""

    camera_id: CameraId
    session_id: SessionId
    start: datetime
    end: datetime
    duration_seconds: float
    frames: int
    exact: bool  # False: `frames` is estimated from the frame rate
    cause: GapCause
    action: str  # what camd did about it, for people

    @property
    def stepped(self) -> timedelta:
        """Size of the clock step in `action`, negative when back; 0 for other causes."""
        found = _STEP.match(self.action) if self.cause is GapCause.CLOCK_STEP else None
        if found is None:
            return timedelta(0)
        by = timedelta(seconds=float(found[2]))
        return by if found[1] == "forward" else -by

    @property
    def lost_footage(self) -> bool:
        """Whether footage is missing: a clock step loses none."""
        return self.cause is not GapCause.CLOCK_STEP


class SegmentState(enum.Enum):
    """State of a segment's file."""

    OPEN = "recording"
    SEALED = "completed"
    INTERRUPTED = "interrupted"  # left open by a crash: playable, but not sealed
    MISSING = "missing"  # in the index, but not on the disk


@attrs.frozen
class Segment:
    """One file of a session. Sizes in bytes, durations in seconds, times in UTC."""

    filename: str
    camera_id: CameraId
    session_id: SessionId
    number: int
    start: datetime
    end: datetime
    duration_seconds: float
    frames: int
    size_bytes: int
    sha256: str | None  # of the bytes from 48 on; None while the segment grows
    state: SegmentState
    codec: str
    width: int
    height: int
    modified: datetime
    certain: bool = True  # False: a sync failed, and data may be lost
    leading_frames: int | None = None  # first frames that cannot be shown; None: unknown

    @property
    def durable(self) -> bool:
        """Whether it is final and complete on stable storage."""
        return self.state is SegmentState.SEALED and self.certain


def are_durable(files: Iterable[bool], causes: Iterable[str]) -> bool:
    """Tell whether a session is durable: each of its files is, and none was removed.

    `files` are the files' own durability; `causes` are those of the session's gaps.
    """
    return all(files) and GapCause.FILE_REMOVED.value not in causes


class SessionState(enum.Enum):
    """State of a session."""

    STARTING = "STARTING"  # accepted; no frame on disk yet
    RECORDING = "RECORDING"
    WAITING = "WAITING"  # for the camera or for space; nothing is being written
    ENDING = "ENDING"
    ENDED = "ENDED"


@attrs.frozen
class Session:
    """A recording that was asked for, and its progress."""

    session_id: SessionId
    camera_id: CameraId
    owner: str
    key: str | None
    format: str  # "mp4" or "mkv"
    start: datetime
    duration_limit: timedelta | None
    state: SessionState
    reason: str  # why it waits or ended; "" while it records
    segments: tuple[Segment, ...]
    gaps: tuple[Gap, ...]
    frames_captured: int
    frames_written: int
    bytes_written: int
    elapsed_seconds: float
    durable: bool  # everything written so far survives a power cut
    healthy: bool  # bytes became durable within the last seconds (I7)
    end: datetime | None = None
    preroll_seconds: float = 0.0
    stepped_seconds: float = 0.0  # sum of the clock steps between first and last file
    warnings: tuple[str, ...] = ()
    boot_id: str = ""  # of the boot when it began
    monotonic_start: float = 0.0  # seconds of that boot's monotonic clock
    fits_seconds: int | None = None  # how long the space sufficed when it was admitted
    durable_at: float | None = None  # of the latest sync, in monotonic seconds of this boot

    @property
    def current(self) -> Segment | None:
        """The newest segment, whether open or sealed."""
        return self.segments[-1] if self.segments else None


@attrs.frozen
class SessionSummary:
    """A session in a listing. Seconds, bytes."""

    session_id: SessionId
    camera_id: CameraId
    owner: str
    format: str
    state: SessionState
    reason: str
    start: datetime
    end: datetime | None
    duration_limit: timedelta | None
    files: int
    files_missing: int
    frames: int
    size_bytes: int
    gaps: int
    recorded_seconds: float  # in files
    missing_seconds: float  # in the ledger, and in files that are missing

    @property
    def coverage_percent(self) -> float:
        """Share of the session that is in files; 100 while it is empty."""
        whole = self.recorded_seconds + self.missing_seconds
        return 100.0 if whole <= 0 else 100.0 * self.recorded_seconds / whole

    @classmethod
    def of(cls, session: Session) -> SessionSummary:
        """Summarise a session."""
        gone = [s for s in session.segments if s.state is SegmentState.MISSING]
        kept = [s for s in session.segments if s.state is not SegmentState.MISSING]
        lost = sum(gap.duration_seconds for gap in session.gaps if gap.lost_footage)
        return cls(
            session_id=session.session_id,
            camera_id=session.camera_id,
            owner=session.owner,
            format=session.format,
            state=session.state,
            reason=session.reason,
            start=session.start,
            end=session.end,
            duration_limit=session.duration_limit,
            files=len(kept),
            files_missing=len(gone),
            frames=sum(segment.frames for segment in kept),
            size_bytes=sum(segment.size_bytes for segment in kept),
            gaps=len(session.gaps),
            recorded_seconds=sum(segment.duration_seconds for segment in kept),
            missing_seconds=lost + sum(segment.duration_seconds for segment in gone),
        )


@attrs.frozen
class RecordingRequest:
    """Request to start a recording; None means "as configured"."""

    owner: str
    duration: timedelta | None = None
    format: str | None = None
    key: str | None = None  # a request with the key of the running session returns it
    preroll: timedelta | None = None  # how far in the past to begin

    @property
    def preroll_seconds(self) -> float:
        """Requested pre-roll in seconds; 0 when it is not given."""
        return self.preroll.total_seconds() if self.preroll else 0.0


@attrs.frozen
class RecordingQuery:
    """Selects recordings, sessions or ledger entries, newest first."""

    limit: int = 100
    offset: int = 0
    camera_id: CameraId | None = None
    session_id: SessionId | None = None
    since: datetime | None = None  # those that end after it
    until: datetime | None = None  # those that start before it


@attrs.frozen
class RecordingPage:
    """One page of recordings, and their total number."""

    segments: tuple[Segment, ...]
    total: int


@attrs.frozen
class SessionPage:
    """One page of sessions, and their total number."""

    sessions: tuple[SessionSummary, ...]
    total: int


@attrs.frozen
class GapPage:
    """One page of ledger entries, and their total number."""

    gaps: tuple[Gap, ...]
    total: int


@attrs.frozen
class ReadableRecording:
    """A recording to read: the first `size_bytes` of `path` are durable."""

    path: Path
    filename: str
    size_bytes: int
    sealed: bool
    modified: datetime
