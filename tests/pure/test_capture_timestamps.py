"""Frames with any time stamps are played at the speed at which they arrived."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import media_streams as build
from support.media_streams import Sample

from camd.capture.rules.timestamps import WINDOW_SECONDS, StreamTimeline, TimestampFault
from camd.mp4.fragments import Fragment, FragmentReader, Init

SCALE = 15360
RATE = 20  # frames a second, as they arrive
FRAME = 1 / RATE
FRAMES = 10  # in each fragment
MARK = 1000.0  # what FFmpeg is told to put in the place of steps that its muxer cannot write


@attrs.frozen
class Frame:
    """One frame: its arrival, and its time stamp by the source, in seconds."""

    arrived: float
    stamp: float


def steady(seconds: float, *, pace: float = 1.0, begin: float = 0.0) -> list[Frame]:
    """Frames whose time stamps advance `pace` times as fast as they arrive."""
    count = round(seconds * RATE)
    return [Frame(begin + n * FRAME, n * FRAME * pace) for n in range(count)]


def then(before: list[Frame], after: list[Frame], *, step: float = 0.0, pause: float = 0.0):
    """Join two streams: the time stamps step by `step` in between, and the arrivals pause."""
    arrived, stamp = before[-1].arrived + FRAME + pause, before[-1].stamp + FRAME + step
    return before + [
        Frame(each.arrived - after[0].arrived + arrived, each.stamp - after[0].stamp + stamp)
        for each in after
    ]


def muxed(frames: list[Frame], size: int = FRAMES) -> Iterable[tuple[Fragment, float]]:
    """Make fragments as FFmpeg does: steps that it cannot write become MARK, times only grow."""
    times, offset = [], 0.0
    for frame in frames:
        at = frame.stamp + offset
        if times and not times[-1] - 1.0 <= at <= times[-1] + 100.0:
            offset = times[-1] + MARK - frame.stamp
            at = times[-1] + MARK
        times.append(max(at, times[-1] + 1 / SCALE) if times else at)
    ticks = [round(at * SCALE) for at in times]
    ticks.append(ticks[-1] + SCALE // RATE)
    reader = FragmentReader()
    reader.feed(build.VIDEO_ONLY)
    for first in range(0, len(frames), size):
        last = min(first + size, len(frames))
        samples = [
            Sample(20, max(1, ticks[n + 1] - ticks[n]), sync=n == first) for n in range(first, last)
        ]
        (fragment,) = reader.feed(build.fragment((1, ticks[first], samples)))
        assert isinstance(fragment, Fragment)
        # FFmpeg writes a fragment when the frame behind it is there.
        there = frames[last].arrived if last < len(frames) else frames[-1].arrived + FRAME
        yield fragment, there


def begun() -> StreamTimeline:
    """A timeline of a capture that has begun."""
    (init,) = FragmentReader().feed(build.VIDEO_ONLY)
    assert isinstance(init, Init)
    timeline = StreamTimeline()
    timeline.begin(init)
    return timeline


def played(frames: list[Frame], timeline: StreamTimeline | None = None) -> list[float]:
    """Return when each frame is played, in seconds from the first one's arrival."""
    timeline, times = timeline or begun(), []
    for fragment, arrived in muxed(frames):
        placed = timeline.place(fragment, arrived)
        assert placed.video is not None
        ticks = placed.video.decode_time
        for duration in placed.video.durations:
            times.append(ticks / SCALE)
            ticks += duration
    assert len(times) == len(frames)
    return times


def off(frames: list[Frame], times: list[float]) -> float:
    """Return the largest difference between arrival and playback of a frame."""
    zero = frames[0].arrived - times[0]
    return max(abs(f.arrived - zero - t) for f, t in zip(frames, times, strict=True))


def longest(times: list[float]) -> float:
    """Return the longest duration of a frame."""
    return max(b - a for a, b in pairwise(times))


def test_stamps_that_keep_time_are_not_touched():
    """Fragments of a source whose clock differs by 100 ppm are unchanged for an hour."""
    timeline = begun()
    for fragment, arrived in muxed(steady(3600, pace=1.0001)):
        assert timeline.place(fragment, arrived) is fragment
    assert timeline.fault is None


