"""The check of unplugged cameras sees each thing that can be wrong, and nothing else."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from camera_round_checks import (
    Account,
    LedgerGap,
    Limits,
    Moment,
    Pull,
    Tally,
    check_rounds,
    read_account,
    read_pull,
    summary,
)

PULL = Pull(
    *(1, "camera0", Moment(100.0, 100.4), Moment(105.0, 105.4), "same"),
    gone=100.5,
    listed=106.0,
    back=107.0,
)
LATER = attrs.evolve(
    PULL,
    number=2,
    camera="camera1",
    pulled=Moment(120.0, 120.4),
    plugged=Moment(123.0, 123.4),
    gone=120.9,
    listed=124.0,
    back=125.4,
)
GAP = LedgerGap(100.2, 106.6, "camera_lost")
ACCOUNT = Account("s0", "s0", (GAP,), 90, 90, durable=True)
OTHER = Account("s1", "s1", (LedgerGap(120.3, 125.0, "camera_lost"),), 97, 95, durable=True, lost=2)
TALLY = Tally(1, 30, 5, 50_000, 2)


def _findings(pull: Pull = PULL, account: Account = ACCOUNT, after: Tally = TALLY) -> list[str]:
    accounts = {"camera0": account, "camera1": OTHER}
    return check_rounds([pull, LATER], accounts, TALLY, after, Limits())


def test_rounds_that_went_well_have_no_finding() -> None:
    """A gap per pull, in its session, from the pull to the return: no finding."""
    assert _findings() == []
    dropped = LedgerGap(90.0, 90.5, "frames_dropped_by_source")
    assert _findings(account=attrs.evolve(ACCOUNT, gaps=(dropped, GAP))) == []
    assert summary([PULL, LATER]).splitlines() == [
        "2 rounds, 2 recorded again",
        "recording again after: median 1.80 s, worst 2.00 s",
        "called gone after: median 0.30 s, worst 0.50 s",
        "called present after: median 0.60 s, worst 0.60 s",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"back": None}, "round 1, camera0: does not record again"),
        ({"gone": 101.5}, "round 1, camera0: called gone after 1.10 s"),
        ({"gone": None}, "round 1, camera0: called gone never"),
        ({"listed": 107.5}, "round 1, camera0: called present after 2.10 s"),
        ({"back": 106.1}, "round 1, camera0: the gap ends 0.50 s after it recorded again"),
    ],
)
def test_a_camera_that_was_late_is_reported(changes: dict[str, Any], expected: str) -> None:
    """Every time that is told is held against its limit."""
    assert _findings(attrs.evolve(PULL, **changes)) == [expected]


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ((), ["round 1, camera0: 0 ledger entries: "]),
        (
            (LedgerGap(100.2, 103.0, "camera_lost"), LedgerGap(103.5, 106.6, "camera_stalled")),
            [
                "round 1, camera0: 2 ledger entries: camera_lost, camera_stalled",
                "round 1, camera0: the gap ends 2.00 s before the plug",
                "round 1, camera0: the ledger says camera_stalled",
                "round 1, camera0: the gap begins +3.10 s from the pull",
            ],
        ),
        (
            (LedgerGap(98.9, 106.6, "camera_lost"),),
            ["round 1, camera0: the gap begins -1.50 s from the pull"],
        ),
        (
            (LedgerGap(100.2, 106.6, "encoder_exit"),),
            ["round 1, camera0: the ledger says encoder_exit"],
        ),
        (
            (GAP, LedgerGap(130.0, 131.5, "camera_lost")),
            ["camera0: camera_lost of 1.50 s where nobody pulled"],
        ),
    ],
)
def test_a_ledger_that_differs_is_reported(
    gaps: tuple[LedgerGap, ...], expected: list[str]
) -> None:
    """An entry that is missing, too many, at another time or of another cause shows."""
    assert _findings(account=attrs.evolve(ACCOUNT, gaps=gaps)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stopped_as": "s9"}, "camera0: session s0 became s9"),
        ({"durable": False}, "camera0: its receipt says that it is not durable"),
        ({"captured": 91}, "camera0: captured 91 is not written 90 and ledgered 0"),
    ],
)
def test_a_session_that_was_not_one_is_reported(changes: dict[str, Any], expected: str) -> None:
    """A session keeps its id, and its frames add up."""
    assert _findings(account=attrs.evolve(ACCOUNT, **changes)) == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pid": 2}, "the service was restarted: process 1, then 2"),
        ({"processes": 3}, "3 capture processes, 2 before"),
        ({"descriptors": 31}, "descriptors: 1 more than before"),
        ({"threads": 8}, "threads: 3 more than before"),
        ({"memory": 70_000}, "memory: 20000 more than before"),
    ],
)
def test_what_leaks_is_reported(changes: dict[str, int], expected: str) -> None:
    """What the service holds is what it held before."""
    assert _findings(after=attrs.evolve(TALLY, **changes)) == [expected]


def _notification(
    moment: float, status: str, method: str = "camera_status_update"
) -> dict[str, Any]:
    return {"k": "event", "t": moment, "m": method, "camera_id": "camera0", "status": status}


def test_a_round_is_read_from_what_was_told() -> None:
    """The first word after the pull and after the plug counts, of this camera alone."""
    bare = attrs.evolve(PULL, gone=None, listed=None, back=None)
    lines = [
        _notification(99.0, "DISCONNECTED"),
        _notification(100.1, "DISCONNECTED") | {"camera_id": "camera1"},
        {"k": "camera", "t": 100.5, "c": "camera0", "status": "DISCONNECTED"},
        _notification(102.0, "CONNECTED"),
        _notification(102.0, "GAP", "recording_status_update"),
        {"k": "answer", "t": 105.5, "n": 1},
        _notification(106.0, "CONNECTED"),
        _notification(107.0, "GAP", "recording_status_update"),
        _notification(109.0, "CONNECTED"),
    ]
    assert read_pull(bare, lines) == PULL
    assert read_pull(bare, lines[:4]) == attrs.evolve(bare, gone=100.5)


def test_a_gap_of_frames_that_the_source_dropped_is_no_return() -> None:
    """A camera is back with the gap of its absence, not with one of dropped frames before that."""
    bare = attrs.evolve(PULL, gone=None, listed=None, back=None)
    told = "recording_status_update"
    lines = [
        _notification(100.5, "DISCONNECTED"),
        _notification(105.5, "GAP", told) | {"reason": "frames_dropped_by_source"},
        _notification(106.0, "CONNECTED"),
        _notification(107.0, "GAP", told) | {"reason": "camera_lost"},
    ]
    assert read_pull(bare, lines) == PULL


def test_a_camera_is_called_present_after_it_was_called_gone() -> None:
    """Where the pull is told only after the plug, the status from before it is no return."""
    bare = attrs.evolve(PULL, gone=None, listed=None, back=None)
    stale = {"k": "camera", "t": 105.1, "c": "camera0", "status": "CONNECTED"}
    lines = [stale, _notification(105.3, "DISCONNECTED"), _notification(106.0, "CONNECTED")]
    assert read_pull(bare, lines) == attrs.evolve(bare, gone=105.3, listed=106.0)


def test_an_account_is_read_from_the_answer_to_a_stop() -> None:
    """Times become seconds, and only frames that the ledger has exactly count as lost."""
    times = {"from": "1970-01-01T00:01:00Z", "to": "1970-01-01T00:02:00Z", "duration": 60.0}
    lost = times | {"cause": "camera_lost", "frames": 60, "exact": False}
    slow = times | {"duration": 0.4, "cause": "storage_slow", "frames": 2, "exact": True}
    counts = {"frames_captured": 12, "frames_written": 10, "durable": True}
    stopped = {"session_id": "s2", "receipt": {"gaps": [lost, slow], **counts}}
    gaps = (
        LedgerGap(60.0, 120.0, "camera_lost", 60.0),
        LedgerGap(60.0, 120.0, "storage_slow", 0.4),
    )
    assert [gap.seconds for gap in gaps] == [60.0, 0.4]
    assert read_account("s1", stopped) == Account("s1", "s2", gaps, 12, 10, durable=True, lost=2)
