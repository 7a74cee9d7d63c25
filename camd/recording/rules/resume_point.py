"""Where a session that is continued goes on, on the wall clock as it is now. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.model import Session
from camd.storage.rules.clock_trust import RecordingEndMoment

STEP_SECONDS = 2.0  # smaller differences are within the accuracy of a file's arrival time
_NONE = timedelta(0)


@attrs.frozen
class BootMoment:
    """A moment by both clocks: wall time, and seconds of the monotonic clock of one boot."""

    wall: datetime
    monotonic: float
    boot_id: str

    def since_start_of(self, session: Session) -> float:
        """Seconds since a session's first frame; by the wall clock only if it was another boot."""
        if session.boot_id and session.boot_id == self.boot_id:
            return max(0.0, self.monotonic - session.monotonic_start)
        return max(0.0, (self.wall - session.start).total_seconds() - session.stepped_seconds)

    def planned_end_of(self, session: Session) -> datetime | None:
        """When a session's time is over, as the wall clock is now; None: when it is stopped."""
        if session.duration_limit is None:
            return None
        elapsed = self.since_start_of(session) - session.preroll_seconds
        return self.wall + session.duration_limit - timedelta(seconds=elapsed)


@attrs.frozen
class ResumePoint:
    """Where a session goes on: `until`; the clock was set by `moved` since the newest file began.

    `untold` is the part of that step that no entry of the ledger says yet. `exact`: `until` is by
    the monotonic clock.
    """

    until: datetime
    moved: timedelta = _NONE
    untold: timedelta = _NONE
    exact: bool = False

    @classmethod
    def of(
        cls, session: Session, moment: BootMoment, arrival: RecordingEndMoment | None
    ) -> ResumePoint:
        """Compare the clocks; `arrival` is that of the newest file's last frame, if it is known."""
        until = accounted_until(session)
        if not session.segments:
            return cls(until)
        newest = session.segments[-1]
        told = sum((gap.stepped for gap in session.gaps if gap.start >= newest.start), _NONE)
        if arrival is None or not arrival.boot_id or arrival.boot_id != moment.boot_id:
            untold = min(_NONE, moment.wall - until)
            return cls(until + untold, told + untold, untold)
        since = timedelta(seconds=moment.monotonic - arrival.monotonic_end)
        moved = _rounded(moment.wall - since - newest.end)
        untold = _rounded(moved - told)
        by_file, by_entry = newest.end + moved, until + untold
        there = by_file if until == newest.end else max(by_file, by_entry)
        return cls(min(there, max(by_file, moment.wall)), moved, untold, exact=True)


def _rounded(step: timedelta) -> timedelta:
    return _NONE if abs(step.total_seconds()) < STEP_SECONDS else step


def accounted_until(session: Session) -> datetime:
    """Where the account ends: behind the newest segment, or an entry that came after it."""
    ends = [some[-1].end for some in (session.segments, session.gaps) if some]
    return max(ends, default=session.start)


def arrival_by_session(session: Session) -> RecordingEndMoment | None:
    """When the last frame of the newest file arrived, where the file does not say it."""
    if not session.segments or not session.boot_id:
        return None
    newest = session.segments[-1]
    steps = sum((gap.stepped for gap in session.gaps if gap.start <= newest.start), _NONE)
    since = newest.end - session.start - steps
    return RecordingEndMoment(session.boot_id, session.monotonic_start + since.total_seconds())
