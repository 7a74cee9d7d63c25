"""Pure: the values that packages exchange, as frozen classes.

Cameras and their devices, recordings, storage, events and problems. Other packages import
them from here; the texts of problems are in `camd.model.problems`, and how quantities, paths and
addresses are written is in `camd.model.notation`.
"""

from __future__ import annotations

from camd.model.camera_status import (
    CameraState as CameraState,
    CameraStatus as CameraStatus,
    VideoFormat as VideoFormat,
)
from camd.model.devices import (
    Capabilities as Capabilities,
    Control as Control,
    ControlKind as ControlKind,
    Device as Device,
    DeviceBinding as DeviceBinding,
    DeviceSelector as DeviceSelector,
    FormatChoice as FormatChoice,
    FrameSize as FrameSize,
    MatchedBy as MatchedBy,
    PixelFormat as PixelFormat,
    Rates as Rates,
    SizeRange as SizeRange,
    UsbFacts as UsbFacts,
)
from camd.model.events import (
    CameraChanged as CameraChanged,
    CleanupEnded as CleanupEnded,
    DamageFound as DamageFound,
    Event as Event,
    RecordingChanged as RecordingChanged,
    RecordingEventKind as RecordingEventKind,
    SearchProgressed as SearchProgressed,
    StorageChanged as StorageChanged,
)
from camd.model.ids import CameraId as CameraId, SessionId as SessionId
from camd.model.problems import Problem as Problem, ProblemKind as ProblemKind
from camd.model.recordings import (
    Gap as Gap,
    GapCause as GapCause,
    GapPage as GapPage,
    ReadableRecording as ReadableRecording,
    RecordingPage as RecordingPage,
    RecordingQuery as RecordingQuery,
    RecordingRequest as RecordingRequest,
    Segment as Segment,
    SegmentState as SegmentState,
    Session as Session,
    SessionPage as SessionPage,
    SessionState as SessionState,
    SessionSummary as SessionSummary,
    are_durable as are_durable,
    clock_was_set as clock_was_set,
)
from camd.model.storage_status import (
    CleanupReceipt as CleanupReceipt,
    StorageLevel as StorageLevel,
    StorageStatus as StorageStatus,
    SyncLatency as SyncLatency,
)
from camd.model.stored_snapshots import (
    SnapshotPage as SnapshotPage,
    StoredSnapshot as StoredSnapshot,
)
from camd.model.stream_status import (
    ListedStream as ListedStream,
    PublicationState as PublicationState,
    PublicationStatus as PublicationStatus,
    ServedStream as ServedStream,
)
