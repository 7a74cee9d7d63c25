"""Whether a range is complete: whether anything can still come into it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from support.recordings import NOON, segment, session

from camd.model import Segment, SegmentState, Session, SessionState
from camd.playback.rules.range_end import LATEST_ARRIVAL, final_until

HOUR_LATER = NOON + timedelta(hours=1)


def at(seconds: float) -> datetime:
    """Return a time in seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def file(begin: float, end: float, state: SegmentState = SegmentState.SEALED) -> Segment:
    """Describe a file of the session; times are seconds after noon."""
    return segment(f"{begin}.mp4", start=at(begin), end=at(end), state=state)


OPEN = file(10, 18, SegmentState.OPEN)
WAITING = {"state": SessionState.WAITING, "durable": True}


def running(*segments: Segment, **facts: object) -> Session:
    """Describe a session that runs since noon."""
    return session(
        **{"start": NOON, "state": SessionState.RECORDING, "segments": segments, **facts}
    )


@pytest.mark.parametrize(
    ("found", "final"),
    [
        (running(state=SessionState.STARTING), at(-5)),  # it may begin with pre-roll
        (running(file(0, 10)), at(10)),  # between two files none grows
        (running(file(0, 10), OPEN), at(15)),  # what is written, and not durable, cannot be played
        (running(OPEN, file(20, 21, SegmentState.OPEN)), at(15)),  # the first is being sealed
        (running(file(0, 10), file(10, 11, SegmentState.OPEN)), at(10)),  # it has no piece yet
        (running(file(0, 10), **WAITING), HOUR_LATER - LATEST_ARRIVAL),  # its camera is away
        (running(file(0, 7300), **WAITING), at(7300)),  # by a clock that was set back
        (running(file(0, 10), state=SessionState.WAITING, durable=False), at(10)),
    ],
)
def test_a_range_is_final_up_to_what_can_be_played(found: Session, final: datetime) -> None:
    """Up to the end of the newest file; while a session waits, up to a moment ago."""
    ends = {"10.mp4": at(15)} if OPEN in found.segments else {}
    told = final_until(
        found, ends, now=HOUR_LATER, preroll=timedelta(seconds=5), disk_takes_all=True
    )
    assert told == final


def test_frames_that_wait_for_the_disk_are_still_to_come() -> None:
    """However long it hangs: they were taken long ago."""
    told = final_until(
        running(file(0, 10), **WAITING),
        {},
        now=HOUR_LATER,
        preroll=timedelta(0),
        disk_takes_all=False,
    )
    assert told == at(10)
