"""When what is joined of a stream is complete."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import (
    TICKS,
    VIDEO_AND_AUDIO,
    VIDEO_ONLY,
    FakeStream,
    Sample,
    fragment,
    fragments_of,
    joined,
    read,
)

from camd.capture.rules.joining import LIMIT_BYTES, FragmentJoiner
from camd.mp4.fragments import Fragment

HALF = 0.5


def counts(fragments: list[Fragment]) -> list[int]:
    """Count the frames of each."""
    return [each.frames for each in fragments]


def test_a_fragment_is_complete_with_its_last_frame() -> None:
    """Five frames of a tenth of a second are half a second; nothing waits for the sixth."""
    init, frames = fragments_of(*[1] * 20, group=100)
    joiner = FragmentJoiner(HALF)
    joiner.begin(init)
    for number in range(5):
        assert not joiner.is_complete
        joiner.add(frames[number], number / 10)
    assert joiner.is_complete
    taken = joiner.take()
    assert (taken.fragment.frames, taken.arrived) == (5, 0.4)
    assert joiner.unjoined == []
    assert counts(joined(init, frames)) == [5] * 4


def test_a_key_frame_begins_a_fragment() -> None:
    """Seven frames from key frame to key frame are five and two."""
    fragments = joined(*fragments_of(*[1] * 20, group=7))
    assert counts(fragments) == [5, 2, 5, 2, 5, 1]
    assert [each.starts_with_sync for each in fragments] == [True, False] * 3


def test_pictures_that_need_no_other_are_joined() -> None:
    """Motion JPEG has key frames alone."""
    init, frames = fragments_of(*[1] * 10, group=1)
    init = attrs.evolve(init, tracks=(attrs.evolve(init.video, codec="jpeg"),))
    assert counts(joined(init, frames)) == [5, 5]


def test_fragments_of_several_frames_stay_as_they_are() -> None:
    """Those of a camera with output options of its own."""
    init, fragments = fragments_of(1, 1, 3, 1, 2, group=100)
    found = joined(init, fragments)
    assert counts(found) == [2, 3, 1, 2]
    assert found[1] is fragments[2]


def test_without_a_length_nothing_is_joined() -> None:
    """Each frame is a fragment."""
    init, frames = fragments_of(*[1] * 3, group=100)
    assert joined(init, frames, 0.0) == frames


def test_a_slow_camera_is_not_kept_waiting() -> None:
    """A frame that lasts as long as a fragment is one."""
    stream = VIDEO_ONLY + b"".join(fragment((1, n * 9000, [Sample(9, 9000)])) for n in range(3))
    init, frames = read(stream)
    assert joined(init, frames) == frames


@pytest.mark.parametrize(("gap", "expected"), [(0, [2]), (TICKS, [2]), (TICKS + 1, [1, 1])])
def test_a_gap_ends_a_fragment(gap: int, expected: list[int]) -> None:
    """A frame lasts no longer than twice its time; what is missing stays between fragments."""
    samples = [Sample(9, TICKS, sync=False)]
    stream = fragment((1, 0, samples)) + fragment((1, TICKS + gap, samples))
    assert counts(joined(*read(VIDEO_ONLY + stream))) == expected


@pytest.mark.parametrize(("back", "expected"), [(TICKS - 1, [2]), (TICKS, [1, 1]), (9000, [1, 1])])
def test_times_that_go_back_end_a_fragment(back: int, expected: list[int]) -> None:
    """No frame gets a duration of nothing."""
    samples = [Sample(9, TICKS, sync=False)]
    stream = fragment((1, 9000, samples)) + fragment((1, 9000 + TICKS - back, samples))
    assert counts(joined(*read(VIDEO_ONLY + stream))) == expected


def test_frames_whose_durations_are_not_known_are_joined() -> None:
    """They last a tick each, and the next one comes after the usual interval, or twice that."""
    pictures = [Sample(9, 1, sync=False)]
    starts = [0, TICKS, 2 * TICKS, 3 * TICKS, 4 * TICKS, 7 * TICKS, 8 * TICKS]
    init, frames = read(VIDEO_ONLY + b"".join(fragment((1, start, pictures)) for start in starts))
    found = joined(init, frames)
    assert counts(found) == [1, 4, 2]
    (run,) = found[1].runs
    assert list(run.durations) == [TICKS, TICKS, TICKS, 1]


def test_sound_alone_is_joined_as_well() -> None:
    """It is bounded when no picture comes."""
    packets = [fragment((2, n * 1024, [Sample(5, 1024)])) for n in range(100)]
    found = joined(*read(VIDEO_AND_AUDIO + b"".join(packets)))
    seconds = [sum(run.duration for run in each.runs) / 48000 for each in found]
    assert max(seconds) < 2 * HALF
    assert len(found) == 4


def test_large_frames_are_joined_up_to_a_bound() -> None:
    """In bytes: memory is bounded whatever `recording.fragment` is."""
    init, frames = fragments_of(*[1] * 9, group=100)
    frames = [attrs.evolve(each, mdat=bytes(LIMIT_BYTES // 3)) for each in frames]
    joiner = FragmentJoiner(5.0)
    joiner.begin(init)
    for number, frame in enumerate(frames[:3]):
        assert not joiner.is_complete
        joiner.add(frame, number / 10)
    assert joiner.is_complete


@given(st.integers(1, 60), st.floats(0.1, 5.0), st.floats(0.01, 0.25))
def test_what_is_neither_joined_nor_read_is_no_more_than_a_fragment(
    fps: int, seconds: float, between: float
) -> None:
    """It is taken at the read after which it would be too late (I2), but for one frame; or the next
    read is as early as that."""
    between = min(between, seconds / 2)
    joiner, ticks = FragmentJoiner(seconds), 15360 // fps
    stream = VIDEO_ONLY + b"".join(
        fragment((1, n * ticks, [Sample(9, ticks, sync=False)])) for n in range(3 * fps)
    )
    init, frames = read(stream)
    joiner.begin(init)
    read_until = 0.0
    for frame in frames:
        while frame.end_seconds > read_until:  # a read, and the wake-up after it
            if joiner.seconds_left < seconds / 5:
                joiner.take()
            pause = min(between, joiner.seconds_left)
            held = sum(each.fragment.duration_seconds for each in joiner.unjoined)
            assert pause > 0
            assert held + pause <= seconds + 1 / fps + 1e-3
            read_until += pause
        joiner.add(frame, frame.end_seconds)
        if joiner.is_complete:
            joiner.take()


def test_the_next_capture_begins_with_nothing() -> None:
    """What was not taken of the one before is dropped: the hub takes it first."""
    joiner, stream = FragmentJoiner(HALF), FakeStream()
    init, frames = read(stream.head + stream.next(1) + stream.next(1))
    joiner.begin(init)
    joiner.add(frames[0], 0.0)
    joiner.begin(init)
    assert joiner.unjoined == []
    assert not joiner.closes_before(frames[1])


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_stamps_that_do_not_keep_real_time_hold_nothing_back(factor: float) -> None:
    """A fragment takes no longer to arrive than it may, also where its stamps stand still."""
    ticks = round(TICKS * factor)
    pictures = [Sample(9, ticks, sync=False)]
    stream = [fragment((1, n * ticks, pictures)) for n in range(60)]
    init, frames = read(VIDEO_ONLY + b"".join(stream))
    joiner = FragmentJoiner(HALF)
    joiner.begin(init)
    for number, frame in enumerate(frames):
        joiner.add(frame, number / 10)
        assert len(joiner.unjoined) <= 8
        assert joiner.seconds_left == pytest.approx(HALF - (len(joiner.unjoined) - 1) / 10)
        if joiner.is_complete:
            joiner.take()
