"""Frames that a source left out are found at any rate, without false findings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate, cycle, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import media_streams as build
from support.media_streams import EPOCH, TIMESCALE, read

from camd.mp4.fragments import Fragment
from camd.recording.rules.source_drops import (
    FIRST_MERGE_SECONDS,
    LOOK_AHEAD,
    MAX_LOOK_AHEAD,
    MIN_KNOWN,
    WINDOW,
    DropDetector,
    SourceDrop,
)

FRAME = 512  # ticks: 30 frames a second
MANY = WINDOW + LOOK_AHEAD


def stream(ticks: list[int], sizes: Sequence[int] = (10,), guess: int = FRAME) -> list[Fragment]:
    """Build fragments of so many frames, repeatedly, from the intervals between frames.

    As with some muxers, the last frame of a fragment has a guessed duration.
    """
    times = [0, *accumulate(ticks)]
    pieces, first, lengths = [build.VIDEO_ONLY], 0, cycle(sizes)
    while first < len(times):
        chosen = times[first : first + next(lengths)]
        lasting = [two - one for one, two in pairwise(chosen)] + [guess]
        samples = [build.Sample(1, each, sync=first == 0) for each in lasting]
        pieces.append(build.fragment((1, chosen[0], samples)))
        first += len(chosen)
    return read(b"".join(pieces))[1]


def watch(finder: DropDetector, fragments: list[Fragment]) -> list[SourceDrop]:
    """Pass fragments that came without delay to the detector; return the complete entries."""
    found = []
    for each in fragments:
        found += finder.watch(each, EPOCH + timedelta(seconds=each.start_seconds))
    return found


def drops(ticks: list[int], finder: DropDetector | None = None) -> list[SourceDrop]:
    """Find all drops in a stream that ends."""
    finder = finder or DropDetector()
    return watch(finder, stream(ticks)) + finder.capture_over()


def calm(seconds: float) -> list[int]:
    """Make intervals without a drop."""
    return [FRAME] * round(seconds * 30)


@pytest.mark.parametrize("missing", [1, 2, 7, 45, 3000])
def test_frames_that_are_missing_are_counted(missing: int) -> None:
    """From one to thousands: their number, when the first was due, and when frames came again."""
    (drop,) = drops([FRAME] * 30 + [FRAME * (missing + 1)] + [FRAME] * 30)
    assert (drop.frames, drop.seconds) == (missing, pytest.approx(missing / 30))
    assert (drop.start - EPOCH).total_seconds() == pytest.approx(31 / 30, abs=1e-5)
    assert (drop.end - EPOCH).total_seconds() == pytest.approx((31 + missing) / 30, abs=1e-5)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_it_does_not_matter_where_fragments_are_cut(sizes: list[int]) -> None:
    """The duration that a muxer guesses for a fragment's last frame is not used."""
    ticks = [FRAME] * 40 + [FRAME * 5] + [FRAME] * 40 + [FRAME * 3] + [FRAME] * 40
    finder = DropDetector()
    found = watch(finder, stream(ticks, sizes, guess=FRAME * 4)) + finder.capture_over()
    assert [(drop.frames, round(drop.seconds, 6)) for drop in found] == [(6, 0.2)]


@given(st.integers(0, 2**32), st.sampled_from([0.1, 0.3, 0.45]))
def test_jitter_is_no_drop(seed: int, share: float) -> None:
    """Frames that are early or late by nearly half of their time are not missing."""
    dice = random.Random(seed)
    times = [round((n + dice.uniform(-share, share)) * FRAME) + FRAME for n in range(300)]
    assert drops([two - one for one, two in pairwise(times)]) == []


def test_a_compensated_stall_is_no_drop() -> None:
    """Frames that come in a burst after a pause were late, not lost."""
    assert drops([FRAME] * 40 + [FRAME * 8] + [0x10] * 7 + [FRAME] * 40) == []


def test_a_drop_next_to_jitter_is_found() -> None:
    """Only what short intervals compensate is subtracted."""
    (drop,) = drops([FRAME] * 40 + [FRAME * 8] + [0x10] * 3 + [FRAME] * 40)
    assert drop.frames == 4


@pytest.mark.parametrize("rate", [20, 15, 5, 1, 60])
def test_another_rate_is_no_drop(rate: int) -> None:
    """A camera in the dark is slower for good; drops are measured by the new rate."""
    slow = TIMESCALE // rate
    ticks = [FRAME] * 100 + [slow] * 100
    assert drops(ticks) == []
    assert drops([*ticks, *calm(10)]) == []
    (drop,) = drops([*ticks, slow * 4, *[slow] * LOOK_AHEAD])
    assert drop.frames == 3


