"""Fields of snapshots."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.recording_results import DeletedFile
from camd.contract.result_types import ListPage, Time, doc, one_of


@attrs.frozen(kw_only=True)
class TakenSnapshot:
    """A snapshot that was taken, and is durable."""

    device: str
    camera_id: str
    filename: str
    status: Annotated[str, one_of("completed")]
    timestamp: Annotated[Time, doc("of the frame")]
    file_size: int
    size_bytes: Annotated[int, doc("the same")]
    file_path: Annotated[str, doc("on the machine of the service")]
    frame_age_ms: Annotated[int, doc("of the frame, at the answer")]
    width: int
    height: int
    format: Annotated[str, one_of("jpg", "png")]
    download_url: Annotated[str, doc("a path on the same port")]
    success: bool


@attrs.frozen(kw_only=True)
class SnapshotInfo:
    """A stored snapshot, with the fields of a recording where they mean something."""

    filename: str
    file_size: int
    created_time: Annotated[Time, doc("when its frame was captured")]
    modified_time: Time
    download_url: Annotated[str, doc("a path on the same port")]
    duration: Annotated[float, doc("0")]
    camera_id: Annotated[str, doc("empty for a file that camd did not write")]
    session_id: str | None
    start_time: Time
    end_time: Time
    frames: Annotated[int, doc("1")]
    status: str
    pinned: bool
    resolution: str | None
    width: int
    height: int
    format: Annotated[str, one_of("jpg", "png")]


@attrs.frozen(kw_only=True)
class SnapshotList(ListPage):
    """A page of snapshots, newest first."""

    files: tuple[SnapshotInfo, ...]


@attrs.frozen(kw_only=True)
class DeletedSnapshot(DeletedFile):
    """A snapshot that was removed."""

    success: bool
