"""Stored snapshots, and pages of them."""

from __future__ import annotations

from datetime import datetime

import attrs

from camd.model.ids import CameraId


@attrs.frozen
class StoredSnapshot:
    """One picture in the snapshots folder. Sizes in bytes and pixels, times in UTC.

    `time` is when the frame was captured. A file that camd did not write has no camera ("").
    """

    filename: str
    camera_id: CameraId
    time: datetime
    size_bytes: int
    width: int
    height: int
    modified: datetime


@attrs.frozen
class SnapshotPage:
    """Some snapshots, newest first, and how many match in all."""

    snapshots: tuple[StoredSnapshot, ...]
    total: int
