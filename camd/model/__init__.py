"""Pure: the values that packages exchange, as frozen classes.

Cameras and their devices, recordings, storage, events and problems. Other packages import
them from here; the texts of problems are in `camd.model.problems`, and how quantities, paths and
addresses are written is in `camd.model.notation`.
"""

from __future__ import annotations

from camd.model.camera_status import CameraState, CameraStatus, VideoFormat
from camd.model.devices import (
    Capabilities,
    Control,
    ControlKind,
    Device,
    DeviceBinding,
    DeviceSelector,
    FormatChoice,
    FrameSize,
    MatchedBy,
    PixelFormat,
    Rates,
    SizeRange,
    UsbFacts,
)
from camd.model.events import (
    CameraChanged,
    CleanupEnded,
    DamageFound,
    Event,
    RecordingChanged,
    RecordingEventKind,
    StorageChanged,
)
from camd.model.ids import CameraId, SessionId
from camd.model.problems import Problem, ProblemKind
from camd.model.recordings import (
    Gap,
    GapCause,
    GapPage,
    ReadableRecording,
    RecordingPage,
    RecordingQuery,
    RecordingRequest,
    Segment,
    SegmentState,
    Session,
    SessionPage,
    SessionState,
    SessionSummary,
    are_durable,
    clock_was_set,
)
from camd.model.storage_status import CleanupReceipt, StorageLevel, StorageStatus, SyncLatency
from camd.model.stored_snapshots import SnapshotPage, StoredSnapshot
from camd.model.stream_status import ListedStream, PublicationState, PublicationStatus, ServedStream

__all__ = [
    "CameraChanged",
    "CameraId",
    "CameraState",
    "CameraStatus",
    "Capabilities",
    "CleanupEnded",
    "CleanupReceipt",
    "Control",
    "ControlKind",
    "DamageFound",
    "Device",
    "DeviceBinding",
    "DeviceSelector",
    "Event",
    "FormatChoice",
    "FrameSize",
    "Gap",
    "GapCause",
    "GapPage",
    "ListedStream",
    "MatchedBy",
    "PixelFormat",
    "Problem",
    "ProblemKind",
    "PublicationState",
    "PublicationStatus",
    "Rates",
    "ReadableRecording",
    "RecordingChanged",
    "RecordingEventKind",
    "RecordingPage",
    "RecordingQuery",
    "RecordingRequest",
    "Segment",
    "SegmentState",
    "ServedStream",
    "Session",
    "SessionId",
    "SessionPage",
    "SessionState",
    "SessionSummary",
    "SizeRange",
    "SnapshotPage",
    "StorageChanged",
    "StorageLevel",
    "StorageStatus",
    "StoredSnapshot",
    "SyncLatency",
    "UsbFacts",
    "VideoFormat",
    "are_durable",
    "clock_was_set",
]
