"""The length of an outage of the daemon, whatever was done to the wall clock meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, segment
from support.recordings_folder import gap, session

from camd.model import Gap, GapCause, Session, clock_was_set
from camd.recording.rules.ledger import SessionLedger
from camd.recording.rules.resume_point import BootMoment, ResumePoint, arrival_by_session
from camd.storage.rules.clock_trust import RecordingEndMoment

SECOND = timedelta(seconds=1)
UP = 1000.0  # the monotonic clock at noon


def left(*gaps: Gap) -> Session:
    """Describe a session with one file, from noon to ten seconds after noon."""
    one = segment("a.mp4", start=NOON, end=NOON + 10 * SECOND, duration_seconds=10.0, number=0)
    return session(start=NOON, segments=(one,), gaps=gaps, boot_id="b1", monotonic_start=UP)


def later(seconds: float, stepped: float = 0.0, boot: str = "b1") -> BootMoment:
    """Return the moment so long after noon, on a clock that was set by so much."""
    return BootMoment(NOON + (seconds + stepped) * SECOND, UP + seconds, boot)


def step(at: datetime, by: float) -> Gap:
    """Make the entry of a clock step."""
    words = clock_was_set(by * SECOND)
    return attrs.evolve(gap(0, 0, cause=GapCause.CLOCK_STEP, action=words), start=at, end=at)


ARRIVAL = RecordingEndMoment("b1", UP + 10)


def outage(ledger: SessionLedger, moment: BootMoment) -> Gap:
    """Begin a file at `moment`, and return the entry for the time before it."""
    (entry,) = ledger.begin(moment.wall)
    assert entry.cause is GapCause.DAEMON_DOWN
    return entry


def resumed(session: Session, there: ResumePoint) -> SessionLedger:
    """Continue a session at a point."""
    return SessionLedger.resumed(session, moment=BootMoment(NOON, UP, "b1"), point=there)


@pytest.mark.parametrize("by", [0.0, 3600.0, -3600.0, 5.0, -5.0, 86_400.0 * 400])
def test_an_outage_within_one_boot_is_as_long_as_it_was(by: float) -> None:
    """A daemon that was down for 3 s while the clock was set has an entry of 3 s, and one for the
    step."""
    account = left()
    there = ResumePoint.of(account, later(12, by), ARRIVAL)
    assert (there.untold, there.exact) == (by * SECOND, True)
    ledger = resumed(account, there)
    entry = outage(ledger, later(13, by))
    assert entry.duration_seconds == 3.0
    assert entry.end == NOON + (13 + by) * SECOND
    assert ledger.stepped_seconds == by


def test_a_step_that_the_ledger_has_is_entered_once() -> None:
    """The daemon was killed before the file ended: the entry is there, and the file's times are by
    the old clock."""
    account = left(step(NOON + 3605 * SECOND, 3600.0))
    there = ResumePoint.of(account, later(12, 3600.0), ARRIVAL)
    assert there.untold == timedelta(0)
    assert outage(resumed(account, there), later(13, 3600.0)).duration_seconds == 3.0


def test_an_entry_behind_the_newest_file_is_where_the_account_ends() -> None:
    """Its span is not entered again, and a later step shifts its end."""
    entry = gap(10, 15, cause=GapCause.CAMERA_LOST)
    account = left(entry)
    there = ResumePoint.of(account, later(20, 100.0), ARRIVAL)
    assert there.until == NOON + 115 * SECOND
    assert outage(resumed(account, there), later(21, 100.0)).duration_seconds == 6.0


def test_across_a_boot_only_a_clock_that_is_behind_is_known_to_be_set() -> None:
    """Then the outage has an unknown length, and is never negative; else the wall clock counts."""
    account = left()
    there = ResumePoint.of(account, later(500, -1000.0, "b2"), ARRIVAL)
    assert (there.untold, there.exact) == (-510 * SECOND, False)
    entry = outage(resumed(account, there), later(501, -1000.0, "b2"))
    assert entry.duration_seconds == 1.0
    account = left()
    there = ResumePoint.of(account, later(500, 0.0, "b2"), ARRIVAL)
    assert outage(resumed(account, there), later(501, 0.0, "b2")).duration_seconds == 491.0


def test_a_file_without_an_arrival_time_is_dated_by_its_session() -> None:
    """Such as a Matroska file; earlier steps are taken into account."""
    assert arrival_by_session(left()) == ARRIVAL
    assert arrival_by_session(attrs.evolve(left(), boot_id="", monotonic_start=0.0)) is None
    assert arrival_by_session(left(step(NOON, 4.0))) == RecordingEndMoment("b1", UP + 6)


@given(
    down=st.floats(0.1, 10_000),
    by=st.one_of(st.just(0.0), st.floats(-1e8, 1e8)),
    jitter=st.floats(-0.9, 0.9),
    same_boot=st.booleans(),
)
def test_no_entry_is_longer_than_the_outage(
    down: float, by: float, jitter: float, same_boot: bool
) -> None:
    """Within one boot, to the accuracy of arrival times; in any boot, no entry is negative."""
    account = left()
    boot = "b1" if same_boot else "b2"
    arrival = RecordingEndMoment("b1", UP + 10 + jitter)
    there = ResumePoint.of(account, later(10 + down, by, boot), arrival)
    entries = resumed(account, there).begin(later(10 + down, by, boot).wall)
    assert all(entry.duration_seconds >= 0 for entry in entries)
    if same_boot:
        assert sum(entry.duration_seconds for entry in entries) <= down + 2.0 + 1e-3
        assert sum(entry.duration_seconds for entry in entries) >= down - 3.0
