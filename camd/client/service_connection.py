"""One connection to the service: calls, notifications, and why it ended."""

from __future__ import annotations

import itertools
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec
import trio

from camd.client.remote_errors import remote_error
from camd.errors import sole_exception
from camd.growing_delay import GrowingDelay
from camd.server.websocket import (
    HandshakeRefusedError,
    SocketClosedError,
    WebSocket,
    open_client_websocket,
)

CONNECT_SECONDS = 10.0
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_WAITING_NOTIFICATIONS = 1000
PING_SECONDS = 30.0
PONG_SECONDS = 10.0
# Before the next try to connect, shortened at random: the clients of a service that starts again
# do not all come at the same moment.
RECONNECT_DELAY = GrowingDelay(0.2, 30.0)
STABLE_SECONDS = 5.0  # the end of a connection that lasted longer is not counted as a failure
ANSWER_SECONDS = 20.0  # to authenticate; the service delays the answer to a wrong key
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class CannotConnectError(Exception):
    """No service answers at this address, or not camd."""


class ConnectionLostError(Exception):
    """The service closed the connection, or it broke."""


@attrs.frozen
class ServiceAddress:
    """Where a service is, and the token for it, which stays out of `repr`.

    `url` is `ws://host:port/ws`, `wss://…`, `host:port` or `unix:/path`.
    """

    url: str
    token: str | None = attrs.field(default=None, repr=False)
    tls: ssl.SSLContext | None = attrs.field(default=None, repr=False)


@attrs.define(eq=False)
class _PendingCall:
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: dict[str, Any] | None = None


