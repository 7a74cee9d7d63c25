"""Events that the service publishes."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from camd.model.camera_status import CameraStatus
from camd.model.recordings import Session
from camd.model.storage_status import CleanupReceipt, StorageStatus


class RecordingEventKind(enum.Enum):
    """What happened to a session."""

    STARTED = "STARTED"
    PROGRESS = "PROGRESS"
    ROTATED = "ROTATED"
    GAP = "GAP"
    STOPPED = "STOPPED"
    ERROR = "ERROR"


@attrs.frozen
class CameraChanged:
    """A camera's status has changed."""

    status: CameraStatus


@attrs.frozen
class RecordingChanged:
    """A camera's session has changed."""

    kind: RecordingEventKind
    device: str
    session: Session
    filename: str
    reason: str = ""


@attrs.frozen
class StorageChanged:
    """The storage level has changed."""

    status: StorageStatus


@attrs.frozen
class CleanupEnded:
    """The retention policy has been carried out, or stopped by max_delete_percent."""

    receipt: CleanupReceipt


@attrs.frozen
class DamageFound:
    """A recording differs from what was sealed."""

    filename: str
    fault: str  # one word for programs
    text: str
    advice: str


@attrs.frozen
class SearchProgressed:
    """The search of the recordings folder has begun, got further, failed, or ended."""

    ended: bool
    files: int  # looked at so far …
    total: int  # … of so many
    counts: Mapping[str, int]  # files by the name of their outcome
    problem: str = ""  # why it is tried again


Event = (
    CameraChanged
    | RecordingChanged
    | StorageChanged
    | CleanupEnded
    | DamageFound
    | SearchProgressed
)
