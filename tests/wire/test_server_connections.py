"""WebSocket connections: heartbeats, slow clients, limits, handshakes."""

from __future__ import annotations

import json

import pytest
import structlog
import trio
from memory_server import UPGRADE, MemoryServer, read_all, serving, token
from trio.testing import MockClock, wait_all_tasks_blocked

from camd.server.rules.connection_limits import ConnectionLimits
from camd.server.websocket import SocketClosedError


def frame(opcode: int, payload: bytes, *, last: bool = True) -> bytes:
    """One frame of a client (RFC 6455, 5.2), masked with zeros."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([(0x80 if last else 0) | opcode]) + length + bytes(4) + payload


async def wait_for(wanted: bytes, stream: trio.abc.Stream) -> bytes:
    """Read until `wanted` was received; return everything that was received."""
    found = b""
    while wanted not in found:
        data = await stream.receive_some(4096)
        assert data, found
        found += data
    return found


async def upgraded(running: MemoryServer, headers: bytes = b"") -> tuple[trio.abc.Stream, bytes]:
    """Send an upgrade by hand; return the stream and the head of the answer."""
    stream = running.connect()
    await stream.send_all(UPGRADE + headers + b"\r\n")
    return stream, await wait_for(b"\r\n\r\n", stream)


def ends_of(logs: list[structlog.typing.EventDict]) -> list[tuple[int, str]]:
    return [(line["code"], line["reason"]) for line in logs if line["event"] == "client_left"]


# --- heartbeats


async def test_a_silent_client_stays_connected(autojump_clock: MockClock) -> None:
    """A client that only answers pings stays connected and is served."""
    async with serving() as running, running.peer() as peer:
        await trio.sleep(3600)
        assert running.server.connections == 1
        assert (await peer.call("ping"))["result"] == "pong"


async def test_a_client_without_pongs_is_disconnected(autojump_clock: MockClock) -> None:
    """A client that answers no ping is disconnected 40 seconds after its last message."""
    async with serving() as running:
        with structlog.testing.capture_logs() as logs:
            stream, _ = await upgraded(running)
            call = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"auth_token": token()}}
            await stream.send_all(frame(1, json.dumps(call).encode()))
            await trio.sleep(39.9)
            assert running.server.connections == 1
            await trio.sleep(5)  # the close frame is not answered either
            assert running.server.connections == 0
        assert ends_of(logs) == [(1008, "no answer to a ping")]


async def test_pongs_get_through_while_calls_run(autojump_clock: MockClock) -> None:
    """A call that takes minutes does not disconnect the client."""
    async with serving(max_calls_in_flight=2) as running, running.peer() as peer:
        for number in range(2):
            await peer.send(id=number, method="wait", params={"seconds": 300})
        await peer.receive()
        assert running.server.connections == 1


# --- Notifications.


async def test_states_coalesce_for_a_slow_client(autojump_clock: MockClock) -> None:
    """While the client does not read, only the latest state of each key is queued."""
    async with serving() as running, running.peer(lockstep=True) as peer:
        for seq in range(1000):
            running.publish("camera", key=f"camera{seq % 2}", seq=seq)
            running.publish("storage", key="storage", seq=1000 + seq)
        received = [(await peer.receive())["params"]["seq"] for _ in range(3)]
        assert received == [998, 999, 1999]


async def test_a_client_that_does_not_read_is_disconnected(autojump_clock: MockClock) -> None:
    """Above the bound of its queue it is disconnected, with a reason; others are not affected."""
    async with serving() as running, running.peer() as fast:
        with structlog.testing.capture_logs() as logs:
            async with running.peer(lockstep=True) as slow:
                for seq in range(300):
                    running.publish("event", seq=seq)
                    assert (await fast.receive())["params"]["seq"] == seq
                await trio.sleep(5)
                assert running.server.connections == 1
                assert slow is not fast
        ((code, reason), *_) = ends_of(logs)
        assert code == 1008
        assert "too slowly" in reason
        assert (await fast.call("ping"))["result"] == "pong"


async def test_a_stalled_send_ends_the_connection(autojump_clock: MockClock) -> None:
    """A client that stops reading in the middle of a message is disconnected."""
    async with serving() as running:
        ours = running.connect(lockstep=True)
        await ours.send_all(UPGRADE + b"\r\n")
        await trio.sleep(60)
        assert running.server.connections == 0


async def test_a_client_that_stops_reading_is_told_why(autojump_clock: MockClock) -> None:
    """Long before its queue is full, and before a ping is overdue."""
    async with serving() as running:
        with structlog.testing.capture_logs() as logs:
            async with running.peer(lockstep=True):
                for seq in range(20):
                    running.publish("event", seq=seq)
                await trio.sleep(35)
                assert running.server.connections == 0
        assert ends_of(logs) == [(1008, "the client does not read")]


async def test_a_client_may_filter_notifications(autojump_clock: MockClock) -> None:
    """A filter applies to published notifications; those for one client follow the answer."""
    async with serving() as running, running.peer() as peer:
        await peer.send(id=1, method="filter")
        assert (await peer.receive())["id"] == 1
        assert (await peer.receive())["method"] == "missed"
        running.publish("unwanted", seq=1)
        running.publish("wanted", seq=2)
        assert (await peer.receive())["method"] == "wanted"


# --- limits


async def test_the_limit_of_a_message_is_in_bytes(autojump_clock: MockClock) -> None:
    """A message of exactly the limit is read; one byte more closes with 1009."""
    async with (
        serving(max_message_bytes=400) as running,
        running.peer(login=False) as peer,
    ):
        await peer.socket.send('"' + "é" * 199 + '"')
        assert (await peer.receive())["error"]["code"] == -32600
        await peer.socket.send('"' + "é" * 199 + 'x"')
        with pytest.raises(SocketClosedError) as closed:
            await peer.receive()
        assert closed.value.code == 1009


async def test_a_flood_of_empty_fragments_is_cut_off(autojump_clock: MockClock) -> None:
    """A message that never ends does not grow without limit, however small its parts."""
    async with serving() as running:
        stream, _ = await upgraded(running)
        await stream.send_all(frame(1, b"", last=False) + frame(0, b"", last=False) * 5000)
        assert (1009).to_bytes(2, "big") in await read_all(stream)
        await wait_all_tasks_blocked()
        assert running.server.connections == 0


async def test_fragments_and_pings_between_them_are_fine(autojump_clock: MockClock) -> None:
    """A message in parts is one message; control frames do not count."""
    async with serving(max_message_bytes=100) as running:
        stream, _ = await upgraded(running)
        parts = [b'{"jsonrpc":"2.0",', b'"id":7,"method":', b'"ping"}']
        flags = [(1, False), (0, False), (0, True)]
        for part, (opcode, last) in zip(parts, flags, strict=True):
            data = frame(opcode, part, last=last) + frame(9, b"p" * 125)
            for byte in data:  # cut everywhere
                await stream.send_all(bytes([byte]))
        await wait_for(b'"id":7', stream)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\xff" * 100,
        frame(1, b"\xff\xfe"),
        frame(0, b"continues nothing"),
        bytes([0x81, 0x05]) + b"clear",  # not masked
        frame(8, b"\x00"),
        frame(9, b"p" * 126),
    ],
)
async def test_a_broken_client_does_not_affect_others(
    autojump_clock: MockClock, rubbish: bytes
) -> None:
    """Its own connection ends without a crash in the log; the others continue."""
    with structlog.testing.capture_logs() as logs:
        async with serving() as running, running.peer() as peer:
            stream, _ = await upgraded(running)
            await stream.send_all(rubbish)
            await read_all(stream)
            assert (await peer.call("ping"))["result"] == "pong"
    assert not [line for line in logs if "crash" in line["event"]]


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (bytes([0x81, 0x05]) + b"clear", 1002, b"mask"),
        (bytes([0xC1, 0x80, 0, 0, 0, 0]), 1002, b"eserved"),  # compressed, but not agreed upon
        (frame(0, b"continues nothing"), 1002, b"CONTINUATION"),
        (frame(3, b"x"), 1002, b"opcode"),
        (frame(9, b"x", last=False), 1002, b"ragment"),
        (frame(8, (999).to_bytes(2, "big")), 1002, b""),
        (frame(1, b"\xff\xfe"), 1007, b"invalid UTF-8"),
    ],
)
async def test_who_breaks_the_protocol_is_told_how(
    autojump_clock: MockClock, sent: bytes, code: int, reason: bytes
) -> None:
    """The last thing that it gets is a close frame with code and reason (RFC 6455, 7.1.7)."""
    async with serving() as running:
        stream, rest = await upgraded(running)
        await stream.send_all(sent)
        answer = await read_all(stream)
        assert answer[:1] == b"\x88", rest
        assert answer[2:4] == code.to_bytes(2, "big")
        assert reason in answer[4:]
        assert len(answer) == 2 + answer[1]
        await wait_all_tasks_blocked()
        assert running.server.connections == 0


async def test_a_client_that_disconnects_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    """Its calls are cancelled and it is no longer counted."""
    async with serving() as running:
        async with running.peer() as peer:
            await peer.send(id=1, method="wait", params={"seconds": 1000})
        await trio.sleep(3)
        assert running.server.connections == 0


async def test_a_connection_above_the_limit_is_told_to_try_later(autojump_clock: MockClock) -> None:
    """Above the limit the socket is closed with 1013; after one has left, another can connect."""
    async with serving(limits=ConnectionLimits(max_authenticated=1)) as running:
        async with running.peer() as first:
            async with running.peer(login=False) as second:
                with pytest.raises(SocketClosedError) as closed:
                    await second.call("authenticate", auth_token=token())
                assert closed.value.code == 1013
            assert (await first.call("ping"))["result"] == "pong"
        await trio.sleep(3)
        async with running.peer() as third:
            assert (await third.call("ping"))["result"] == "pong"


# --- handshakes


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Upgrade: websocket", b"Upgrade: other", b"426"),
        (b"Connection: Upgrade", b"Connection: close", b"426"),
        (b"Version: 13", b"Version: 8", b"426"),
        (b"AAAAAAAAAAAAAAAAAAAAAA==", b"short", b"400"),
        (b"Host:", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nHost:", b"400"),
        (b"GET", b"POST", b"400"),
        (b"Host: camera.local:8002\r\n", b"", b"400"),
    ],
)
async def test_a_wrong_handshake_is_answered(
    autojump_clock: MockClock, old: bytes, new: bytes, status: bytes
) -> None:
    """Each mistake gets an HTTP answer and a closed connection, never silence."""
    async with serving() as running:
        stream = running.connect()
        await stream.send_all(UPGRADE.replace(old, new) + b"\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("rest", [b"", b"\xff\xff", frame(8, b"\x03\xe8")])
@pytest.mark.parametrize("way", ["leaves", "stops listening", "reads nothing"])
async def test_a_client_that_goes_during_the_handshake_is_no_bug(
    autojump_clock: MockClock, rest: bytes, way: str
) -> None:
    """It leaves nothing behind, whether or not something follows its request."""
    with structlog.testing.capture_logs() as logs:
        async with serving() as running:
            stream = running.connect(lockstep=way == "reads nothing")
            await stream.send_all(UPGRADE + b"\r\n" + rest)
            if way == "stops listening":
                stream.receive_stream.close()
            elif way == "leaves":
                await trio.aclose_forcefully(stream)
            await trio.sleep(100)
            assert running.server.connections == 0
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []


async def test_half_a_handshake_is_not_waited_for(autojump_clock: MockClock) -> None:
    """After ten seconds the connection ends, whether bytes arrive or not."""
    async with serving() as running:
        silent, dripping = running.connect(), running.connect()
        began = trio.current_time()
        for byte in UPGRADE[:5]:
            await dripping.send_all(bytes([byte]))
            await trio.sleep(2)
        assert b"408" in await read_all(dripping)
        assert await read_all(silent) == b""
        assert trio.current_time() - began < 17


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        (b"http://camera.local:8002", True),
        (b"https://CAMERA.local", True),
        (b"https://panel.example", True),
        (b"http://evil.example", False),
        (b"http://camera.local.evil.example", False),
        (b"http://[", False),
        (b"null", False),
        (b"", False),
    ],
)
async def test_a_web_page_of_another_origin_is_refused(
    autojump_clock: MockClock, origin: bytes | None, allowed: bool
) -> None:
    """Without an Origin, of the same host, or configured: fine. Everybody else: 403."""
    async with serving(origins=("https://panel.example",)) as running:
        header = b"" if origin is None else b"Origin: " + origin + b"\r\n"
        _, answer = await upgraded(running, header)
        assert answer.startswith(b"HTTP/1.1 101" if allowed else b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (b"http://localhost:3000", b"127.0.0.1:8002", True),
        (b"http://127.0.0.1:3000", b"localhost", True),
        (b"http://[::1]:3000", b"localhost:8002", True),
        (b"http://localhost.evil.example", b"127.0.0.1:8002", False),
        (b"http://127.0.0.1.evil.example", b"127.0.0.1:8002", False),
        (b"http://localhost:3000", b"192.0.2.7:8002", False),
        (b"http://192.0.2.7", b"127.0.0.1:8002", False),
    ],
)
async def test_pages_of_this_machine_may_name_it_in_each_way(
    autojump_clock: MockClock, origin: bytes, host: bytes, allowed: bool
) -> None:
    """A page at `localhost` reaches the service at 127.0.0.1: the browser runs on this machine."""
    async with serving() as running:
        stream = running.connect()
        head = UPGRADE.replace(b"camera.local:8002", host)
        assert head != UPGRADE
        await stream.send_all(head + b"Origin: " + origin + b"\r\n\r\n")
        status = b"101" if allowed else b"403"
        assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 " + status)


async def test_frames_directly_after_the_handshake_are_read(autojump_clock: MockClock) -> None:
    """A client need not wait for the answer before it speaks."""
    async with serving() as running:
        stream = running.connect()
        call = frame(1, b'{"jsonrpc":"2.0","id":5,"method":"ping"}')
        await stream.send_all(UPGRADE + b"\r\n" + call)
        await wait_for(b'"id":5', stream)