@pytest.mark.parametrize(
    "pattern", [(1, 2), (1, 1, 2), (1, 1, 1, 1, 2), (2, 3), (1, 4), (3, 1, 1), (1, 1, 5, 5)]
)
def test_a_cadence_is_no_drop(pattern: tuple[int, ...]) -> None:
    """A rate that does not divide the clock's makes long and short intervals, repeatedly."""
    assert drops([FRAME * each for each in pattern] * 100) == []


@pytest.mark.parametrize("pattern", [(1, 2), (1, 1, 1, 1, 2)])
def test_a_new_cadence_is_soon_normal(pattern: tuple[int, ...]) -> None:
    """Until it is known it makes one entry at most, of fewer frames than a second has."""
    found = drops([FRAME] * 100 + [FRAME * each for each in pattern] * 1000)
    assert len(found) <= 1
    assert sum(drop.frames for drop in found) < 30


def test_nothing_is_usual_at_the_beginning() -> None:
    """Muxers stretch a stream's first frame, and cameras start slowly: neither is a drop."""
    assert drops([FRAME * 3] + [FRAME] * 50) == []
    assert drops([FRAME] * (MIN_KNOWN - 1) + [FRAME * 9] + [FRAME] * 50) == []


def test_the_last_interval_of_all_is_not_judged() -> None:
    """A change of the rate just before the end cannot be told from a drop."""
    assert drops([FRAME] * 50 + [FRAME * 2] * 3) == []


def test_a_drop_must_be_longer_than_the_seam_of_a_loop() -> None:
    """A file in a loop that begins again after its sound has ended lacks nothing."""
    seams = ([FRAME] * 200 + [FRAME * 13]) * 5
    assert drops(seams, DropDetector(least_seconds=0.5)) == []
    (drop,) = drops([FRAME] * 200 + [FRAME * 60] + [FRAME] * 50, DropDetector(least_seconds=0.5))
    assert drop.frames == 59


# --- entries ------------------------------------------------------------------------------


def test_drops_close_to_each_other_are_one_entry() -> None:
    """Missing frames and times add up; the span is from the first to the last."""
    two, five = FRAME * 3, FRAME * 6
    (drop,) = drops([*calm(3), two, *calm(5), five, *calm(3)])
    assert (drop.frames, drop.seconds) == (7, pytest.approx(7 / 30))
    assert drop.end - drop.start > timedelta(seconds=5)


def test_an_entry_is_complete_after_a_time_without_drops() -> None:
    """Entries come during the recording; each doubles the time in which drops are merged."""
    finder = DropDetector()
    ticks = [*calm(3), FRAME * 3, *calm(FIRST_MERGE_SECONDS + 1)]
    assert [drop.frames for drop in watch(finder, stream(ticks))] == [2]
    assert finder.close() == []
    found = drops([*ticks * 40, *calm(30)])
    assert len(found) < 10
    assert sum(drop.frames for drop in found) == 80


def test_closing_in_between_loses_nothing() -> None:
    """A seal enters the drops that were found so far; the rest goes into the next entry."""
    ticks = [*calm(3), FRAME * 3, *calm(1), FRAME * 5, *calm(2)]
    finder, found = DropDetector(), []
    for each in stream(ticks):
        found += watch(finder, [each]) + finder.close()
    assert [drop.frames for drop in found + finder.capture_over()] == [2, 4]


def test_frames_with_another_entry_are_no_drop() -> None:
    """Frames that the disk refused have an entry of their own."""
    finder = DropDetector()
    pieces = stream([FRAME] * 199)
    found = watch(finder, pieces[:8])
    finder.interrupt()
    assert found + watch(finder, pieces[12:]) + finder.capture_over() == []


def test_another_capture_has_its_own_rate_and_its_own_time() -> None:
    """The time between two captures is not a drop."""
    finder = DropDetector()
    found = watch(finder, stream([FRAME] * MANY)) + finder.capture_over()
    assert found + watch(finder, stream([FRAME * 3] * MANY)) + finder.capture_over() == []


def test_times_follow_the_clock() -> None:
    """A step of the clock shifts drops that have no entry yet."""
    finder, day = DropDetector(), timedelta(days=1)
    pieces = stream([*calm(3), FRAME * 3, *calm(1), FRAME * 5, *[FRAME] * 9])
    assert watch(finder, pieces) == []
    finder.move(day)
    (drop,) = finder.capture_over()
    (still,) = drops([*calm(3), FRAME * 3, *calm(1), FRAME * 5, *[FRAME] * 9])
    assert drop == still.moved(day)


def test_memory_is_bounded() -> None:
    """Drops without end make numbers grow, not lists."""
    finder = DropDetector()
    watch(finder, stream(([FRAME] * 30 + [FRAME * 4]) * 200))
    assert len(finder._before) + len(finder._waiting) <= MANY
    assert len(finder._kept) <= WINDOW
    watch(finder, stream([FRAME] * 100 + [1] * 2000))  # as if a late frame were made up for
    assert len(finder._waiting) <= MAX_LOOK_AHEAD + 1
