"""The client library: calls with typed results and errors, events that survive reconnections.

    async with camd.client.connect("ws://127.0.0.1:8002/ws", token=key) as service:
        for camera in await service.cameras():
            print(camera.camera_id, camera.status)
        async with service.events(topics=["recording"]) as events:
            async for event in events:
                print(event)

Needs Trio. Others use `connect`, the `Client` that it gives, and the results, events and errors
that are listed here.
"""

from camd.client.client import (
    CallTimeoutError as CallTimeoutError,
    Client as Client,
    connect as connect,
)
from camd.client.downloads import (
    DownloadedExport as DownloadedExport,
    ExportChangedError as ExportChangedError,
)
from camd.client.event_stream import (
    CameraEvent as CameraEvent,
    EventsMissed as EventsMissed,
    EventStream as EventStream,
    OtherEvent as OtherEvent,
    RecordingEvent as RecordingEvent,
    ServiceEvent as ServiceEvent,
    StorageEvent as StorageEvent,
)
from camd.client.http_fetch import StillPicture as StillPicture
from camd.client.remote_errors import (
    AlreadyRecordingError as AlreadyRecordingError,
    CameraLimitError as CameraLimitError,
    CameraUnknownError as CameraUnknownError,
    FileInUseError as FileInUseError,
    FileLeasedError as FileLeasedError,
    FileNotKnownError as FileNotKnownError,
    FilePinnedError as FilePinnedError,
    ForbiddenError as ForbiddenError,
    InternalServiceError as InternalServiceError,
    InvalidParamsError as InvalidParamsError,
    InvalidRequestError as InvalidRequestError,
    KeyExistsError as KeyExistsError,
    KeyLimitError as KeyLimitError,
    KeysUnusableError as KeysUnusableError,
    KeyUnknownError as KeyUnknownError,
    MethodNotFoundError as MethodNotFoundError,
    NotAuthenticatedError as NotAuthenticatedError,
    NotRecordingError as NotRecordingError,
    ParseRefusedError as ParseRefusedError,
    RateLimitedError as RateLimitedError,
    RecordingFailedError as RecordingFailedError,
    RemoteError as RemoteError,
    RemovalFailedError as RemovalFailedError,
    ShuttingDownError as ShuttingDownError,
    SourceUnavailableError as SourceUnavailableError,
    StorageCriticalError as StorageCriticalError,
    StorageFailingError as StorageFailingError,
    StorageLowError as StorageLowError,
    StorageMissingError as StorageMissingError,
    StorageNoInodesError as StorageNoInodesError,
    StorageReadOnlyError as StorageReadOnlyError,
    StorageUnresponsiveError as StorageUnresponsiveError,
    UnsupportedError as UnsupportedError,
)
from camd.client.results import UnreadableAnswerError as UnreadableAnswerError
from camd.client.service_connection import (
    CannotConnectError as CannotConnectError,
    ConnectionLostError as ConnectionLostError,
    ServiceConnection as ServiceConnection,
)
from camd.contract.camera_results import (
    CameraCapabilities as CameraCapabilities,
    CameraCounters as CameraCounters,
    CameraDetails as CameraDetails,
    CameraInfo as CameraInfo,
    CameraMode as CameraMode,
    ChosenMode as ChosenMode,
    StreamAddress as StreamAddress,
    StreamInfo as StreamInfo,
)
from camd.contract.device_results import (
    AbsentCamera as AbsentCamera,
    AdoptedCamera as AdoptedCamera,
    ChangedControl as ChangedControl,
    ControlChoice as ControlChoice,
    ControlInfo as ControlInfo,
    ControlList as ControlList,
    DeviceInfo as DeviceInfo,
    DeviceOverview as DeviceOverview,
    ForgottenCamera as ForgottenCamera,
    HolderInfo as HolderInfo,
    UsbInfo as UsbInfo,
)
from camd.contract.event_results import EventPage as EventPage, PastEvent as PastEvent
from camd.contract.export_results import (
    ExportGapInfo as ExportGapInfo,
    ExportInfo as ExportInfo,
    ExportPartInfo as ExportPartInfo,
    ExportSourceInfo as ExportSourceInfo,
)
from camd.contract.playback_results import (
    MissingSpan as MissingSpan,
    SpanInfo as SpanInfo,
    TimelineInfo as TimelineInfo,
)
from camd.contract.recording_results import (
    DeletedFile as DeletedFile,
    GapInfo as GapInfo,
    GapList as GapList,
    NestedRecording as NestedRecording,
    PinInfo as PinInfo,
    PinnedRecording as PinnedRecording,
    ReceiptFile as ReceiptFile,
    RecordingDetails as RecordingDetails,
    RecordingFile as RecordingFile,
    RecordingList as RecordingList,
    RecordingReceipt as RecordingReceipt,
    RecordingStatus as RecordingStatus,
    RecordingUpdate as RecordingUpdate,
    RunningFile as RunningFile,
    SessionInfo as SessionInfo,
    SessionList as SessionList,
    StartedRecording as StartedRecording,
    StoppedRecording as StoppedRecording,
)
from camd.contract.schedule_results import (
    CameraScheduleInfo as CameraScheduleInfo,
    ScheduleInfo as ScheduleInfo,
    ScheduleList as ScheduleList,
)
from camd.contract.sign_in_results import (
    CreatedKey as CreatedKey,
    KeyInfo as KeyInfo,
    KeyList as KeyList,
    RevokedKey as RevokedKey,
    SignInCode as SignInCode,
)
from camd.contract.snapshot_results import (
    DeletedSnapshot as DeletedSnapshot,
    SnapshotInfo as SnapshotInfo,
    SnapshotList as SnapshotList,
    TakenSnapshot as TakenSnapshot,
)
from camd.contract.storage_results import (
    CleanupInfo as CleanupInfo,
    CleanupReport as CleanupReport,
    KeptFile as KeptFile,
    PlannedFile as PlannedFile,
    PolicyInfo as PolicyInfo,
    RetentionState as RetentionState,
    StorageInfo as StorageInfo,
    StoredPolicy as StoredPolicy,
    SyncTimes as SyncTimes,
)
from camd.contract.system_results import (
    CameraTotals as CameraTotals,
    LogLevels as LogLevels,
    MetricsInfo as MetricsInfo,
    RecoveryFinding as RecoveryFinding,
    RecoveryInfo as RecoveryInfo,
    ReloadedConfig as ReloadedConfig,
    ScrubFinding as ScrubFinding,
    ScrubInfo as ScrubInfo,
    ScrubRound as ScrubRound,
    ServerInfo as ServerInfo,
    ServiceStatus as ServiceStatus,
)
