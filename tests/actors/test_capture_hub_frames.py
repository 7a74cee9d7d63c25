"""Frames in a hub: joined for recordings, each at once for who takes each, none twice."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import (
    EPOCH,
    TICKS,
    VIDEO_ONLY,
    Sample,
    fragment,
    fragments_of,
    read,
    shape,
)

from camd.capture.consumer import CapturedFragment, CaptureEnded, HubItem
from camd.capture.hub import StreamHub
from camd.capture.rules.preroll import PrerollBuffer
from camd.capture.rules.timestamps import StreamTimeline
from camd.clock import Clock
from camd.model import GapCause
from camd.mp4.fragments import Fragment, Init

LOST = CaptureEnded(GapCause.CAMERA_LOST, "gone")


@attrs.define(eq=False)
class Watcher:
    """Keeps all items."""

    each_frame: bool = True
    grace_seconds: float = 0.0
    items: list[HubItem] = attrs.field(factory=list)

    def put(self, item: HubItem) -> None:
        """Keep it."""
        self.items.append(item)

    @property
    def fragments(self) -> list[Fragment]:
        """What it got of the stream."""
        return [each.fragment for each in self.items if isinstance(each, CapturedFragment)]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the frames that it got, by their decode times."""
        found: list[int] = []
        for each in self.fragments:
            assert each.video is not None
            first = each.video.decode_time // TICKS
            found += range(first, first + each.frames)
        return found


@attrs.define(eq=False)
class MovingClock:
    """A monotonic clock that the test sets; the wall clock goes along with it."""

    seconds: float = 0.0

    def hub(self, timeline: StreamTimeline | None = None, seconds: float = 0.5) -> StreamHub:
        """Make a hub that reads it."""
        clock = Clock(now=lambda: EPOCH, monotonic=lambda: self.seconds)
        preroll = PrerollBuffer(0.0, 1 << 20)
        return StreamHub(preroll, timeline, fragment_seconds=seconds, clock=clock)


def begun(hub: StreamHub, init: Init) -> StreamHub:
    """Begin a capture."""
    hub.expect()
    hub.begin(init)
    return hub


def recording() -> Watcher:
    """Make a consumer that takes joined fragments."""
    return Watcher(each_frame=False)


async def test_a_recording_gets_its_first_frame_at_once_and_the_others_joined() -> None:
    """A start is durable after one frame; then five frames are a fragment."""
    init, frames = fragments_of(*[1] * 20, group=100)
    hub, queue = begun(MovingClock().hub(), init), recording()
    async with hub.attach(queue):
        assert hub.hurried.value
        hub.deliver(frames[0])
        assert queue.numbers == [0]
        assert not hub.hurried.value
        for number in range(1, 20):
            hub.deliver(frames[number])
        assert [each.frames for each in queue.fragments] == [1, 5, 5, 5]
        hub.end(LOST)
    assert queue.numbers == list(range(20))
    assert shape(queue.items[-2:]) == ["p", "CaptureEnded"]


async def test_who_takes_each_frame_gets_it_before_it_is_joined() -> None:
    """In a fragment of its own, as it arrives; a recording beside it notices nothing."""
    init, frames = fragments_of(*[1] * 12, group=100)
    hub, viewer, queue = begun(MovingClock().hub(), init), Watcher(), recording()
    async with hub.attach(queue), hub.attach(viewer):
        for number, frame in enumerate(frames):
            hub.deliver(frame)
            assert viewer.numbers == list(range(number + 1))
        assert hub.hurried.value
    assert not hub.hurried.value
    assert [each.frames for each in viewer.fragments] == [1] * 12
    assert [each.frames for each in queue.fragments] == [1, 5, 5]


@given(
    frames=st.integers(1, 60),
    group=st.integers(1, 25),
    attached=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=4),
    caught_up=st.sets(st.integers(0, 60)),
)
def test_each_frame_comes_once_to_everybody(
    frames: int, group: int, attached: list[tuple[int, bool]], caught_up: set[int]
) -> None:
    """From the last key frame on, in order, whoever attaches when, whenever the pipe is read."""

    async def play() -> None:
        init, stream = fragments_of(*[1] * frames, group=group)
        hub = begun(MovingClock().hub(), init)
        consumers: list[tuple[int, Watcher]] = []
        async with trio.open_nursery() as nursery:
            for number, frame in enumerate(stream):
                for moment, each_frame in attached:
                    if moment == number:
                        consumer = Watcher(each_frame)
                        consumers.append((number, consumer))
                        await nursery.start(hold, hub, consumer)
                hub.deliver(frame)
                if number in caught_up:
                    hub.caught_up(0.25)
            hub.end(LOST)
            nursery.cancel_scope.cancel()
        for number, consumer in consumers:
            assert (
                consumer.numbers == list(range(consumer.numbers[0], frames))
                if (consumer.numbers)
                else True
            )
            last_key = max(0, number - 1) // group * group if number else 0
            assert consumer.numbers[:1] == [last_key]
        assert hub.frames_captured == frames

    trio.run(play)


