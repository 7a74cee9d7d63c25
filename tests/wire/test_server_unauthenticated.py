"""Clients without a key: any input is answered or ends the connection, without a traceback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product

import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_server import UPGRADE, MemoryServer, Peer, key, read_all, serving, token
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from camd.auth.key_file import new_secret
from camd.auth.login_throttle import CONNECTION_DELAY_SECONDS, LOG_SECONDS
from camd.rpc.roles import AuthMethod, Principal, Role
from camd.server.asgi import ConnectionAddresses
from camd.server.connection import MAX_WRONG_KEYS, UNAUTHENTICATED_BYTES
from camd.server.rules.connection_limits import RESERVED_FOR_ADMINS, ConnectionLimits
from camd.server.rules.request_validation import own_names
from camd.server.websocket import SocketClosedError, open_client_websocket

METHODS = (b"HEAD", b"GET", b"POST", b"CONNECT", b"OPTIONS", b"TRACE", b"A" * 5000)
PATHS = (b"/ws", b"/hello", b"/echo", b"*", b"http://x/ws", b"/ws?x", b"ws", b"/%ff%00", b"x:443")
SOCKET = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
HANDSHAKE = SOCKET + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
HEADERS = (
    b"\r\n",
    b"Content-Length: 99999999\r\n\r\n",
    b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"Content-Length: 5, 5\r\n\r\nabcde",
    b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n123456789",
    b"Expect: wild\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    SOCKET + b"\r\n",
    HANDSHAKE + b"\r\n",
    HANDSHAKE + b"Content-Length: 99999999\r\n\r\n",
    HANDSHAKE + b"Content-Length: 3\r\n\r\nabc",
    HANDSHAKE + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"Cookie: \xff=\xff\r\nX-Api-Key: \xff\r\nAuthorization: \xff \xff\r\n\r\n",
)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method[:8].decode())
async def test_every_request_is_answered_without_a_traceback(
    autojump_clock: MockClock, method: bytes
) -> None:
    """Odd methods, targets, bodies and upgrades, in every combination: an HTTP answer for each."""
    async with serving() as running:
        for path, headers in product(PATHS, HEADERS):
            request = b"%b %b HTTP/1.1\r\nHost: x\r\n%b" % (method, path, headers)
            stream = running.connect()
            with structlog.testing.capture_logs() as logs:
                await stream.send_all(request)
                answer = await stream.receive_some(65536)
                await trio.aclose_forcefully(stream)
                await wait_all_tasks_blocked()
            assert answer.startswith(b"HTTP/1.1 "), request
            assert not [line for line in logs if "exc_info" in line], request


@pytest.mark.parametrize("path", [b"/ws", b"/hello", b"/nowhere"])
@pytest.mark.parametrize("length", [0, 99_999_999])
async def test_an_answer_to_head_has_no_body(
    autojump_clock: MockClock, path: bytes, length: int
) -> None:
    """Refused or not: the head alone is sent (RFC 9110, 9.3.2)."""
    async with serving() as running:
        stream = running.connect()
        await stream.send_all(
            b"HEAD %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (path, length)
        )
        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        assert body == b""


async def test_garbage_behind_a_head_request_is_answered(autojump_clock: MockClock) -> None:
    """An earlier request does not change how a broken one is answered."""
    async with serving() as running:
        stream = running.connect()
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(b"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            await stream.receive_some(9000)
            await stream.send_all(b"\xff\xff\r\n\r\n")
            assert (await read_all(stream)).startswith(b"HTTP/1.1 400")
        assert not [line for line in logs if "exc_info" in line]


@pytest.mark.parametrize(
    "header",
    [
        b"X: \xff\xfe",
        b"User-Agent: \xc3\xa9",
        b"Sec-WebSocket-Protocol: \xff, ,,",
        b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
        b"Sec-WebSocket-Extensions: permessage-deflate; a=\xff",
        b"Sec-WebSocket-Extensions: " + b"permessage-deflate;" * 900,
    ],
)
async def test_a_handshake_with_odd_headers_is_accepted(
    autojump_clock: MockClock, header: bytes
) -> None:
    """Headers that the handshake does not need are ignored."""
    async with serving() as running:
        stream = running.connect()
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(UPGRADE + header + b"\r\n\r\n")
            assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 101")
            await trio.aclose_forcefully(stream)
            await wait_all_tasks_blocked()
        assert not [line for line in logs if "exc_info" in line]


frames = st.builds(
    lambda first, payload, mask: (
        bytes([first, (0x80 if mask else 0) | len(payload)]) + (bytes(4) if mask else b"") + payload
    ),
    st.integers(0, 255),
    st.binary(max_size=20) | st.integers(0, 5000).map(lambda code: code.to_bytes(2, "big") + b"\n"),
    st.sampled_from([True, True, True, False]),
)


@settings(max_examples=150)
@given(st.lists(frames, max_size=6))
def test_any_frames_end_without_a_traceback(sent: list[bytes]) -> None:
    """Any frames, invalid close codes included, end the connection without a traceback."""

    async def main() -> None:
        with structlog.testing.capture_logs() as logs:
            async with serving() as running:
                stream = running.connect()
                await stream.send_all(UPGRADE + b"\r\n" + b"".join(sent))
                await wait_all_tasks_blocked()
                await trio.aclose_forcefully(stream)
                await wait_all_tasks_blocked()
        assert not [line for line in logs if "exc_info" in line]

    trio.run(main, clock=MockClock(autojump_threshold=0))


# --- Connections that are closed for a limit.


async def closed_with(peer: Peer) -> int:
    """Wait for the end of a connection, at most an hour; return the close code."""
    with trio.fail_after(3600):
        try:
            while True:
                await peer.receive()
        except SocketClosedError as closed:
            return closed.code


async def test_a_client_that_does_not_authenticate_in_time_is_closed(
    autojump_clock: MockClock,
) -> None:
    """After the deadline the socket is closed with 1008, wrong keys or not; with a key it stays."""
    async with (
        serving() as running,
        running.peer() as authenticated,
        running.peer(login=False) as silent,
    ):
        began = trio.current_time()
        async with running.peer(login=False) as guessing:
            await guessing.call("authenticate", auth_token="wrong")
            assert await closed_with(silent) == 1008
            assert await closed_with(guessing) == 1008
        assert trio.current_time() - began == pytest.approx(10, abs=0.1)
        await trio.sleep(100)
        assert (await authenticated.call("ping"))["result"] == "pong"


async def test_a_client_whose_key_is_no_longer_valid_is_closed(autojump_clock: MockClock) -> None:
    """With an expired or revoked key, after at most half a minute; not after another key."""
    async with serving(keys=(key("a"),)) as running, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(running.peer(login=False)) for _ in range(3)]
        for peer, given in zip(
            peers, (token(lifetime=5), "a" * 40, token(lifetime=5)), strict=True
        ):
            await peer.call("authenticate", auth_token=given)
        authenticator = running.server.shared.authenticator
        authenticator.api_keys, authenticator.generation = (), 1
        await trio.sleep(6)
        await peers[2].call("authenticate", auth_token=token())
        began = trio.current_time()
        assert [await closed_with(peer) for peer in peers[:2]] == [1008, 1008]
        assert trio.current_time() - began < 30
        assert (await peers[2].call("ping"))["result"] == "pong"


@asynccontextmanager
async def silent_connections(
    running: MemoryServer, count: int, client: str
) -> AsyncIterator[list[trio.abc.Stream]]:
    """Open connections on which nothing is sent."""
    streams = [running.connect(client=client) for _ in range(count)]
    await wait_all_tasks_blocked()
    yield streams
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def test_many_unauthenticated_connections_keep_no_client_out(
    autojump_clock: MockClock,
) -> None:
    """The oldest one of the busiest address is closed; clients with a key connect and stay."""
    async with (
        serving(limits=ConnectionLimits(max_unauthenticated=10)) as running,
        running.peer(client="192.0.2.1") as authenticated,
        silent_connections(running, 5, "198.51.100.7") as few,
        silent_connections(running, 100, "203.0.113.9"),
        running.peer(client="203.0.113.9") as neighbour,  # with a key, from the busiest address
    ):
        await trio.sleep(1)
        assert running.server.limits.unauthenticated <= 10
        assert len(running.server._streams) <= 12
        assert running.server.limits.refused_count >= 95
        assert (await neighbour.call("ping"))["result"] == "pong"
        assert (await authenticated.call("ping"))["result"] == "pong"
        request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
        await few[-1].send_all(request)
        assert (await few[-1].receive_some(9000)).startswith(b"HTTP/1.1 200")


async def test_a_websocket_that_is_closed_for_a_limit_is_told_why(
    autojump_clock: MockClock,
) -> None:
    """It is closed with 1013, and does not hold its descriptor by not answering."""
    async with serving(limits=ConnectionLimits(max_unauthenticated=1)) as running:
        async with running.peer(login=False) as first:
            stream = running.connect()
            assert await closed_with(first) == 1013
            await trio.aclose_forcefully(stream)
        deaf = running.connect()
        await deaf.send_all(UPGRADE + b"\r\n")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        async with running.peer():
            await read_all(deaf)
            assert trio.current_time() - began < 1


async def test_a_download_with_a_key_is_not_closed(autojump_clock: MockClock) -> None:
    """Unauthenticated connections do not end the download of a client with a key."""
    async with serving(limits=ConnectionLimits(max_unauthenticated=2)) as running:
        stream = running.connect(lockstep=True, client="192.0.2.1")
        await stream.send_all(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some(1000)
        async with silent_connections(running, 20, "192.0.2.1"):
            for _ in range(20):
                assert await stream.receive_some(1000)


async def test_connections_are_reserved_for_administrators(autojump_clock: MockClock) -> None:
    """Above the limit, administrators and the local command line still connect, up to a bound."""
    async with (
        serving(limits=ConnectionLimits(max_authenticated=2)) as running,
        AsyncExitStack() as stack,
    ):
        for _ in range(2):
            await stack.enter_async_context(running.peer())
        for _ in range(RESERVED_FOR_ADMINS - 1):
            peer = await stack.enter_async_context(running.peer(login=False))
            assert "result" in await peer.call("authenticate", auth_token=token(Role.ADMIN))
        ours, theirs = memory_stream_pair()
        root = Principal("uid:0", Role.ADMIN, None, AuthMethod.PEER)
        endpoints = ConnectionAddresses(None, None)
        running.nursery.start_soon(running.server.serve_stream, theirs, endpoints, root)
        async with open_client_websocket(
            ours, host="localhost", path="/ws", max_message_bytes=2**20
        ) as socket:
            assert (await Peer(socket, ours).call("rule"))["result"] == "pong"
            for role in Role:
                async with running.peer(login=False) as late:
                    await late.send(id=1, method="ping", params={"auth_token": token(role)})
                    assert await closed_with(late) == 1013
            await trio.aclose_forcefully(ours)


async def test_large_messages_need_authentication(autojump_clock: MockClock) -> None:
    """A large message before authentication closes with 1009; afterwards it is read."""
    text = (
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"'
        + "x" * UNAUTHENTICATED_BYTES
        + '"}}'
    )
    async with (
        serving() as running,
        running.peer() as authenticated,
        running.peer(login=False) as unknown,
    ):
        await authenticated.socket.send(text)
        assert (await authenticated.receive())["result"] == "pong"
        await unknown.socket.send(text)
        assert await closed_with(unknown) == 1009


async def test_a_lack_of_descriptors_is_not_a_bug(autojump_clock: MockClock) -> None:
    """A request that cannot open a file is answered with an error, without a traceback."""
    async with serving() as running:
        stream = running.connect()
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 50")
        assert [line["event"] for line in logs] == ["descriptors_exhausted"]


# --- Wrong keys.


async def test_wrong_keys_are_delayed_and_logged(autojump_clock: MockClock) -> None:
    """A few are answered at once, more wait, ten end the connection; others are served."""
    async with serving(requests_per_minute=0, authentication_seconds=3600) as running:
        with structlog.testing.capture_logs() as logs:
            async with running.peer(login=False, client="203.0.113.9") as guesser:
                began = trio.current_time()
                for number in range(MAX_WRONG_KEYS):
                    await guesser.send(
                        id=number, method="authenticate", params={"auth_token": f"camd_{number}"}
                    )
                async with running.peer(client="203.0.113.9") as neighbour:
                    assert (await neighbour.call("ping"))["result"] == "pong"
                    assert trio.current_time() - began <= CONNECTION_DELAY_SECONDS
                async with running.peer(client="192.0.2.1") as other:
                    assert (await other.call("ping"))["result"] == "pong"
                    assert trio.current_time() - began <= CONNECTION_DELAY_SECONDS
                for number in range(MAX_WRONG_KEYS - 1):
                    assert (await guesser.receive())["id"] == number
                assert await closed_with(guesser) == 1008
                assert trio.current_time() - began == pytest.approx(10, abs=0.1)
        said = [line for line in logs if line["event"] == "wrong_keys"]
        assert 1 <= len(said) <= 1 + (trio.current_time() - began) / LOG_SECONDS
        assert said[0]["address"] == "203.0.113.9"
        assert said[0]["reason"] == "unknown_key"


async def test_old_keys_are_not_taken_for_guesses(autojump_clock: MockClock) -> None:
    """An expired token is refused at once, each time."""
    async with serving() as running, running.peer(login=False) as peer:
        old = token(lifetime=-1)
        for _ in range(MAX_WRONG_KEYS - 1):
            assert (await peer.call("ping", auth_token=old))["error"]["data"]["reason"] == "expired"
        assert (await peer.call("ping", auth_token=token()))["result"] == "pong"


# --- names


OURS = own_names(("recorder.local",), ("0.0.0.0:8002", "nvr:8002", "unix:/run/camd.sock"))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"evil.example", b"403"),
        (b"evil.example:8002", b"403"),
        (b"localhost.evil.example", b"403"),
        (b"127.0.0.1.evil.example", b"403"),
        (b"localhost:8002", b"101"),
        (b"LOCALHOST", b"101"),
        (b"127.0.0.1:8002", b"101"),
        (b"[::1]:8002", b"101"),
        (b"recorder.local", b"101"),
        (b"nvr:8002", b"101"),
    ],
)
async def test_without_keys_a_page_needs_one_of_our_names(
    autojump_clock: MockClock, host: bytes, status: bytes
) -> None:
    """A page whose own name points here (DNS rebinding) gets neither a WebSocket nor a file."""
    async with serving(enabled=False, names=OURS) as running:
        stream = running.connect()
        request = UPGRADE.replace(b"camera.local:8002", host)
        await stream.send_all(request + b"Origin: http://" + host + b"\r\n\r\n")
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 " + status)
        stream = running.connect()
        await stream.send_all(b"GET /hello HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        wanted = b"200" if status == b"101" else b"403"
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 " + wanted)


@pytest.mark.parametrize("enabled", [True, False])
async def test_programs_need_one_of_our_names_too(autojump_clock: MockClock, enabled: bool) -> None:
    """A WebSocket without an Origin is refused by its host, with an answer that says what to do."""
    async with serving(enabled=enabled, names=OURS) as running:
        stream = running.connect()
        await stream.send_all(UPGRADE + b"\r\n")
        answer = bytes(await stream.receive_some(9000))
        assert answer.startswith(b"HTTP/1.1 403")
        assert b'"camera.local" is not one of this service' in answer
        assert b"server.hosts" in answer


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://localhost:8002/hello", b"localhost:8002", b"200"),
        (b"http://evil.example/hello", b"localhost", b"403"),
        (b"http://localhost/hello", b"evil.example", b"403"),
        (b"//evil.example/hello", b"localhost", b"404"),  # a path
    ],
)
async def test_an_absolute_target_needs_one_of_our_names_too(
    autojump_clock: MockClock, target: bytes, host: bytes, status: bytes
) -> None:
    """It counts in place of the Host header (RFC 9112, 3.2.2), which has to be right as well."""
    async with serving(names=OURS) as running:
        stream = running.connect()
        await stream.send_all(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 " + status)


async def test_on_a_unix_socket_any_name_is_accepted(autojump_clock: MockClock) -> None:
    """No web page reaches a Unix socket, and programs send any name over one."""
    async with serving(names=OURS) as running:
        ours, theirs = memory_stream_pair()
        running.nursery.start_soon(
            running.server.serve_stream, theirs, ConnectionAddresses(None, None, unix=True)
        )
        await ours.send_all(b"GET /hello HTTP/1.1\r\nHost: camd\r\n\r\n")
        assert (await ours.receive_some(9000)).startswith(b"HTTP/1.1 200")


async def test_a_refused_host_is_not_repeated_when_it_is_no_name(
    autojump_clock: MockClock,
) -> None:
    """Neither the answer nor the log repeats bytes of a Host header that are no host name."""
    async with serving(names=OURS) as running:
        stream = running.connect()
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(b"GET /hello HTTP/1.1\r\nHost: a<b>'c\r\n\r\n")
            answer = bytes(await stream.receive_some(9000))
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"<b>" not in answer
        assert "<b>" not in repr(logs)


# --- credentials in URLs


@pytest.mark.parametrize(
    "target",
    [
        b"/hello?token=abc",
        b"/hello?a=b&AUTH_TOKEN=abc",
        b"/hello?a=b;access_token=abc",
        b"/hello?%74oken=abc",
        b"/files/recordings/KEY",
        b"/hello?x=KEY",
        b"/hello?x=JWT",
        b"/JWT/hello",
        b"/ws?token=abc",
        b"/ws?api_key=",
        b"http://ann:abc@camera.local/hello",
    ],
)
async def test_credentials_in_a_url_are_refused_and_not_logged(
    autojump_clock: MockClock, target: bytes
) -> None:
    """In path or query, as a WebSocket or not: 400 with what to do, and no trace in the log."""
    secret = {b"KEY": new_secret(), b"JWT": token()}
    for name, text in secret.items():
        target = target.replace(name, text.encode())
    async with serving() as running:
        stream = running.connect()
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(UPGRADE.replace(b"/ws", target) + b"\r\n")
            answer = bytes(await stream.receive_some(9000))
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"Authorization: Bearer" in answer
        assert [entry["event"] for entry in logs] == ["credentials_in_url"]
        assert not any(text in repr(logs) + str(answer) for text in ("abc", *secret.values()))


@pytest.mark.parametrize(
    "target",
    [b"/hello?from=2026-01-15T14:30:00Z&tokens=3", b"/hello?camera=camd_front", b"/hello?a=b@c"],
)
async def test_other_targets_are_served(autojump_clock: MockClock, target: bytes) -> None:
    """What only resembles credentials is no reason to refuse a request."""
    async with serving() as running:
        stream = running.connect()
        await stream.send_all(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 200")


# --- requests and connections of one address


async def test_requests_of_one_address_are_limited(autojump_clock: MockClock) -> None:
    """Above the rate, 429 with Retry-After, on any of its connections; others are served."""
    request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving() as running:
        running.server.rates.per_minute = 3

        async def ask(address: str) -> bytes:
            stream = running.connect(client=address)
            await stream.send_all(request)
            return bytes(await stream.receive_some(9000))

        answers = [await ask("192.0.2.1") for _ in range(4)]
        assert [answer[9:12] for answer in answers] == [b"200", b"200", b"200", b"429"]
        assert b"retry-after: 20\r\n" in answers[3]
        assert (await ask("192.0.2.2"))[9:12] == b"200"
        await trio.sleep(20)
        assert (await ask("192.0.2.1"))[9:12] == b"200"


async def test_authenticated_connections_of_one_address_are_limited(
    autojump_clock: MockClock,
) -> None:
    """The one too many is closed with 1013; other addresses and administrators are served."""
    limits = ConnectionLimits(max_authenticated_per_address=1)
    async with serving(limits=limits) as running:
        async with running.peer(client="192.0.2.1") as first:
            async with running.peer(client="192.0.2.1", login=False) as second:
                with pytest.raises(SocketClosedError, match="1013"):
                    await second.call("authenticate", auth_token=token())
            async with running.peer(client="192.0.2.2") as other:
                assert (await other.call("ping"))["result"] == "pong"
            async with running.peer(client="192.0.2.1", login=False) as admin:
                login = await admin.call("authenticate", auth_token=token(Role.ADMIN))
                assert login["result"]["role"] == "admin"
            assert (await first.call("ping"))["result"] == "pong"
        async with running.peer(client="192.0.2.1") as again:
            assert (await again.call("ping"))["result"] == "pong"
