"""The account of what is under way on the disk, and of how long syncs took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.model import SyncLatency
from camd.storage.rules.io_stats import WINDOW_SYNCS, IoStats
from camd.storage.rules.timings import STORAGE_LIMITS


def test_the_oldest_call_tells_the_age() -> None:
    """The age is that of the oldest operation that has not returned, and 0 when all have."""
    latency = IoStats()
    assert latency.pending_seconds(100.0) == 0.0
    first, second = latency.begin(100.0), latency.begin(104.0)
    assert latency.pending_seconds(109.0) == 9.0
    latency.end(first, 109.0)
    assert latency.pending_seconds(109.0) == 5.0
    latency.end(second, 110.0)
    assert latency.pending_seconds(200.0) == 0.0


def test_an_operation_that_goes_on_is_young() -> None:
    """Each call to the disk is progress: many short ones are not one that hangs."""
    latency = IoStats()
    operation = latency.begin(0.0)
    for now in range(60):
        latency.step(operation, now * 0.9)
    assert latency.pending_seconds(60 * 0.9) == pytest.approx(0.9)
    assert not latency.slow(60 * 0.9)


def test_slow_is_a_second_and_is_remembered() -> None:
    """Slow begins when a call has taken a second and ends half a minute after the last such."""
    latency = IoStats()
    operation = latency.begin(0.0)
    assert [latency.slow(now) for now in (0.9, 1.0)] == [False, True]
    latency.end(operation, 1.5)
    assert latency.slow(1.4 + STORAGE_LIMITS.slow_memory_seconds)
    assert not latency.slow(1.5 + STORAGE_LIMITS.slow_memory_seconds)
    latency.end(latency.begin(50.0), 50.9)
    assert not latency.slow(50.9)
    operation = latency.begin(60.0)
    latency.step(operation, 61.0)
    latency.end(operation, 61.1)
    assert latency.slow(61.1)


def test_syncs_are_summed_up() -> None:
    """Latest, median, 95th percentile and worst; nothing is claimed before the first."""
    latency = IoStats()
    assert latency.syncs() == SyncLatency(0, None, None, None, None)
    for hundredth in (*range(2, 101), 1):
        latency.synced(hundredth / 100)
    assert latency.syncs() == SyncLatency(100, 0.01, 0.5, 0.95, 1.0)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=WINDOW_SYNCS * 2))
def test_only_the_latest_syncs_count(seconds: list[float]) -> None:
    """The window is bounded, and the numbers stand in order whatever was measured."""
    latency = IoStats()
    for each in seconds:
        latency.synced(each)
    recent = seconds[-WINDOW_SYNCS:]
    found = latency.syncs()
    assert found.count == len(recent)
    assert (found.latest, found.worst) == (round(seconds[-1], 6), round(max(recent), 6))
    assert min(recent) - 1e-6 <= found.median <= found.p95 <= found.worst


def test_old_syncs_are_forgotten() -> None:
    """The worst of long ago is not the worst of now, and takes no memory."""
    latency = IoStats()
    for seconds in (9.0, *[0.01] * WINDOW_SYNCS):
        latency.synced(seconds)
    assert latency.syncs() == SyncLatency(WINDOW_SYNCS, 0.01, 0.01, 0.01, 0.01)
