"""When windows are open: against a clock that is read minute by minute, in all kinds of zones."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camd.config.schema import ScheduleConfig
from camd.model.schedule_values import DAYS, TimeOfDay, TimeZone
from camd.schedules.rules.local_time import instant_of
from camd.schedules.rules.windows import NEVER, open_times, window_state

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BERLIN = "Europe/Berlin"
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 to 03:00 is skipped in Berlin
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)  # 02:00 to 03:00 comes twice in Berlin

# Instants at which the clocks of a zone are changed.
CHANGES = [
    (BERLIN, SPRING),
    (BERLIN, AUTUMN),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),  # half an hour back
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),  # midnight is skipped
    ("America/Sao_Paulo", datetime(2018, 2, 18, 2, tzinfo=UTC)),  # 23:00 to midnight comes twice
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # a whole day is skipped
    ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 6, 1, 18, 15, tzinfo=UTC)),  # no change at all
    ("Pacific/Kiritimati", datetime(2026, 6, 1, tzinfo=UTC)),
]


def schedule(
    begin: str = "20:00",
    end: str = "06:00",
    zone: str = BERLIN,
    days: Sequence[str] = DAYS,
    *,
    name: str = "nights",
    enabled: bool = True,
) -> ScheduleConfig:
    """Make a schedule from the text of its times."""
    return ScheduleConfig(
        name=name,
        cameras=("camera0",),
        days=tuple(days),
        from_=time_of_day(begin),
        to=time_of_day(end),
        timezone=TimeZone(zone, ZoneInfo(zone)),
        enabled=enabled,
    )


def time_of_day(text: str) -> TimeOfDay:
    """Read "HH:MM"."""
    hours, minutes = text.split(":")
    return TimeOfDay(int(hours) * 3600 + int(minutes) * 60)


def utc(text: str) -> datetime:
    """Read a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- the model: a clock on the wall, read every minute --------------------------------------


def open_minutes(one: ScheduleConfig, first: datetime, count: int) -> list[bool]:
    """Say for each minute whether the window is open.

    A day's window is open at an instant when the clock has shown its beginning, or a later time, at
    this instant or before, and when it will show its end, or shows or will show an earlier time.
    """
    zone, margin = one.timezone.rules, 3 * 24 * 60
    instants = [first + n * MINUTE for n in range(-margin, count + margin)]
    shown = [at.astimezone(zone).replace(tzinfo=None) for at in instants]
    highest, lowest = list(shown), list(shown)
    for n in range(1, len(shown)):
        highest[n] = max(highest[n], highest[n - 1])
        lowest[-1 - n] = min(lowest[-1 - n], lowest[-n])
    found = [False] * len(shown)
    first_day = shown[0].date() - DAY
    for number in range((shown[-1].date() - first_day).days + 1):  # also days that are skipped
        day = first_day + number * DAY
        if DAYS[day.weekday()] not in one.days or not one.enabled:
            continue
        midnight = datetime.combine(day, datetime.min.time())
        begin = midnight + timedelta(seconds=one.from_.seconds)
        end = midnight + timedelta(seconds=one.to.seconds)
        end += DAY if end <= begin else timedelta(0)
        opens = bisect_left(highest, begin)
        closes = max(bisect_left(lowest, end), bisect_right(lowest, end) - 1)
        found[opens:closes] = [True] * max(0, closes - opens)
    return found[margin : margin + count]


NEW_YORK_NIGHT = ScheduleConfig(
    cameras=("*",),
    from_=time_of_day("00:00"),
    to=time_of_day("01:00"),
    timezone=TimeZone("America/New_York", ZoneInfo("America/New_York")),
)
times = st.integers(0, 24 * 60).map(lambda minutes: TimeOfDay(minutes * 60))


