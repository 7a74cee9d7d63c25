"""Retention: what a policy takes, what it never takes, and when it stops itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, segment

from camd.model import Segment, SegmentState
from camd.storage.rules.retention_plan import (
    BYTES_PER_GB,
    MAX_LISTED,
    CleanupPlan,
    CleanupPlanner,
    KeptReason,
    PolicyType,
    RetentionPolicy,
    describe_run,
    mistakes_of,
)

GB = BYTES_PER_GB
DAY = timedelta(days=1)
AGE = RetentionPolicy(PolicyType.AGE, True, max_age_days=30)
SIZE = RetentionPolicy(PolicyType.SIZE, True, max_size_gb=5)
SEALED, MISSING = SegmentState.SEALED, SegmentState.MISSING


def recorded_segment(
    days_ago: float, gb: float = 1, state: SegmentState = SEALED, hours: float = 1
) -> Segment:
    """Describe a recording that ended so long ago."""
    end = NOON - days_ago * DAY
    return segment(
        f"{days_ago:g}.mp4",
        start=end - timedelta(hours=hours),
        end=end,
        size_bytes=int(gb * GB),
        state=state,
    )


def counted(segments: Sequence[Segment]) -> int:
    """Add up what is there."""
    return sum(s.size_bytes for s in segments if s.state is not MISSING)


def plan(
    policy: RetentionPolicy,
    segments: Sequence[Segment],
    pinned: Sequence[str] = (),
    busy: Sequence[str] = (),
    max_delete_percent: float = 100,
) -> CleanupPlan:
    """Plan over all segments at once."""
    planner = CleanupPlanner(policy, counted(segments), NOON, max_delete_percent)
    planner.take(segments, pinned, busy)
    return planner.plan()


def to_delete(found: CleanupPlan) -> list[str]:
    """Name what goes."""
    return [each.filename for each in found.to_delete]


TEN = [recorded_segment(day) for day in range(35, 25, -1)]


def test_age_takes_what_ended_before() -> None:
    """To the moment: what ended exactly so long ago stays, and what was begun before as well."""
    last = recorded_segment(30)
    across = recorded_segment(29.99, hours=2)
    found = plan(AGE, [recorded_segment(31), recorded_segment(30.0001), across, last])
    assert to_delete(found) == ["31.mp4", "30.0001.mp4"]
    assert (found.freed_bytes, found.short_bytes, found.enough) == (2 * GB, 0, True)
    assert plan(AGE, []).to_delete == ()


def test_size_takes_the_oldest_until_it_fits() -> None:
    """Exactly the limit fits; growing files that the index does not list yet count, too."""
    found = plan(SIZE, TEN)
    assert to_delete(found) == [s.filename for s in TEN[:5]]
    assert (found.freed_bytes, found.total_bytes, found.enough) == (5 * GB, 10 * GB, True)
    assert plan(SIZE, TEN[:5]).to_delete == ()
    planner = CleanupPlanner(SIZE, 10 * GB + 1, NOON, 100)
    planner.take(TEN, (), ())
    assert len(planner.plan().to_delete) == 6


def test_what_stays_says_why() -> None:
    """Pinned, busy and interrupted files stay with a reason, others go in their place; of
    missing ones nothing is said."""
    states = {0: SegmentState.OPEN, 1: SegmentState.INTERRUPTED, 2: MISSING}
    segments = [attrs.evolve(s, state=states.get(n, SEALED)) for n, s in enumerate(TEN)]
    pinned, busy = [segments[3].filename], [segments[4].filename]
    found = plan(SIZE, segments, pinned, busy)
    assert [(s.filename, s.reason) for s in found.kept] == [
        (segments[0].filename, KeptReason.BUSY),
        (segments[1].filename, KeptReason.INTERRUPTED),
        (segments[3].filename, KeptReason.PINNED),
        (segments[4].filename, KeptReason.BUSY),
    ]
    assert to_delete(found) == [s.filename for s in segments[5:9]]
    assert (found.total_bytes, found.kept_files, found.enough) == (9 * GB, 4, True)


def test_it_says_when_it_cannot_free_enough() -> None:
    """Everything that may go goes, and how much is left over the limit is said."""
    found = plan(SIZE, TEN, pinned=[s.filename for s in TEN[2:]])
    assert (len(found.to_delete), found.short_bytes, found.enough) == (2, 3 * GB, False)
    assert "3000000000 bytes more than the policy allows are left" in describe_run(found, 2, 2 * GB)


@pytest.mark.parametrize(
    "policy", [RetentionPolicy(), RetentionPolicy(enabled=True, max_age_days=1)]
)
def test_a_manual_policy_takes_nothing(policy: RetentionPolicy) -> None:
    """Whatever else it says."""
    planner = CleanupPlanner(policy, counted(TEN), NOON, 0)
    assert planner.done
    planner.take(TEN, (), ())
    assert (planner.plan().to_delete, planner.plan().stopped_by_limit) == ((), False)
    assert not policy.removes
    assert "manual" in describe_run(planner.plan(), 0, 0)


@pytest.mark.parametrize(
    ("max_delete_percent", "stopped_by_limit"),
    [(0, True), (49.9, True), (50, False), (100, False), (float("inf"), False)],
)
def test_a_plan_over_the_limit_is_stopped(
    max_delete_percent: float, stopped_by_limit: bool
) -> None:
    """Five of ten gigabytes are 50 %: a plan is stopped by every limit below that."""
    found = plan(SIZE, TEN, max_delete_percent=max_delete_percent)
    assert (found.stopped_by_limit, found.share_percent, len(found.to_delete)) == (
        stopped_by_limit,
        50.0,
        5,
    )
    assert ("50.0 %" in describe_run(found, 0, 0)) is stopped_by_limit


def test_nothing_to_remove_is_within_every_limit() -> None:
    """An empty folder and one that fits are fine, whatever the limit."""
    assert not plan(SIZE, [], max_delete_percent=0).stopped_by_limit
    assert not plan(AGE, TEN[8:], max_delete_percent=0).stopped_by_limit
    assert plan(AGE, []).share_percent == 0


def test_a_long_list_of_what_stays_is_cut() -> None:
    """All are counted, the first ones named."""
    segments = [recorded_segment(4000 - n) for n in range(MAX_LISTED + 5)]
    found = plan(AGE, segments, pinned=[s.filename for s in segments])
    assert (len(found.kept), found.kept_files) == (MAX_LISTED, MAX_LISTED + 5)


def test_a_planner_asks_for_no_more_than_it_needs() -> None:
    """By age it is done at the first young recording, by size as soon as enough goes."""
    for policy in (AGE, SIZE):
        planner = CleanupPlanner(policy, counted(TEN), NOON, 100)
        assert not planner.done
        planner.take(TEN[:4], (), ())
        assert not planner.done
        planner.take(TEN[4:], (), ())
        assert planner.done
    assert CleanupPlanner(SIZE, 5 * GB, NOON, 100).done


def test_outcomes_are_told() -> None:
    """What was removed, what stays, and why it ended early."""
    found = plan(SIZE, TEN, busy=[TEN[0].filename])
    text = describe_run(found, 3, 3 * GB, "the service stops")
    assert text == (
        "3 of 5 files removed, 3000000000 bytes freed; 1 stay that the policy would take; "
        "stopped before the end: the service stops"
    )
    assert "off" in describe_run(plan(attrs.evolve(SIZE, enabled=False), TEN), 0, 0)


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        (AGE, []),
        (SIZE, []),
        (RetentionPolicy(), []),
        (RetentionPolicy(PolicyType.AGE, True), ["max_age_days"]),
        (RetentionPolicy(PolicyType.AGE, False, max_size_gb=5), ["max_age_days"]),
        (RetentionPolicy(PolicyType.SIZE, True, max_age_days=5), ["max_size_gb"]),
        (RetentionPolicy(PolicyType.AGE, True, 0), ["max_age_days"]),
        (RetentionPolicy(PolicyType.AGE, True, 36_501), ["max_age_days"]),
        (RetentionPolicy(PolicyType.AGE, True, float("nan")), ["max_age_days"]),
        (RetentionPolicy(PolicyType.SIZE, True, -1, float("inf")), ["max_age_days", "max_size_gb"]),
    ],
)
def test_mistakes_are_named(policy: RetentionPolicy, fields: list[str]) -> None:
    """A policy has what its type needs, and numbers that mean something."""
    assert [field for field, _ in mistakes_of(policy)] == fields


# --- properties ---

policies = st.one_of(
    st.builds(
        RetentionPolicy, st.just(PolicyType.AGE), st.just(True), st.floats(0.01, 50), st.none()
    ),
    st.builds(
        RetentionPolicy, st.just(PolicyType.SIZE), st.just(True), st.none(), st.floats(0.01, 50)
    ),
)


@st.composite
def stored_recordings(draw: st.DrawFn) -> tuple[list[Segment], set[str], set[str]]:
    """Draw recordings, oldest first, and which of them are pinned and busy."""
    ages = draw(st.lists(st.floats(0, 100), max_size=30, unique_by=lambda a: f"{a:g}"))
    segments = [
        recorded_segment(
            age, draw(st.integers(0, 5)), draw(st.sampled_from([SEALED] * 4 + [*SegmentState]))
        )
        for age in ages
    ]
    segments.sort(key=lambda s: (s.start, s.filename))
    names = [s.filename for s in segments]
    some = st.sets(st.sampled_from(names)) if names else st.just(set())
    return segments, draw(some), draw(some)


@given(policies, stored_recordings())
def test_what_is_protected_is_never_taken(policy: RetentionPolicy, recordings) -> None:
    """I5: nothing pinned, busy, growing, interrupted or missing goes."""
    segments, pinned, busy = recordings
    sealed = {s.filename for s in segments if s.state is SEALED}
    assert set(to_delete(plan(policy, segments, pinned, busy))) <= sealed - pinned - busy


@given(policies, stored_recordings())
def test_the_oldest_go_first(policy: RetentionPolicy, recordings) -> None:
    """What goes is the beginning of what may go, in order."""
    segments, pinned, busy = recordings
    allowed = [
        s.filename
        for s in segments
        if s.state is SEALED and s.filename not in pinned and s.filename not in busy
    ]
    taken = to_delete(plan(policy, segments, pinned, busy))
    assert taken == allowed[: len(taken)]


@given(policies, stored_recordings())
def test_it_frees_enough_or_says_that_it_cannot(policy: RetentionPolicy, recordings) -> None:
    """Afterwards the policy holds, except for what must stay; and no file goes in vain."""
    segments, pinned, busy = recordings
    found = plan(policy, segments, pinned, busy)
    taken = set(to_delete(found))
    left = [s for s in segments if s.filename not in taken]
    may_go = [
        s for s in left if s.state is SEALED and s.filename not in pinned and s.filename not in busy
    ]
    assert found.freed_bytes == counted(segments) - counted(left)
    if policy.type is PolicyType.SIZE:
        assert policy.max_size_gb is not None
        allowed = int(policy.max_size_gb * GB)
        over = counted(left) - allowed
        assert found.short_bytes == max(0, over)
        assert over <= 0 or not may_go
        assert not found.to_delete or over + found.to_delete[-1].size_bytes > 0
    else:
        cutoff = NOON - (policy.max_age_days or 0) * DAY
        assert all(s.end >= cutoff for s in may_go)
        assert all(s.end < cutoff for s in segments if s.filename in taken)


@given(policies, stored_recordings())
def test_a_second_run_takes_nothing(policy: RetentionPolicy, recordings) -> None:
    """When a plan is carried out, there is nothing left for the same policy."""
    segments, pinned, busy = recordings
    found = plan(policy, segments, pinned, busy)
    left = [s for s in segments if s.filename not in to_delete(found)]
    again = plan(policy, left, pinned, busy)
    assert again.to_delete == ()
    assert (again.short_bytes, again.stopped_by_limit) == (found.short_bytes, False)


@given(policies, stored_recordings(), st.integers(1, 7))
def test_pieces_make_the_same_plan(policy: RetentionPolicy, recordings, size: int) -> None:
    """However the segments come, the plan is the same."""
    segments, pinned, busy = recordings
    planner = CleanupPlanner(policy, counted(segments), NOON, 100)
    for at in range(0, len(segments), size):
        if not planner.done:
            planner.take(segments[at : at + size], pinned, busy)
    assert planner.plan() == plan(policy, segments, pinned, busy)