@pytest.mark.parametrize("step", [-3600.0, -5.0, -1.5, 1.5, 5.0, 600.0, 36000.0])
def test_a_step_of_the_stamps_is_cut(step):
    """A lasting step of the time stamps, either way, moves no frame, and is a fault."""
    frames = then(steady(8), steady(12), step=step)
    timeline = begun()
    times = played(frames, timeline)
    assert off(frames, times) < 0.1
    assert longest(times) < 0.2
    assert timeline.fault is TimestampFault.JUMPED


def test_stamps_that_jump_again_and_again_are_replaced():
    """From the third jump in a short time on, frames are timed by their arrival."""
    frames = steady(8)
    for _ in range(6):
        frames = then(frames, steady(2), step=5.0)
    timeline = begun()
    times = played(frames, timeline)
    assert (timeline.fault, timeline.faults) == (TimestampFault.UNSTEADY, 3)
    assert off(frames, times) < 1.0


@pytest.mark.parametrize("stray", [-600.0, 3.0, 600.0])
def test_one_wrong_stamp_moves_nothing(stray):
    """One wrong time stamp does not move the later frames."""
    frames = steady(20)
    frames[207] = Frame(frames[207].arrived, frames[207].stamp + stray)
    times = played(frames)
    assert off(frames, times) < 0.2
    assert longest(times) < 0.2


@pytest.mark.parametrize("pace", [0.5, 0.8, 0.95, 1.05, 1.25, 2.0])
def test_stamps_with_another_pace_are_played_at_the_speed_of_arrival(pace):
    """A camera that does not keep its declared rate is played at real speed."""
    frames = steady(60, pace=pace)
    timeline = begun()
    times = played(frames, timeline)
    assert off(frames, times) < 2.0 + 2 * max(0.0, 1.0 - pace)
    assert times[-1] - times[0] == pytest.approx(60, abs=1.5)
    assert timeline.fault is TimestampFault.PACE
    assert longest(times) < 0.2


def test_stamps_that_stand_still_are_replaced():
    """Frames with equal time stamps are spread over the time in which they arrived."""
    frames = steady(10) + [Frame(10 + n * FRAME, 10.0) for n in range(400)]
    timeline = begun()
    times = played(frames, timeline)
    assert off(frames, times) < 1.0
    assert timeline.fault is TimestampFault.STANDING
    assert sum(b - a < 0.005 for a, b in pairwise(times)) < FRAMES


def test_a_pause_that_is_stamped_stays_where_it_is():
    """Missing frames, with time stamps that include the pause, are a gap and no fault."""
    frames = then(steady(8), steady(8), step=12.0, pause=12.0)
    timeline = begun()
    times = played(frames, timeline)
    assert off(frames, times) < 0.1
    assert timeline.fault is None


def test_a_pause_that_is_not_stamped_is_put_back():
    """Time stamps that count frames leave out a pause; later frames are moved behind it."""
    frames = then(steady(8), steady(16), pause=6.0)
    timeline = begun()
    times = played(frames, timeline)
    assert times[-1] - times[0] == pytest.approx(frames[-1].arrived, abs=0.5)
    assert timeline.fault is TimestampFault.PAUSED


def test_a_stall_that_is_made_up_for_changes_nothing():
    """After a stall that the network makes up for, all frames keep their time stamps."""
    frames = [
        Frame(max(each.arrived, min(13.0 + (each.arrived - 8.0) / 8, 13.7)), each.stamp)
        if 8 < each.arrived < 13.7
        else each
        for each in steady(30)
    ]
    timeline = begun()
    assert played(frames, timeline) == pytest.approx([each.stamp for each in frames], abs=0.001)
    assert timeline.fault is None


def test_what_was_buffered_at_the_start_keeps_its_stamps():
    """FFmpeg analyses a stream for seconds, then writes it at once: no fault."""
    frames = [Frame(max(each.arrived, 4.0), each.stamp) for each in steady(20)]
    timeline = begun()
    assert played(frames, timeline) == pytest.approx([each.stamp for each in frames], abs=0.001)
    assert timeline.fault is None


