"""Fields of schedules, and of how they stand for a camera."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.result_types import Time, doc, one_of

_WHY = ("manual_recording", "manual_stop", "source_ended")


@attrs.frozen(kw_only=True)
class CameraScheduleInfo:
    """How the schedules of one camera stand, all together."""

    name: Annotated[str, doc("of the schedule whose window is open, or opens next")]
    active: Annotated[bool, doc("a window is open")]
    next_change: Annotated[Time | None, doc("when that changes; null: not within six weeks")]
    recording: Annotated[bool, doc("the running session was started by the schedule")]
    overridden_by: Annotated[
        Annotated[str, one_of(*_WHY)] | None,
        doc("why the schedule does not record while its window is open"),
    ]
    message: Annotated[str, doc("why the last start was refused; empty when it was not")]
    suggestion: str


@attrs.frozen(kw_only=True)
class ScheduleInfo:
    """A schedule of the configuration."""

    name: str
    enabled: bool
    cameras: Annotated[tuple[str, ...], doc("`*` for every one")]
    days: Annotated[tuple[str, ...], doc("on which the window begins: `mon` to `sun`")]
    start: Annotated[str, doc("`HH:MM`, by the clocks of `timezone`")] = attrs.field(
        metadata={"name": "from"}
    )
    end: Annotated[str, doc("the same; not later than `from`: on the next day")] = attrs.field(
        metadata={"name": "to"}
    )
    timezone: Annotated[str, doc("such as `Europe/Berlin`")]
    active: Annotated[bool, doc("its window is open")]
    next_change: Annotated[Time | None, doc("when that changes; null: not within six weeks")]
    overridden_by: Annotated[
        dict[str, str], doc("by camera, while the window is open: as in a camera's `schedule`")
    ]
    unknown_cameras: Annotated[tuple[str, ...], doc("of `cameras`, that are not there")]


@attrs.frozen(kw_only=True)
class ScheduleList:
    """All schedules of the configuration."""

    schedules: tuple[ScheduleInfo, ...]
    total: int
