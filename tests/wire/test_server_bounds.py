"""Parts of the server without a connection: frame meter, token bucket, send queue."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from test_server_connections import frame
from trio.testing import MockClock

from camd.rpc import codec
from camd.server.rules.answers import MAX_BATCH_BYTES, BatchAnswers
from camd.server.rules.connection_limits import TokenBucket
from camd.server.send_queue import FAIR_CHARACTERS, SendBudget, SendQueue, SendQueueFullError
from camd.server.websocket import MessageMeter

messages = st.lists(st.lists(st.integers(0, 70_000), min_size=1, max_size=4), max_size=4)


@given(messages, st.data())
def test_the_meter_adds_up_fragments_wherever_the_stream_is_cut(
    sizes: list[list[int]], data: st.DataObject
) -> None:
    """Messages within the limit pass and the first larger one is refused, wherever it is cut."""
    stream = b"".join(
        frame(0 if number else 1, bytes(size), last=number == len(parts) - 1)
        for parts in sizes
        for number, size in enumerate(parts)
    )
    limit = data.draw(st.integers(0, 200_000))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    meter = MessageMeter(limit)
    borders = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(borders)]
    assert all(meter.count(piece) for piece in pieces) == all(sum(m) <= limit for m in sizes)


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_a_control_frame_is_short(opcode: int) -> None:
    """A ping, pong or close of more than 125 bytes is refused at its header (RFC 6455, 5.5)."""
    assert MessageMeter(1000).count(frame(opcode, bytes(125)))
    assert not MessageMeter(1000).count(frame(opcode, bytes(126))[:8])


@given(st.binary(max_size=500))
def test_the_meter_ends_on_any_bytes(data: bytes) -> None:
    """Any bytes pass or are refused; the meter never loops or raises."""
    MessageMeter(100).count(data)


@given(st.integers(1, 6000), st.lists(st.floats(0, 10), max_size=50))
def test_a_bucket_never_gives_more_than_a_burst_and_its_rate(
    per_minute: int, pauses: list[float]
) -> None:
    """Over any time: at most the calls of one minute at once, plus those earned since."""
    bucket, now, given_out = TokenBucket(per_minute), 0.0, 0
    for pause in pauses:
        now += pause
        for _ in range(200):
            given_out += bucket.take(now) == 0
    assert given_out <= per_minute + now * per_minute / 60 + 1


@given(st.integers(1, 6000))
def test_waiting_for_retry_after_ms_is_enough(per_minute: int) -> None:
    """After retry_after_ms the next call is allowed."""
    bucket = TokenBucket(per_minute)
    while not (wait_ms := bucket.take(0.0)):
        pass
    assert bucket.take(wait_ms / 1000 + 1e-6) == 0


def test_zero_calls_per_minute_is_no_limit() -> None:
    """Zero a minute switches the limit off."""
    bucket = TokenBucket(0)
    assert not any(bucket.take(0.0) for _ in range(10_000))


async def test_a_send_queue_keeps_order_and_the_latest_state(autojump_clock: MockClock) -> None:
    """A newer state replaces the older one and goes to the end."""
    send_queue = SendQueue()
    for text, key in (("a1", "a"), ("x", None), ("b1", "b"), ("a2", "a"), ("y", None)):
        send_queue.put(text, key)
    assert [await send_queue.take() for _ in range(len(send_queue))] == ["x", "b1", "a2", "y"]


def test_a_send_queue_is_bounded_by_number_and_by_size() -> None:
    """Above either bound it is full; states with a queued key and one huge message still fit."""
    send_queue = SendQueue(max_messages=2, max_characters=10)
    send_queue.put("x" * 50)
    with pytest.raises(SendQueueFullError):
        send_queue.put("y")
    send_queue.take_nowait()
    send_queue.put("1")
    send_queue.put("2", "key")
    with pytest.raises(SendQueueFullError):
        send_queue.put("3")
    send_queue.put("4", "key")
    assert [send_queue.take_nowait(), send_queue.take_nowait()] == ["1", "4"]


def test_all_send_queues_together_are_bounded() -> None:
    """When the budget is spent, a client that holds little goes on, one that holds much ends."""
    budget = SendBudget(max_characters=2 * FAIR_CHARACTERS)
    slow, quick = SendQueue(budget=budget), SendQueue(budget=budget)
    slow.put("x" * FAIR_CHARACTERS)
    slow.put("x" * FAIR_CHARACTERS)
    with pytest.raises(SendQueueFullError, match="all clients"):
        slow.put("x")
    quick.put("y")
    quick.put("y" * (FAIR_CHARACTERS - 1))
    slow.discard()
    assert budget.used == FAIR_CHARACTERS
    quick.put("y" * FAIR_CHARACTERS)
    while quick:
        quick.take_nowait()
    assert budget.used == 0


def test_a_replaced_state_gives_its_space_back() -> None:
    """The budget counts what is queued, and not what was replaced."""
    budget = SendBudget()
    send_queue = SendQueue(budget=budget)
    send_queue.put("12345", "key")
    send_queue.put("123", "key")
    assert budget.used == 3


def test_the_answers_to_one_batch_are_bounded() -> None:
    """Answers beyond the bound become errors; each call has its answer, in order."""
    sent: list[bytes | None] = []
    batch = BatchAnswers(3, sent.append)
    batch.finish(codec.encode_result(b"1", "x" * (MAX_BATCH_BYTES // 2)))
    batch.finish(codec.encode_result(b"2", "x" * (MAX_BATCH_BYTES // 2)))
    batch.finish(codec.encode_result(b"3", "pong"))
    (text,) = sent
    assert text is not None
    first, second, third = json.loads(text)
    assert (first["id"], second["id"], third["id"]) == (1, 2, 3)
    assert "result" in first
    assert second["error"]["code"] == -32002
    assert third["result"] == "pong"


async def test_a_waiter_continues_when_the_send_queue_has_room(autojump_clock) -> None:
    """Waiting for room ends as soon as enough was taken, and not before."""
    send_queue = SendQueue()
    for number in range(3):
        send_queue.put(str(number))
    lengths = []

    async def wait() -> None:
        await send_queue.wait_below(2)
        lengths.append(len(send_queue))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        send_queue.take_nowait()
        await trio.testing.wait_all_tasks_blocked()
        assert lengths == []
        send_queue.take_nowait()
    assert lengths == [1]
