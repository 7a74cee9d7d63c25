"""The scrub's progress and pace: when it is due, what a restart keeps, how slowly it reads."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, segment

from camd.api import result_fields
from camd.api.event_publisher import notification_of
from camd.model import DamageFound
from camd.runtime.state_file import from_json, to_json
from camd.storage.recovery.reconcile import FileOutcome, ReconcileFinding, RecoveryReport
from camd.storage.verify.rules.findings import Finding, FindingKind
from camd.storage.verify.rules.scrub_progress import (
    MAX_PROBLEMS,
    ScrubPace,
    ScrubPosition,
    ScrubProgress,
    ScrubRun,
)

WEEK = timedelta(days=7)
WRONG = Finding("a.mp4", FindingKind.HASH, "is not what was recorded", "Put it back.")


def test_runs_are_due_by_when_the_last_one_began() -> None:
    """At once for the first, for one that was interrupted, and when the clock was set back."""
    assert ScrubProgress().seconds_until_due(NOON, WEEK) == 0
    assert ScrubProgress(ScrubRun(NOON), ScrubRun(NOON)).seconds_until_due(NOON, WEEK) == 0
    rested = ScrubProgress().begun(NOON).over(NOON + timedelta(hours=5))
    assert rested.seconds_until_due(NOON + timedelta(days=6), WEEK) == 86400
    assert rested.seconds_until_due(NOON + timedelta(days=9), WEEK) == 0
    assert rested.seconds_until_due(NOON - timedelta(days=1), WEEK) == 0


def test_a_round_counts_what_was_checked() -> None:
    """What was passed moves the mark alone; problems are counted beyond those that are kept."""
    begun = ScrubRun(NOON).passed(segment("open.mp4"))
    assert begun == ScrubRun(NOON, at=ScrubPosition(NOON, "open.mp4"))
    for _ in range(MAX_PROBLEMS + 1):
        begun = begun.verified(segment("b.mp4"), 1000, [WRONG])
    assert (begun.files, begun.read_bytes) == (MAX_PROBLEMS + 1, 1000 * (MAX_PROBLEMS + 1))
    assert (begun.problem_count, len(begun.problems)) == (MAX_PROBLEMS + 1, MAX_PROBLEMS)
    assert begun.at == ScrubPosition(NOON, "b.mp4")


def test_an_interrupted_run_goes_on_as_it_was() -> None:
    """A restart neither begins anew nor forgets what was found."""
    current = ScrubRun(NOON).verified(segment(), 5, [WRONG])
    progress = ScrubProgress(current, ScrubRun(NOON - WEEK, ended=NOON))
    assert from_json(to_json(progress), ScrubProgress) == progress
    assert progress.begun(NOON + WEEK) == progress
    assert progress.over(NOON + WEEK).current is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"current":5}', '{"last":{"began":"noon"}}']
)
def test_text_that_is_no_progress_is_recognised(text: str) -> None:
    """Its file counts as damaged, and the scrub begins as if there had never been one."""
    with pytest.raises(ValueError, match="not understood"):
        from_json(text, ScrubProgress)


def test_a_fast_disk_is_read_at_the_rate() -> None:
    """What was read, divided by reading and pausing, is what was configured."""
    pace = ScrubPace(1_000_000)
    reading = 100 * 0.01
    pausing = sum(pace.pause_after(100_000, 0.01) for _ in range(100))
    assert pausing + reading == pytest.approx(10.0)


def test_a_slow_disk_is_left_alone_most_of_the_time() -> None:
    """Three quarters of it, whatever the rate would allow."""
    assert ScrubPace(10**12).pause_after(1 << 20, 2.0) == pytest.approx(6.0)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.floats(0, 5)), min_size=1))
def test_pauses_are_never_shorter_than_they_are_owed(reads: list[tuple[int, float]]) -> None:
    """However the reads are cut, rate and share hold but for the shortest pause."""
    pace = ScrubPace(500_000)
    paused = sum(pace.pause_after(size, seconds) for size, seconds in reads)
    seconds = sum(each for _, each in reads)
    assert paused >= 3 * seconds - 0.011
    assert paused + seconds >= sum(size for size, _ in reads) / 500_000 - 0.011


# --- what clients see ---


def test_damage_is_a_notification_of_its_own() -> None:
    """With the file, what is wrong with it, and what to do; it replaces no other one."""
    event = DamageFound("a.mp4", "hash", "is not what was recorded", "Put it back.")
    assert notification_of(event) == (
        "scrub_update",
        {
            "filename": "a.mp4",
            "status": "ERROR",
            "fault": "hash",
            "message": "a.mp4 is not what was recorded",
            "suggestion": "Put it back.",
        },
        None,
    )


def test_the_status_shows_rounds() -> None:
    """What runs, and what the last one found."""
    shown = result_fields.scrub(
        ScrubProgress(None, ScrubRun(NOON).verified(segment(), 9, [WRONG])), enabled=True
    )
    assert (shown["enabled"], shown["running"], shown["current_round"]) == (True, False, None)
    last = shown["last_round"]
    assert (last["files_checked"], last["problem_count"]) == (1, 1)
    assert last["problems"][0]["filename"] == "a.mp4"
    assert result_fields.scrub(ScrubProgress(ScrubRun(NOON)), enabled=True)["running"] is True


def test_the_status_shows_what_recovery_found() -> None:
    """Nothing before it began; then when, how many of what, and the first findings."""
    assert result_fields.recovery(None) is None
    found = [
        ReconcileFinding(f"{n}.mp4", FileOutcome.SEALED, "sealed", 3, 90, 100) for n in range(30)
    ]
    shown = result_fields.recovery(RecoveryReport.of(found, NOON, None))
    assert shown is not None
    assert (shown["began"], shown["ended"], shown["files"]) == (NOON, None, 30)
    assert shown["counts"] == {"sealed": 30}
    assert len(shown["findings"]) == result_fields.MAX_FINDINGS
    assert shown["findings"][0] == {
        "filename": "0.mp4",
        "outcome": "sealed",
        "detail": "sealed",
        "frames": 90,
        "torn_bytes": 3,
    }
