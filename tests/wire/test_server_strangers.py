"""People without a key: whatever they send is answered or ended, and never a traceback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product

import pytest
import structlog
import trio
from front_stage import UPGRADE, Peer, Stage, key, open_stage, read_all, token
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from camd.auth.login_throttle import HESITATION_SECONDS, LOG_SECONDS
from camd.rpc.roles import AuthMethod, Principal, Role
from camd.server.asgi import Endpoints
from camd.server.connection import MOST_WRONG_KEYS, STRANGER_BYTES
from camd.server.rules.connection_limits import KEPT, ConnectionLimits
from camd.server.rules.upgrade import own_names
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
    async with open_stage() as stage:
        for path, headers in product(PATHS, HEADERS):
            request = b"%b %b HTTP/1.1\r\nHost: x\r\n%b" % (method, path, headers)
            stream = stage.connect()
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
    async with open_stage() as stage:
        stream = stage.connect()
        await stream.send_all(
            b"HEAD %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (path, length)
        )
        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        assert body == b""


async def test_garbage_behind_a_head_request_is_answered(autojump_clock: MockClock) -> None:
    """What was asked before does not change how a broken request is answered."""
    async with open_stage() as stage:
        stream = stage.connect()
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
async def test_odd_headers_keep_nobody_from_a_websocket(
    autojump_clock: MockClock, header: bytes
) -> None:
    """What a handshake says beside what is needed is not looked at."""
    async with open_stage() as stage:
        stream = stage.connect()
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


@settings(max_examples=150, deadline=None)
@given(st.lists(frames, max_size=6))
def test_any_frames_end_without_a_traceback(sent: list[bytes]) -> None:
    """Whatever comes over a WebSocket, close codes that nobody may send included."""

    async def main() -> None:
        with structlog.testing.capture_logs() as logs:
            async with open_stage() as stage:
                stream = stage.connect()
                await stream.send_all(UPGRADE + b"\r\n" + b"".join(sent))
                await wait_all_tasks_blocked()
                await trio.aclose_forcefully(stream)
                await wait_all_tasks_blocked()
        assert not [line for line in logs if "exc_info" in line]

    trio.run(main, clock=MockClock(autojump_threshold=0))


# --- who stays, and for how long


async def closed_with(peer: Peer) -> int:
    """Wait for the end of a connection, an hour at most; give the close code."""
    with trio.fail_after(3600):
        try:
            while True:
                await peer.receive()
        except SocketClosedError as closed:
            return closed.code


async def test_who_shows_no_key_in_time_must_go(autojump_clock: MockClock) -> None:
    """After the deadline the socket is closed with 1008, wrong keys or not; with a key it stays."""
    async with open_stage() as stage, stage.peer() as known, stage.peer(known=False) as silent:
        began = trio.current_time()
        async with stage.peer(known=False) as guessing:
            await guessing.call("authenticate", auth_token="wrong")
            assert await closed_with(silent) == 1008
            assert await closed_with(guessing) == 1008
        assert trio.current_time() - began == pytest.approx(10, abs=0.1)
        await trio.sleep(100)
        assert (await known.call("ping"))["result"] == "pong"


async def test_who_has_no_valid_key_any_more_must_go(autojump_clock: MockClock) -> None:
    """An expired or revoked key holds a place for half a minute at most; a new one keeps it."""
    async with open_stage(keys=(key("a"),)) as stage, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(stage.peer(known=False)) for _ in range(3)]
        for peer, given in zip(
            peers, (token(lifetime=5), "a" * 40, token(lifetime=5)), strict=True
        ):
            await peer.call("authenticate", auth_token=given)
        authenticator = stage.front.service.authenticator
        authenticator.keys, authenticator.generation = (), 1
        await trio.sleep(6)
        await peers[2].call("authenticate", auth_token=token())
        began = trio.current_time()
        assert [await closed_with(peer) for peer in peers[:2]] == [1008, 1008]
        assert trio.current_time() - began < 30
        assert (await peers[2].call("ping"))["result"] == "pong"


@asynccontextmanager
async def crowd(stage: Stage, count: int, client: str) -> AsyncIterator[list[trio.abc.Stream]]:
    """Open half-open connections: nothing is sent on them."""
    streams = [stage.connect(client=client) for _ in range(count)]
    await wait_all_tasks_blocked()
    yield streams
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def test_a_crowd_of_strangers_keeps_nobody_out(autojump_clock: MockClock) -> None:
    """The oldest of the busiest address goes; who has a key gets in, and whoever is in stays."""
    async with (
        open_stage(places=ConnectionLimits(most_strangers=10)) as stage,
        stage.peer(client="192.0.2.1") as known,
        crowd(stage, 5, "198.51.100.7") as few,
        crowd(stage, 100, "203.0.113.9"),
        stage.peer(client="203.0.113.9") as neighbour,  # with a key, from the crowd's own address
    ):
        await trio.sleep(1)
        assert stage.front.places.strangers <= 10
        assert len(stage.front._streams) <= 12
        assert stage.front.places.turned_away >= 95
        assert (await neighbour.call("ping"))["result"] == "pong"
        assert (await known.call("ping"))["result"] == "pong"
        request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
        await few[-1].send_all(request)
        assert (await few[-1].receive_some(9000)).startswith(b"HTTP/1.1 200")


async def test_a_websocket_that_must_make_room_is_told(autojump_clock: MockClock) -> None:
    """It is closed with 1013, and does not hold its descriptor by not answering."""
    async with open_stage(places=ConnectionLimits(most_strangers=1)) as stage:
        async with stage.peer(known=False) as first:
            stream = stage.connect()
            assert await closed_with(first) == 1013
            await trio.aclose_forcefully(stream)
        deaf = stage.connect()
        await deaf.send_all(UPGRADE + b"\r\n")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        async with stage.peer():
            await read_all(deaf)
            assert trio.current_time() - began < 1


async def test_a_download_with_a_key_is_no_strangers(autojump_clock: MockClock) -> None:
    """A crowd of strangers does not end what somebody with a key reads."""
    async with open_stage(places=ConnectionLimits(most_strangers=2)) as stage:
        stream = stage.connect(lockstep=True, client="192.0.2.1")
        await stream.send_all(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some(1000)
        async with crowd(stage, 20, "192.0.2.1"):
            for _ in range(20):
                assert await stream.receive_some(1000)


async def test_places_are_kept_for_administrators(autojump_clock: MockClock) -> None:
    """When all places are taken, administrators and the local command line get in, bounded, too."""
    async with (
        open_stage(places=ConnectionLimits(most_known=2)) as stage,
        AsyncExitStack() as stack,
    ):
        for _ in range(2):
            await stack.enter_async_context(stage.peer())
        for _ in range(KEPT - 1):
            peer = await stack.enter_async_context(stage.peer(known=False))
            assert "result" in await peer.call("authenticate", auth_token=token(Role.ADMIN))
        ours, theirs = memory_stream_pair()
        root = Principal("uid:0", Role.ADMIN, None, AuthMethod.PEER)
        ends = Endpoints(None, None)
        stage.nursery.start_soon(stage.front.serve_stream, theirs, ends, root)
        async with open_client_websocket(
            ours, host="localhost", path="/ws", max_message_bytes=2**20
        ) as socket:
            assert (await Peer(socket, ours).call("rule"))["result"] == "pong"
            for role in Role:
                async with stage.peer(known=False) as late:
                    await late.send(id=1, method="ping", params={"auth_token": token(role)})
                    assert await closed_with(late) == 1013
            await trio.aclose_forcefully(ours)


async def test_strangers_may_not_send_much(autojump_clock: MockClock) -> None:
    """A large message before authentication closes with 1009; afterwards it is read."""
    text = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + "x" * STRANGER_BYTES + '"}}'
    async with open_stage() as stage, stage.peer() as known, stage.peer(known=False) as stranger:
        await known.socket.send(text)
        assert (await known.receive())["result"] == "pong"
        await stranger.socket.send(text)
        assert await closed_with(stranger) == 1009


async def test_want_of_descriptors_is_no_bug(autojump_clock: MockClock) -> None:
    """A request that cannot open a file is answered with an error, without a traceback."""
    async with open_stage() as stage:
        stream = stage.connect()
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 50")
        assert [line["event"] for line in logs] == ["descriptors_exhausted"]


# --- wrong keys


async def test_wrong_keys_are_slowed_down_and_logged(autojump_clock: MockClock) -> None:
    """A few are answered at once, more wait, ten end the connection; others are served."""
    async with open_stage(requests_per_minute=0, authentication_seconds=3600) as stage:
        with structlog.testing.capture_logs() as logs:
            async with stage.peer(known=False, client="203.0.113.9") as guesser:
                began = trio.current_time()
                for number in range(MOST_WRONG_KEYS):
                    await guesser.send(
                        id=number, method="authenticate", params={"auth_token": f"camd_{number}"}
                    )
                async with stage.peer(client="203.0.113.9") as neighbour:
                    assert (await neighbour.call("ping"))["result"] == "pong"
                    assert trio.current_time() - began <= HESITATION_SECONDS
                async with stage.peer(client="192.0.2.1") as other:
                    assert (await other.call("ping"))["result"] == "pong"
                    assert trio.current_time() - began <= HESITATION_SECONDS
                for number in range(MOST_WRONG_KEYS - 1):
                    assert (await guesser.receive())["id"] == number
                assert await closed_with(guesser) == 1008
                assert trio.current_time() - began == pytest.approx(10, abs=0.1)
        said = [line for line in logs if line["event"] == "wrong_keys"]
        assert 1 <= len(said) <= 1 + (trio.current_time() - began) / LOG_SECONDS
        assert said[0]["address"] == "203.0.113.9"
        assert said[0]["reason"] == "unknown_key"


async def test_old_keys_are_not_taken_for_guesses(autojump_clock: MockClock) -> None:
    """Who comes with an expired token is refused at once, each time."""
    async with open_stage() as stage, stage.peer(known=False) as peer:
        old = token(lifetime=-1)
        for _ in range(MOST_WRONG_KEYS - 1):
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
    async with open_stage(enabled=False, names=OURS) as stage:
        stream = stage.connect()
        request = UPGRADE.replace(b"camera.local:8002", host)
        await stream.send_all(request + b"Origin: http://" + host + b"\r\n\r\n")
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 " + status)
        stream = stage.connect()
        await stream.send_all(b"GET /hello HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        wanted = b"200" if status == b"101" else b"403"
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 " + wanted)


async def test_without_keys_programs_may_use_any_name(autojump_clock: MockClock) -> None:
    """A WebSocket without an Origin is no browser's; and with keys names do not matter."""
    async with open_stage(enabled=False, names=OURS) as stage:
        stream = stage.connect()
        await stream.send_all(UPGRADE + b"\r\n")
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 101")
    async with open_stage() as stage:
        stream = stage.connect()
        await stream.send_all(b"GET /hello HTTP/1.1\r\nHost: any.example\r\n\r\n")
        assert (await stream.receive_some(9000)).startswith(b"HTTP/1.1 200")
