"""What can be said of schedules before they run: in words, and where two of them overlap."""

from __future__ import annotations

from datetime import datetime, timedelta

from camd.config.schema import ScheduleConfig
from camd.config.values import EVERY_CAMERA
from camd.model.schedule_values import DAYS
from camd.schedules.rules.windows import WindowState, open_times

_LOOK_DAYS = 15  # ahead: two weeks, and the day on which one begins


def describe_schedule(schedule: ScheduleConfig) -> str:
    """Say whom a schedule records, and when."""
    days = "every day" if schedule.days == DAYS else ", ".join(schedule.days)
    cameras = "every camera" if EVERY_CAMERA in schedule.cameras else ", ".join(schedule.cameras)
    return f"{cameras}, {days} {schedule.from_} to {schedule.to} ({schedule.timezone.name})"


def describe_due(now: WindowState) -> str:
    """Say whether a window is open, and when that changes."""
    change = f"{now.next_change:%Y-%m-%d %H:%M} UTC" if now.next_change is not None else ""
    if now.active:
        return f"open until {change}" if change else "always open"
    return f"opens {change}" if change else "never opens"


def first_overlap(one: ScheduleConfig, other: ScheduleConfig, instant: datetime) -> datetime | None:
    """Return when two schedules of one camera are open both, within two weeks; None: never."""
    if not (one.enabled and other.enabled and _share_camera(one, other)):
        return None
    first = instant.date() - timedelta(days=2)
    found = [
        max(mine.begin, theirs.begin)
        for mine in open_times(one, first, _LOOK_DAYS)
        for theirs in open_times(other, first, _LOOK_DAYS)
        if max(mine.begin, theirs.begin, instant) < min(mine.end, theirs.end)
    ]
    return max(min(found), instant) if found else None


def _share_camera(one: ScheduleConfig, other: ScheduleConfig) -> bool:
    every = EVERY_CAMERA in (*one.cameras, *other.cameras)
    return every or bool(set(one.cameras) & set(other.cameras))
