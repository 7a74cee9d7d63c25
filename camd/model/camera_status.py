"""What is known of one camera."""

from __future__ import annotations

import enum

import attrs

from camd.model.ids import CameraId
from camd.model.problems import Problem
from camd.model.recordings import Session


class CameraState(enum.Enum):
    """Where a camera's machine stands."""

    IDLE = "IDLE"  # nobody needs it; its device is closed
    STARTING = "STARTING"  # a child runs, no fragment yet
    STREAMING = "STREAMING"  # fragments arrive
    STOPPING = "STOPPING"  # the child was told to end
    RESTING = "RESTING"  # failed; tries again after a delay
    ABSENT = "ABSENT"  # the device is not there
    FAULTED = "FAULTED"  # the actor itself crashed and is being restarted


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
    problem: Problem | None
    video: VideoFormat | None
    wanted: VideoFormat  # what the configuration asks for; codec "" when left to camd
    session: Session | None
    bytes_captured: int
    streaming_since: float | None  # clock.monotonic()
    restarts: int
    warnings: tuple[str, ...] = ()  # what is not as it was asked for, for people
    source_clock_offset: float | None = None  # seconds ahead of ours; None: it says nothing
