"""WebSockets that an application serves: paths, subprotocol, authentication, how they end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio_websocket
from memory_server import MemoryServer, key, now, read_all, serving, token
from trio.testing import MockClock

from camd.rpc.roles import Role
from camd.server.application_socket import ApplicationSocket, WebSocketPrefix
from camd.server.rules.connection_limits import ConnectionLimits

PROTOCOL = "test.1"
RAW = (
    b"GET /things/one HTTP/1.1\r\nHost: camera.local:8002\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def tell(socket: ApplicationSocket) -> None:
    """Say what was asked for, then repeat every message; `end` ends it."""
    await socket.send(f"{socket.name}?{socket.query}")
    while (message := await socket.receive()) != "end":
        await socket.send(message)
    socket.end(1013, "as asked for")
    await trio.sleep_forever()


async def flood(socket: ApplicationSocket) -> None:
    """Send without an end."""
    while True:
        await socket.send(b"x" * 1000)


def things(serve: object = tell) -> tuple[WebSocketPrefix, ...]:
    return (WebSocketPrefix("/things/", PROTOCOL, serve),)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(
    running: MemoryServer,
    path: str = "/things/one",
    *,
    headers: Sequence[tuple[str, str]] = (),
    lockstep: bool = False,
    protocols: Sequence[str] = (PROTOCOL,),
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Open a WebSocket with another library's client."""
    stream = running.connect(lockstep=lockstep)
    async with trio.open_nursery() as nursery:
        yield await trio_websocket.wrap_client_stream(
            nursery,
            stream,
            "camera.local",
            path,
            subprotocols=list(protocols),
            extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        )
        nursery.cancel_scope.cancel()


async def end_of(socket: trio_websocket.WebSocketConnection) -> tuple[int, str | None]:
    """Read to the end; return why it was closed."""
    try:
        while True:
            await socket.get_message()
    except trio_websocket.ConnectionClosed as closed:
        reason = closed.reason
    assert reason is not None
    return int(reason.code), reason.reason


def login(role: Role = Role.VIEWER) -> str:
    return json.dumps({"auth_token": token(role)})


async def test_the_application_gets_name_and_query(autojump_clock: MockClock) -> None:
    """Escapes are undone in the name; text and bytes go both ways; it ends with its own code."""
    async with (
        serving(sockets=things()) as running,
        opened(running, "/things/one%20%3F?as=it-is") as socket,
    ):
        assert socket.subprotocol == PROTOCOL
        await socket.send_message(login())
        assert await socket.get_message() == "one ??as=it-is"
        for message in ("text", b"\x00bytes"):
            await socket.send_message(message)
            assert await socket.get_message() == message
        await socket.send_message("end")
        assert await end_of(socket) == (1013, "as asked for")


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
async def test_a_key_in_a_header_is_enough(autojump_clock: MockClock, name: str) -> None:
    """The client need not send anything."""
    value = f"Bearer {token()}" if name == "Authorization" else "k" * 40
    async with (
        serving(sockets=things(), keys=(key("k", Role.VIEWER),)) as running,
        opened(running, headers=[(name, value)]) as socket,
    ):
        assert await socket.get_message() == "one?"


async def test_without_authentication_nobody_needs_a_key(autojump_clock: MockClock) -> None:
    """Where it is switched off."""
    async with serving(sockets=things(), enabled=False) as running, opened(running) as socket:
        assert await socket.get_message() == "one?"


async def test_a_silent_client_is_closed_after_five_seconds(autojump_clock: MockClock) -> None:
    """And has been told nothing before."""
    async with serving(sockets=things()) as running, opened(running) as socket:
        began = trio.current_time()
        assert await end_of(socket) == (1008, "not authenticated in time")
        assert trio.current_time() - began == pytest.approx(5.0)


NO_KEY = [
    json.dumps({"auth_token": 7}),
    json.dumps(["auth_token"]),
    "{" * 10_000,
    '{"a":' * 10_000,
    "",
    b"\xff\xfe",
    b'{"auth_token": "camd_',
]


@pytest.mark.parametrize("message", NO_KEY)
async def test_what_holds_no_key_is_refused(
    autojump_clock: MockClock, message: str | bytes
) -> None:
    """Whatever the first message is."""
    async with serving(sockets=things()) as running:
        async with opened(running) as socket:
            await socket.send_message(message)
            assert await end_of(socket) == (1008, "Authentication failed: missing")
        await trio.sleep(5)
        assert running.server.limits.unauthenticated == 0


@pytest.mark.parametrize("in_header", [False, True])
async def test_wrong_keys_are_counted(autojump_clock: MockClock, in_header: bool) -> None:
    """The sixth one of an address waits for its answer, and so does whoever comes after."""
    wrong = "camd_" + "w" * 43
    headers = [("Authorization", f"Bearer {wrong}")] if in_header else []
    async with serving(sockets=things()) as running:
        took = []
        for _ in range(6):
            began = trio.current_time()
            async with opened(running, headers=headers) as socket:
                if not in_header:
                    await socket.send_message(json.dumps({"auth_token": wrong}))
                assert await end_of(socket) == (1008, "Authentication failed: unknown key")
            took.append(trio.current_time() - began)
        assert took[0] < 0.5 < took[5]


