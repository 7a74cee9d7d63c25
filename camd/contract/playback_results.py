"""Fields of time lines: what was recorded of a camera, and what is missing."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import Time, doc


@attrs.frozen(kw_only=True)
class SpanInfo:
    """Footage without a break."""

    start: Time
    end: Time
    filename: Annotated[str | None, doc("null where several files are merged")]
    session: str | None
    growing: Annotated[bool, doc("whether the file is being recorded")]
    playable: Annotated[bool, doc("whether it can be played without a download")]
    merged: Annotated[int, doc("how many files it stands for")]


@attrs.frozen(kw_only=True)
class MissingSpan:
    """Footage that is missing in a time line."""

    start: Time = attrs.field(metadata={"name": "from"})
    end: Time = attrs.field(metadata={"name": "to"})
    cause: str
    exact: bool
    merged: Annotated[int, doc("how many entries of the ledger it stands for")]


@attrs.frozen(kw_only=True)
class TimelineInfo:
    """What was recorded of a camera in a range, and what is missing, oldest first."""

    camera_id: str
    start: Time = attrs.field(metadata={"name": "from"})
    end: Time = attrs.field(metadata={"name": "to"})
    spans: Annotated[tuple[SpanInfo, ...], doc("at most 2000: neighbours are merged")]
    gaps: Annotated[tuple[MissingSpan, ...], doc("at most 2000: neighbours are merged")]
    before: Annotated[Time | None, doc("the end of the nearest footage before the range")]
    after: Annotated[Time | None, doc("the start of the nearest footage behind the range")]
    searching: Annotated[bool, doc("the folder is being searched: more may be found")] = False
