"""People without a key: whatever they send is answered or ended, and never a traceback."""

from __future__ import annotations

from itertools import product

import pytest
import structlog
import trio
from front_stage import UPGRADE, open_stage, read_all
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

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
