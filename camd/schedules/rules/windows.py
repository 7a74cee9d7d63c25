"""When the windows of schedules are open: at an instant, and until when (`window_state`).

A window begins on its day at `from`, and ends at `to`: on the same day, or on the next one when
`to` is not later than `from`. Where clocks show a time twice, a window begins at the first and ends
at the second, so that it never loses an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta

import attrs

from camd.config.schema import ScheduleConfig
from camd.model.schedule_values import DAYS
from camd.schedules.rules.local_time import instant_of

_DAY = timedelta(days=1)
_BEFORE = 3  # days: a window lasts for one, and for two where a zone repeats a day
_MARGIN = 2  # days by which windows that were not looked at are later than the last one's day
_LOOKS = (9, 44)  # days ahead: nearly always the first will do


@attrs.frozen(order=True)
class OpenTime:
    """One time for which a window is open: from `begin` until just before `end`, in UTC."""

    begin: datetime
    end: datetime
    name: str  # of its schedule

    def has(self, instant: datetime) -> bool:
        """Whether the window is open at this instant."""
        return self.begin <= instant < self.end


@attrs.frozen(kw_only=True)
class WindowState:
    """Whether a window is open at an instant, and until when that stays so."""

    active: bool
    next_change: datetime | None  # the first with another `active`; None: not within 42 days
    window_end: datetime | None = None  # of the window that is open; the latest of several
    name: str = ""  # of the schedule whose window is open, else of the one that opens next


NEVER = WindowState(active=False, next_change=None)


def window_state(schedules: Sequence[ScheduleConfig], instant: datetime) -> WindowState:
    """Say whether any window of these schedules is open at an instant, which is in UTC."""
    found = NEVER
    for days in _LOOKS:
        found = _due(sorted(_around(schedules, instant, days)), instant)
        limit = instant + (days - _MARGIN) * _DAY
        if found.next_change is not None and found.next_change < limit:
            return found
    return attrs.evolve(found, next_change=None)


def _due(times: Sequence[OpenTime], instant: datetime) -> WindowState:
    current = [each for each in times if each.has(instant)]
    if not current:
        coming = next((each for each in times if each.begin > instant), None)
        if coming is None:
            return NEVER
        return WindowState(active=False, next_change=coming.begin, name=coming.name)
    window = max(current, key=lambda each: each.end)
    end = window.end
    for each in times:  # in the order in which they begin
        if each.begin <= end < each.end:
            end = each.end
    return WindowState(active=True, next_change=end, window_end=window.end, name=window.name)


def _around(
    schedules: Sequence[ScheduleConfig], instant: datetime, days: int
) -> Iterator[OpenTime]:
    for schedule in schedules:
        if schedule.enabled:
            today = instant.astimezone(schedule.timezone.rules).date()
            yield from open_times(schedule, today - _BEFORE * _DAY, _BEFORE + days + 1)


def open_times(schedule: ScheduleConfig, first: date, days: int) -> Iterator[OpenTime]:
    """List the windows that begin on `days` days from `first` on, without those of no length."""
    for number in range(days):
        day = first + number * _DAY
        if DAYS[day.weekday()] in schedule.days:
            found = _on(schedule, day)
            if found.begin < found.end:
                yield found


def _on(schedule: ScheduleConfig, day: date) -> OpenTime:
    midnight, zone = datetime.combine(day, time()), schedule.timezone.rules
    begin = midnight + schedule.from_.since_midnight
    end = midnight + schedule.to.since_midnight
    if end <= begin:
        end += _DAY
    return OpenTime(
        instant_of(begin, zone, last=False), instant_of(end, zone, last=True), schedule.name
    )
