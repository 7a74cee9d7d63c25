"""The nouns of camd as frozen values: what crosses a border between modules."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from pathlib import Path
from typing import NewType

import attrs

CameraId = NewType("CameraId", str)
SessionId = NewType("SessionId", str)


# --- where pictures come from -------------------------------------------------------------


@attrs.frozen
class TestSource:
    """A synthetic picture with a clock and a frame number."""

    __test__ = False  # not a test class, whatever its name makes pytest think

    width: int = 1280
    height: int = 720
    rate: float = 30.0
    audio: bool = False


@attrs.frozen
class FileSource:
    """A media file, read at `speed` times real time; over and over when `loop`."""

    path: Path
    loop: bool = True
    speed: float = 1.0


@attrs.frozen
class RtspSource:
    """An RTSP stream over TCP. The URL may hold credentials, so `repr` leaves it out."""

    url: str = attrs.field(repr=False)


@attrs.frozen
class V4l2Source:
    """A Video4Linux capture node, or a link to one."""

    path: Path


Source = TestSource | FileSource | RtspSource | V4l2Source


# --- cameras ------------------------------------------------------------------------------


class CameraState(enum.Enum):
    """Where a camera's machine stands."""

    IDLE = "IDLE"  # nobody needs it; its device is closed
    STARTING = "STARTING"  # a child runs, no fragment yet
    STREAMING = "STREAMING"  # fragments arrive
    STOPPING = "STOPPING"  # the child was told to end
    RESTING = "RESTING"  # failed; tries again after a delay
    ABSENT = "ABSENT"  # the device is not there
    FAULTED = "FAULTED"  # the actor itself crashed and is being restarted


class Cause(enum.Enum):
    """Why footage is missing (a ledger entry) or a source is not available."""

    CAMERA_LOST = "camera_lost"
    CAMERA_STALLED = "camera_stalled"
    ENCODER_EXIT = "encoder_exit"
    STORAGE_SLOW = "storage_slow"
    STORAGE_FULL = "storage_full"
    STORAGE_ERROR = "storage_error"
    DAEMON_DOWN = "daemon_down"
    CLOCK_STEP = "clock_step"
    FRAMES_DROPPED_BY_SOURCE = "frames_dropped_by_source"


@attrs.frozen
class Trouble:
    """Why a camera does not deliver: a short machine word, a sentence, and what to do."""

    cause: str  # "busy", "not_found", "no_permission", "stalled", "ffmpeg_missing", …
    message: str
    suggestion: str
    ledger_cause: Cause = Cause.ENCODER_EXIT


@attrs.frozen
class Gap:
    """One ledger entry: footage that a session should hold and no file does."""

    camera_id: CameraId
    session_id: SessionId
    start: datetime
    end: datetime
    duration_seconds: float
    frames: int
    exact: bool  # False: `frames` is estimated from the frame rate
    cause: Cause
    action: str  # what camd did about it, for people


class SegmentState(enum.Enum):
    """The two lives of a segment, and what a crash leaves."""

    OPEN = "recording"
    SEALED = "completed"
    INTERRUPTED = "interrupted"  # left open by a crash: plays, but was never sealed


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
    sha256: str | None  # of everything from byte 48 on; None while the segment grows
    state: SegmentState
    codec: str
    width: int
    height: int
    modified: datetime
    certain: bool = True  # False: a sync failed, and what the kernel had then may be lost


class SessionState(enum.Enum):
    """What a session does at the moment."""

    STARTING = "STARTING"  # accepted; no frame is on disk yet
    RECORDING = "RECORDING"
    WAITING = "WAITING"  # for the camera or for space; nothing is being written
    ENDING = "ENDING"
    ENDED = "ENDED"


