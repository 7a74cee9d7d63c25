"""The hub of a camera: which consumer gets which fragments, with which times; and demand."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from fractions import Fraction

import attrs
import pytest
import trio
from support.media_streams import EPOCH, FPS, FakeStream, fragments_of, prft, read, shape

from camd.capture.consumer import CaptureBegan, CapturedFragment, CaptureEnded, EndOfStream
from camd.capture.hub import GOP_LIMIT_BYTES, StreamHub, TotalDemand
from camd.capture.rules.preroll import PrerollBuffer
from camd.capture.rules.timestamps import StreamTimeline
from camd.clock import SYSTEM_CLOCK, Clock
from camd.model import GapCause, VideoFormat
from camd.recording.recording_queue import QueueItem, RecordingQueue

LOST = CaptureEnded(GapCause.CAMERA_LOST, "gone")


@attrs.define(eq=False)
class StoppedClock:
    """The clocks of a hub: monotonic time stands still, and the wall clock can be set."""

    wall: datetime = EPOCH

    def hub(
        self, timeline: StreamTimeline | None = None, limit_bytes: int = GOP_LIMIT_BYTES
    ) -> StreamHub:
        """Make a hub that reads these clocks."""
        clock = Clock(now=lambda: self.wall, monotonic=lambda: 7.0)
        return StreamHub(PrerollBuffer(0.0, limit_bytes), timeline, clock=clock)


async def received(queue: RecordingQueue) -> list[QueueItem]:
    """Take everything that waits in a queue."""
    items = []
    with trio.move_on_after(0):
        while True:
            items.append(await queue.get())
    return items


def frames_of(items: list[QueueItem]) -> int:
    """Count the frames in items."""
    return sum(item.fragment.frames for item in items if isinstance(item, CapturedFragment))


def hub_with(*counts: int, hub: StreamHub | None = None, **stream: int) -> StreamHub:
    """Deliver fragments of so many frames to a hub."""
    hub = hub or StoppedClock().hub()
    init, fragments = fragments_of(*counts, **stream)
    hub.begin(init)
    for each in fragments:
        hub.deliver(each)
    return hub


async def test_a_consumer_begins_with_the_last_key_frame() -> None:
    """It does not wait for the next one."""
    hub, queue = hub_with(5, 5, 5, 4), RecordingQueue()
    async with hub.attach(queue):
        items = await received(queue)
    assert frames_of(items) == 9
    assert shape(items) == ["CaptureBegan", "K", "p"]


async def test_every_attached_consumer_gets_each_item() -> None:
    """Each consumer gets the same items, from its arrival until it leaves."""
    hub, first, second = hub_with(5), RecordingQueue(), RecordingQueue()
    _, (_, later, last) = fragments_of(5, 5, 5)
    async with AsyncExitStack() as second_place:
        async with hub.attach(first):
            hub.deliver(later)
            await second_place.enter_async_context(hub.attach(second))
        hub.deliver(last)
        hub.end(LOST)
        assert hub.consumers == (second,)
    assert hub.consumers == ()
    assert shape(await received(first)) == ["CaptureBegan", "K", "p"]
    assert shape(await received(second)) == ["CaptureBegan", "K", "p", "K", "CaptureEnded"]


async def test_before_a_capture_delivers_there_is_nothing_to_begin_with() -> None:
    """A consumer that attached before gets everything from the header of the stream on."""
    hub, queue = StoppedClock().hub(), RecordingQueue()
    async with hub.attach(queue):
        assert await received(queue) == []
        init, (first, *_) = fragments_of(5)
        hub.begin(init)
        hub.deliver(first)
    assert shape(await received(queue)) == ["CaptureBegan", "K"]


async def test_nothing_of_a_capture_that_is_over_is_handed_on() -> None:
    """A consumer that attaches between two captures begins with the second one's first frame."""
    hub, queue = hub_with(5, 5), RecordingQueue()
    hub.end(LOST)
    assert hub.began_at is None
    async with hub.attach(queue):
        assert await received(queue) == []
        init, (first, *_) = fragments_of(5)
        hub.begin(init)
        hub.deliver(first)
    began, captured = await received(queue)
    assert began == CaptureBegan(init)
    assert isinstance(captured, CapturedFragment)
    assert captured.fragment is first


