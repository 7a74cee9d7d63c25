"""Results of calls as values. A test compares every class with the answers of a real daemon.

Fields that a newer service adds are ignored; those that an answer may lack have defaults.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import attrs
import msgspec

T = TypeVar("T")

OTHER_NAMES = {"from": "start", "to": "end"}  # of a gap: not Python's, or too short


class UnreadableAnswerError(Exception):
    """An answer of the service is not what this client knows."""


def read_result(kind: type[T], answer: object) -> T:
    """Make a value of an answer. Raises UnreadableAnswerError, which names the field."""
    try:
        return msgspec.convert(_renamed(answer), kind)
    except msgspec.ValidationError as error:
        raise UnreadableAnswerError(f"{kind.__name__}: {error}") from error


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        names = OTHER_NAMES if "from" in value else {}
        return {names.get(name, name): _renamed(each) for name, each in value.items()}
    return [_renamed(each) for each in value] if isinstance(value, list) else value


@attrs.frozen(kw_only=True)
class CameraInfo:
    """A camera, in lists and events. `cause`, `message` and `suggestion` are its problem."""

    camera_id: str
    device: str
    device_path: str
    identity: str | None
    status: str  # CONNECTED | DISCONNECTED | ERROR
    state: str
    name: str
    resolution: str | None
    fps: float
    streams: dict[str, str]
    stream_url: str | None
    recording: bool
    recording_session: str | None
    current_file: str | None
    elapsed_time: float
    file_size: int
    recording_healthy: bool
    warnings: tuple[str, ...]
    source_clock_offset: float | None
    cause: str | None = None
    message: str | None = None
    suggestion: str | None = None


@attrs.frozen(kw_only=True)
class CameraCounters:
    """Counters of a camera: bytes captured, consumers, seconds of this capture."""

    bytes_sent: int
    readers: int
    uptime: float


@attrs.frozen(kw_only=True)
class CameraCapabilities:
    """What a camera offers, and what was chosen of it."""

    formats: tuple[str, ...]
    resolutions: tuple[str, ...]
    fps_options: tuple[float, ...]
    modes: tuple[dict[str, Any], ...]
    chosen: dict[str, Any] | None
    validation_status: str
    unreadable_formats: tuple[str, ...] = ()
    driver: str | None = None
    camera_id: str | None = None  # these two in the answer to `get_camera_capabilities` alone
    device: str | None = None


@attrs.frozen(kw_only=True)
class CameraDetails(CameraInfo):
    """A camera with its counters and capabilities."""

    metrics: CameraCounters
    capabilities: CameraCapabilities


@attrs.frozen(kw_only=True)
class GapInfo:
    """Footage that is missing."""

    camera_id: str
    session_id: str
    start: datetime
    end: datetime
    duration: float
    frames: int
    exact: bool
    cause: str
    action: str


@attrs.frozen(kw_only=True)
class SpanInfo:
    """Footage without a break; with `merged` above 1, of so many files, without their names."""

    start: datetime
    end: datetime
    filename: str | None
    session: str | None
    growing: bool
    playable: bool
    merged: int


@attrs.frozen(kw_only=True)
class MissingSpan:
    """Footage that is missing in a time line; with `merged` above 1, so many entries."""

    start: datetime
    end: datetime
    cause: str
    exact: bool
    merged: int


@attrs.frozen(kw_only=True)
class TimelineInfo:
    """What was recorded of a camera from `start` to `end`, and what is missing, oldest first.

    `before` and `after`: where the nearest footage outside of the range ends and begins.
    """

    camera_id: str
    start: datetime
    end: datetime
    spans: tuple[SpanInfo, ...]
    gaps: tuple[MissingSpan, ...]
    before: datetime | None
    after: datetime | None


@attrs.frozen(kw_only=True)
class NestedRecording:
    """The recording in the answer to a start, for clients that look there."""

    device_path: str
    recording_id: str
    filename: str
    start_time: float  # seconds since 1970
    duration: float | None
    status: str


@attrs.frozen(kw_only=True)
class StartedRecording:
    """A recording that has begun; its first frames are on disk."""

    device: str
    camera_id: str
    session_id: str
    recording_id: str
    filename: str
    status: str
    start_time: datetime
    duration: float | None  # the limit; None: until it is stopped
    format: str
    preroll_achieved: float
    fits_seconds: float | None
    warnings: tuple[str, ...]
    success: bool
    recording: NestedRecording


@attrs.frozen(kw_only=True)
class ReceiptFile:
    """A file of a receipt; `sha256` covers everything from byte 48 on."""

    filename: str
    start_time: datetime
    end_time: datetime
    duration: float
    frames: int
    leading_frames: int | None
    size: int
    sha256: str | None
    status: str


@attrs.frozen(kw_only=True)
class RecordingReceipt:
    """All files of a session, and all that is missing."""

    files: tuple[ReceiptFile, ...]
    gaps: tuple[GapInfo, ...]
    frames_captured: int
    frames_written: int
    durable: bool


@attrs.frozen(kw_only=True)
class StoppedRecording:
    """A recording that was stopped; its files are durable."""

    device: str
    camera_id: str
    session_id: str
    recording_id: str
    filename: str
    status: str
    start_time: datetime
    end_time: datetime
    duration: float
    file_size: int
    success: bool
    reason: str
    format: str
    receipt: RecordingReceipt


@attrs.frozen(kw_only=True)
class RunningFile:
    """A file of a running session."""

    filename: str
    file_size: int
    modified_time: datetime
    download_url: str
    duration: float
    camera_id: str
    session_id: str
    start_time: datetime
    end_time: datetime
    frames: int
    leading_frames: int | None
    status: str


@attrs.frozen(kw_only=True)
class RecordingStatus:
    """A running session with its files and gaps."""

    device: str
    camera_id: str
    session_id: str
    recording_id: str
    status: str
    reason: str
    owner: str
    format: str
    start_time: datetime
    duration: float | None  # the limit
    elapsed_time: float
    filename: str
    current_file: str | None
    file_size: int
    files: tuple[RunningFile, ...]
    bytes_written: int
    frames_captured: int
    frames_written: int
    gaps: tuple[GapInfo, ...]
    recording_healthy: bool
    durable: bool


@attrs.frozen(kw_only=True)
class RecordingFile(RunningFile):
    """A recording in a list."""

    pinned: bool


@attrs.frozen(kw_only=True)
class ListPage:
    """Which part of a list an answer holds: up to `limit` of `total`, from `offset` on."""

    total: int
    limit: int
    offset: int


@attrs.frozen(kw_only=True)
class RecordingList(ListPage):
    """A page of recordings, newest first."""

    files: tuple[RecordingFile, ...]


@attrs.frozen(kw_only=True)
class PinInfo:
    """Why a file is kept, by whom, and until when."""

    reason: str
    by: str
    since: datetime
    until: datetime | None


@attrs.frozen(kw_only=True)
class RecordingDetails(RecordingFile):
    """Everything about a recording; after `pin_recording`, a pin and no more than in a list."""

    pin: PinInfo | None
    created_time: datetime | None = None
    codec: str | None = None
    resolution: str | None = None
    sha256: str | None = None
    durable: bool | None = None
    segment_number: int | None = None
    gaps: tuple[GapInfo, ...] = ()


@attrs.frozen(kw_only=True)
class DeletedFile:
    """A file that was removed."""

    filename: str
    deleted: bool
    message: str
    space_freed: int


@attrs.frozen(kw_only=True)
class SessionInfo:
    """A session in a list, with its coverage."""

    session_id: str
    recording_id: str
    camera_id: str
    owner: str
    format: str
    status: str
    reason: str
    start_time: datetime
    end_time: datetime | None
    duration: float
    duration_limit: float | None
    files: int
    files_missing: int
    frames: int
    file_size: int
    gaps: int
    missing_duration: float
    coverage_percent: float


@attrs.frozen(kw_only=True)
class SessionList(ListPage):
    """A page of sessions, newest first."""

    sessions: tuple[SessionInfo, ...]


@attrs.frozen(kw_only=True)
class GapList(ListPage):
    """A page of the gap ledger, newest first."""

    gaps: tuple[GapInfo, ...]


@attrs.frozen(kw_only=True)
class StorageInfo:
    """The recordings volume. `code`, `message` and `suggestion` where its level is not ok."""

    total_space: int
    used_space: int
    available_space: int
    usage_percentage: float
    usage_percent: float
    used_percent: float
    recordings_size: int
    snapshots_size: int
    low_space_warning: bool
    critical_space_warning: bool
    warn_threshold: float
    block_threshold: float
    critical_threshold: float
    threshold_status: str
    promised_bytes: float
    seconds_until_blocked: float | None
    write_rate: float
    free_inodes: int | None
    sync_latency: dict[str, Any]
    pending_seconds: float
    slow: bool
    notes_waiting: int
    notes_lost: int
    code: int | None = None
    message: str | None = None
    suggestion: str | None = None


@attrs.frozen(kw_only=True)
class ServiceStatus:
    """The state of the service and its components."""

    status: str  # healthy | degraded | unhealthy
    uptime: float
    version: str
    components: dict[str, str]
    details: dict[str, str]
    cameras: int
    recording: int
    recovery: dict[str, Any] | None
    scrub: dict[str, Any] | None


@attrs.frozen(kw_only=True)
class ServerInfo:
    """The software: versions, formats, encoders."""

    name: str
    version: str
    capabilities: tuple[str, ...]
    supported_formats: tuple[str, ...]
    max_cameras: int
    ffmpeg_version: str | None
    encoders: tuple[str, ...]
    encoders_tried: dict[str, str]


@attrs.frozen(kw_only=True)
class RecordingUpdate:
    """What happened to a recording, in events."""

    device: str
    device_path: str
    camera_id: str
    status: str  # STARTED | PROGRESS | ROTATED | GAP | STOPPED | ERROR
    filename: str
    duration: float
    session_id: str
    recording_id: str
    start_time: datetime
    file_size: int
    bytes_written: int
    frames_written: int
    reason: str


@attrs.frozen(kw_only=True)
class PastEvent:
    """A kept event, as it was sent."""

    method: str
    params: dict[str, Any]


@attrs.frozen(kw_only=True)
class EventPage:
    """Kept events, oldest first; `last` is the `since` of the next page."""

    events: tuple[PastEvent, ...]
    last: int
    more: bool
    missed: int
    oldest: int | None
    newest: int
    topics: tuple[str, ...] | None
    warnings: tuple[str, ...]
