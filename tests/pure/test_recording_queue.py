"""The queue of a recording: bounded, in order, drops whole GOPs, and counts frames."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import attrs
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import EPOCH, captured, fragments_of, shape

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    ClockStepped,
    EndOfStream,
)
from camd.recording.recording_queue import QueueDrop, QueueItem, RecordingQueue

INIT, _ = fragments_of(1)
MEBIBYTE = 1024 * 1024


def take(queue: RecordingQueue) -> QueueItem | None:
    """Get the next item, None when the caller would have to wait."""
    coroutine = queue.get()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        item: QueueItem = stop.value
        return item
    except RuntimeError:  # trio's: it would have to wait, and nothing runs here
        return None
    raise AssertionError("unreachable")


def take_all(queue: RecordingQueue) -> list[QueueItem]:
    """Get all items."""
    items = []
    while (item := take(queue)) is not None:
        items.append(item)
    return items


def frames(items: list[QueueItem]) -> int:
    """Count the frames in items, those that were dropped included."""
    fragments = sum(item.fragment.frames for item in items if isinstance(item, CapturedFragment))
    return fragments + sum(item.frames for item in items if isinstance(item, QueueDrop))


def test_items_come_out_in_order() -> None:
    """Below the limit nothing is dropped."""
    queue = RecordingQueue()
    items = [
        CaptureBegan(INIT),
        *captured(fragments_of(5, 5, 5)[1]),
        CaptureEnded(None, ""),
        EndOfStream(),
    ]
    for item in items:
        queue.put(item)
    assert take_all(queue) == items
    assert queue.waiting_bytes == 0


def test_a_full_queue_drops_its_oldest_group() -> None:
    """A whole GOP is dropped, and a QueueOverflowed in its place has the number of frames."""
    pieces = list(captured(fragments_of(5, 5, 5, 5, 5, 5)[1]))
    queue = RecordingQueue(limit_bytes=sum(piece.fragment.size_bytes for piece in pieces[:5]))
    for piece in pieces:
        queue.put(piece)
    items = take_all(queue)
    assert shape(items) == ["-10", "K", "p", "K", "p"]
    marker = items[0]
    assert marker == QueueDrop(pieces[0].start, pieces[1].end, 10)


def test_consecutive_drops_are_one_item() -> None:
    """While the disk is too slow, there is one QueueOverflowed."""
    pieces = list(captured(fragments_of(*[5] * 40)[1]))
    queue = RecordingQueue(limit_bytes=4 * pieces[0].fragment.size_bytes)
    for piece in pieces:
        queue.put(piece)
    assert shape(take_all(queue)) == ["-180", "K", "p", "K", "p"]


def test_the_rest_of_a_group_that_is_being_written_goes_first() -> None:
    """Its beginning was taken already; without the middle, the end cannot be decoded."""
    pieces = list(captured(fragments_of(4, 3, 3, 5, 5)[1]))
    size = pieces[0].fragment.size_bytes
    queue = RecordingQueue(limit_bytes=3 * size)
    queue.put(pieces[0])
    assert take(queue) == pieces[0]
    for piece in pieces[1:]:
        queue.put(piece)
    assert shape(take_all(queue)) == ["-6", "K", "p"]


def test_a_clock_step_within_a_group_does_not_keep_its_end() -> None:
    """The step stays; pictures without the beginning of their group would be damaged."""
    pieces = list(captured(fragments_of(5, 5, 5, 5)[1]))
    queue = RecordingQueue(limit_bytes=2 * pieces[0].fragment.size_bytes)
    for item in (pieces[0], ClockStepped(timedelta(hours=1), EPOCH), *pieces[1:]):
        queue.put(item)
    assert shape(take_all(queue)) == ["-10", "ClockStepped", "K", "p"]


def test_one_fragment_always_fits() -> None:
    """A single fragment above the limit is recorded all the same."""
    (piece,) = captured(fragments_of(5)[1])
    queue = RecordingQueue(limit_bytes=1)
    queue.put(piece)
    assert take_all(queue) == [piece]


def test_begin_and_end_of_captures_are_never_dropped() -> None:
    """CaptureBegan and CaptureEnded stay, whatever is dropped between them."""
    first, second = (list(captured(fragments_of(5, 5)[1])) for _ in range(2))
    queue = RecordingQueue(limit_bytes=first[0].fragment.size_bytes * 2)
    for item in [CaptureBegan(INIT), *first, CaptureEnded(None, ""), CaptureBegan(INIT), *second]:
        queue.put(item)
    assert shape(take_all(queue)) == [
        "CaptureBegan",
        "-10",
        "CaptureEnded",
        "CaptureBegan",
        "K",
        "p",
    ]


def test_nothing_follows_the_end_of_input() -> None:
    """Items after EndOfInput do not belong to the session."""
    queue = RecordingQueue()
    queue.put(EndOfStream())
    for piece in captured(fragments_of(5)[1]):
        queue.put(piece)
    queue.put(EndOfStream())
    assert take_all(queue) == [EndOfStream()]
    assert queue.finished


STEPS = st.lists(
    st.one_of(st.integers(1, 12), st.sampled_from(["take", "take", "began", "ended"])), max_size=60
)


@given(STEPS, st.integers(1, 6))
def test_nothing_is_lost_or_doubled(steps: list[int | str], limit_fragments: int) -> None:
    """Items taken and frames dropped are those that were put, in order and in whole GOPs."""
    counts = [step for step in steps if isinstance(step, int)]
    pieces = list(captured(fragments_of(*counts, frame_bytes=500)[1])) if counts else []
    size = max((piece.fragment.size_bytes for piece in pieces), default=1)
    queue = RecordingQueue(limit_bytes=limit_fragments * size)
    given_, taken, pending = [], [], iter(pieces)
    for step in steps:
        match step:
            case "take":
                if (item := take(queue)) is not None:
                    taken.append(item)
                continue
            case "began":
                item = CaptureBegan(INIT)
            case "ended":
                item = CaptureEnded(None, "")
            case _:
                item = next(pending)
        queue.put(item)
        given_.append(item)
        assert queue.waiting_bytes <= max(queue.limit_bytes, size)
    extra = next(iter(captured(fragments_of(3)[1])))
    queue.put(extra)
    queue.put(EndOfStream())
    given_.append(extra)
    taken += take_all(queue)

    assert frames(taken) == frames(given_)
    assert taken[-1] == EndOfStream()
    assert extra in taken
    ids = [id(item) for item in given_]
    came = [ids.index(id(item)) for item in taken if id(item) in ids]
    assert came == sorted(set(came))
    assert {type(item) for item in taken} - {type(item) for item in given_} <= {
        QueueDrop,
        EndOfStream,
    }
    for marker, behind in pairwise(taken):
        if isinstance(marker, QueueDrop) and isinstance(behind, CapturedFragment):
            kept = [item for item in given_ if isinstance(item, CapturedFragment)]
            before = kept[kept.index(behind) - 1]
            assert behind.fragment.starts_with_sync or before not in taken


def test_a_disk_that_hangs_for_ever_costs_64_mebibytes() -> None:
    """The default limit bounds the memory while nothing is written."""
    queue, _, picture = RecordingQueue(), *fragments_of(1)
    media = bytes(8 * MEBIBYTE)
    (large,) = captured([attrs.evolve(each, mdat=media) for each in picture])
    for _ in range(40):
        queue.put(large)
        assert queue.waiting_bytes <= 64 * MEBIBYTE
    items = take_all(queue)
    assert frames(items) == 40
    assert len(items) == 8