@attrs.frozen
class Session:
    """What a user asked to record, and how far it got."""

    session_id: SessionId
    camera_id: CameraId
    owner: str
    key: str | None
    format: str  # "mp4" or "mkv"
    start: datetime
    duration_limit: timedelta | None
    state: SessionState
    reason: str  # why it waits or ended; "" while all is well
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
    stepped_seconds: float = 0.0  # by how much the clock was set between first and last file
    warnings: tuple[str, ...] = ()

    @property
    def current(self) -> Segment | None:
        """The newest segment, whether open or sealed."""
        return self.segments[-1] if self.segments else None


@attrs.frozen
class VideoFormat:
    """What really comes out of a camera's child."""

    codec: str  # the sample entry's four characters: avc1, hvc1, jpeg, …
    width: int
    height: int
    fps: float


@attrs.frozen
class CameraStatus:
    """The latest word on one camera; published by its actor, read by everybody."""

    camera_id: CameraId
    device: str
    name: str
    identity: str
    state: CameraState
    trouble: Trouble | None
    video: VideoFormat | None
    wanted: VideoFormat  # what the configuration asks for; codec "" when left to camd
    session: Session | None
    bytes_captured: int
    streaming_since: float | None  # clock.monotonic()
    restarts: int


@attrs.frozen
class RecordingWish:
    """What a caller asks for when a recording is to start; None means "as configured"."""

    owner: str
    duration: timedelta | None = None
    format: str | None = None
    key: str | None = None  # the same key again returns the running session
    preroll: timedelta | None = None  # how far in the past to begin

    @property
    def preroll_seconds(self) -> float:
        """How many seconds of the past are wished for; 0 while that is left open."""
        return self.preroll.total_seconds() if self.preroll else 0.0


# --- storage ------------------------------------------------------------------------------


class StorageLevel(enum.Enum):
    """How the recordings volume is, from good to unusable."""

    OK = "ok"
    LOW = "low"
    BLOCKED = "blocked"
    CRITICAL = "critical"
    MISSING = "missing"
    READ_ONLY = "read_only"
    UNRESPONSIVE = "unresponsive"

    @property
    def writable(self) -> bool:
        """Whether running sessions may go on writing."""
        return self in (StorageLevel.OK, StorageLevel.LOW, StorageLevel.BLOCKED)


@attrs.frozen
class StorageStatus:
    """The latest word on the recordings volume. Bytes, percent, bytes per second, seconds."""

    level: StorageLevel
    total_bytes: int
    used_bytes: int
    available_bytes: int
    used_percent: float
    recordings_bytes: int
    promised_bytes: int
    write_rate: float
    seconds_until_blocked: float | None
    warn_percent: float
    block_percent: float
    critical_percent: float


@attrs.frozen
class RecordingQuery:
    """Which recordings to list; newest first."""

    limit: int = 100
    offset: int = 0
    camera_id: CameraId | None = None
    session_id: SessionId | None = None
    since: datetime | None = None  # segments that end after this moment
    until: datetime | None = None  # segments that start before this moment


@attrs.frozen
class RecordingPage:
    """One page of a listing, and how many there are in all."""

    segments: tuple[Segment, ...]
    total: int


@attrs.frozen
class StoredFile:
    """A recording that may be read: the first `size_bytes` of `path` are durable."""

    path: Path
    filename: str
    size_bytes: int
    sealed: bool
    modified: datetime


# --- events -------------------------------------------------------------------------------


class RecordingNews(enum.Enum):
    """What happened to a session."""

    STARTED = "STARTED"
    PROGRESS = "PROGRESS"
    ROTATED = "ROTATED"
    GAP = "GAP"
    STOPPED = "STOPPED"
    ERROR = "ERROR"


@attrs.frozen
class CameraChanged:
    """A camera's status is another one now."""

    status: CameraStatus


@attrs.frozen
class RecordingChanged:
    """Something happened to a camera's session."""

    news: RecordingNews
    device: str
    session: Session
    filename: str
    reason: str = ""


@attrs.frozen
class StorageChanged:
    """The storage level is another one now."""

    status: StorageStatus


Event = CameraChanged | RecordingChanged | StorageChanged