@pytest.mark.parametrize("pace", [1.0, 1.5])
def test_memory_is_bounded(pace):
    """Only the latest seconds of a stream are kept, trusted or not."""
    timeline, most = begun(), 0
    for fragment, arrived in muxed(steady(120, pace=pace)):
        timeline.place(fragment, arrived)
        most = max(most, *(len(track._arrivals) for track in timeline._tracks.values()))
    assert 10 < most < 30


def test_stamps_are_trusted_again_when_they_keep_time():
    """After a time of wrong pace, frames are played by their time stamps again."""
    frames = then(steady(20, pace=1.5), steady(60))
    times = played(frames)
    tail = [b - a for a, b in pairwise(times[-400:])]
    assert tail == pytest.approx([FRAME] * 399, abs=0.001)


def test_stamps_that_jump_again_and_again_are_not_trusted():
    """Frames with random time stamps are played when they arrived."""
    frames = [
        attrs.evolve(frame, stamp=number * 7919 % 8009 * 1.0)
        for number, frame in enumerate(steady(30))
    ]
    timeline = begun()
    times = played(frames, timeline)
    assert off(frames, times) < 3.0
    assert timeline.fault is TimestampFault.UNSTEADY


def test_a_fault_that_is_over_is_shown_for_ten_minutes():
    """The warning of a single jump ends while the camera runs."""
    frames = then(steady(8), steady(700), step=600)
    timeline, told = begun(), []
    for fragment, arrived in muxed(frames):
        timeline.place(fragment, arrived)
        told.append((arrived, timeline.fault))
    first, last = (times[end] for end in (0, -1) for times in [[at for at, f in told if f]])
    assert last - first == pytest.approx(600, abs=1)
    assert told[-1][1] is None