async def test_a_key_that_is_revoked_ends_the_socket(autojump_clock: MockClock) -> None:
    """Within seconds, and says so."""
    async with serving(sockets=things(), keys=(key("k"),)) as running, opened(running) as socket:
        await socket.send_message(json.dumps({"auth_token": "k" * 40}))
        assert await socket.get_message() == "one?"
        authenticator = running.server.shared.authenticator
        authenticator.api_keys = ()
        authenticator.generation += 1
        assert await end_of(socket) == (1008, "the key is no longer valid")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", b"400"),
        (b"Sec-WebSocket-Protocol: other, test.10\r\n", b"400"),
        (b"Sec-WebSocket-Protocol: test.1\r\nOrigin: https://example.org\r\n", b"403"),
        (b"Sec-WebSocket-Protocol: test.1\r\nOrigin: null\r\n", b"403"),
    ],
)
async def test_other_subprotocols_and_foreign_pages_are_refused(
    autojump_clock: MockClock, headers: bytes, status: bytes
) -> None:
    """Before anything becomes a WebSocket."""
    async with serving(sockets=things()) as running:
        stream = running.connect()
        await stream.send_all(RAW + headers + b"\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 " + status)


async def test_a_page_of_our_own_may_connect(autojump_clock: MockClock) -> None:
    """By the name that it was loaded from; one protocol of several is chosen."""
    async with (
        serving(sockets=things()) as running,
        opened(
            running,
            headers=[("Origin", "http://camera.local")],
            protocols=("other", PROTOCOL),
        ) as socket,
    ):
        assert socket.subprotocol == PROTOCOL


async def test_without_an_upgrade_the_application_is_asked(autojump_clock: MockClock) -> None:
    """The same prefix has pages, too."""
    async with serving(sockets=things()) as running:
        stream = running.connect()
        await stream.send_all(b"GET /things/one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 404")


async def test_a_client_that_does_not_read_is_closed(autojump_clock: MockClock) -> None:
    """After twenty seconds without progress; a stop of the service does not wait for it."""
    async with serving(sockets=things(flood), enabled=False) as running:
        stream = running.connect(lockstep=True)
        await stream.send_all(RAW + b"Sec-WebSocket-Protocol: test.1\r\n\r\n")
        await stream.receive_some(1000)  # the answer to the upgrade
        await trio.sleep(19)
        assert running.server.limits.authenticated == 1
        await trio.sleep(11)
        assert running.server.limits.authenticated == 0


async def test_a_client_without_pongs_is_closed(autojump_clock: MockClock) -> None:
    """It may be gone."""
    async with serving(sockets=things(), enabled=False) as running:
        stream = running.connect()
        await stream.send_all(RAW + b"Sec-WebSocket-Protocol: test.1\r\n\r\n")
        await trio.sleep(49)
        assert running.server.limits.authenticated == 1
        await trio.sleep(10)
        assert running.server.limits.authenticated == 0


async def test_a_client_that_reads_stays(autojump_clock: MockClock) -> None:
    """An hour, with nothing to say."""
    async with serving(sockets=things()) as running, opened(running) as socket:
        await socket.send_message(json.dumps({"auth_token": token(lifetime=1e6)}))
        await socket.get_message()
        await trio.sleep(3600)
        await socket.send_message("still there")
        assert await socket.get_message() == "still there"


async def test_a_stop_closes_it(autojump_clock: MockClock) -> None:
    """With the code for that, so that clients come back."""
    async with serving(sockets=things(), enabled=False) as running, opened(running) as socket:
        await socket.get_message()
        running.server.stop()
        assert await end_of(socket) == (1001, "the service is stopping")


async def test_too_many_messages_end_it(autojump_clock: MockClock) -> None:
    """As many as calls on the other path are allowed."""
    async with (
        serving(sockets=things(), enabled=False, requests_per_minute=10) as running,
        opened(running) as socket,
    ):
        for _ in range(20):
            await socket.send_message("again")
        assert await end_of(socket) == (1008, "too many messages")


async def test_unauthenticated_sockets_count_as_such(autojump_clock: MockClock) -> None:
    """The oldest is told why it has to go."""
    limits = ConnectionLimits(max_unauthenticated=1)
    async with (
        serving(sockets=things(), limits=limits) as running,
        opened(running) as first,
        opened(running) as second,
    ):
        await second.send_message(login())
        assert await second.get_message() == "one?"
        assert await end_of(first) == (1013, "too many connections have not authenticated")


async def test_authenticated_ones_are_limited(autojump_clock: MockClock) -> None:
    """Together with the other connections."""
    limits = ConnectionLimits(max_authenticated=1)
    async with (
        serving(sockets=things(), limits=limits) as running,
        running.peer(),
        opened(running) as socket,
    ):
        await socket.send_message(login())
        assert await end_of(socket) == (1013, "too many connections")


async def test_a_bug_in_the_application_ends_its_socket_alone(autojump_clock: MockClock) -> None:
    """Other clients are served as before."""

    async def fail(socket: ApplicationSocket) -> None:
        raise ZeroDivisionError("a bug")

    async with serving(sockets=things(fail), enabled=False) as running, running.peer() as peer:
        async with opened(running) as socket:
            with pytest.raises(trio_websocket.ConnectionClosed):
                await socket.get_message()
        assert (await peer.call("ping"))["result"] == "pong"


async def test_a_session_counts_for_our_own_pages_alone(autojump_clock: MockClock) -> None:
    """Its cookie with our own Origin is enough; from another port of the host it says nothing."""
    async with serving(sockets=things()) as running:
        authenticator, moment = running.server.shared.authenticator, trio.current_time()
        cookie, _ = authenticator.sessions.begin(
            authenticator.identify(token(), now()), now=moment, unix_now=now()
        )
        held = ("Cookie", f"camd_session={cookie}")
        async with opened(running, headers=[held, ("Origin", "http://camera.local")]) as socket:
            assert await socket.get_message() == "one?"
        other = ("Origin", "http://camera.local:8000")
        async with opened(running, headers=[held, other]) as socket:
            assert await end_of(socket) == (1008, "not authenticated in time")
