"""Subscriptions of a connection: replay behind the answer, slow readers, what is missed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_server import MemoryServer, Peer, serving, token
from trio.testing import MockClock, wait_all_tasks_blocked

from camd.api.event_methods import EventsApi
from camd.api.event_publisher import topics_of
from camd.camera.cameras import Cameras
from camd.clock import SYSTEM_CLOCK
from camd.errors import CAMERA_UNKNOWN, Refusal
from camd.events.event_log import EventLog
from camd.events.rules.history import EventHistory
from camd.events.rules.numbering import EventNumbers
from camd.rpc.registry import Registry
from camd.server.connection import EVENTS_MISSED, MAX_LIVE

MOMENT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
CLOCK = attrs.evolve(SYSTEM_CLOCK, now=lambda: MOMENT)


@attrs.frozen
class KnownCamera:
    """What the methods ask of a camera."""

    camera_id: str


class TwoCameras(Cameras):
    """The look-up of cameras alone."""

    def __init__(self) -> None:
        pass

    async def locate(self, name: str) -> Any:
        """Look a camera up by its id."""
        if name not in ("camera0", "camera1"):
            raise Refusal(CAMERA_UNKNOWN, camera_id=name)
        return KnownCamera(name)


@attrs.define(eq=False)
class Service:
    """A server with the methods of events, and the log that it serves."""

    running: MemoryServer
    log: EventLog

    def publish(
        self,
        count: int = 1,
        *,
        method: str = "recording_status_update",
        camera: str = "camera0",
        status: str = "GAP",
        key: str | None = None,
    ) -> None:
        """Publish events as the daemon does."""
        for _ in range(count):
            params = {"camera_id": camera, "status": status}
            self.running.server.deliver(
                self.log.publish(
                    method,
                    params,
                    coalesce_key=key,
                    about=(f"camera {camera}",),
                    topics=topics_of(method, params),
                )
            )


def service(running: MemoryServer, max_events: int = 10_000) -> Service:
    """Give a running server an event log."""
    history = EventHistory(max_events)
    log = EventLog(CLOCK, history, EventNumbers(limit=10**9))
    shared = attrs.evolve(
        running.server.shared,
        history=history,
        registry=Registry([EventsApi(TwoCameras(), history)]),
    )
    running.server.shared = shared
    return Service(running, log)


async def take(peer: Peer, count: int) -> list[Any]:
    """Receive so many notifications; give the numbers, and for `events_missed` its parameters."""
    messages = [await peer.receive() for _ in range(count)]
    return [m["params"]["seq"] if m["method"] != EVENTS_MISSED else m["params"] for m in messages]


async def silent(peer: Peer) -> None:
    """Check that nothing more comes."""
    with trio.move_on_after(1) as scope:
        await peer.receive()
    assert scope.cancelled_caught


async def test_a_replay_follows_the_answer_and_leads_to_new_events(
    autojump_clock: MockClock,
) -> None:
    """One call on a new connection: the answer, everything behind `since`, then what is new."""
    async with serving() as running:
        s = service(running)
        s.publish(300)
        async with running.peer(login=False) as peer:
            answer = await peer.call("subscribe_events", since=100, auth_token=token())
            assert answer["result"] == {
                "subscribed": True,
                "topics": None,
                "camera": None,
                "since": 100,
                "missed": 0,
                "oldest": 1,
                "newest": 300,
                "warnings": [],
            }
            s.publish(3)
            assert await take(peer, 203) == list(range(101, 304))
            s.publish()
            assert await take(peer, 1) == [304]
            await silent(peer)


async def test_ten_thousand_events_are_replayed_while_calls_are_answered(
    autojump_clock: MockClock,
) -> None:
    """A replay goes as fast as the client reads, and a call in between does not wait for it."""
    async with serving() as running:
        s = service(running)
        s.publish(10_000)
        async with running.peer(login=False, lockstep=True) as peer:
            await peer.call("subscribe_events", since=0, auth_token=token())
            assert await take(peer, 50) == list(range(1, 51))
            await peer.send(id="in between", method="get_events", params={"limit": 1})
            before = []
            while "id" not in (message := await peer.receive()):
                before.append(message["params"]["seq"])
            assert message["result"]["last"] == 10_000
            assert len(before) < 100
            rest = 10_000 - 50 - len(before)
            assert await take(peer, rest) == list(range(51 + len(before), 10_001))
            s.publish()
            assert await take(peer, 1) == [10_001]


async def test_what_is_gone_is_in_the_answer(autojump_clock: MockClock) -> None:
    """`missed` counts, `oldest` says from where on the client has everything."""
    async with serving() as running:
        s = service(running, max_events=10)
        s.publish(30)
        async with running.peer(login=False) as peer:
            answer = await peer.call("subscribe_events", since=5, auth_token=token())
            result = answer["result"]
            assert (result["missed"], result["oldest"]) == (15, 21)
            assert await take(peer, 10) == list(range(21, 31))
            await silent(peer)


async def test_since_from_the_future_is_refused(autojump_clock: MockClock) -> None:
    """The error names the parameter and the newest number; the subscription stays as it was."""
    async with serving() as running:
        s = service(running)
        async with running.peer() as peer:
            for method in ("subscribe_events", "get_events"):
                s.publish(3)
                newest = s.log.history.newest
                assert await take(peer, 3) == [newest - 2, newest - 1, newest]
                error = (await peer.call(method, since=newest + 1))["error"]
                why = f"is {newest + 1}, but the newest event is {newest}"
                assert error["code"] == -32602
                assert error["data"]["errors"] == [{"path": "since", "message": why}]
                assert (error["data"]["newest"], error["data"]["oldest"]) == (newest, 1)
                for wrong in (-1, 1.5, "3", 2**53, True):
                    answer = await peer.call(method, since=wrong)
                    assert answer["error"]["code"] == -32602


async def test_topics_and_cameras_narrow(autojump_clock: MockClock) -> None:
    """New and past events are filtered in the same way; other names of clients are understood."""
    async with serving() as running:
        s = service(running)
        async with running.peer() as peer:
            result = (
                await peer.call(
                    "subscribe_events",
                    topics=["recording.start", "camera.*", "system.health"],
                    device="camera1",
                )
            )["result"]
            assert result["topics"] == ["camera", "recording.started"]
            assert result["warnings"] == ["unknown topic, ignored: system.health"]
            s.publish(status="STARTED", camera="camera1")
            s.publish(status="STARTED", camera="camera0")
            s.publish(status="STOPPED", camera="camera1")
            s.publish(method="camera_status_update", status="CONNECTED", camera="camera1")
            assert await take(peer, 2) == [1, 4]
            listed = await peer.call(
                "get_events", topics=["recording_status_update"], camera="camera1", since=0
            )
            assert [each["params"]["seq"] for each in listed["result"]["events"]] == [1, 3]
            assert listed["result"]["last"] == 4
            unknown = await peer.call("subscribe_events", topics=["weather"])
            assert unknown["error"]["code"] == -32602
            assert (await peer.call("subscribe_events", camera="nobody"))["error"]["code"] == -32004
            assert (await peer.call("subscribe_events"))["result"]["topics"] is None
            s.publish()
            assert await take(peer, 1) == [5]


async def test_unsubscribing(autojump_clock: MockClock) -> None:
    """Some topics no longer come, then none, and a new subscription brings all."""
    async with serving() as running:
        s = service(running)
        async with running.peer() as peer:
            await peer.call("subscribe_events", topics=["camera", "recording"])
            answer = await peer.call("unsubscribe_events", topics=["camera"])
            assert answer["result"] == {
                "unsubscribed": True,
                "topics": ["camera"],
                "warnings": [],
            }
            s.publish(method="camera_status_update")
            s.publish(method="storage_status_update")
            s.publish()
            assert await take(peer, 1) == [3]
            await peer.call("unsubscribe_events")
            s.publish()
            await peer.call("subscribe_events")
            s.publish()
            assert await take(peer, 1) == [5]


async def test_a_client_that_reads_slowly_gets_the_newest_states_and_every_event(
    autojump_clock: MockClock,
) -> None:
    """It is not disconnected: it falls behind, catches up, and nothing comes twice."""
    async with serving() as running:
        s = service(running)
        async with running.peer(lockstep=True) as peer:
            await wait_all_tasks_blocked()
            for _ in range(500):
                s.publish()
                s.publish(status="PROGRESS", key="progress:1")
            got = []
            while (seq := (await peer.receive())["params"]["seq"]) != 1000:
                got.append(seq)
            assert [seq for seq in got if seq % 2] == list(range(1, 1000, 2))
            assert got == sorted(got)
            assert len(got) < 500 + MAX_LIVE
            s.publish()
            assert await take(peer, 1) == [1001]


async def test_a_client_that_falls_too_far_behind_is_told_how_many_it_missed(
    autojump_clock: MockClock,
) -> None:
    """What the history has given up meanwhile is a notification of its own, in its place."""
    async with serving() as running:
        s = service(running, max_events=100)
        async with running.peer(lockstep=True) as peer:
            await wait_all_tasks_blocked()
            s.publish(1000)
            got: list[Any] = []
            while not got or got[-1] != 1000:
                got += await take(peer, 1)
            (missed,) = [each for each in got if isinstance(each, dict)]
            numbers = [each for each in got if isinstance(each, int)]
            assert missed["missed"] + len(numbers) == 1000
            assert (missed["oldest"], missed["seq"]) == (901, 900)
            assert missed["time"].endswith("Z")
            assert numbers[-100:] == list(range(901, 1001))
            assert numbers == sorted(set(numbers))


async def test_states_of_the_past_are_all_replayed(autojump_clock: MockClock) -> None:
    """Who asks what happened gets every state, and not only the newest."""
    async with serving() as running:
        s = service(running)
        s.publish(40, key="state")
        async with running.peer(login=False) as peer:
            await peer.call("subscribe_events", since=0, auth_token=token())
            assert await take(peer, 40) == list(range(1, 41))


async def test_a_batch_logs_in_and_subscribes(autojump_clock: MockClock) -> None:
    """The replay waits for the array with both answers."""
    async with serving() as running:
        s = service(running)
        s.publish(3)
        async with running.peer(login=False) as peer:
            calls = [
                {"id": 1, "method": "authenticate", "params": {"auth_token": token()}},
                {"id": 2, "method": "subscribe_events", "params": {"since": 1}},
            ]
            await peer.socket.send(json.dumps([{"jsonrpc": "2.0", **call} for call in calls]))
            assert [answer["id"] for answer in await peer.receive()] == [1, 2]
            assert await take(peer, 2) == [2, 3]


async def test_pages_of_events(autojump_clock: MockClock) -> None:
    """Without `since` the newest; with it, page by page until there are no more."""
    async with serving() as running:
        s = service(running, max_events=50)
        s.publish(60)
        async with running.peer() as peer:
            newest = (await peer.call("get_events", limit=3))["result"]
            assert [each["params"]["seq"] for each in newest["events"]] == [58, 59, 60]
            assert (newest["more"], newest["missed"], newest["last"]) == (False, 0, 60)
            seen, since, missed, more = [], 0, 0, True
            while more:
                page = (await peer.call("get_events", since=since, limit=20))["result"]
                seen += [each["params"]["seq"] for each in page["events"]]
                since, more, missed = page["last"], page["more"], missed + page["missed"]
            assert (seen, missed) == (list(range(11, 61)), 10)
            empty = (await peer.call("get_events", since=60))["result"]
            assert (empty["events"], empty["more"], empty["last"]) == ([], False, 60)


async def test_the_newest_of_a_rare_topic(autojump_clock: MockClock) -> None:
    """They are found behind thousands of other events, and an answer stays within its bytes."""
    async with serving() as running:
        s = service(running)
        for _ in range(4):
            s.publish(method="storage_status_update", status="x" * 400_000)
            s.publish(1500)
        async with running.peer() as peer:
            rare = (await peer.call("get_events", topics=["storage"], limit=2))["result"]
            assert [each["params"]["seq"] for each in rare["events"]] == [3003, 4504]
            large = (await peer.call("get_events", topics=["storage"], since=0))["result"]
            assert [each["params"]["seq"] for each in large["events"]] == [1, 1502, 3003]
            assert large["more"]
            rest = await peer.call("get_events", topics=["storage"], since=large["last"])
            assert [each["params"]["seq"] for each in rest["result"]["events"]] == [4504]


async def test_who_has_logged_in_before_gets_the_rest(autojump_clock: MockClock) -> None:
    """New events are sent from the log-in on; the replay is of what lies before them."""
    async with serving() as running:
        s = service(running)
        s.publish(5)
        async with running.peer() as peer:
            s.publish(3)
            assert await take(peer, 3) == [6, 7, 8]
            await peer.call("subscribe_events", since=2)
            s.publish()
            assert await take(peer, 4) == [3, 4, 5, 9]
            await peer.call("subscribe_events", since=0)
            assert await take(peer, 2) == [1, 2]
            await silent(peer)


async def test_an_expired_key_gets_no_replay(autojump_clock: MockClock) -> None:
    """Events behind the end of the credentials are not sent, and the connection is closed."""
    async with serving() as running:
        s = service(running)
        s.publish(100)
        async with running.peer(login=False, lockstep=True) as peer:
            await peer.call("subscribe_events", since=0, auth_token=token(lifetime=5))
            await trio.sleep(10)
            s.publish(5)
            got = []
            try:
                while True:
                    got += await take(peer, 1)
            except Exception:
                pass
            assert len(got) < 50
            assert got == list(range(1, len(got) + 1))


steps = st.lists(
    st.tuples(
        st.sampled_from(["publish", "state", "read", "subscribe", "disconnect"]),
        st.integers(1, 300),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_over_reconnections_no_number_comes_twice_and_none_is_missing_unsaid(
    course: list[tuple[str, int]],
) -> None:
    """A client that always asks for what is behind its highest number has everything in the end."""
    trio.run(_follow, course, clock=MockClock(autojump_threshold=0))


async def _follow(course: list[tuple[str, int]]) -> None:
    got: list[int] = []
    states: set[int] = set()
    missed = 0
    async with serving() as running:
        s = service(running, max_events=200)
        peer: Peer | None = None
        stack = None

        async def read(count: int) -> None:
            nonlocal missed
            assert peer is not None
            with trio.move_on_after(0.5):
                for _ in range(count):
                    message = await peer.receive()
                    if message["method"] == EVENTS_MISSED:
                        missed += message["params"]["missed"]
                    else:
                        got.append(message["params"]["seq"])

        async def connect() -> None:
            nonlocal peer, stack, missed
            stack = running.peer(login=False, lockstep=True)
            peer = await stack.__aenter__()
            since = max(got, default=0)
            await peer.send(
                id=1, method="subscribe_events", params={"since": since, "auth_token": token()}
            )
            missed += (await peer.receive())["result"]["missed"]

        async def disconnect() -> None:
            nonlocal peer, stack
            if stack is not None:
                await stack.__aexit__(None, None, None)
            peer = stack = None

        for what, count in course:
            if what == "publish":
                s.publish(count)
            elif what == "state":
                first = s.log.history.newest + 1
                s.publish(count, key="state")
                states |= set(range(first, first + count))
            elif what == "disconnect":
                await disconnect()
            elif peer is None:
                await connect()
            elif what == "read":
                await read(count)
        if peer is None:
            await connect()
        await read(10**6)
        newest = s.log.history.newest
        await disconnect()
    assert len(got) == len(set(got))
    replaced = states - {max(states, default=0)}
    lacking = set(range(1, newest + 1)) - set(got) - replaced
    assert len(lacking) <= missed, sorted(lacking)