async def hold(
    hub: StreamHub, consumer: Watcher, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Stay attached."""
    async with hub.attach(consumer):
        task_status.started()
        await trio.sleep_forever()


async def test_a_viewer_begins_with_the_newest_key_frame_and_what_is_not_joined_yet() -> None:
    """The key frame may be joined already, or be among the rest."""
    init, frames = fragments_of(*[1] * 17, group=7)
    hub = begun(MovingClock().hub(), init)
    for count, expected in ((10, [7, 8, 9]), (4, list(range(7, 14))), (3, [14, 15, 16])):
        for _ in range(count):
            hub.deliver(frames.pop(0))
        async with hub.attach(viewer := Watcher()):
            pass
        assert viewer.numbers == expected
        assert shape(viewer.items)[:2] == ["CaptureBegan", "K"]


async def test_a_viewer_that_comes_before_a_key_frame_waits_for_it() -> None:
    """Frames that cannot be decoded are not given."""
    init, frames = fragments_of(*[1] * 12, group=10)
    hub, viewer = begun(MovingClock().hub(), init), Watcher()
    hub.deliver(frames[3])
    async with hub.attach(viewer) as attachment:
        hub.deliver(frames[4])
        assert attachment.awaits_key_frame
        hub.deliver(frames[10])
        hub.deliver(frames[11])
    assert viewer.numbers == [10, 11]


async def test_a_stop_takes_what_is_in_the_pipe() -> None:
    """A session that ends gets the frames of the next read, all of them, and no more."""
    init, frames = fragments_of(*[1] * 20, group=100)
    hub, leaving, staying = begun(MovingClock().hub(), init), recording(), recording()
    async with hub.attach(leaving) as attachment, hub.attach(staying):
        for frame in frames[:8]:
            hub.deliver(frame)
        attachment.finish()
        assert leaving.numbers == list(range(8)), "what had arrived is there at once"
        assert hub.hurried.value, "the pipe is read now"
        for frame in frames[8:11]:
            hub.deliver(frame)
        assert shape(leaving.items)[-1] == "p"
        hub.caught_up(0.0)
        assert not hub.hurried.value
        for frame in frames[11:]:
            hub.deliver(frame)
    assert leaving.numbers == list(range(11))
    assert shape(leaving.items)[-1] == "EndOfStream"
    assert staying.numbers == list(range(16))


async def test_a_stop_without_a_frame_in_the_pipe_waits_for_the_next() -> None:
    """FFmpeg holds a frame until it knows its duration."""
    init, frames = fragments_of(*[1] * 9, group=100)
    hub, leaving, staying = begun(MovingClock().hub(), init), recording(), recording()
    async with hub.attach(leaving) as attachment, hub.attach(staying):
        for frame in frames[:3]:
            hub.deliver(frame)
        attachment.finish()
        hub.caught_up(0.0)
        assert shape(leaving.items)[-1] == "p"
        hub.deliver(frames[3])
        hub.caught_up(0.0)
    assert leaving.numbers == [0, 1, 2, 3]
    assert shape(leaving.items)[-1] == "EndOfStream"


async def test_a_pipe_is_read_again_before_more_than_a_fragment_waits() -> None:
    """When a fragment will be complete; where that is soon, it ends at once."""
    init, frames = fragments_of(*[1] * 9, group=100)
    hub, queue = begun(MovingClock().hub(), init), recording()
    async with hub.attach(queue):
        for frame in frames[:4]:
            hub.deliver(frame)
        assert hub.caught_up(0.25) == pytest.approx(0.25), "of three frames one does not count"
        hub.deliver(frames[4])
        assert hub.caught_up(0.25) == pytest.approx(0.2)
        assert hub.caught_up(0.1) == pytest.approx(0.1), "the pipe may fill up earlier"
        assert queue.numbers == [0]
        hub.deliver(frames[5])
        assert queue.numbers == list(range(6))
        assert hub.caught_up(0.25) == pytest.approx(0.25)
        hub.deliver(frames[6], arrived=10.0)
        hub.deliver(frames[7], arrived=10.41)
        assert hub.caught_up(0.25) == pytest.approx(0.25)
        assert queue.numbers == list(range(8)), "only 0.09 s are left"


async def test_a_file_begins_with_the_pictures_that_are_shown_before_its_key_frame() -> None:
    """They follow it, and are counted in its first fragment: it is not cut off behind it."""
    samples = [Sample(9, TICKS, sync=not n, offset=(2 - n % 3) * TICKS) for n in range(9)]
    init, frames = read(
        VIDEO_ONLY + b"".join(fragment((1, n * TICKS, [each])) for n, each in enumerate(samples))
    )
    hub, early, late = begun(MovingClock().hub(), init), recording(), recording()
    async with hub.attach(early):
        for frame in frames[:3]:
            hub.deliver(frame)
        assert early.fragments == []
        async with hub.attach(late):
            for frame in frames[3:]:
                hub.deliver(frame)
            assert early.numbers == late.numbers == list(range(5))


async def test_frames_have_the_times_of_the_fragments_that_they_are_joined_to() -> None:
    """A jump of the stamps is left out for viewers as well; their times always grow."""
    clock = MovingClock()
    stamps = [n * TICKS + (900 * 15360 if n >= 12 else 0) for n in range(40)]
    init, frames = read(
        VIDEO_ONLY
        + b"".join(
            fragment((1, stamp, [Sample(9, TICKS, sync=n % 10 == 0)]))
            for n, stamp in enumerate(stamps)
        )
    )
    hub, viewer, queue = begun(clock.hub(StreamTimeline()), init), Watcher(), recording()
    async with hub.attach(queue), hub.attach(viewer):
        for frame in frames:
            clock.seconds += 0.1
            hub.deliver(frame)
        hub.end(LOST)
    watched = [each.start_seconds for each in viewer.fragments]
    assert watched == sorted(set(watched))
    assert watched[-1] - watched[0] == pytest.approx(3.9)
    assert len(watched) == 40
    assert queue.fragments[-1].end_seconds == pytest.approx(viewer.fragments[-1].end_seconds)
    assert sum(each.frames for each in queue.fragments) == 40


@pytest.mark.parametrize("watched", [False, True])
async def test_a_recording_is_the_same_whoever_watches(watched: bool) -> None:
    """Stamps that stand still are corrected by arrival: the same fragments, the same times."""

    async def recorded(*, with_viewer: bool) -> Sequence[Fragment]:
        clock = MovingClock()
        stream = [fragment((1, 0, [Sample(9, 0, sync=n % 10 == 0)])) for n in range(60)]
        init, frames = read(VIDEO_ONLY + b"".join(stream))
        hub, queue, viewer = begun(clock.hub(StreamTimeline()), init), recording(), Watcher()
        async with hub.attach(queue), trio.open_nursery() as nursery:
            if with_viewer:
                await nursery.start(hold, hub, viewer)
            for frame in frames:
                clock.seconds += 0.1
                hub.deliver(frame)
            nursery.cancel_scope.cancel()
        starts = [each.start_seconds for each in viewer.fragments]
        assert starts == sorted(set(starts))
        return queue.fragments

    assert await recorded(with_viewer=watched) == await recorded(with_viewer=False)


async def test_a_frame_that_is_a_fragment_has_its_final_times() -> None:
    """A slow camera's viewer gets what the recording gets."""
    stream = [fragment((1, n * 15360, [Sample(9, 15360)])) for n in range(3)]
    init, frames = read(VIDEO_ONLY + b"".join(stream))
    hub, viewer, queue = begun(MovingClock().hub(StreamTimeline()), init), Watcher(), recording()
    async with hub.attach(queue), hub.attach(viewer):
        for frame in frames:
            hub.deliver(frame)
    assert viewer.items == queue.items


async def test_the_rates_are_those_of_whole_fragments() -> None:
    """The first frame alone, whose duration may be odd, counts until there is more."""
    stream = [fragment((1, 0, [Sample(9, 3000)]))]
    stream += [fragment((1, 3000 + n * TICKS, [Sample(9, TICKS, sync=False)])) for n in range(6)]
    init, frames = read(VIDEO_ONLY + b"".join(stream))
    hub = begun(MovingClock().hub(), init)
    async with hub.attach(recording()):
        for frame in frames[:6]:
            hub.deliver(frame)
    assert hub.video is not None
    assert hub.video.fps == 10.0


async def test_a_frame_of_a_tick_lasts_as_long_as_usual_for_a_viewer() -> None:
    """A player takes a short duration for a gap; the recording has the measured one."""
    clock = MovingClock()
    stream = [fragment((1, n * TICKS, [Sample(9, 1, sync=n % 10 == 0)])) for n in range(30)]
    init, frames = read(VIDEO_ONLY + b"".join(stream))
    hub, viewer, queue = begun(clock.hub(StreamTimeline()), init), Watcher(), recording()
    async with hub.attach(queue), hub.attach(viewer):
        for frame in frames:
            clock.seconds += 0.1
            hub.deliver(frame)
    durations = [each.duration_seconds for each in viewer.fragments[12:]]
    assert durations == pytest.approx([0.1] * len(durations), rel=0.2)
    assert [each.start_seconds for each in viewer.fragments] == pytest.approx(
        [n / 10 for n in range(30)]
    )
    assert queue.fragments[-2].duration_seconds == pytest.approx(0.4, abs=0.11)
