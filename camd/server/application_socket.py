"""A WebSocket that an application serves itself: authentication, liveness, and how it ends.

The identity comes from the socket or a session's cookie, else from the header `Authorization`, else
from the client's first message, `{"auth_token": …}`.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import attrs
import msgspec
import structlog
import trio

from camd.auth.login_throttle import LOCAL
from camd.errors import Refusal
from camd.rpc.roles import Principal
from camd.server.connection import (
    PING_SECONDS,
    STALL_SECONDS,
    UNAUTHENTICATED_BYTES,
    ConnectionShared,
)
from camd.server.connection_auth import ConnectionAuth
from camd.server.rules.connection_limits import TokenBucket
from camd.server.websocket import GOING_AWAY, POLICY, TRY_LATER, SocketClosedError, WebSocket

FIRST_MESSAGE_SECONDS = 5.0
WATCH_SECONDS = 5.0  # between looks at the API key, and of whether the client reads
_log = structlog.get_logger("camd.server")


@attrs.frozen
class _FirstMessage:
    auth_token: str = attrs.field(repr=False)


@attrs.define(eq=False)
class ApplicationSocket:
    """One client; `serve` runs it until it ends. `name` and `query` are those of its address."""

    shared: ConnectionShared
    socket: WebSocket
    name: str
    query: str = ""
    token: str = attrs.field(default="", repr=False)  # of its headers
    identity: Principal | None = None  # known from the socket itself, or by a cookie
    on_authenticated: Callable[[Principal], bool] = lambda identity: True  # False: too many
    on_wrong_key: Callable[[], None] = lambda: None
    address: str = LOCAL  # as `group_of` names it
    id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    _auth: ConnectionAuth = attrs.field(init=False)
    _bucket: TokenBucket = attrs.field(init=False)
    _invalid_times: int = attrs.field(default=0, init=False)  # of the credentials, in a row
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _end: tuple[int, str] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._auth = ConnectionAuth(
            authenticator=self.shared.authenticator,
            connection_id=self.id,
            dialect="never",
            clock=self.shared.clock,
            identity=self.identity,
        )
        self._bucket = TokenBucket(self.shared.requests_per_minute)

    # --- For the application.

    async def send(self, message: str | bytes) -> None:
        """Send one text or binary message; waits while the client does not read.

        Raises SocketClosedError, which the application does not have to catch.
        """
        await self.socket.send(message)

    async def receive(self) -> str | bytes:
        """Wait for the next message. Has to be called all the time, for pings to be answered."""
        message = await self.socket.receive()
        if self._bucket.per_minute and self._bucket.take(trio.current_time()):
            self.end(POLICY, "too many messages")
            await trio.lowlevel.checkpoint()
        return message

    def end(self, code: int = GOING_AWAY, reason: str = "the service is stopping") -> None:
        """Close the socket with this code and reason, and cancel whoever serves it."""
        if self._end is None:
            self._end = code, reason
            self._scope.cancel()

    # --- For the server.

    async def serve(self, serve: Callable[[ApplicationSocket], Awaitable[None]]) -> None:
        """Authenticate the client and run `serve` until it returns; then close the socket."""
        try:
            with self._scope:
                self.socket.limit(UNAUTHENTICATED_BYTES)
                await self._authenticate()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_reading)
                    nursery.start_soon(self._watch_pongs)
                    await serve(self)
                    nursery.cancel_scope.cancel()
        except* SocketClosedError as group:
            closed = group.exceptions[0]
            if self._end is None and isinstance(closed, SocketClosedError):
                self._end = closed.code, closed.reason
        code, reason = self._end or (1000, "")
        await self.socket.close(code, reason)
        _log.info("socket_closed", connection=self.id, code=code, reason=reason)

    async def _authenticate(self) -> None:
        token = self.token
        if not token and not self._auth.is_authenticated:
            with trio.move_on_after(FIRST_MESSAGE_SECONDS) as timeout:
                token = _token_in(await self.socket.receive())
            if timeout.cancelled_caught:
                self.end(POLICY, "not authenticated in time")
        if token or not self._auth.is_authenticated:
            await self._validate_token(token)
        identity = self._auth.identity
        if identity is not None and not self.on_authenticated(identity):
            self.end(TRY_LATER, "too many connections")
        await trio.lowlevel.checkpoint()  # where it is ended already

    async def _validate_token(self, token: str) -> None:
        """Validate an API key or a token; after a wrong one, wait, and end the connection."""
        try:
            self._auth.identity = self._auth.identify({"auth_token": token})
        except Refusal as refusal:
            self.on_wrong_key()
            if (reason := self._auth.last_failure) is not None:
                await self.shared.authenticator.delay_refusal(self.address, reason)
            self.end(POLICY, refusal.message)

    async def _watch_reading(self) -> None:
        """End the connection when the client does not read, or its key is no longer valid."""
        while True:
            await trio.sleep(WATCH_SECONDS)
            self._watch_credentials()
            if self.socket.stalled_seconds >= STALL_SECONDS:
                self.end(POLICY, "the client does not read")

    async def _watch_pongs(self) -> None:
        while True:
            await trio.sleep(PING_SECONDS)
            if self.socket.sending:  # whether the client reads is looked at elsewhere
                continue
            with trio.move_on_after(STALL_SECONDS) as timeout:
                await self.socket.ping()
            if timeout.cancelled_caught:
                self.end(POLICY, "no answer to a ping")

    def _watch_credentials(self) -> None:
        self._invalid_times = 0 if self._auth.is_authenticated else self._invalid_times + 1
        if self._invalid_times > 1:
            self.end(POLICY, "the key is no longer valid")


@attrs.frozen
class WebSocketPrefix:
    """A prefix, with a slash at its end, below which an application serves WebSockets."""

    prefix: str
    subprotocol: str
    serve: Callable[[ApplicationSocket], Awaitable[None]]


_read_first = msgspec.json.Decoder(_FirstMessage).decode


def _token_in(message: str | bytes) -> str:
    """Return the token of a first message; "" when it is none."""
    try:
        return _read_first(message).auth_token.strip()
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ""
