"""What was recorded of one camera, and what is missing, over a range of time."""

from __future__ import annotations

from datetime import datetime

import attrs

from camd.model.ids import CameraId, SessionId


@attrs.frozen
class TimelineSpan:
    """Footage without a break that the range could show.

    With `merged` above 1 it stands for so many files, and names none; shorter breaks are in it.
    """

    start: datetime
    end: datetime
    filename: str | None
    session_id: SessionId | None
    growing: bool
    playable: bool
    merged: int = 1


@attrs.frozen
class TimelineGap:
    """Footage that is missing. With `merged` above 1 it stands for so many entries of the ledger,
    and has the cause of the first one.
    """

    start: datetime
    end: datetime
    cause: str
    exact: bool
    merged: int = 1


@attrs.frozen
class Timeline:
    """A camera from `since` to `until`, in order of time.

    `before` is the end of the newest footage that ends before the range, `after` the start of the
    oldest one that begins behind it; None without any. While recordings are still looked for
    (`searching`), more may be found.
    """

    camera_id: CameraId
    since: datetime
    until: datetime
    spans: tuple[TimelineSpan, ...]
    gaps: tuple[TimelineGap, ...]
    before: datetime | None = None
    after: datetime | None = None
    searching: bool = False
