"""JSON-RPC client for the command line and for scripts: calls and notifications."""

from __future__ import annotations

import itertools
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec
import trio

from camd.errors import NOT_AUTHENTICATED, sole_exception
from camd.server.websocket import (
    HandshakeRefusedError,
    SocketClosedError,
    WebSocket,
    open_client_websocket,
)

CONNECT_SECONDS = 10.0
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_WAITING_NOTIFICATIONS = 1000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class CannotConnectError(Exception):
    """No service answers at this address, or not camd."""


class ConnectionLostError(Exception):
    """The service closed the connection, or it broke."""


class RemoteError(Exception):
    """The service answered a call with an error."""

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class NotAuthenticatedError(RemoteError):
    """The service needs a token or refused the one given; `data["reason"]` says why."""


@attrs.define(eq=False)
class _Pending:
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: dict[str, Any] | None = None


@attrs.define(eq=False)
class Client:
    """A connection to the service. Calls may run concurrently."""

    _socket: WebSocket
    missed: int = 0  # notifications dropped because nothing read them; the oldest first
    _ids: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1), init=False)
    _pending: dict[int, _Pending] = attrs.field(factory=dict, init=False)
    _notifications: deque[tuple[str, Any]] = attrs.field(factory=deque, init=False)
    _arrived: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sending: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _lost: str | None = attrs.field(default=None, init=False)

    async def call(self, method: str, /, **params: object) -> Any:
        """Make a call and wait for its result.

        Raises RemoteError when it is refused, ConnectionLostError when the connection ends first.
        """
        number, pending = next(self._ids), _Pending()
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
        return self._notifications.popleft()

    async def _send(self, text: str) -> None:
        if self._lost is not None:
            raise ConnectionLostError(self._lost)
        try:
            # Shielded: a cancelled call must not leave half a message on the stream.
            async with self._sending:
                with trio.move_on_after(CONNECT_SECONDS, shield=True) as scope:
                    await self._socket.send(text)
        except SocketClosedError as error:
            raise ConnectionLostError(str(error)) from None
        if scope.cancelled_caught:
            raise ConnectionLostError("the service does not read")

    async def _receive(self) -> None:
        try:
            while True:
                self._take(_decode(await self._socket.receive()))
        except SocketClosedError as error:
            self._end(f"the service closed the connection ({error})")
        except (msgspec.DecodeError, UnicodeError) as error:
            self._end(f"the service sent something unreadable ({error})")

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
        self._lost = reason
        for pending in self._pending.values():
            pending.done.set()
        self._arrived.set()


@attrs.frozen
class _Notifications:
    client: Client

    def __aiter__(self) -> _Notifications:
        return self

    async def __anext__(self) -> tuple[str, Any]:
        return await self.client.next_notification()


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    code, message = error.get("code", 0), str(error.get("message", ""))
    kind = NotAuthenticatedError if code == NOT_AUTHENTICATED.code else RemoteError
    raise kind(code, message, error.get("data") or {})


@asynccontextmanager
async def open_client(
    address: str, token: str | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    """Connect to `ws://host:port/ws`, `wss://…` or `unix:/path`; authenticate with a token.

    Raises CannotConnectError or NotAuthenticatedError.
    """
    stream, host, path = await _connect(address, tls)
    try:
        async with (
            open_client_websocket(
                stream, host=host, path=path, max_message_bytes=MAX_MESSAGE_BYTES
            ) as socket,
            trio.open_nursery() as nursery,
        ):
            client = Client(socket)
            nursery.start_soon(client._receive)
            if token is not None:
                await client.call("authenticate", auth_token=token)
            yield client
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


def _not_camd(address: str, refused: HandshakeRefusedError) -> CannotConnectError:
    return CannotConnectError(f"{address} does not answer as camd does: {refused}")


async def _connect(
    address: str, tls: ssl.SSLContext | None
) -> tuple[trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream], str, str]:
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if address.startswith("unix:"):
                return (
                    await trio.open_unix_socket(address.removeprefix("unix:")),
                    "localhost",
                    "/ws",
                )
            url = urlsplit(address if "://" in address else f"ws://{address}")
            if url.scheme not in ("ws", "wss") or not url.hostname:
                raise CannotConnectError(f"{address} is neither ws://…, wss://… nor unix:/…")
            secure = url.scheme == "wss"
            port = url.port or (443 if secure else 80)
            stream = await trio.open_tcp_stream(url.hostname, port)
    except (OSError, ValueError, trio.TooSlowError) as error:
        raise CannotConnectError(f"cannot connect to {address}: {error or 'no answer'}") from error
    host, path = url.netloc.rpartition("@")[2], (url.path or "/ws")
    if not secure:
        return stream, host, path
    context = tls or ssl.create_default_context()
    return trio.SSLStream(stream, context, server_hostname=url.hostname), host, path
