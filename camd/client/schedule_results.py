"""Schedules in results of calls, as values."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class CameraScheduleInfo:
    """How the schedules of a camera stand."""

    name: str  # of the schedule whose window is open, or opens next
    active: bool
    next_change: datetime | None
    recording: bool  # the running session is the schedule's
    overridden_by: str | None  # manual_recording | manual_stop | source_ended
    message: str
    suggestion: str


@attrs.frozen(kw_only=True)
class ScheduleInfo:
    """A schedule of the configuration. `start` and `end` are the API's `from` and `to`."""

    name: str
    enabled: bool
    cameras: tuple[str, ...]  # "*": every camera
    days: tuple[str, ...]
    start: str  # "HH:MM", by the clocks of `timezone`
    end: str
    timezone: str
    active: bool
    next_change: datetime | None
    overridden_by: dict[str, str]  # by camera
    unknown_cameras: tuple[str, ...]
