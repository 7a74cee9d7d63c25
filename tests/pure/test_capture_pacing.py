"""Fragments read together have different arrivals; a source that is too fast is throttled."""

from __future__ import annotations

import pytest
from support.media_streams import TICKS, VIDEO_ONLY, Sample, fragment, fragments_of, read

from camd.capture.process import ReadThrottle
from camd.capture.rules.timestamps import estimate_arrivals


def test_fragments_of_one_read_arrived_one_after_the_other() -> None:
    """The newest arrived now, each other one earlier by the duration of those after it."""
    _, fragments = fragments_of(5, 5, 5)  # half a second each
    assert estimate_arrivals(fragments, 100.0, 0.0) == [99.0, 99.5, 100.0]
    assert estimate_arrivals(fragments, 100.0, 99.2) == [99.2, 99.5, 100.0]
    assert estimate_arrivals([], 100.0, 99.0) == []


def test_pictures_of_a_tick_arrived_at_the_intervals_of_their_stamps() -> None:
    """The duration of a picture is not known where sound has ended its fragment."""
    stream = VIDEO_ONLY + b"".join(fragment((1, n * TICKS, [Sample(9, 1)])) for n in range(3))
    _, frames = read(stream)
    assert estimate_arrivals(frames, 100.0, 0.0) == pytest.approx([99.8, 99.9, 100.0])


def test_a_source_may_be_ahead_by_a_second_and_no_more() -> None:
    """The next read waits for the rest, at the configured speed."""
    _, fragments = fragments_of(*[5] * 8)
    brake, twice = ReadThrottle(1.0), ReadThrottle(2.0)
    waits = [brake.ahead_seconds(each, 10.0) for each in fragments]
    assert waits == [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert [twice.ahead_seconds(each, 10.0) for each in fragments][-1] == 1.0
    assert brake.ahead_seconds(fragments[0], 14.0) == -0.5
