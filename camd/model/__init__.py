"""The nouns of camd as frozen values: what crosses a border between modules."""

from __future__ import annotations

from camd.model.cameras import CameraState, CameraStatus, Trouble, VideoFormat
from camd.model.events import (
    CameraChanged,
    CleanupEnded,
    DamageFound,
    Event,
    RecordingChanged,
    RecordingNews,
    StorageChanged,
)
from camd.model.ids import CameraId, SessionId
from camd.model.recordings import (
    Cause,
    Gap,
    GapPage,
    RecordingPage,
    RecordingQuery,
    RecordingWish,
    Segment,
    SegmentState,
    Session,
    SessionPage,
    SessionState,
    SessionSummary,
    StoredFile,
)
from camd.model.sources import FileSource, RtspSource, Source, TestSource, V4l2Source
from camd.model.storage import CleanupReceipt, StorageLevel, StorageStatus, SyncLatency

__all__ = [
    "CameraChanged",
    "CameraId",
    "CameraState",
    "CameraStatus",
    "Cause",
    "CleanupEnded",
    "CleanupReceipt",
    "DamageFound",
    "Event",
    "FileSource",
    "Gap",
    "GapPage",
    "RecordingChanged",
    "RecordingNews",
    "RecordingPage",
    "RecordingQuery",
    "RecordingWish",
    "RtspSource",
    "Segment",
    "SegmentState",
    "Session",
    "SessionId",
    "SessionPage",
    "SessionState",
    "SessionSummary",
    "Source",
    "StorageChanged",
    "StorageLevel",
    "StorageStatus",
    "StoredFile",
    "SyncLatency",
    "TestSource",
    "Trouble",
    "V4l2Source",
    "VideoFormat",
]
