"""Times of day, days and time zones of a schedule, and how a schedule stands for a camera."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta, tzinfo

import attrs

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # in the order of date.weekday()
DAY_SECONDS = 86_400


@attrs.frozen(order=True)
class TimeOfDay:
    """A time that a clock on the wall shows, in seconds of its day; 24:00 is the day's end."""

    seconds: int  # 0 to 86400

    @property
    def since_midnight(self) -> timedelta:
        """How far the clock has gone since midnight."""
        return timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        minutes, seconds = divmod(self.seconds, 60)
        text = f"{minutes // 60:02}:{minutes % 60:02}"
        return f"{text}:{seconds:02}" if seconds else text


@attrs.frozen
class TimeZone:
    """A zone of the tz database. Two zones of one name are equal."""

    name: str
    rules: tzinfo = attrs.field(default=UTC, eq=False, repr=False)


class OverriddenBy(enum.Enum):
    """What keeps a schedule from recording while its window is open."""

    MANUAL_RECORDING = "manual_recording"  # somebody's session runs
    MANUAL_STOP = "manual_stop"  # somebody stopped the recording within this window
    SOURCE_ENDED = "source_ended"  # the file was played to its end within this window


@attrs.frozen(kw_only=True)
class ScheduleStatus:
    """How the schedules of one camera stand, all together."""

    name: str  # of the schedule whose window is open, else of the one whose window opens next
    active: bool  # a window is open
    next_change: datetime | None  # when `active` changes; None: not within weeks
    overridden_by: OverriddenBy | None = None  # only while it is active
    recording: bool = False  # the running session is that of a schedule
    message: str = ""  # why the last start was refused; "" when it was not
    suggestion: str = ""
