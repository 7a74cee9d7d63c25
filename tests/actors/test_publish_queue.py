"""The queue of a publisher: bounded, begins with key frames, and never makes the hub wait."""

from __future__ import annotations

import attrs
from support.media_streams import captured, fragments_of

from camd.capture.consumer import CaptureBegan, CaptureEnded
from camd.capture.hub import StreamHub
from camd.clock import SYSTEM_CLOCK
from camd.mp4.fragments import Fragment
from camd.publish.publication_queue import PublicationQueue


def filled(
    count: int, *, group: int = 10, **limits: float
) -> tuple[PublicationQueue, list[Fragment]]:
    """Make a queue that was given so many fragments of 5 frames (half a second)."""
    init, fragments = fragments_of(*[5] * count, group=group)
    queue = PublicationQueue(**limits)  # type: ignore[arg-type]
    queue.put(CaptureBegan(init))
    for item in captured(fragments):
        queue.put(item)
    return queue, fragments


async def taken(queue: PublicationQueue) -> list[Fragment]:
    """Take what waits."""
    init = await queue.wait_header()
    found = []
    while queue.waiting_bytes:
        fragment = await queue.take(init)
        assert fragment is not None
        found.append(fragment)
    return found


async def test_what_is_taken_in_time_is_complete_and_in_order() -> None:
    """Nothing is dropped below the limits."""
    queue, fragments = filled(8)
    assert await taken(queue) == fragments
    assert queue.frames_dropped == 0


async def test_a_publisher_that_lags_goes_on_at_the_newest_key_frame() -> None:
    """Beyond the limit of time, everything before it is dropped and counted."""
    queue, fragments = filled(11, limit_seconds=4.0)
    left = await taken(queue)
    assert left == fragments[-len(left) :]
    assert left[0].starts_with_sync
    assert queue.frames_dropped == 5 * (11 - len(left)) > 0


async def test_memory_is_bounded_in_bytes() -> None:
    """Also while a single group of pictures is larger than the limit."""
    one = filled(1)[1][0].size_bytes
    queue, _ = filled(40, group=1000, limit_bytes=4 * one, limit_seconds=1000.0)
    assert queue.waiting_bytes == 0
    assert queue.frames_dropped == 5 * 40


async def test_it_begins_with_a_key_frame_also_in_the_middle_of_a_group() -> None:
    """What comes before the first key frame is of no use to a viewer."""
    init, fragments = fragments_of(*[5] * 4)
    queue = PublicationQueue()
    queue.put(CaptureBegan(init))
    for item in list(captured(fragments))[1:]:
        queue.put(item)
    assert await taken(queue) == fragments[2:]


async def test_another_header_ends_the_stream_and_the_fragment_stays() -> None:
    """The next publication begins with it."""
    init, fragments = fragments_of(5, 5, 5, 5)
    other = attrs.evolve(init, moov=init.moov + b"\0\0\0\x08free")
    queue = PublicationQueue()
    queue.put(CaptureBegan(init))
    first, second, third, fourth = captured(fragments)
    for item in (first, second, attrs.evolve(third, init=other), attrs.evolve(fourth, init=other)):
        queue.put(item)
    assert await queue.wait_header() is init
    assert [await queue.take(init) for _ in range(3)] == [*fragments[:2], None]
    assert await queue.wait_header() is other
    assert await queue.take(other) is fragments[2]


async def test_the_end_of_the_capture_is_seen_once() -> None:
    """A capture that begins anew is another stream."""
    queue, fragments = filled(2)
    queue.put(CaptureEnded(None, "over"))
    init = await queue.wait_header()
    assert [await queue.take(init) for _ in range(3)] == [*fragments, None]
    queue.put(CaptureBegan(init))
    queue.put(next(captured(fragments)))
    assert await queue.wait_header() is init
    assert await queue.take(init) is fragments[0]


async def test_a_publisher_that_takes_nothing_is_not_noticed_by_the_hub() -> None:
    """The hub delivers all, and another consumer gets all."""
    init, fragments = fragments_of(*[5] * 100)
    hub, slow, quick = (
        StreamHub(clock=SYSTEM_CLOCK),
        PublicationQueue(limit_seconds=2.0),
        PublicationQueue(),
    )
    async with hub.attach(slow, needs_capture=False), hub.attach(quick):
        assert hub.demand.value.consumers == 1
        hub.expect()
        hub.begin(init)
        header = hub.init
        assert header is not None
        for each in fragments:
            hub.deliver(each)
            await quick.wait_header() if each is fragments[0] else None
            assert await quick.take(header) is not None
    assert quick.frames_dropped == 0
    assert slow.frames_dropped > 400
