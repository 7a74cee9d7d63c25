"""What happens, as it is told to everybody who listens."""

from __future__ import annotations

import enum

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
    """A camera's status is another one now."""

    status: CameraStatus


@attrs.frozen
class RecordingChanged:
    """Something happened to a camera's session."""

    news: RecordingEventKind
    device: str
    session: Session
    filename: str
    reason: str = ""


@attrs.frozen
class StorageChanged:
    """The storage level is another one now."""

    status: StorageStatus


@attrs.frozen
class CleanupEnded:
    """The retention policy has been carried out, or stopped by max_delete_percent."""

    receipt: CleanupReceipt


@attrs.frozen
class DamageFound:
    """A recording is not as it was when it was sealed."""

    filename: str
    fault: str  # a short machine word
    text: str
    advice: str


Event = CameraChanged | RecordingChanged | StorageChanged | CleanupEnded | DamageFound