def test_wall_time_from_the_stream_does_not_time_fragments() -> None:
    """A source whose clock is an hour behind is a warning; frames are timed by their arrival."""
    stream = FakeStream()
    said = EPOCH - timedelta(hours=1)
    data = stream.head + b"".join(
        prft(1, Fraction(int(said.timestamp()))) + stream.next(5) for _ in range(3)
    )
    init, fragments = read(data)
    hub = StoppedClock().hub(StreamTimeline())
    hub.begin(init)
    for fragment in fragments:
        captured = hub.deliver(fragment)
        assert captured.end == EPOCH
    assert hub.source_clock.offset_seconds == -3600
    assert hub.warnings.value == (
        "The camera's clock is 60 minutes behind this machine's; "
        "files are named by this machine's clock",
    )


def test_times_come_from_the_arrival() -> None:
    """The last frame of a fragment arrived with it."""
    hub = StoppedClock().hub()
    init, (fragment,) = fragments_of(5)
    hub.begin(init)
    captured = hub.deliver(fragment)
    spread: tuple[datetime, datetime] = (captured.start, captured.end)
    assert spread == (EPOCH - timedelta(seconds=0.5), EPOCH)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_step_of_the_clock_is_told_before_what_comes_after_it(hours: int) -> None:
    """Attached consumers hear of it in order; what the hub holds is on the new clock."""
    clock, step = StoppedClock(), timedelta(hours=hours)
    stream = FakeStream()
    data = stream.head + b"".join(
        prft(1, Fraction(int((EPOCH + later).timestamp()))) + stream.next(5)
        for later in (timedelta(0), timedelta(seconds=1), timedelta(seconds=1) + step)
    )
    init, pieces = read(data)
    hub, running, later = clock.hub(), RecordingQueue(), RecordingQueue()
    hub.begin(init)
    async with hub.attach(running):
        hub.deliver(pieces[0])
        clock.wall = EPOCH + step
        hub.deliver(pieces[1])
        hub.deliver(pieces[2])
        async with hub.attach(later):
            pass
    assert shape(await received(running)) == ["CaptureBegan", "K", "ClockStepped", "p", "K"]
    ends = [item.end for item in await received(later) if isinstance(item, CapturedFragment)]
    assert ends == [EPOCH + step]
    assert hub.look_at_clock().wall == EPOCH + step


async def test_what_is_held_follows_the_clock() -> None:
    """A session that begins after a step begins on the new clock, without a ClockStepped."""
    clock, queue = StoppedClock(), RecordingQueue()
    hub = hub_with(5, 5, hub=clock.hub())
    clock.wall = EPOCH + timedelta(days=9)
    hub.look_at_clock()
    async with hub.attach(queue):
        began, *held = await received(queue)
    assert isinstance(began, CaptureBegan)
    assert [item.end for item in held if isinstance(item, CapturedFragment)] == [
        EPOCH + timedelta(days=9)
    ] * 2


def test_rates_are_measured() -> None:
    """Frames and bytes per second are averages of the fragments."""
    hub = hub_with(5, 5, 5, 5, frame_bytes=1000)
    _, fragments = fragments_of(5, frame_bytes=1000)
    assert hub.video == VideoFormat("avc1", 320, 180, float(FPS))
    assert hub.bytes_per_second == pytest.approx(fragments[0].size_bytes * 2)
    assert hub.bytes_captured == 4 * fragments[0].size_bytes
    assert hub.began_at == 7.0


def test_a_single_odd_fragment_moves_the_rates_a_little() -> None:
    """By a tenth of the difference."""
    hub = hub_with(5)
    before = hub.bytes_per_second
    assert before is not None
    _, (_, heavy) = fragments_of(5, 5, frame_bytes=10_000)
    hub.deliver(heavy)
    rate = heavy.size_bytes / heavy.duration_seconds
    assert hub.bytes_per_second == pytest.approx(before + 0.1 * (rate - before))


def test_a_frame_without_duration_hardly_moves_the_rates() -> None:
    """The last fragment of a capture may be short, with many bytes."""
    hub = hub_with(5)
    before = hub.bytes_per_second
    _, (last,) = fragments_of(1)
    assert last.video is not None
    hub.deliver(attrs.evolve(last, video=attrs.evolve(last.video, duration=1)))
    assert hub.video is not None
    assert hub.bytes_per_second == pytest.approx(before, rel=0.15)
    assert hub.video.fps == pytest.approx(float(FPS), rel=0.15)


def test_another_picture_is_measured_anew() -> None:
    """The rate of another picture size does not count."""
    hub = hub_with(5, frame_bytes=10_000)
    init, fragments = fragments_of(5, frame_bytes=1000)
    hub.begin(attrs.evolve(init, tracks=(attrs.evolve(init.video, width=160),)))
    hub.deliver(fragments[0])
    assert hub.bytes_per_second == pytest.approx(fragments[0].size_bytes * 2)