@attrs.define(eq=False)
class ServiceConnection:
    """A connection to the service. Calls may run concurrently.

    Of notifications, MAX_WAITING_NOTIFICATIONS wait for a reader at most. With `keeps_all`, nothing
    more is received then, so that the service notices that this client is behind; otherwise the
    oldest ones are dropped, so that answers are received.
    """

    _socket: WebSocket
    keeps_all: bool = False
    missed: int = 0  # notifications dropped because nothing read them; the oldest first
    _ids: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _pending: dict[int, _PendingCall] = attrs.field(factory=dict, init=False)
    _notifications: deque[tuple[str, Any]] = attrs.field(factory=deque, init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)
    _taken: trio.Event = attrs.field(factory=trio.Event, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sending: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _lost: str | None = attrs.field(default=None, init=False)

    async def call(self, method: str, /, **params: object) -> Any:
        """Make a call and wait for its result.

        Raises RemoteError when it is refused, ConnectionLostError when the connection ends first.
        """
        number, pending = next(self._ids), _PendingCall()
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._pending[number] = pending
        try:
            await self._send(str(_encode(request), "utf-8"))
            await pending.done.wait()
        finally:
            del self._pending[number]
        if pending.answer is None:
            raise ConnectionLostError(self._lost)
        return _result(pending.answer)

    async def call_soon(self, method: str, /, **params: object) -> Any:
        """Make a call that is answered at once. Raises as `call` does, and CannotConnectError."""
        with trio.move_on_after(ANSWER_SECONDS):
            return await self.call(method, **params)
        raise CannotConnectError(f"no answer to {method} in {ANSWER_SECONDS:g} s")

    def notifications(self) -> AsyncIterator[tuple[str, Any]]:
        """Iterate over notifications as (method, params). Raises ConnectionLostError at the end."""
        return _Notifications(self)

    async def next_notification(self) -> tuple[str, Any]:
        """Wait for the next notification: (method, params). Raises ConnectionLostError."""
        while not self._notifications:
            if self._lost is not None:
                raise ConnectionLostError(self._lost)
            self._arrived = trio.Event()
            await self._arrived.wait()
        self._taken.set()
        return self._notifications.popleft()

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._lost is not None

    async def wait_lost(self) -> None:
        """Wait until the connection has ended."""
        await self._ended.wait()

    async def leave(self) -> None:
        """Close the connection in order; takes at most two seconds."""
        await self._socket.close(1000, "")

    async def _send(self, text: str) -> None:
        if self._lost is not None:
            raise ConnectionLostError(self._lost)
        try:
            # Shielded: a cancelled call must not leave half a message on the stream.
            async with self._sending:
                with trio.move_on_after(CONNECT_SECONDS, shield=True) as scope:
                    await self._socket.send(text)
        except SocketClosedError as error:
            self._end(f"the service closed the connection ({error})")
            raise ConnectionLostError(self._lost) from None
        if scope.cancelled_caught:
            self._end("the service does not read")
            raise ConnectionLostError(self._lost)

    async def _receive(self) -> None:
        try:
            while True:
                self._take(_decode(await self._socket.receive()))
                while self._is_full:
                    self._taken = trio.Event()
                    await self._taken.wait()
        except SocketClosedError as error:
            self._end(f"the service closed the connection ({error})")
        except (msgspec.DecodeError, UnicodeError) as error:
            self._end(f"the service sent something unreadable ({error})")

    async def _watch_liveness(self) -> None:
        """End a connection whose other side is silent; the network may not tell."""
        while True:
            await trio.sleep(PING_SECONDS)
            if self._is_full:
                continue  # nothing is received now, by intention
            with trio.move_on_after(PONG_SECONDS) as scope, suppress(SocketClosedError):
                await self._socket.ping()
            if scope.cancelled_caught and not self._is_full:
                self._end("no answer to a ping")

    @property
    def _is_full(self) -> bool:
        return self.keeps_all and len(self._notifications) >= MAX_WAITING_NOTIFICATIONS

    def _take(self, message: dict[str, Any]) -> None:
        method, number = message.get("method"), message.get("id")
        if isinstance(method, str):
            if len(self._notifications) >= MAX_WAITING_NOTIFICATIONS:
                self._notifications.popleft()
                self.missed += 1
            self._notifications.append((method, message.get("params")))
            self._arrived.set()
        elif isinstance(number, int) and number in self._pending:
            self._pending[number].answer = message
            self._pending[number].done.set()

    def _end(self, reason: str) -> None:
        self._lost = self._lost or reason
        for pending in self._pending.values():
            pending.done.set()
        self._arrived.set()
        self._ended.set()


@attrs.frozen
class _Notifications:
    connection: ServiceConnection

    def __aiter__(self) -> _Notifications:
        return self

    async def __anext__(self) -> tuple[str, Any]:
        return await self.connection.next_notification()


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    data = error.get("data")
    raise remote_error(
        error.get("code", 0), str(error.get("message", "")), data if isinstance(data, dict) else {}
    )


@asynccontextmanager
async def open_connection(
    address: ServiceAddress, *, authenticates: bool = True, keeps_all: bool = False
) -> AsyncIterator[ServiceConnection]:
    """Connect, and authenticate with the token, if there is one.

    Raises CannotConnectError or NotAuthenticatedError.
    """
    stream, host, path = await open_service_stream(address)
    try:
        async with (
            open_client_websocket(
                stream, host=host, path=path, max_message_bytes=MAX_MESSAGE_BYTES
            ) as socket,
            trio.open_nursery() as nursery,
        ):
            connection = ServiceConnection(socket, keeps_all)
            nursery.start_soon(connection._receive)
            nursery.start_soon(connection._watch_liveness)
            if authenticates and address.token is not None:
                await connection.call_soon("authenticate", auth_token=address.token)
            yield connection
            await socket.close(1000, "")
            nursery.cancel_scope.cancel()
    except HandshakeRefusedError as refused:
        raise _not_camd(address, refused) from refused
    except BaseExceptionGroup as group:
        error = sole_exception(group)
        if isinstance(error, HandshakeRefusedError):
            raise _not_camd(address, error) from error
        raise error from error.__cause__
    finally:
        await trio.aclose_forcefully(stream)


def _not_camd(address: ServiceAddress, refused: HandshakeRefusedError) -> CannotConnectError:
    return CannotConnectError(f"{_shown(address.url)} does not answer as camd does: {refused}")


def _shown(url: str) -> str:
    """Return an address without what may be a secret: a user, a password, a query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    return scheme + separator + rest.rpartition("@")[2].partition("?")[0]


async def open_service_stream(
    address: ServiceAddress,
) -> tuple[trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream], str, str]:
    """Connect to a service; return the stream, its host for requests, and the WebSocket path.

    Raises CannotConnectError.
    """
    shown = _shown(address.url)
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if address.url.startswith("unix:"):
                path = address.url.removeprefix("unix:")
                return await trio.open_unix_socket(path), "localhost", "/ws"
            url = urlsplit(address.url if "://" in address.url else f"ws://{address.url}")
            if url.scheme not in ("ws", "wss") or not url.hostname:
                raise CannotConnectError(f"{shown} is neither ws://…, wss://… nor unix:/…")
            secure = url.scheme == "wss"
            port = url.port or (443 if secure else 80)
            stream = await trio.open_tcp_stream(url.hostname, port)
    except (OSError, ValueError, trio.TooSlowError) as error:
        raise CannotConnectError(f"cannot connect to {shown}: {error or 'no answer'}") from error
    host, path = url.netloc.rpartition("@")[2], (url.path or "/ws")
    if not secure:
        return stream, host, path
    context = address.tls or ssl.create_default_context()
    return trio.SSLStream(stream, context, server_hostname=url.hostname), host, path
