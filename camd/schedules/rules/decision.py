"""What the schedules of a camera ask for now, and what a session's end means for them.

The rule, as in docs/recordings.md: a session that a client started is never changed. While a window
is open and nothing is recorded, the schedule starts a session. A stop by a client overrides the
schedule until the end of the window, or until a client starts a session. The end of the window
stops the session that the schedule started, and no other one.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime

import attrs

from camd.config.schema import ScheduleConfig
from camd.errors import Refusal
from camd.growing_delay import GrowingDelay
from camd.model import Session, SessionState
from camd.model.schedule_values import OverriddenBy
from camd.schedules.rules.windows import WindowState, window_state

SESSION_KEY = "schedule"  # of the sessions that schedules start
_OWNER = "schedule "  # what the owner of such a session begins with, before the schedule's name

RETRY_DELAY = GrowingDelay(1.0, 60.0)  # after a start that was refused
STEADY_SECONDS = 60.0  # the end of a session that lasted longer is not counted as a failure

_OVERRIDING = {"stopped": OverriddenBy.MANUAL_STOP, "source_ended": OverriddenBy.SOURCE_ENDED}


class ScheduleAction(enum.Enum):
    """What a schedule does with a camera's session."""

    NOTHING = "nothing"
    START = "start"
    STOP = "stop"


@attrs.frozen
class Override:
    """Until when a schedule leaves a window alone, and why."""

    by: OverriddenBy
    until: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether it is in force at this instant."""
        return instant < self.until


def session_owner(schedule: str) -> str:
    """Return the owner of the sessions of a schedule."""
    return _OWNER + schedule


def is_scheduled(session: Session) -> bool:
    """Whether a schedule started a session; its key and owner say so, also after a restart."""
    return session.key == SESSION_KEY and session.owner.startswith(_OWNER)


def is_ending(session: Session) -> bool:
    """Whether a session was told to end, also before its first frame."""
    if session.state is SessionState.STARTING:
        return session.reason != ""
    return session.state in (SessionState.ENDING, SessionState.ENDED)


def decide_action(
    now: WindowState, session: Session | None, override: Override | None
) -> ScheduleAction:
    """Decide, from the session that runs and the override that is in force."""
    if session is None:
        return ScheduleAction.START if now.active and override is None else ScheduleAction.NOTHING
    if now.active or is_ending(session) or not is_scheduled(session):
        return ScheduleAction.NOTHING
    return ScheduleAction.STOP


def override_by(reason: str, now: WindowState) -> Override | None:
    """Return the override that the end of a session causes, by the reason of that end.

    A stop by hand, and the end of a file, override until the end of the window that is open.
    """
    by = _OVERRIDING.get(reason)
    if by is None or now.window_end is None:
        return None
    return Override(by, now.window_end)


def stopped_by_hand(refusal: Refusal) -> bool:
    """Whether a start was refused because somebody stopped the session before its first frame."""
    return refusal.details.get("cause") == "stopped"


def planned_end(schedules: Sequence[ScheduleConfig], session: Session) -> datetime | None:
    """Return when the schedules of a camera end a session of theirs; None: not known.

    For a session that an earlier run of the daemon left.
    """
    if not is_scheduled(session):
        return None
    own = [schedule for schedule in schedules if schedule.records(session.camera_id)]
    begun = window_state(own, session.start)
    return begun.next_change if begun.active else None
