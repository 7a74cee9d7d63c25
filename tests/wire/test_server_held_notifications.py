"""News and the answer to the call that causes them: which of the two a client reads first."""

from __future__ import annotations

import json
from typing import Any

import structlog
import trio
from front_stage import Peer, Stage, open_stage, token
from trio.testing import MockClock, wait_all_tasks_blocked

from camd.server.rules.answers import HOLD_SECONDS, MOST_HELD

OURS = "camera camera0"


async def working(peer: Peer, seconds: float = 5, about: str = OURS) -> None:
    """Send a call that works on `about`, and wait until it does."""
    await peer.send(id="w", method="work", params={"seconds": seconds, "about": about})
    await wait_all_tasks_blocked()


async def order(peer: Peer, count: int) -> list[Any]:
    """Receive so many messages; give the ids of answers and the `seq` of news."""
    messages = [await peer.receive() for _ in range(count)]
    return [message["params"]["seq"] if "params" in message else "w" for message in messages]


async def test_the_answer_comes_before_the_news_that_the_call_caused(
    autojump_clock: MockClock,
) -> None:
    """A client that takes the next frame for its answer is right; the news follow in order."""
    async with open_stage() as stage, stage.peer() as peer, stage.peer() as other:
        await working(peer)
        for seq in range(5):
            stage.publish("recording_status_update", about=OURS, seq=seq)
        assert await order(other, 5) == [0, 1, 2, 3, 4]  # at once
        assert trio.current_time() % 1_000_000 < 5
        assert await order(peer, 6) == ["w", 0, 1, 2, 3, 4]
        stage.publish("recording_status_update", about=OURS, seq=5)
        assert await order(peer, 1) == [5]


async def test_news_about_something_else_do_not_wait(autojump_clock: MockClock) -> None:
    """A long call keeps back what it is about, and nothing else."""
    async with open_stage() as stage, stage.peer() as peer:
        await working(peer)
        stage.publish("update", about=OURS, seq=1)
        stage.publish("update", about="camera camera1", seq=2)
        stage.publish("update", seq=3)
        assert await order(peer, 4) == [2, 3, "w", 1]


async def test_states_that_wait_are_the_latest(autojump_clock: MockClock) -> None:
    """Newer states replace older ones while they wait for the answer."""
    async with open_stage() as stage, stage.peer() as peer:
        await working(peer)
        for seq in range(1000):
            stage.publish("camera", key=f"camera{seq % 2}", about=OURS, seq=seq)
        assert await order(peer, 3) == ["w", 998, 999]


async def test_what_waits_is_bounded(autojump_clock: MockClock) -> None:
    """Past the bound everything goes out, in order, and nothing is lost."""
    async with open_stage() as stage, stage.peer() as peer:
        await working(peer)
        for seq in range(MOST_HELD + 10):
            stage.publish("update", about=OURS, seq=seq)
        assert await order(peer, MOST_HELD + 11) == [*range(MOST_HELD + 10), "w"]


async def test_a_call_that_hangs_holds_news_for_a_time_only(autojump_clock: MockClock) -> None:
    """After half a minute its client hears what happens, also when nothing new does."""
    async with open_stage() as stage, stage.peer() as peer:
        await working(peer, 1000)
        began = trio.current_time()
        stage.publish("update", about=OURS, seq=1)
        assert await order(peer, 1) == [1]
        assert HOLD_SECONDS <= trio.current_time() - began <= HOLD_SECONDS + 10
        stage.publish("update", about=OURS, seq=2)
        assert await order(peer, 1) == [2]


async def test_two_calls_about_the_same_hold_news_for_both(autojump_clock: MockClock) -> None:
    """News wait for the last of them; a call about everything holds everything."""
    async with open_stage() as stage, stage.peer() as peer:
        await working(peer, 5)
        await working(peer, 9, "*")
        stage.publish("update", about=OURS, seq=1)
        stage.publish("update", seq=2)
        assert await order(peer, 4) == ["w", "w", 1, 2]


async def test_a_batch_is_answered_before_its_news(autojump_clock: MockClock) -> None:
    """News wait for the one array that answers all calls of a batch."""
    async with open_stage() as stage, stage.peer() as peer:
        calls = [
            {"jsonrpc": "2.0", "id": n, "method": "work", "params": {"seconds": n}} for n in (1, 9)
        ]
        await peer.socket.send(json.dumps(calls))
        await wait_all_tasks_blocked()
        stage.publish("update", about=OURS, seq=1)
        assert [answer["id"] for answer in await peer.receive()] == [1, 9]
        assert await order(peer, 1) == [1]


async def test_a_call_without_an_id_holds_nothing(autojump_clock: MockClock) -> None:
    """Nothing is answered to it, so there is nothing to wait for."""
    async with open_stage() as stage, stage.peer() as peer:
        await peer.send(method="work", params={"seconds": 1000})
        await wait_all_tasks_blocked()
        stage.publish("update", about=OURS, seq=1)
        assert await order(peer, 1) == [1]


async def leave(stage: Stage, peer: Peer) -> list[Any]:
    stage.front.stop()
    return [await peer.receive() for _ in range(2)]


async def test_a_stopping_service_hands_over_what_waits(autojump_clock: MockClock) -> None:
    """The call is refused, then the news about it follow, before the connection closes."""
    async with open_stage() as stage, stage.peer() as peer:
        await working(peer, 1000)
        stage.publish("update", about=OURS, seq=1)
        answer, news = await leave(stage, peer)
        assert answer["error"]["code"] == -1021
        assert news["params"]["seq"] == 1


async def test_unknown_parameters_are_ignored_and_said(autojump_clock: MockClock) -> None:
    """A result that is an object says so; of others the log does, once for each method."""
    async with open_stage() as stage, stage.peer() as peer:
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
