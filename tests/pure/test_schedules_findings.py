"""What `camd check` says of schedules, and what follows from a session for a window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from test_schedules_windows import BERLIN, cases, schedule

from camd.cli.check import judge_schedules
from camd.cli.checks.finding import Grade
from camd.config.schema import ScheduleConfig
from camd.model import CameraId, Session, SessionId, SessionState
from camd.model.schedule_values import OverriddenBy
from camd.schedules.rules.decision import (
    Override,
    ScheduleAction,
    decide_action,
    is_ending,
    is_scheduled,
    override_by,
    planned_end,
)
from camd.schedules.rules.schedule_findings import first_overlap
from camd.schedules.rules.windows import NEVER, window_state

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)  # a Thursday
OPENS = datetime(2026, 1, 15, 19, tzinfo=UTC)  # 20:00 in Berlin
CLOSES = datetime(2026, 1, 16, 5, tzinfo=UTC)
NIGHTS = schedule()
OPEN, CLOSED = window_state((NIGHTS,), OPENS), window_state((NIGHTS,), CLOSES)


def findings(*schedules: ScheduleConfig) -> list[tuple[Grade, str]]:
    """Judge schedules on a machine with one camera."""
    found = judge_schedules(schedules, {"camera0"}, NOON)
    return [(finding.grade, f"{finding.subject}: {finding.text}") for finding in found]


def test_a_schedule_says_whom_it_records_and_when_next() -> None:
    """With its zone, and the next change in UTC."""
    assert findings(NIGHTS) == [
        (
            Grade.OK,
            "schedule nights: camera0, every day 20:00 to 06:00 (Europe/Berlin); "
            "opens 2026-01-15 19:00 UTC",
        )
    ]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (schedule("11:00", "13:30", "UTC"), "open until 2026-01-15 13:30 UTC"),
        (schedule("00:00", "24:00", "UTC"), "always open"),
        (attrs.evolve(NIGHTS, cameras=("*",), days=("sat",)), "every camera, sat 20:00"),
    ],
)
def test_a_window_that_is_open_says_until_when(one: ScheduleConfig, words: str) -> None:
    """Or that it never closes."""
    ((grade, text),) = findings(one)
    assert grade is Grade.OK
    assert words in text


def test_what_a_schedule_cannot_or_will_not_do_is_a_warning() -> None:
    """Unknown cameras, overlaps, and schedules that are off."""
    unknown = attrs.evolve(NIGHTS, cameras=("camera0", "gate", "yard"))
    assert findings(unknown)[1:] == [
        (Grade.WARNING, "schedule nights: there is no camera gate, yard")
    ]
    late = schedule("23:00", "23:30", days=["sat"], name="late")
    assert findings(NIGHTS, late)[2:] == [
        (
            Grade.WARNING,
            "schedule late: overlaps with nights, next at 2026-01-17 22:00 UTC",
        )
    ]
    off = attrs.evolve(late, enabled=False)
    assert findings(NIGHTS, off)[1:] == [(Grade.WARNING, "schedule late: is switched off")]


def test_schedules_that_touch_or_record_others_do_not_overlap() -> None:
    """The end of a window does not belong to it."""
    after = schedule("06:00", "07:00", name="after")
    assert first_overlap(NIGHTS, after, NOON) is None
    other = attrs.evolve(NIGHTS, cameras=("gate",))
    assert first_overlap(NIGHTS, other, NOON) is None
    assert first_overlap(NIGHTS, attrs.evolve(other, cameras=("*",)), NOON) == OPENS
    assert first_overlap(NIGHTS, NIGHTS, OPENS + timedelta(hours=1)) == OPENS + timedelta(hours=1)


@given(cases())
def test_an_overlap_is_an_instant_at_which_both_are_open(
    case: tuple[list[ScheduleConfig], datetime],
) -> None:
    """And nothing earlier is one, as far as the minute before can tell."""
    found, instant = case
    one, other = found[0], found[-1]
    both = first_overlap(one, other, instant)
    if both is not None:
        assert window_state((one,), both).active
        assert window_state((other,), both).active
        if both > instant:
            before = both - timedelta(microseconds=1)
            assert not (
                window_state((one,), before).active and window_state((other,), before).active
            )


# --- what follows from a session -------------------------------------------------------------


def session(
    state: SessionState = SessionState.RECORDING,
    *,
    owner: str = "schedule nights",
    key: str | None = "schedule",
    reason: str = "",
    start: datetime = OPENS,
) -> Session:
    """Make a session."""
    return Session(
        session_id=SessionId("s"),
        camera_id=CameraId("camera0"),
        owner=owner,
        key=key,
        format="mp4",
        start=start,
        duration_limit=None,
        state=state,
        reason=reason,
        segments=(),
        gaps=(),
        frames_captured=0,
        frames_written=0,
        bytes_written=0,
        elapsed_seconds=0,
        durable=True,
        healthy=True,
    )


ANNS = session(owner="ann", key=None)
STOPPED = Override(OverriddenBy.MANUAL_STOP, CLOSES)


@pytest.mark.parametrize(
    ("now", "running", "override", "action"),
    [
        (OPEN, None, None, ScheduleAction.START),
        (OPEN, None, STOPPED, ScheduleAction.NOTHING),
        (OPEN, session(), None, ScheduleAction.NOTHING),
        (OPEN, ANNS, None, ScheduleAction.NOTHING),
        (CLOSED, None, None, ScheduleAction.NOTHING),
        (CLOSED, session(), None, ScheduleAction.STOP),
        (CLOSED, session(SessionState.WAITING), None, ScheduleAction.STOP),
        (CLOSED, session(SessionState.STARTING), None, ScheduleAction.STOP),
        (CLOSED, session(SessionState.ENDING), None, ScheduleAction.NOTHING),
        (CLOSED, session(SessionState.STARTING, reason="stopped"), None, ScheduleAction.NOTHING),
        (CLOSED, ANNS, None, ScheduleAction.NOTHING),
        (NEVER, session(), None, ScheduleAction.STOP),
    ],
)
def test_what_is_to_be_done(
    now: object, running: Session | None, override: Override | None, action: ScheduleAction
) -> None:
    """Somebody's session is never touched; a schedule's ends with the window."""
    assert decide_action(now, running, override) is action  # type: ignore[arg-type]


def test_a_session_is_a_schedules_by_owner_and_key() -> None:
    """A client may choose a key, and a key may be called as it likes, but not both by accident."""
    assert is_scheduled(session())
    assert not is_scheduled(session(owner="ann"))
    assert not is_scheduled(session(key=None))
    assert not is_ending(session(SessionState.WAITING, reason="camera_lost"))


def test_which_ends_count_until_the_windows_end() -> None:
    """A stop by hand and the end of a file; a duration, a failure and a shutdown do not."""
    assert override_by("stopped", OPEN) == STOPPED
    assert override_by("source_ended", OPEN) == Override(OverriddenBy.SOURCE_ENDED, CLOSES)
    assert override_by("stopped", CLOSED) is None
    for reason in ("duration", "storage_full", "internal_error", "shutdown", ""):
        assert override_by(reason, OPEN) is None


def test_the_planned_end_of_a_schedules_session_is_its_windows() -> None:
    """Windows that touch count as one; somebody's session has none."""
    after = schedule("06:00", "07:00", BERLIN, name="after")
    assert planned_end((NIGHTS,), session()) == CLOSES
    assert planned_end((NIGHTS, after), session()) == CLOSES + timedelta(hours=1)
    assert planned_end((NIGHTS,), ANNS) is None
    assert planned_end((NIGHTS,), session(start=NOON)) is None
    assert planned_end((attrs.evolve(NIGHTS, cameras=("gate",)),), session()) is None
