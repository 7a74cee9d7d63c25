"""HTTP beside the WebSocket: the loop's own behaviour, on memory streams."""

from __future__ import annotations

import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_server import read_all, serving
from trio.testing import MockClock

from camd.server.http_connection import HttpLimits

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def cycle(data: bytes, **options: object) -> bytes:
    """Send bytes to a new server and return everything that comes back."""
    async with serving(**options) as running:
        stream = running.connect()
        await stream.send_all(data)
        return await read_all(stream)


async def test_requests_in_a_row_are_answered_in_order(autojump_clock: MockClock) -> None:
    """Keep-alive and pipelining: every request gets its response."""
    answer = await cycle(HELLO * 20 + LAST)
    assert answer.count(b"HTTP/1.1 200") == 21
    assert answer.count(b"\r\n\r\nhello") == 21
    assert b"date: " in answer


async def test_head_has_no_body(autojump_clock: MockClock) -> None:
    """HEAD gives the same head as GET, and the connection stays usable."""
    answer = await cycle(HELLO.replace(b"GET", b"HEAD") + LAST)
    assert answer.count(b"content-length: 5") == 2
    assert answer.count(b"hello") == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", b"431"),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", b"413"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.9\r\nHost: x\r\n\r\n", b"505"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
    ],
)
async def test_what_cannot_be_served_is_answered(
    autojump_clock: MockClock, request_: bytes, status: bytes
) -> None:
    """Each gets its status and the end of the connection."""
    assert (await cycle(request_)).startswith(b"HTTP/1.1 " + status)


TWO_LENGTHS = (
    b"Content-Length: 4\r\nContent-Length: 5\r\n",
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Content-Length: +4\r\n",
    b"Content-Length: 0x4\r\n",
)


@pytest.mark.parametrize("lengths", TWO_LENGTHS)
async def test_a_request_inside_of_another_one_is_not_answered(
    autojump_clock: MockClock, lengths: bytes
) -> None:
    """Where the length of a body can be read in two ways, nothing behind the head is a request."""
    inner = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await cycle(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + lengths + b"\r\n0\r\n\r\n" + inner)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert answer.count(b"HTTP/1.1") == 1
    assert b"hello" not in answer


async def test_chunks_are_not_for_http_1_0(autojump_clock: MockClock) -> None:
    """An older server in front of this one would take them for a body without length."""
    head = b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await cycle(head + b"0\r\n\r\n")).startswith(b"HTTP/1.1 400")


async def test_a_refused_request_is_not_repeated(autojump_clock: MockClock) -> None:
    """What was wrong with it is said, not what it held: that may be a secret."""
    answer = await cycle(b"GET /hello HTTP/1.1\r\nHost: x\r\nAuthorization : secret\r\n\r\n")
    assert b"illegal header line" in answer
    assert b"secret" not in answer


async def test_a_chunked_body_is_read_up_to_the_limit(autojump_clock: MockClock) -> None:
    """Chunks are joined; a body without end is cut off with 413."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    head += b"Connection: close\r\n\r\n"
    answer = await cycle(head + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    assert answer.endswith(b"abcdefg")
    answer = await cycle(head + b"400\r\n" * 1 + b"x" * 1024 + b"\r\n", http_limits=tiny())
    assert answer.startswith(b"HTTP/1.1 413")


def tiny() -> HttpLimits:
    return HttpLimits(body_bytes=1000, linger_seconds=0.1)


async def test_a_client_may_ask_before_it_sends_a_body(autojump_clock: MockClock) -> None:
    """Expect: 100-continue is answered when the body is wanted."""
    async with serving() as running:
        stream = running.connect()
        await stream.send_all(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"abc")
        assert (await read_all(stream)).endswith(b"abc")


async def test_a_body_that_never_comes_is_not_waited_for(autojump_clock: MockClock) -> None:
    """The time for a whole body is bounded, whether bytes arrive or not."""
    with structlog.testing.capture_logs() as logs:
        async with serving() as running:
            stream = running.connect()
            await stream.send_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
            began = trio.current_time()
            await read_all(stream)
            assert trio.current_time() - began < 70
    assert not [line for line in logs if "crash" in line["event"]]


async def test_an_idle_connection_ends(autojump_clock: MockClock) -> None:
    """A connection without requests is closed after a time, without an answer."""
    async with serving() as running:
        stream = running.connect()
        await stream.send_all(HELLO)
        assert b"hello" in await stream.receive_some(4096)
        began = trio.current_time()
        assert await read_all(stream) == b""
        assert 70 < trio.current_time() - began < 80


async def test_a_reader_that_stalls_is_dropped(autojump_clock: MockClock) -> None:
    """An endless download to a client that does not read ends."""
    async with serving() as running:
        stream = running.connect(lockstep=True)
        await stream.send_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some(100)
        await trio.sleep(25)
        assert not running.server._streams


async def test_a_client_that_leaves_ends_its_download(autojump_clock: MockClock) -> None:
    """No crash is logged for it."""
    with structlog.testing.capture_logs() as logs:
        async with serving() as running:
            stream = running.connect(lockstep=True)
            await stream.send_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            await stream.receive_some(100)
            await stream.aclose()
            await trio.sleep(1)
            assert not running.server._streams
    assert not [line for line in logs if "crash" in line["event"]]


async def test_a_bug_in_the_application_is_a_500(autojump_clock: MockClock) -> None:
    """It is logged with its path; the next connection is served."""
    with structlog.testing.capture_logs() as logs:
        answer = await cycle(b"GET /broken HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500")
    assert [(line["event"], line["path"]) for line in logs] == [("request_crashed", "/broken")]


async def test_an_offer_to_upgrade_to_something_else_is_ignored(autojump_clock: MockClock) -> None:
    """A client that offers HTTP/2 gets HTTP/1.1."""
    offer = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert (await cycle(offer + LAST)).count(b"\r\n\r\nhello") == 2


async def test_a_stopping_server_ends_idle_connections_at_once(autojump_clock: MockClock) -> None:
    """Idle connections are closed, and new ones are refused."""
    async with serving() as running:
        stream = running.connect()
        await stream.send_all(HELLO)
        await stream.receive_some(4096)
        began = trio.current_time()
        running.server.stop()
        assert await read_all(stream) == b""
        late = running.connect()
        assert await read_all(late) == b""
        assert trio.current_time() - began < 1


@settings(max_examples=60)
@given(st.integers(1, len(HELLO + LAST) - 1))
def test_wherever_requests_are_cut_the_answers_are_the_same(cut: int) -> None:
    """The bytes of requests may arrive in any pieces."""

    async def main() -> None:
        async with serving() as running:
            stream = running.connect()
            data = HELLO + LAST
            await stream.send_all(data[:cut])
            await trio.sleep(1)
            await stream.send_all(data[cut:])
            assert (await read_all(stream)).count(b"hello") == 2

    trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=60)
@given(st.binary(max_size=300) | st.binary(max_size=50).map(lambda tail: HELLO + tail))
def test_any_bytes_end_in_answers_or_silence(data: bytes) -> None:
    """Nothing that a client sends crashes or hangs the loop."""

    async def main() -> None:
        with structlog.testing.capture_logs() as logs:
            await cycle(data)
        assert not [line for line in logs if "crash" in line["event"]]

    trio.run(main, clock=MockClock(autojump_threshold=0))
