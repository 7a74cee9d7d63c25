"""The published status of a camera."""

from __future__ import annotations

import enum

import attrs

from camd.model.ids import CameraId
from camd.model.problems import Problem
from camd.model.recordings import Session
from camd.model.schedule_values import ScheduleStatus
from camd.model.stream_status import ServedStream


class CameraState(enum.Enum):
    """State of a camera's capture."""

    IDLE = "IDLE"  # not needed; its device is closed
    STARTING = "STARTING"  # FFmpeg runs, no fragment yet
    STREAMING = "STREAMING"  # fragments arrive
    STOPPING = "STOPPING"  # FFmpeg was told to end
    RESTING = "RESTING"  # failed; tried again after a delay
    ABSENT = "ABSENT"  # its device is not there
    FAULTED = "FAULTED"  # its own task failed and is being restarted


@attrs.frozen
class VideoFormat:
    """Format of a captured stream."""

    codec: str  # four characters of the sample entry: avc1, hvc1, jpeg, …
    width: int
    height: int
    fps: float


@attrs.frozen
class CameraStatus:
    """Status of one camera, published by its actor."""

    camera_id: CameraId
    device: str
    name: str
    identity: str
    state: CameraState
    problem: Problem | None
    video: VideoFormat | None
    wanted: VideoFormat  # by the configuration; codec "" when left to camd
    session: Session | None
    bytes_captured: int
    streaming_since: float | None  # clock.monotonic()
    restarts: int
    warnings: tuple[str, ...] = ()  # differences from the configuration, for people
    source_clock_offset: float | None = None  # seconds ahead of this machine's; None: unknown
    served: ServedStream | None = None  # by a media server; None: no viewer can have it
    schedule: ScheduleStatus | None = None  # None: no schedule records it
    preroll_seconds: float = 0.0  # of footage that are kept for the next start
