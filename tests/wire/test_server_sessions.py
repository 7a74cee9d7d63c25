"""WebSockets of the page: the cookie of a session, the page that it comes from, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from memory_server import CLOCK, MemoryServer, Peer, key, now, serving, token
from trio.testing import MockClock

from camd.auth.sign_in import IDLE_SECONDS
from camd.rpc.roles import Role
from camd.server.websocket import (
    HandshakeRefusedError,
    SocketClosedError,
    open_client_websocket,
)

OWN = b"http://camera.local:8002"


def begin(running: MemoryServer, name: str = "ann") -> tuple[str, str]:
    """Begin a session as a sign-in does; return its cookie, and what ends it."""
    identity = key(name, Role.VIEWER).identity
    cookie, identity = running.server.shared.authenticator.sessions.begin(
        identity, now=CLOCK.monotonic(), unix_now=now()
    )
    return cookie, identity.browser_session


class HeaderStream(trio.abc.Stream):
    """Puts a cookie and an origin into the handshake that the client library writes."""

    def __init__(self, stream: trio.abc.Stream, cookie: str, origin: bytes | None) -> None:
        self._stream = stream
        self._headers = b"Cookie: camd_session_8002=%b\r\n" % cookie.encode()
        if origin is not None:
            self._headers += b"Origin: %b\r\n" % origin
        self._begun = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        data = bytes(data)
        if not self._begun:
            data = data.replace(b"Host: camera.local\r\n", b"Host: camera.local:8002\r\n", 1)
            data = data.removesuffix(b"\r\n") + self._headers + b"\r\n"
            self._begun = True
        await self._stream.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def browser(
    running: MemoryServer, cookie: str, origin: bytes | None = OWN
) -> AsyncIterator[Peer]:
    """Open a WebSocket as a page does."""
    stream = HeaderStream(running.connect(), cookie, origin)
    async with open_client_websocket(
        stream, host="camera.local", path="/ws", max_message_bytes=2**20
    ) as socket:
        yield Peer(socket, stream)
        await trio.aclose_forcefully(stream)


def reason(answer: Any) -> object:
    return answer["error"]["data"]["reason"]


ANN = key("ann", Role.VIEWER)


async def test_the_cookie_stands_for_its_session(autojump_clock: MockClock) -> None:
    """No call of `authenticate`: the role is that of whoever signed in."""
    async with serving(keys=(ANN,)) as running, browser(running, begin(running)[0]) as peer:
        assert (await peer.call("ping"))["result"] == "pong"
        assert (await peer.call("rule"))["error"]["code"] == -32003
        running.publish("happened")
        assert (await peer.receive())["method"] == "happened"


@pytest.mark.parametrize("origin", [None, b"http://camera.local:3000", b"http://camera.local"])
async def test_a_cookie_without_our_own_origin_is_not_looked_at(
    autojump_clock: MockClock, origin: bytes | None
) -> None:
    """A page at another port of this host gets the cookie sent, and nothing for it."""
    async with serving(keys=(ANN,)) as running, browser(running, begin(running)[0], origin) as peer:
        assert reason(await peer.call("ping")) == "missing"


async def test_a_foreign_page_gets_no_socket(autojump_clock: MockClock) -> None:
    """The upgrade itself is refused."""
    async with serving(keys=(ANN,)) as running:
        with pytest.raises(HandshakeRefusedError):
            async with browser(running, begin(running)[0], b"http://evil.example"):
                raise AssertionError("a foreign page was let in")


async def test_an_unknown_cookie_is_no_identity(autojump_clock: MockClock) -> None:
    """The client may still authenticate, as every other."""
    async with serving(keys=(ANN,)) as running, browser(running, "nonsense") as peer:
        assert reason(await peer.call("ping")) == "missing"
        assert "result" in await peer.call("authenticate", auth_token=token())


async def test_signing_out_ends_the_sockets_of_the_session(autojump_clock: MockClock) -> None:
    """The next call is refused, nothing is notified, and within half a minute it is closed."""
    async with serving(keys=(ANN,)) as running:
        cookie, session = begin(running)
        async with browser(running, cookie) as peer:
            await peer.call("ping")
            running.server.shared.authenticator.sessions.end(session)
            running.publish("secret")
            assert reason(await peer.call("ping")) == "session_ended"
            with trio.fail_after(30), pytest.raises(SocketClosedError):
                await peer.receive()


async def test_revoking_the_key_ends_the_session(autojump_clock: MockClock) -> None:
    """A session is never worth more than the key that began it."""
    async with serving(keys=(ANN,)) as running:
        authenticator = running.server.shared.authenticator
        cookie, _ = begin(running)
        async with browser(running, cookie) as peer:
            await peer.call("ping")
            authenticator.api_keys = ()
            authenticator.generation += 1
            assert reason(await peer.call("ping")) == "revoked"
        async with browser(running, cookie) as peer:
            assert reason(await peer.call("ping")) == "missing"


async def test_an_open_page_does_not_become_idle(autojump_clock: MockClock) -> None:
    """A page that hangs on a wall stays signed in, though nobody touches it."""
    async with serving(keys=(ANN,)) as running, browser(running, begin(running)[0]) as peer:
        await trio.sleep(IDLE_SECONDS + 60)
        assert (await peer.call("ping"))["result"] == "pong"
