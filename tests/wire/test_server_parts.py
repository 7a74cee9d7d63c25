"""The synchronous parts of the front: frame meter, token bucket, outbox, origins."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from test_server_connections import frame
from trio.testing import MockClock

from camd.server.rules.rate_limit import TokenBucket
from camd.server.send_queue import SendQueue, SendQueueFullError
from camd.server.websocket import FrameMeter

messages = st.lists(st.lists(st.integers(0, 70_000), min_size=1, max_size=4), max_size=4)


@given(messages, st.data())
def test_the_meter_adds_up_fragments_wherever_the_stream_is_cut(
    sizes: list[list[int]], data: st.DataObject
) -> None:
    """It passes what fits and stops at the first message that does not, in any pieces."""
    stream = b"".join(
        frame(0 if number else 1, bytes(size), last=number == len(parts) - 1)
        for parts in sizes
        for number, size in enumerate(parts)
    )
    limit = data.draw(st.integers(0, 200_000))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    meter = FrameMeter(limit)
    borders = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(borders)]
    assert all(meter.feed(piece) for piece in pieces) == all(sum(m) <= limit for m in sizes)


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_a_control_frame_is_short(opcode: int) -> None:
    """A ping, pong or close of more than 125 bytes is refused at its header (RFC 6455, 5.5)."""
    assert FrameMeter(1000).feed(frame(opcode, bytes(125)))
    assert not FrameMeter(1000).feed(frame(opcode, bytes(126))[:8])


@given(st.binary(max_size=500))
def test_the_meter_ends_on_any_bytes(data: bytes) -> None:
    """Garbage passes or is refused; it never loops or raises."""
    FrameMeter(100).feed(data)


@given(st.integers(1, 6000), st.lists(st.floats(0, 10), max_size=50))
def test_a_bucket_never_gives_more_than_a_burst_and_its_rate(
    per_minute: int, pauses: list[float]
) -> None:
    """Over any time: at most one minute's worth at once, plus what was earned since."""
    bucket, now, given_out = TokenBucket(per_minute), 0.0, 0
    for pause in pauses:
        now += pause
        for _ in range(200):
            given_out += bucket.take(now) == 0
    assert given_out <= per_minute + now * per_minute / 60 + 1


@given(st.integers(1, 6000))
def test_waiting_as_told_is_enough(per_minute: int) -> None:
    """After retry_after_ms the next call is let through."""
    bucket = TokenBucket(per_minute)
    while not (wait_ms := bucket.take(0.0)):
        pass
    assert bucket.take(wait_ms / 1000 + 1e-6) == 0


def test_no_limit_is_no_limit() -> None:
    """Zero a minute switches the limit off."""
    bucket = TokenBucket(0)
    assert not any(bucket.take(0.0) for _ in range(10_000))


async def test_an_outbox_keeps_order_and_the_latest_state(autojump_clock: MockClock) -> None:
    """A newer state takes the place of the older and goes to the end."""
    outbox = SendQueue()
    for text, key in (("a1", "a"), ("x", None), ("b1", "b"), ("a2", "a"), ("y", None)):
        outbox.put(text, key)
    assert [await outbox.take() for _ in range(len(outbox))] == ["x", "b1", "a2", "y"]


def test_an_outbox_is_bounded_by_number_and_by_size() -> None:
    """Past either bound it is full; states of known keys still fit; one huge message does."""
    outbox = SendQueue(max_messages=2, max_characters=10)
    outbox.put("x" * 50)
    with pytest.raises(SendQueueFullError):
        outbox.put("y")
    outbox.take_nowait()
    outbox.put("1")
    outbox.put("2", "key")
    with pytest.raises(SendQueueFullError):
        outbox.put("3")
    outbox.put("4", "key")
    assert [outbox.take_nowait(), outbox.take_nowait()] == ["1", "4"]


async def test_an_outbox_says_when_it_has_room_again(autojump_clock) -> None:
    """Who waits for room goes on as soon as enough was taken, and not before."""
    outbox = SendQueue()
    for number in range(3):
        outbox.put(str(number))
    heard = []

    async def wait() -> None:
        await outbox.wait_below(2)
        heard.append(len(outbox))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        outbox.take_nowait()
        await trio.testing.wait_all_tasks_blocked()
        assert heard == []
        outbox.take_nowait()
    assert heard == [1]