async def test_a_group_that_never_ends_is_not_kept() -> None:
    """Memory is bounded: past the limit a session waits for the next key frame."""
    hub = hub_with(*[5] * 7, hub=StoppedClock().hub(limit_bytes=3000), group=1000)
    queue = RecordingQueue()
    async with hub.attach(queue) as attachment:
        assert attachment.awaits_key_frame
        init, (first, *_) = fragments_of(5)
        hub.begin(init)
        hub.deliver(first)
        assert not attachment.awaits_key_frame
    assert shape(await received(queue)) == ["CaptureBegan", "CaptureBegan", "K"]


async def test_a_session_never_begins_inside_a_group() -> None:
    """Frames before its first key frame cannot be recorded and are not counted as lost."""
    _, fragments = fragments_of(*[5] * 12, group=50)
    hub = hub_with(*[5] * 7, hub=StoppedClock().hub(limit_bytes=3000), group=50)
    queue = RecordingQueue()
    async with hub.attach(queue):
        for each in fragments[7:]:
            hub.deliver(each)
    assert shape(await received(queue)) == ["CaptureBegan", "K", "p"]


def test_a_group_without_an_end_costs_32_mebibytes() -> None:
    """Memory is bounded for a camera that sends no further key frame."""
    hub, (init, fragments) = StreamHub(clock=SYSTEM_CLOCK), fragments_of(*[5] * 12, group=1000)
    hub.begin(init)
    media = bytes(5 * 1024 * 1024)
    for each in fragments:
        hub.deliver(attrs.evolve(each, mdat=media))
        assert hub.preroll.size_bytes <= 32 * 1024 * 1024


# --- demand -------------------------------------------------------------------------------


async def test_demand_is_who_needs_the_capture() -> None:
    """A consumer counts from when it needs the capture until it leaves; the grace is the last's."""
    hub, recording = StoppedClock().hub(), RecordingQueue()
    viewer = RecordingQueue(grace_seconds=10.0)
    async with hub.attach(recording, needs_capture=False) as attachment:
        assert hub.demand.value == TotalDemand()
        attachment.need_capture()
        attachment.need_capture()
        assert hub.demand.value == TotalDemand(consumers=1, joined=1)
        async with hub.attach(viewer):
            assert hub.demand.value == TotalDemand(consumers=2, joined=2)
            assert hub.demanding == (recording, viewer)
            attachment.finish()
            assert hub.demand.value == TotalDemand(consumers=1, joined=2)
    assert hub.demand.value == TotalDemand(consumers=0, joined=2, grace_seconds=10.0)


async def test_a_consumer_that_finishes_gets_the_fragment_in_flight() -> None:
    """It contains the frames until now; other consumers go on, and need the capture."""
    hub, leaving, staying = hub_with(5), RecordingQueue(), RecordingQueue()
    hub.expect()
    _, (_, in_flight, later) = fragments_of(5, 5, 5)
    async with hub.attach(leaving) as attachment, hub.attach(staying):
        attachment.finish()
        assert not leaving.finished
        hub.deliver(in_flight)
        hub.deliver(later)
    assert shape(await received(leaving)) == ["CaptureBegan", "K", "p", "EndOfStream"]
    assert shape(await received(staying)) == ["CaptureBegan", "K", "p", "K"]


async def test_the_last_consumer_that_finishes_gets_all_that_the_capture_delivers() -> None:
    """The capture ends, and its last fragments belong to that consumer."""
    hub, queue = hub_with(5), RecordingQueue()
    hub.expect()
    _, (_, *last) = fragments_of(5, 5, 5)
    async with hub.attach(queue) as attachment:
        attachment.finish()
        for fragment in last:
            hub.deliver(fragment)
        hub.end(CaptureEnded(None, ""))
    assert shape(await received(queue)) == [
        *("CaptureBegan", "K", "p", "K"),
        *("CaptureEnded", "EndOfStream"),
    ]


async def test_without_a_capture_nothing_is_in_flight() -> None:
    """The input of a consumer that finishes ends at once."""
    hub, queue = StoppedClock().hub(), RecordingQueue()
    async with hub.attach(queue) as attachment:
        attachment.finish()
        assert await received(queue) == [EndOfStream()]


async def test_a_hub_that_is_closed_has_no_demand() -> None:
    """Neither of attached consumers nor of later ones."""
    hub, queue = StoppedClock().hub(), RecordingQueue(grace_seconds=10.0)
    async with hub.attach(queue):
        hub.close()
        assert not hub.demand.value.lasts
        async with hub.attach(RecordingQueue()):
            assert not hub.demand.value.lasts
    assert not hub.demand.value.lasts
