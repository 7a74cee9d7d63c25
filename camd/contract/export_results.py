"""Fields of exports: what a download of a range holds, and what is missing in it."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import Time, doc


@attrs.frozen(kw_only=True)
class ExportGapInfo:
    """Footage that is missing in an export, where the movie goes on without it."""

    start: Time = attrs.field(metadata={"name": "from"})  # not Python's
    end: Time = attrs.field(metadata={"name": "to"})
    duration: float
    frames: Annotated[int | None, doc("null when unknown")]
    cause: Annotated[
        str,
        doc(
            "as in the ledger; `not_recorded`; `not_durable_yet`: the end of a running recording;"
            " `missing`: a file was removed outside of camd"
        ),
    ]
    exact: Annotated[bool, doc("whether the times and the number of frames are the ledger's")]


@attrs.frozen(kw_only=True)
class ExportSourceInfo:
    """Bytes of a recording that are in an export."""

    file: str
    sha256: Annotated[
        str | None, doc("of the recording, from byte 48 on; null while it is recorded")
    ]
    begin: Annotated[int, doc("of the bytes in the file")]
    end: Annotated[int, doc("of the bytes, excluded")]
    part: int


@attrs.frozen(kw_only=True)
class ExportPartInfo:
    """One movie of an export; another one begins where codec, size or parameter sets change."""

    part: Annotated[int, doc("from 1")]
    url: Annotated[str, doc("a path on the same port")]
    size: int
    etag: Annotated[str, doc("of the download; equal for equal bytes")]
    duration: float
    frames: Annotated[int, doc("that are shown")]
    start_time: Annotated[Time, doc("of the first frame")]
    end_time: Annotated[Time, doc("of the last frame's end")]
    lead_in: Annotated[int, doc("hidden frames before the first one")]
    codec: str
    resolution: str | None


@attrs.frozen(kw_only=True)
class ExportInfo:
    """An export; `size`, `duration` and `frames` are sums over its parts, which are mostly one."""

    camera_id: str
    url: Annotated[str, doc("of the first part")]
    size: int
    duration: float
    frames: int
    start_time: Annotated[Time, doc("of the first frame")]
    end_time: Annotated[Time, doc("of the last frame's end")]
    lead_in: Annotated[int, doc("of the first part")]
    gaps: tuple[ExportGapInfo, ...]
    sources: tuple[ExportSourceInfo, ...]
    parts: tuple[ExportPartInfo, ...]
    searching: Annotated[bool, doc("the folder is being searched: more may be found")] = False