def test_a_track_with_a_wrong_clock_does_not_move_the_other():
    """Sound with time stamps of 1970 is played with the pictures that arrived with it."""
    reader = FragmentReader()
    (init,) = reader.feed(build.VIDEO_AND_AUDIO)
    timeline = StreamTimeline()
    timeline.begin(init)
    wild = 48000 * 1_000_000
    for n in range(40):
        pictures = [Sample(20, SCALE // RATE, sync=k == 0) for k in range(FRAMES)]
        sound = [Sample(9, 960) for _ in range(25)]
        step = wild if n >= 20 else 0
        (fragment,) = reader.feed(
            build.fragment((1, n * SCALE // 2, pictures), (2, n * 24000 + step, sound))
        )
        placed = timeline.place(fragment, 100 + n / 2)
        video, audio = placed.runs
        assert video.decode_time == n * SCALE // 2
        assert audio.decode_time / 48000 == pytest.approx(n / 2, abs=0.05)
    assert timeline.fault is None


@example([8.0, *[0.0] * 28, 1.0])  # from the first fragment on, and a little more later
@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(st.just(0.0), st.floats(-10, 10), st.floats(-100_000, 100_000)),
        min_size=30,
        max_size=60,
    )
)
def test_whatever_the_stamps_of_sound_are_the_pictures_stay_and_sound_is_beside_them(steps):
    """Sound whose time stamps step at every fragment moves no picture, and stays near them."""
    reader, timeline = FragmentReader(), StreamTimeline()
    (init,) = reader.feed(build.VIDEO_AND_AUDIO)
    timeline.begin(init)
    at, end = 0, 0
    for number, step in enumerate(steps):
        # FFmpeg is told to let sound go on where its stamps step back, or far forward.
        moved = at + round(step * 48000)
        at = moved if at - 48000 <= moved <= at + 4_800_000 else at + 960
        at = max(at, end)
        pictures = [Sample(20, SCALE // RATE, sync=not k) for k in range(FRAMES)]
        sound = [Sample(9, 960) for _ in range(25)]
        (fragment,) = reader.feed(
            build.fragment((1, number * SCALE // 2, pictures), (2, at, sound), sequence=number + 1)
        )
        placed = timeline.place(fragment, 100 + number / 2)
        video, audio = placed.runs
        assert video == fragment.video
        assert audio.decode_time / 48000 == pytest.approx(number / 2, abs=6.0)
        at, end = at + 24000, at + 24000
    assert timeline.fault is None


LONGEST_PAUSE_SECONDS = 10.0

stretches = st.one_of(
    st.tuples(st.just("steady"), st.floats(2, 20), st.floats(0.4, 2.5)),
    st.tuples(st.just("step"), st.floats(2, 10), st.floats(-100000, 100000)),
    st.tuples(st.just("pause"), st.floats(2, 10), st.floats(0, LONGEST_PAUSE_SECONDS)),
    st.tuples(st.just("hole"), st.floats(2, 10), st.floats(0, LONGEST_PAUSE_SECONDS)),
    st.tuples(st.just("still"), st.floats(1, 10), st.just(0.0)),
    st.tuples(st.just("stray"), st.floats(1, 5), st.floats(-1000, 1000)),
)


def film(parts: list[tuple[str, float, float]]) -> list[Frame]:
    """Make the frames of a source from a list of its faults."""
    frames = steady(2)
    for kind, seconds, value in parts:
        more = steady(seconds)
        if kind == "steady":
            frames = then(frames, steady(seconds, pace=value))
        elif kind == "step":
            frames = then(frames, more, step=value)
        elif kind == "pause":
            frames = then(frames, more, pause=value)
        elif kind == "hole":
            frames = then(frames, more, step=value, pause=value)
        elif kind == "still":
            frames = then(frames, [attrs.evolve(each, stamp=0.0) for each in more])
        else:
            more[len(more) // 2] = attrs.evolve(more[len(more) // 2], stamp=value)
            frames = then(frames, more)
    return then(frames, steady(2))


@settings(max_examples=150)
@example([("steady", 5.0, 0.5), ("pause", 2.0, 10.0)])
@given(st.lists(stretches, min_size=1, max_size=8))
def test_whatever_the_stamps_are_frames_play_when_they_arrived(parts):
    """With jumps, errors, drifts, pauses and standing still: the timeline follows the arrivals."""
    frames = film(parts)
    times = played(frames)
    assert all(b > a for a, b in pairwise(times))
    span = frames[-1].arrived - frames[0].arrived
    assert times[-1] - times[0] == pytest.approx(span, rel=0.1, abs=4.0)
    # A frame before a pause comes with those behind it, as late as a slow source was before.
    assert off(frames, times) < LONGEST_PAUSE_SECONDS + WINDOW_SECONDS


@given(
    st.lists(
        st.tuples(st.integers(0, 2**40), st.lists(st.integers(0, 2**31), min_size=1, max_size=5)),
        max_size=20,
    ),
    st.lists(st.floats(0, 5), min_size=20, max_size=20),
)
def test_any_numbers_come_out_as_times_that_grow(numbers, pauses):
    """Fragments with any decode times and durations keep their order and number."""
    reader, timeline, arrived, last = FragmentReader(), StreamTimeline(), 50.0, None
    (init,) = reader.feed(build.VIDEO_ONLY)
    timeline.begin(init)
    for (decode_time, durations), pause in zip(numbers, pauses, strict=False):
        samples = [Sample(7, ticks) for ticks in durations]
        (fragment,) = reader.feed(build.fragment((1, decode_time, samples)))
        arrived += pause
        placed = timeline.place(fragment, arrived)
        assert placed.frames == len(durations)
        (again,) = _read_back(placed)
        assert again.video.durations == placed.video.durations
        assert last is None or placed.video.decode_time >= last
        last = placed.video.decode_time + placed.video.duration - placed.video.durations[-1]


def _read_back(placed: Fragment) -> list[Fragment]:
    """Parse the boxes of a fragment with the decode times that a writer fills in."""
    reader = FragmentReader()
    reader.feed(build.VIDEO_ONLY)
    return [each for each in reader.feed(placed.moof + placed.mdat) if isinstance(each, Fragment)]
