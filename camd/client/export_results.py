"""Results of exports as values: what a download of a range holds, and what is missing in it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class ExportGapInfo:
    """Footage that is missing; `exact`: as the gap ledger says, with its number of frames."""

    start: datetime
    end: datetime
    duration: float
    frames: int | None
    cause: str
    exact: bool


@attrs.frozen(kw_only=True)
class ExportSourceInfo:
    """Bytes of a recording, from `begin` to before `end`, in one part of an export.

    `sha256` is the recording's own, of everything from byte 48 on; None while it is recorded.
    """

    file: str
    sha256: str | None
    begin: int
    end: int
    part: int


@attrs.frozen(kw_only=True)
class ExportPartInfo:
    """One movie of an export; `lead_in` counts hidden frames before the first one."""

    part: int
    url: str
    size: int
    etag: str
    duration: float
    frames: int
    start_time: datetime
    end_time: datetime
    lead_in: int
    codec: str
    resolution: str | None


@attrs.frozen(kw_only=True)
class ExportInfo:
    """An export: its parts, and sums over them; `url` and `lead_in` are those of the first one."""

    camera_id: str
    url: str
    size: int
    duration: float
    frames: int
    start_time: datetime
    end_time: datetime
    lead_in: int
    gaps: tuple[ExportGapInfo, ...]
    sources: tuple[ExportSourceInfo, ...]
    parts: tuple[ExportPartInfo, ...]


@attrs.frozen(kw_only=True)
class DownloadedExport:
    """A part of an export as a file here; `sha256` is of all its bytes, as they were received.

    `resumed_at`: how many bytes an earlier download had left.
    """

    path: Path
    size: int
    sha256: str
    resumed_at: int = 0
