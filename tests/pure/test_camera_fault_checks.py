"""The check of camera faults sees each thing that can be wrong, and nothing else."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from camera_fault_checks import Expected, Seen, Shown, check_fault, read_shown, read_unhealthy
from camera_round_checks import LedgerGap, Moment

EXPECTED = Expected(
    frozenset(("stalled",)),
    frozenset(("camera_stalled",)),
    says=("cabling",),
    also=frozenset(("lost",)),
)
STALLED = Shown("stalled", "No pictures come", "Check the cabling.", 10.0)
SEEN = Seen(
    (STALLED,),
    unhealthy=(106.0,),
    gaps=(LedgerGap(100.0, 130.0, "camera_stalled"),),
    session_before="s",
    session_after="s",
    recovered_after=2.0,
)
REFUSING = Expected(frozenset(("busy",)), refuses=True)
REFUSED = Seen((Shown("busy", "In use by v4l2-ctl", "End it.", 0.0),), refused=True)
REFUSED = attrs.evolve(REFUSED, recovered_after=1.0)


def test_a_fault_that_was_named_and_outlived_has_no_finding() -> None:
    """The expected cause, a gap of that cause, the same session: no finding."""
    assert check_fault(EXPECTED, SEEN) == []
    assert check_fault(REFUSING, REFUSED) == []
    harmless = attrs.evolve(SEEN, shown=(), gaps=(LedgerGap(1, 2, "frames_dropped_by_source"),))
    assert check_fault(Expected(), harmless) == []
    lost = Shown("lost", "Went away", "Plug it in.", 0.1)
    assert check_fault(EXPECTED, attrs.evolve(SEEN, shown=(lost, STALLED))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"shown": ()},
            ["no problem of stalled was shown, but none", 'nothing says "cabling": '],
        ),
        (
            {"shown": (STALLED, attrs.evolve(STALLED, cause="unknown"))},
            ["unknown was shown: No pictures come"],
        ),
        (
            {"shown": (attrs.evolve(STALLED, message="", suggestion="cabling"),)},
            ["stalled comes without words"],
        ),
        (
            {"gaps": (*SEEN.gaps, LedgerGap(140.0, 141.5, "encoder_exit"))},
            ["the ledger says encoder_exit, 1.50 s"],
        ),
        ({"gaps": ()}, ["the ledger has no camera_stalled"]),
        ({"unhealthy": ()}, ["a gap of 30.0 s was called unhealthy never"]),
        ({"unhealthy": (90.0, 112.0)}, ["a gap of 30.0 s was called unhealthy after 12.0 s"]),
        ({"refused": True}, ["the start was refused"]),
        ({"recovered_after": None}, ["it does not record again"]),
        ({"session_after": "t"}, ["session s became t"]),
        ({"processes": 2}, ["2 capture processes"]),
        ({"processes_left": 1}, ["1 capture processes are left after the stop"]),
        ({"unaccounted": 3}, ["3 frames are neither written nor ledgered"]),
    ],
)
def test_what_is_not_as_expected_is_reported(changes: dict[str, Any], expected: list[str]) -> None:
    """Every check sees what it is for."""
    assert check_fault(EXPECTED, attrs.evolve(SEEN, **changes)) == expected


def test_a_start_that_should_have_been_refused_is_reported() -> None:
    """A recording that begins although it cannot is no success."""
    seen = attrs.evolve(REFUSED, refused=False)
    assert check_fault(REFUSING, seen) == ["the start was not refused"]


def test_a_short_gap_need_not_be_called_unhealthy() -> None:
    """What is over within the time limit was healthy in time."""
    seen = attrs.evolve(SEEN, gaps=(LedgerGap(100.0, 106.9, "camera_stalled"),), unhealthy=())
    assert check_fault(EXPECTED, seen) == []


def test_a_slow_machine_is_given_time_to_tell_that_a_recording_is_unhealthy() -> None:
    """The factor applies to the delay of the machine only, not to camd's own five seconds."""
    late = attrs.evolve(SEEN, unhealthy=(108.5,))
    assert check_fault(EXPECTED, late) == ["a gap of 30.0 s was called unhealthy after 8.5 s"]
    assert check_fault(EXPECTED, late, 2.0) == []
    later = attrs.evolve(SEEN, unhealthy=(109.5,))
    assert check_fault(EXPECTED, later, 2.0) == ["a gap of 30.0 s was called unhealthy after 9.5 s"]


def _line(moment: float, camera: str = "camera0", **facts: object) -> dict[str, Any]:
    words = {"cause": None, "message": None, "suggestion": None}
    health = {"recording": True, "recording_healthy": True}
    return {"k": "camera", "t": moment, "c": camera, **words, **health, **facts}


def test_problems_and_health_are_read_from_what_was_told() -> None:
    """Each problem once, with the time that it took; health only while it records."""
    words = {"message": "No pictures come", "suggestion": "Check the cabling."}
    lines = [
        _line(5.0, cause="busy", **words),
        {"k": "event", "t": 6.0, "m": "camera_status_update", "cause": "lost"},
        _line(16.0, recording_healthy=False),
        _line(20.0, cause="stalled", recording_healthy=False, **words),
        _line(21.0, "camera1", cause="busy", **words),
        _line(22.0, cause="stalled", recording=False, recording_healthy=False, **words),
        _line(30.0),
    ]
    assert read_shown(lines, "camera0", Moment(9.5, 10.0)) == (STALLED,)
    assert read_unhealthy(lines, "camera0") == (16.0, 20.0)