@st.composite
def schedules(draw: st.DrawFn, zone: str) -> ScheduleConfig:
    """Draw a schedule whose times are whole minutes, often near to those that are changed."""
    near = st.sampled_from(["00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "23:30"])
    either = st.one_of(times, near.map(time_of_day))
    begin = draw(either.filter(lambda time: time.seconds < 86_400))
    end = draw(either.filter(lambda time: time != begin))
    days = draw(st.sets(st.sampled_from(DAYS), min_size=1))
    return ScheduleConfig(
        cameras=("*",), days=tuple(sorted(days)), from_=begin, to=end,
        timezone=TimeZone(zone, ZoneInfo(zone)), enabled=draw(st.integers(0, 9)) > 0,
    )  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[ScheduleConfig], datetime]:
    """Draw one or two schedules and an instant near to a change of the clocks."""
    zone, change = draw(st.sampled_from(CHANGES))
    others = st.sampled_from([zone, zone, "UTC", "America/New_York"])
    found = [draw(schedules(zone))]
    if draw(st.booleans()):
        found.append(draw(schedules(draw(others))))
    return found, change + draw(st.integers(-3 * 1440, 1440)) * MINUTE


@given(cases())
@example(([NEW_YORK_NIGHT], utc("2026-11-01 05:59")))  # it ends where an hour is repeated
@settings(max_examples=60)
def test_a_window_is_open_when_the_clock_says_so_and_changes_when_it_does(
    case: tuple[list[ScheduleConfig], datetime],
) -> None:
    """`active` is what the model says; `next_change` is its first instant that differs."""
    found, instant = case
    minutes = 6 * 1440
    each = [open_minutes(one, instant, minutes) for one in found]
    model = [any(states) for states in zip(*each, strict=True)]
    answer = window_state(found, instant)
    assert answer.active is model[0]
    change = next((n for n, state in enumerate(model) if state is not model[0]), None)
    if change is not None:
        assert answer.next_change == instant + change * MINUTE
    else:
        assert answer.next_change is None or answer.next_change >= instant + minutes * MINUTE


@given(cases())
def test_nothing_changes_before_the_next_change(
    case: tuple[list[ScheduleConfig], datetime],
) -> None:
    """The last microsecond before it is as the instant; itself, it is the opposite."""
    found, instant = case
    answer = window_state(found, instant)
    if answer.next_change is not None:
        assert answer.next_change > instant
        just_before = window_state(found, answer.next_change - timedelta(microseconds=1))
        assert (just_before.active, just_before.next_change) == (answer.active, answer.next_change)
        assert window_state(found, answer.next_change).active is not answer.active


@given(cases())
def test_the_end_of_a_window_lies_ahead_of_it(
    case: tuple[list[ScheduleConfig], datetime],
) -> None:
    """It is after the instant, and not after the time from which on nothing is open."""
    found, instant = case
    answer = window_state(found, instant)
    assert (answer.window_end is not None) is answer.active
    if answer.window_end is not None:
        assert instant < answer.window_end
        assert answer.next_change is None or answer.window_end <= answer.next_change


@given(st.sampled_from(CHANGES), st.integers(-1440, 1440), st.booleans())
@example((BERLIN, SPRING), 60, True)
def test_a_local_time_is_an_instant_at_which_clocks_show_it(
    place: tuple[str, datetime], minutes: int, last: bool
) -> None:
    """Or the first instant at which they show a later one, when they never do."""
    zone = ZoneInfo(place[0])
    local = (place[1] + minutes * MINUTE).astimezone(zone).replace(tzinfo=None)
    found = instant_of(local, zone, last=last)
    assert found.astimezone(zone).replace(tzinfo=None) == local


# --- single cases --------------------------------------------------------------------------


def test_over_midnight_a_window_belongs_to_the_day_on_which_it_begins() -> None:
    """Friday's night goes into Saturday; Saturday's own night does not exist."""
    nights = [schedule("22:00", "05:00", "UTC", ["fri"])]
    friday = utc("2026-01-16 22:00")
    assert not window_state(nights, friday - MINUTE).active
    assert window_state(nights, friday).next_change == utc("2026-01-17 05:00")
    later = window_state(nights, utc("2026-01-17 05:00"))
    assert (later.active, later.next_change) == (False, friday + 7 * DAY)


@pytest.mark.parametrize(
    ("begin", "end", "opens", "closes"),
    [
        ("01:30", "04:00", "2026-03-29 00:30", "2026-03-29 02:00"),  # an hour is missing
        ("02:15", "04:00", "2026-03-29 01:00", "2026-03-29 02:00"),  # begins after the skip
        ("01:00", "02:45", "2026-03-29 00:00", "2026-03-29 01:00"),  # ends with the skip
    ],
)
def test_times_that_are_skipped(begin: str, end: str, opens: str, closes: str) -> None:
    """They stand for the instant at which the clocks skip them."""
    asked = window_state([schedule(begin, end)], utc("2026-03-28 23:00"))
    assert (asked.active, asked.next_change) == (False, utc(opens))
    assert window_state([schedule(begin, end)], utc(opens)).next_change == utc(closes)


def test_a_window_within_the_skipped_hour_is_not_there_that_day() -> None:
    """It opens the next day again."""
    night = [schedule("02:10", "02:50")]
    assert window_state(night, utc("2026-03-28 12:00")).next_change == utc("2026-03-30 00:10")


@pytest.mark.parametrize(
    ("begin", "end", "opens", "closes"),
    [
        ("01:00", "02:30", "2026-10-24 23:00", "2026-10-25 01:30"),  # ends at the second 02:30
        ("02:30", "04:00", "2026-10-25 00:30", "2026-10-25 03:00"),  # begins at the first one
        ("02:15", "02:45", "2026-10-25 00:15", "2026-10-25 01:45"),
    ],
)
def test_times_that_come_twice(begin: str, end: str, opens: str, closes: str) -> None:
    """A window begins at the first and ends at the second."""
    asked = window_state([schedule(begin, end)], utc("2026-10-24 22:00"))
    assert (asked.active, asked.next_change) == (False, utc(opens))
    assert window_state([schedule(begin, end)], utc(opens)).next_change == utc(closes)


def test_a_day_that_a_zone_skips_has_no_window() -> None:
    """Samoa had no 30 December 2011."""
    days = [schedule("08:00", "17:00", "Pacific/Apia")]
    thursday_evening = utc("2011-12-30 03:00")
    assert window_state(days, thursday_evening).next_change == utc(
        "2011-12-30 18:00"
    )  # Saturday, 08:00


def test_a_night_that_begins_on_a_skipped_day_is_what_is_left_of_it() -> None:
    """Its beginning stands for the instant of the skip, as any time that does not exist."""
    nights = [schedule("22:00", "06:00", "Pacific/Apia", days=["fri"])]
    skip = utc("2011-12-30 10:00")
    assert window_state(nights, skip - HOUR).next_change == skip
    assert window_state(nights, skip).next_change == utc("2011-12-30 16:00")  # Saturday, 06:00


def test_whole_days_are_open_for_ever() -> None:
    """Nothing ever changes, but each day is a window of its own."""
    always = [schedule("00:00", "24:00")]
    found = window_state(always, utc("2026-03-29 12:00"))
    assert (found.active, found.next_change) == (True, None)
    assert found.window_end == utc("2026-03-29 22:00")


def test_windows_that_touch_are_one_and_the_latest_end_counts() -> None:
    """Of two schedules, too; each keeps its name."""
    both = [
        schedule("08:00", "12:00", "UTC", name="a"),
        schedule("12:00", "13:00", "UTC", name="b"),
    ]
    found = window_state(both, utc("2026-01-15 09:00"))
    assert (found.next_change, found.name) == (utc("2026-01-15 13:00"), "a")
    assert found.window_end == utc("2026-01-15 12:00")
    assert window_state(both, utc("2026-01-15 12:00")).name == "b"


def test_the_schedule_that_opens_next_is_named() -> None:
    """Before it opens."""
    both = [schedule("08:00", "9:00", "UTC", name="a"), schedule("07:00", "8:00", "UTC", name="b")]
    assert window_state(both, utc("2026-01-15 06:00")).name == "b"


def test_without_a_schedule_or_with_a_disabled_one_nothing_is_due() -> None:
    """And nothing ever changes."""
    assert window_state([], SPRING) == NEVER
    assert window_state([schedule(enabled=False)], SPRING) == NEVER


def test_a_window_that_comes_once_in_weeks_is_found() -> None:
    """On Sundays at a time that is skipped on the next one, it opens a week later."""
    sundays = [schedule("02:10", "02:50", days=["sun"])]
    assert window_state(sundays, utc("2026-03-23 00:00")).next_change == utc("2026-04-05 00:10")


def test_a_window_is_never_without_length() -> None:
    """Those that a change of the clocks leaves without one are left out."""
    days = list(open_times(schedule("02:10", "02:50"), SPRING.date() - DAY, 3))
    assert [day.begin.date() for day in days] == [(SPRING - DAY).date(), (SPRING + DAY).date()]
