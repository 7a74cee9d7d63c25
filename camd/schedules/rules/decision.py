"""What the schedules of a camera ask for now, and what a session's end means for them.

The rule, which docs/recordings.md tells to people: somebody's session is never touched. While a
window is open and nothing records, the schedule starts a session. A stop by hand counts until the
end of the window, or until somebody starts again. The end of the window stops what the schedule
started, and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime

import attrs

from camd.config.schema import ScheduleConfig
from camd.errors import Refusal
from camd.model import Session, SessionState
from camd.model.schedule_values import OverriddenBy
from camd.schedules.rules.windows import WindowState, due

SESSION_KEY = "schedule"  # of the sessions that schedules start
_OWNER = "schedule "  # what the owner of such a session begins with, before the schedule's name

FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 60.0
SETTLED_SECONDS = 60.0  # a session that lasted so long was no failure

_ENDS_IT = {"stopped": OverriddenBy.MANUAL_STOP, "source_ended": OverriddenBy.SOURCE_ENDED}


class Action(enum.Enum):
    """What is to be done about a camera's session."""

    NOTHING = "nothing"
    START = "start"
    STOP = "stop"


@attrs.frozen
class Override:
    """Until when a window is left alone, and why."""

    by: OverriddenBy
    until: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether it still counts."""
        return instant < self.until


def owner_of(schedule: str) -> str:
    """Name the owner of the sessions of a schedule."""
    return _OWNER + schedule


def is_scheduled(session: Session) -> bool:
    """Whether a schedule started a session: it is known from the session itself, which is kept."""
    return session.key == SESSION_KEY and session.owner.startswith(_OWNER)


def is_ending(session: Session) -> bool:
    """Whether a session was told to end, also before its first frame."""
    if session.state is SessionState.STARTING:
        return session.reason != ""
    return session.state in (SessionState.ENDING, SessionState.ENDED)


def decide(now: WindowState, session: Session | None, override: Override | None) -> Action:
    """Say what is to be done, with the session that runs and the override that holds."""
    if session is None:
        return Action.START if now.active and override is None else Action.NOTHING
    if now.active or is_ending(session) or not is_scheduled(session):
        return Action.NOTHING
    return Action.STOP


def overrides(reason: str, now: WindowState) -> Override | None:
    """Say what follows when a session ends for this reason and no schedule has asked for it.

    A stop by hand, and the end of a file, count until the end of the window that is open.
    """
    by = _ENDS_IT.get(reason)
    if by is None or now.window_end is None:
        return None
    return Override(by, now.window_end)


def refused_by_hand(refusal: Refusal) -> bool:
    """Whether a start was refused because somebody stopped the session before its first frame."""
    return refusal.details.get("cause") == "stopped"


def next_delay(delay: float) -> float:
    """Return the pause after a failure, in seconds, from the pause before it; 0: none yet."""
    return min(MAX_DELAY_SECONDS, max(FIRST_DELAY_SECONDS, delay * 2))


def planned_end(schedules: Sequence[ScheduleConfig], session: Session) -> datetime | None:
    """Return when the schedules of a camera end a session of theirs; None: not known.

    For a session that an earlier run of the daemon left.
    """
    if not is_scheduled(session):
        return None
    own = [schedule for schedule in schedules if schedule.records(session.camera_id)]
    begun = due(own, session.start)
    return begun.next_change if begun.active else None
