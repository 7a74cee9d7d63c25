"""Fields of recordings: start, stop, receipts, files, sessions, gaps and pins."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import ListPage, Time, doc, one_of


@attrs.frozen(kw_only=True)
class GapInfo:
    """Footage that is missing: an entry of the gap ledger."""

    camera_id: str
    session_id: str
    start: Time = attrs.field(metadata={"name": "from"})  # not Python's
    end: Time = attrs.field(metadata={"name": "to"})
    duration: float
    frames: int
    exact: Annotated[bool, doc("whether the number of frames is")]
    cause: str
    action: Annotated[str, doc("what was done, if anything")]


@attrs.frozen(kw_only=True)
class NestedRecording:
    """The recording once more in the answer to a start, for clients that look there."""

    device_path: str
    recording_id: str
    filename: str
    start_time: Annotated[float, doc("seconds since 1970")]
    duration: float | None
    status: str


@attrs.frozen(kw_only=True)
class StartedRecording:
    """A recording that has begun; its first frames are on disk."""

    device: str
    camera_id: str
    session_id: str
    recording_id: Annotated[str, doc("the same")]
    filename: str
    status: Annotated[str, one_of("STARTED")]
    start_time: Time
    duration: Annotated[float | None, doc("the limit; null: until it is stopped")]
    format: Annotated[str, one_of("mp4", "mkv")]
    preroll_achieved: Annotated[float, doc("seconds")]
    fits_seconds: Annotated[
        float | None, doc("for how long there is space; null: too long to forecast")
    ]
    warnings: tuple[str, ...]
    success: bool
    recording: NestedRecording


@attrs.frozen(kw_only=True)
class ReceiptFile:
    """A file of a receipt."""

    filename: str
    start_time: Time
    end_time: Time
    duration: float
    frames: int
    leading_frames: Annotated[
        int | None,
        doc("how many at its beginning cannot be decoded, usually 0; null when unknown"),
    ]
    size: int
    sha256: Annotated[str | None, doc("from byte 48 on; null until it is computed")]
    status: Annotated[str, doc("as of a file")]


@attrs.frozen(kw_only=True)
class RecordingReceipt:
    """All files of a session, and all that is missing."""

    files: tuple[ReceiptFile, ...]
    gaps: tuple[GapInfo, ...]
    frames_captured: int
    frames_written: int
    durable: Annotated[
        bool,
        doc("every file is sealed, no sync has failed, and no part was removed afterwards"),
    ]


@attrs.frozen(kw_only=True)
class StoppedRecording:
    """A recording that was stopped; its files are durable."""

    device: str
    camera_id: str
    session_id: str
    recording_id: str
    filename: Annotated[str, doc("of the last file")]
    status: Annotated[str, one_of("STOPPED")]
    start_time: Time
    end_time: Time
    duration: float
    file_size: Annotated[int, doc("of all files")]
    success: bool
    reason: str
    format: str
    receipt: RecordingReceipt


@attrs.frozen(kw_only=True)
class RunningFile:
    """A file of a running session."""

    filename: str
    file_size: int
    modified_time: Time
    download_url: Annotated[str, doc("a path on the same port")]
    duration: float
    camera_id: str
    session_id: str
    start_time: Time
    end_time: Time
    frames: int
    leading_frames: Annotated[int | None, doc("as in a receipt")]
    status: Annotated[
        str,
        doc("`interrupted` was not sealed, and plays; `missing` was removed outside of camd"),
        one_of("recording", "completed", "interrupted", "missing"),
    ]


@attrs.frozen(kw_only=True)
class RecordingStatus:
    """A running session with its files and gaps."""

    device: str
    camera_id: str
    session_id: str
    recording_id: str
    status: Annotated[str, one_of("STARTING", "RECORDING", "WAITING", "ENDING", "ENDED")]
    reason: str
    owner: str
    format: str
    start_time: Time
    duration: Annotated[float | None, doc("the limit")]
    elapsed_time: float
    filename: Annotated[str | None, doc("of the file that grows")]
    current_file: Annotated[str | None, doc("the same")]
    file_size: Annotated[int, doc("of that file")]
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
class RecordingList(ListPage):
    """A page of recordings, newest first."""

    files: tuple[RecordingFile, ...]


@attrs.frozen(kw_only=True)
class PinInfo:
    """Why a file is kept, by whom, and until when."""

    reason: str
    by: str
    since: Time | None
    until: Annotated[Time | None, doc("null: for ever")]


@attrs.frozen(kw_only=True)
class PinnedRecording(RecordingFile):
    """A recording, and its pin."""

    pin: PinInfo | None


@attrs.frozen(kw_only=True)
class RecordingDetails(PinnedRecording):
    """Everything about a recording."""

    created_time: Time
    codec: str
    resolution: str | None
    sha256: Annotated[str | None, doc("from byte 48 on; null until it is computed")]
    durable: Annotated[bool, doc("it is final, and survives a power cut")]
    segment_number: int
    gaps: Annotated[tuple[GapInfo, ...], doc("of its session")]


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
    status: Annotated[str, one_of("STARTING", "RECORDING", "WAITING", "ENDING", "ENDED")]
    reason: str
    start_time: Time
    end_time: Time | None
    duration: Annotated[float, doc("in files")]
    duration_limit: float | None
    files: int
    files_missing: int
    frames: int
    file_size: int
    gaps: int
    missing_duration: float
    coverage_percent: Annotated[float, doc("the share that is in files")]


@attrs.frozen(kw_only=True)
class SessionList(ListPage):
    """A page of sessions, newest first."""

    sessions: tuple[SessionInfo, ...]


@attrs.frozen(kw_only=True)
class GapList(ListPage):
    """A page of the gap ledger, newest first."""

    gaps: tuple[GapInfo, ...]


@attrs.frozen(kw_only=True)
class RecordingUpdate:
    """What happened to a recording, in notifications."""

    device: str
    device_path: str
    camera_id: str
    status: Annotated[str, one_of("STARTED", "PROGRESS", "ROTATED", "GAP", "STOPPED", "ERROR")]
    filename: str
    duration: Annotated[float, doc("so far")]
    session_id: str
    recording_id: str
    start_time: Time
    file_size: Annotated[int, doc("of the current file")]
    bytes_written: int
    frames_written: int
    reason: str
