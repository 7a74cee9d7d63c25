"""Notifications are sent after the answer to the call that causes them."""

from __future__ import annotations

import json
from typing import Any

import structlog
import trio
from memory_server import MemoryServer, Peer, serving, token
from trio.testing import MockClock, wait_all_tasks_blocked

from camd.server.rules.answers import HOLD_SECONDS, MAX_HELD

OURS = "camera camera0"


async def working(peer: Peer, seconds: float = 5, about: str = OURS) -> None:
    """Send a call that holds notifications about `about`, and wait until it runs."""
    await peer.send(id="w", method="work", params={"seconds": seconds, "about": about})
    await wait_all_tasks_blocked()


async def order(peer: Peer, count: int) -> list[Any]:
    """Receive `count` messages; return the ids of answers and the `seq` of notifications."""
    messages = [await peer.receive() for _ in range(count)]
    return [message["params"]["seq"] if "params" in message else "w" for message in messages]


async def test_the_answer_comes_before_the_notifications_that_the_call_caused(
    autojump_clock: MockClock,
) -> None:
    """The next message after a call is its answer; its notifications follow in order."""
    async with serving() as running, running.peer() as peer, running.peer() as other:
        await working(peer)
        for seq in range(5):
            running.publish("recording_status_update", about=OURS, seq=seq)
        assert await order(other, 5) == [0, 1, 2, 3, 4]  # at once
        assert trio.current_time() % 1_000_000 < 5
        assert await order(peer, 6) == ["w", 0, 1, 2, 3, 4]
        running.publish("recording_status_update", about=OURS, seq=5)
        assert await order(peer, 1) == [5]


async def test_notifications_about_other_subjects_do_not_wait(autojump_clock: MockClock) -> None:
    """A long call holds notifications about its subject, and no others."""
    async with serving() as running, running.peer() as peer:
        await working(peer)
        running.publish("update", about=OURS, seq=1)
        running.publish("update", about="camera camera1", seq=2)
        running.publish("update", seq=3)
        assert await order(peer, 4) == [2, 3, "w", 1]


async def test_held_states_are_the_latest(autojump_clock: MockClock) -> None:
    """Newer states replace older ones while they wait for the answer."""
    async with serving() as running, running.peer() as peer:
        await working(peer)
        for seq in range(1000):
            running.publish("camera", key=f"camera{seq % 2}", about=OURS, seq=seq)
        assert await order(peer, 3) == ["w", 998, 999]


async def test_what_waits_is_bounded(autojump_clock: MockClock) -> None:
    """Above the bound all notifications are sent, in order, and none is lost."""
    async with serving() as running, running.peer() as peer:
        await working(peer)
        for seq in range(MAX_HELD + 10):
            running.publish("update", about=OURS, seq=seq)
        assert await order(peer, MAX_HELD + 11) == [*range(MAX_HELD + 10), "w"]


async def test_a_call_that_hangs_holds_notifications_for_a_time_only(
    autojump_clock: MockClock,
) -> None:
    """After half a minute they are sent, also when nothing else happens."""
    async with serving() as running, running.peer() as peer:
        await working(peer, 1000)
        began = trio.current_time()
        running.publish("update", about=OURS, seq=1)
        assert await order(peer, 1) == [1]
        assert HOLD_SECONDS <= trio.current_time() - began <= HOLD_SECONDS + 10
        running.publish("update", about=OURS, seq=2)
        assert await order(peer, 1) == [2]


async def test_two_calls_about_one_subject_hold_notifications_for_both(
    autojump_clock: MockClock,
) -> None:
    """Notifications wait for the last call; a call about everything holds everything."""
    async with serving() as running, running.peer() as peer:
        await working(peer, 5)
        await working(peer, 9, "*")
        running.publish("update", about=OURS, seq=1)
        running.publish("update", seq=2)
        assert await order(peer, 4) == ["w", "w", 1, 2]


async def test_a_batch_is_answered_before_its_notifications(autojump_clock: MockClock) -> None:
    """Notifications wait for the array that answers all calls of a batch."""
    async with serving() as running, running.peer() as peer:
        calls = [
            {"jsonrpc": "2.0", "id": n, "method": "work", "params": {"seconds": n}} for n in (1, 9)
        ]
        await peer.socket.send(json.dumps(calls))
        await wait_all_tasks_blocked()
        running.publish("update", about=OURS, seq=1)
        assert [answer["id"] for answer in await peer.receive()] == [1, 9]
        assert await order(peer, 1) == [1]


async def test_a_call_without_an_id_holds_nothing(autojump_clock: MockClock) -> None:
    """It gets no answer for which notifications could wait."""
    async with serving() as running, running.peer() as peer:
        await peer.send(method="work", params={"seconds": 1000})
        await wait_all_tasks_blocked()
        running.publish("update", about=OURS, seq=1)
        assert await order(peer, 1) == [1]


async def stop(running: MemoryServer, peer: Peer) -> list[Any]:
    running.server.stop()
    return [await peer.receive() for _ in range(2)]


async def test_a_stopping_service_sends_what_is_held(autojump_clock: MockClock) -> None:
    """The call is refused, then its notifications follow, before the connection closes."""
    async with serving() as running, running.peer() as peer:
        await working(peer, 1000)
        running.publish("update", about=OURS, seq=1)
        answer, notification = await stop(running, peer)
        assert answer["error"]["code"] == -1021
        assert notification["params"]["seq"] == 1


async def test_unknown_parameters_are_ignored_and_reported(autojump_clock: MockClock) -> None:
    """A result that is an object has a warning; for others there is one log line per method."""
    async with serving() as running, running.peer() as peer:
        answer = await peer.call("work", seconds=0, filename="a.mp4")
        assert answer["result"] == {
            "done": True,
            "warnings": ["unknown parameter, ignored: filename"],
        }
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert (await peer.call("ping", **{"loud\n": True}))["result"] == "pong"
        answer = await peer.call("authenticate", auth_token=token(), client="panel")
        assert answer["result"]["warnings"] == ["unknown parameter, ignored: client"]
        (line,) = logs
        assert (line["event"], line["method"]) == ("unknown_parameters", "ping")
        assert line["names"] == ["loud\\n"]
