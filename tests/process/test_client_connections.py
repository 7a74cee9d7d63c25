"""The client against a service that breaks off, is silent, or answers nonsense; real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

import camd.client
from camd.client import (
    CallTimeoutError,
    CannotConnectError,
    ConnectionLostError,
    EventsMissed,
    InvalidParamsError,
    NotAuthenticatedError,
    OtherEvent,
    UnreadableAnswerError,
)
from camd.client.service_connection import MAX_WAITING_NOTIFICATIONS

KEY = "camd_key_of_a_test"


@attrs.define(eq=False)
class Visit:
    """One connection of a client to the scripted service."""

    socket: WebSocketConnection
    number: int  # of the connection, from 0

    async def call(self, method: str) -> Any:
        """Wait for a call of this method; give its parameters, after it can be answered."""
        request = json.loads(await self.socket.get_message())
        assert request["method"] == method, request
        self.id = request["id"]
        return request["params"]

    async def answer(self, result: object = None, **error: object) -> None:
        """Answer the last call."""
        body = {"error": error} if error else {"result": result}
        await self.send({"id": self.id, **body})

    async def send(self, message: dict[str, object]) -> None:
        """Send one frame."""
        await self.socket.send_message(json.dumps({"jsonrpc": "2.0", **message}))

    async def event(self, seq: int) -> None:
        """Send an event."""
        params = {"seq": seq, "time": "2026-01-02T03:04:05Z"}
        await self.send({"method": "retention_update", "params": params})

    async def log_in(self) -> None:
        """Answer `authenticate`."""
        assert (await self.call("authenticate"))["auth_token"] == KEY
        await self.answer({"authenticated": True})

    def subscribed(self, newest: int, **fields: object) -> dict[str, object]:
        """Make the answer to a subscription."""
        return {"subscribed": True, "newest": newest, "oldest": 1, "missed": 0, **fields}

    id: Any = None


Script = Callable[[Visit], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """Run a service that treats each connection as `script` says; gives its address."""
    visits = 0

    async def serve(request: WebSocketRequest) -> None:
        nonlocal visits
        socket = await request.accept()
        visit, visits = Visit(socket, visits), visits + 1
        with suppress(ConnectionClosed):
            await script(visit)
        await socket.aclose()

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
            yield f"ws://127.0.0.1:{server.port}/ws"
            nursery.cancel_scope.cancel()


def numbers(events: list[Any]) -> list[Any]:
    """Show events as numbers, what is missed as it is."""
    return [event if isinstance(event, EventsMissed) else event.seq for event in events]


async def take(stream: Any, count: int) -> list[Any]:
    """Read so many events."""
    return [await anext(stream) for _ in range(count)]


async def test_a_call_waits_for_the_next_connection() -> None:
    """The call in flight fails, as it may have been carried out; the next one is answered."""

    async def script(visit: Visit) -> None:
        await visit.log_in()
        await visit.call("ping")
        if visit.number == 1:
            await visit.answer("pong")
            await visit.call("never")

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
    ):
        with pytest.raises(ConnectionLostError):
            await service.ping()
        await service.ping()


async def test_without_reconnection_a_lost_connection_stays_lost() -> None:
    """Every further call says so at once."""

    async def script(visit: Visit) -> None:
        await visit.log_in()

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY, reconnect=False) as service,
    ):
        for _ in range(2):
            with pytest.raises(ConnectionLostError):
                await service.ping()


async def test_a_key_that_is_refused_on_reconnection_is_the_answer_to_calls() -> None:
    """A revoked key is not tried for ever."""

    async def script(visit: Visit) -> None:
        if visit.number == 0:
            await visit.log_in()
            return
        await visit.call("authenticate")
        await visit.answer(code=-32001, message="no", data={"reason": "revoked"})
        await visit.call("never")

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
    ):
        with pytest.raises((ConnectionLostError, NotAuthenticatedError)):
            await service.ping()
        with pytest.raises(NotAuthenticatedError) as refused:
            await service.ping()
        assert refused.value.data["reason"] == "revoked"


async def test_a_call_without_answer_ends_in_time() -> None:
    """Other calls on the same connection are answered meanwhile."""

    async def script(visit: Visit) -> None:
        await visit.log_in()
        await visit.call("hang")
        await visit.call("ping")
        await visit.answer("pong")
        await visit.call("never")

    async with scripted(script) as address, camd.client.connect(address, KEY) as service:
        service.timeout = 0.2  # from now on: a login may take longer
        with pytest.raises(CallTimeoutError, match="hang"):
            await service.call("hang")
        service.timeout = None
        await service.ping()


@pytest.mark.parametrize(
    "frame",
    [
        "no JSON",
        "[]",
        "7",
        '{"id": 1e400}',
        '{"jsonrpc":"2.0","method":',
        b"\xff\xfe",
    ],
)
async def test_what_cannot_be_read_ends_the_connection_and_nothing_else(frame: str | bytes) -> None:
    """Garbage is a lost connection, with the reason."""

    async def script(visit: Visit) -> None:
        await visit.log_in()
        await visit.call("ping")
        await visit.socket.send_message(frame)
        await visit.call("never")

    async with scripted(script) as address:
        with pytest.raises(ConnectionLostError):
            async with camd.client.connect(address, KEY, reconnect=False) as service:
                await service.ping()


async def test_answers_that_belong_to_nothing_are_passed_over() -> None:
    """Unknown ids, odd types and an answer without result do no harm."""

    async def script(visit: Visit) -> None:
        await visit.log_in()
        await visit.call("ping")
        for stray in ({"id": 999, "result": 1}, {"id": "x"}, {"id": None, "error": {}}, {}):
            await visit.send(stray)
        await visit.answer("pong")
        await visit.call("get_camera_list")
        await visit.answer({"cameras": [{"camera_id": 5}]})
        await visit.call("never")

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
    ):
        await service.ping()
        with pytest.raises(UnreadableAnswerError, match="camera_id"):
            await service.cameras()


async def test_events_go_on_over_reconnections() -> None:
    """Each subscription asks for what is behind the last event, with the token in the same call."""
    asked = []

    async def script(visit: Visit) -> None:
        if visit.number == 0:
            await visit.log_in()
            await visit.call("never")
        asked.append(await visit.call("subscribe_events"))
        await visit.answer(visit.subscribed(newest=10))
        first = 11 + 2 * (visit.number - 1)
        await visit.event(first)
        await visit.event(first + 1)

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
        service.events(["retention"], camera="a") as events,
    ):
        assert events.position == 10
        got = await take(events, 6)
        assert numbers(got) == [11, 12, 13, 14, 15, 16]
        assert isinstance(got[0], OtherEvent)
        assert events.position == 16
    wanted = {"topics": ["retention"], "camera": "a", "auth_token": KEY}
    assert asked[:3] == [wanted, {**wanted, "since": 12}, {**wanted, "since": 14}]


async def test_a_connection_that_was_lost_before_any_event_misses_none() -> None:
    """The next subscription asks for what is behind the newest number of the first one."""
    asked = []

    async def script(visit: Visit) -> None:
        if visit.number == 0:
            await visit.log_in()
            await visit.call("never")
        asked.append((await visit.call("subscribe_events")).get("since"))
        await visit.answer(visit.subscribed(newest=40 + visit.number))
        if visit.number == 3:
            await visit.event(42)
            await visit.call("never")

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
        service.events() as events,
    ):
        assert numbers(await take(events, 1)) == [42]
    assert asked == [None, 41, 41]


async def test_what_is_missed_is_an_event() -> None:
    """In the answer, within the stream, and when the service began to count anew."""

    async def script(visit: Visit) -> None:
        if visit.number == 0:
            await visit.log_in()
            await visit.call("never")
        since = (await visit.call("subscribe_events")).get("since")
        if visit.number == 1:
            assert since == 5
            await visit.answer(visit.subscribed(newest=30, oldest=21, missed=15))
            await visit.event(21)
            params = {"missed": 4, "oldest": 26, "seq": 25, "time": "2026-01-02T03:04:05Z"}
            await visit.send({"method": "events_missed", "params": params})
            await visit.event(26)
            return
        assert since == 26
        data = {"newest": 3, "oldest": 1, "errors": []}
        await visit.answer(code=-32602, message="future", data=data)
        assert (await visit.call("subscribe_events"))["since"] == 0
        await visit.answer(visit.subscribed(newest=3))
        await visit.event(1)
        await visit.call("never")

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
        service.events(since=5) as events,
    ):
        got = await take(events, 6)
    assert numbers(got) == [
        EventsMissed(15, 21, 20),
        21,
        EventsMissed(4, 26, 25),
        26,
        EventsMissed(None, 1, 0),
        1,
    ]


async def test_a_future_since_of_the_caller_is_his_error() -> None:
    """The first subscription is refused as any call is."""

    async def script(visit: Visit) -> None:
        if visit.number == 0:
            await visit.log_in()
            await visit.call("never")
        await visit.call("subscribe_events")
        await visit.answer(code=-32602, message="future", data={"newest": 3, "oldest": 1})
        await visit.call("never")

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
    ):
        with pytest.raises(InvalidParamsError, match="future"):
            async with service.events(since=99):
                pass


async def test_a_reader_that_is_slow_gets_everything() -> None:
    """The service is not read meanwhile, so that it knows; nothing is dropped here."""
    count = 3 * MAX_WAITING_NOTIFICATIONS

    async def script(visit: Visit) -> None:
        if visit.number == 0:
            await visit.log_in()
            await visit.call("never")
        await visit.call("subscribe_events")
        await visit.answer(visit.subscribed(newest=0))
        for seq in range(1, count + 1):
            await visit.event(seq)
        await visit.call("never")

    async with (
        scripted(script) as address,
        camd.client.connect(address, KEY) as service,
        service.events() as events,
    ):
        await take(events, 1)
        await trio.sleep(0.2)
        assert numbers(await take(events, count - 1)) == list(range(2, count + 1))


async def test_the_end_of_a_stream_says_why() -> None:
    """Without reconnection it is the lost connection; with it, a refusal that will stay."""

    async def script(visit: Visit) -> None:
        if visit.number == 0:
            await visit.log_in()
            await visit.call("never")
        await visit.call("subscribe_events")
        if visit.number == 1:
            await visit.answer(visit.subscribed(newest=0))
            await visit.event(1)
            return
        await visit.answer(code=-32001, message="no", data={"reason": "revoked"})
        await visit.call("never")

    for reconnect, problem in ((False, ConnectionLostError), (True, NotAuthenticatedError)):
        async with (
            scripted(script) as address,
            camd.client.connect(address, KEY, reconnect=reconnect) as service,
            service.events() as events,
        ):
            assert numbers(await take(events, 1)) == [1]
            for _ in range(2):
                with pytest.raises(problem):
                    await anext(events)


async def test_a_service_that_does_not_come_back_is_waited_for() -> None:
    """A first connection that fails is an error; a later one is tried again."""

    async def script(visit: Visit) -> None:
        await visit.log_in()

    async with scripted(script) as address:
        pass
    with pytest.raises(CannotConnectError, match=r"127\.0\.0\.1"):
        async with camd.client.connect(address, KEY):
            pass


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_no_handshake_is_no_service(answer: bytes) -> None:
    """Whatever another program answers, or leaves out, is one kind of error."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(4096)
            await stream.send_all(answer)

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            port = listener.socket.getsockname()[1]
            with pytest.raises(CannotConnectError, match="does not answer as camd does"):
                async with camd.client.connect(f"ws://127.0.0.1:{port}/ws", KEY):
                    pass
            nursery.cancel_scope.cancel()
