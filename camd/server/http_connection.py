"""HTTP/1.1 on one connection: requests for an ASGI application, and WebSocket upgrades.

Bounded are the size of a head and of a body, the time for a head, for a body, between requests and
for sending one piece, and the requests of one address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from urllib.parse import unquote_to_bytes

import attrs
import h11
import structlog
import trio

from camd.clock import Clock
from camd.rpc.roles import Principal
from camd.server.asgi import (
    AsgiApp,
    ClientDisconnectedError,
    ConnectionAddresses,
    RequestCycle,
    http_date,
    scope_of,
)
from camd.server.error_boundary import run_in_boundary
from camd.server.rules.request_validation import (
    Denial,
    Headers,
    plain_head,
    validate_framing,
    validate_host,
    validate_subprotocol,
    validate_target,
    validate_upgrade,
    wants_upgrade,
)
from camd.server.websocket import SocketClosedError

_RECEIVE_BYTES = 64 * 1024
_SEND_PIECE = 256 * 1024  # progress is measured in pieces of this size
_DISCONNECTED = (trio.BrokenResourceError, trio.ClosedResourceError)
_log = structlog.get_logger("camd.server")


@attrs.frozen
class HttpLimits:
    """Bounds of one connection, in bytes and seconds."""

    head_bytes: int = 32 * 1024
    head_seconds: float = 10.0
    body_bytes: int = 1024 * 1024
    body_seconds: float = 60.0
    idle_seconds: float = 75.0
    stall_seconds: float = 20.0
    linger_seconds: float = 1.0


@attrs.frozen
class UpgradeRequest:
    """A valid upgrade request: its head, and the bytes received after it.

    `name` is what follows the prefix of its path.
    """

    head: bytes
    rest: bytes
    identity: Principal | None = None  # by the cookie of a session
    headers: Headers = attrs.field(default=(), repr=False)
    name: str = ""
    query: str = ""


Upgrade = Callable[[trio.abc.Stream, UpgradeRequest], Awaitable[None]]


@attrs.frozen
class UpgradePath:
    """What becomes a WebSocket: one path, or everything below a prefix that ends with a slash.

    Below a prefix, requests that ask for no upgrade go to the application. With a `subprotocol`,
    clients have to offer it.
    """

    path: str
    serve: Upgrade
    subprotocol: str = ""

    @property
    def is_prefix(self) -> bool:
        """Whether it stands for all that is below."""
        return self.path.endswith("/")

    def name_in(self, path: str) -> str | None:
        """Return what follows the prefix; "" for the path itself, None: it is another path."""
        if not self.is_prefix:
            return "" if path == self.path else None
        return path.removeprefix(self.path) if path.startswith(self.path) else None


@attrs.frozen
class HttpConfig:
    """What is served: an application, and WebSockets on the paths of `upgrades`.

    `path` is that of calls.
    """

    app: AsgiApp
    clock: Clock = attrs.field(kw_only=True)
    path: str = "/ws"
    origins: tuple[str, ...] = ()
    upgrades: tuple[UpgradePath, ...] = ()
    on_authenticated: Callable[[Principal], object] | None = None
    on_wrong_key: Callable[[], object] | None = None
    identity: Principal | None = None  # known from the socket itself
    identify_cookie: Callable[[Headers], Principal | None] = lambda headers: None  # of an upgrade
    names: frozenset[str] | None = None  # allowed host names of requests; None: all
    take_request: Callable[[], int] = lambda: 0  # milliseconds to wait; 0: the request may run
    limits: HttpLimits = HttpLimits()


@attrs.define(eq=False)
class HttpConnection:
    """One connection; `serve` runs it until it ends or becomes a WebSocket."""

    stream: trio.abc.Stream
    config: HttpConfig
    endpoints: ConnectionAddresses
    _h11: h11.Connection = attrs.field(init=False)
    _first: bool = attrs.field(default=True, init=False)
    _disconnected: bool = attrs.field(default=False, init=False)  # nothing can be sent
    _head_only: bool = attrs.field(default=False, init=False)  # the request was HEAD
    _unsent: list[bytes] = attrs.field(factory=list, init=False)
    _body_bytes: int = attrs.field(default=0, init=False)
    _body_deadline: float = attrs.field(default=0.0, init=False)
    _idle: trio.CancelScope | None = attrs.field(default=None, init=False)
    _finishing: bool = attrs.field(default=False, init=False)
    _responded: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._h11 = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self.config.limits.head_bytes
        )

    async def serve(self) -> None:
        """Answer requests until the connection ends. The caller closes the stream afterwards."""
        try:
            while (request := await self._next_request()) is not None:
                if (denial := self._validate_request(request)) is not None:
                    await self._deny(denial)
                    return
                if (found := self._upgrade_path(request)) is not None:
                    await self._upgrade(request, *found)
                    return
                await self._respond(request)
                self._discard_body()
                if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                    await self._linger()
                    return
                self._h11.start_next_cycle()
        except h11.RemoteProtocolError as error:
            why = str(error).partition(": bytearray")[0]  # not what the client has sent
            await self._deny(Denial(error.error_status_hint, f"Bad request: {why}"))
        except ClientDisconnectedError:
            pass

    def finish(self) -> None:
        """End after the response that is being sent, or at once when there is none."""
        self._finishing = True
        if self._idle is not None:
            self._idle.cancel()

    # --- Requests.

    async def _next_request(self) -> h11.Request | None:
        """Read the head of the next request; None when there is none."""
        limits = self.config.limits
        self._head_only = False
        if self._finishing or not await self._wait_for_request():
            return None
        with trio.move_on_after(limits.head_seconds):
            return await self._read_head()
        await self._deny(Denial(408, "The request took too long."))
        return None

    async def _wait_for_request(self) -> bool:
        """Wait for the first bytes; False at the end, after the idle time, or when finishing."""
        if self._h11.our_state is not h11.IDLE or self._h11.trailing_data[0]:
            return True
        limits = self.config.limits
        timeout = limits.head_seconds if self._first else limits.idle_seconds
        with trio.move_on_after(timeout) as self._idle:
            await self._receive()
        self._idle = None
        return bool(self._h11.trailing_data[0])

    async def _read_head(self) -> h11.Request | None:
        event = self._h11.next_event()
        while not isinstance(event, h11.Request):
            if event is not h11.NEED_DATA or not await self._receive():
                return None
            event = self._h11.next_event()
        self._head_only = event.method == b"HEAD"
        size = sum(len(name) + len(value) + 4 for name, value in event.headers)
        if size > self.config.limits.head_bytes:  # h11 does not limit a head that arrives at once
            raise h11.RemoteProtocolError("the head is too large", 431)
        self._first = False
        self._body_bytes = 0
        self._body_deadline = trio.current_time() + self.config.limits.body_seconds
        self._responded = trio.Event()
        return event

    async def _receive(self) -> bool:
        """Pass the next bytes to h11; False at the end of the stream."""
        try:
            data = await self.stream.receive_some(_RECEIVE_BYTES)
        except _DISCONNECTED:
            raise self._lost() from None
        self._h11.receive_data(bytes(data))
        return bool(data)

    def _validate_request(self, request: h11.Request) -> Denial | None:
        """Validate what every request must have; the log gets only the refusal of its host."""
        denial = validate_target(request.target)
        if denial is not None:
            _log.warning("credentials_in_url", client=self.endpoints.client)
            return denial
        headers = list(request.headers)
        if denial := validate_framing(request.http_version, headers):
            return denial
        if self.endpoints.unix:
            return None
        denial = validate_host(headers, self.config.names, request.target)
        if denial is not None:
            _log.info("host_refused", client=self.endpoints.client, why=denial.text)
        return denial

    # --- WebSockets.

    def _upgrade_path(self, request: h11.Request) -> tuple[UpgradePath, str] | None:
        """Find the path on which a request becomes a WebSocket, and the name below it."""
        raw = request.target.partition(b"?")[0]
        path = unquote_to_bytes(raw).decode("utf-8", "replace")
        for each in self.config.upgrades:
            name = each.name_in(path)
            if name is None or (each.is_prefix and not wants_upgrade(list(request.headers))):
                continue
            return each, name
        return None

    async def _upgrade(self, request: h11.Request, path: UpgradePath, name: str) -> None:
        headers = list(request.headers)
        denial = validate_upgrade(
            method=request.method,
            http_version=request.http_version,
            headers=headers,
            origins=self.config.origins,
            names=None if self.endpoints.unix else self.config.names,
        )
        if denial is None and path.subprotocol:
            denial = validate_subprotocol(headers, path.subprotocol)
        if denial is not None:
            if wants_upgrade(headers):
                _log.info("upgrade_refused", status=denial.status, why=denial.text)
            await self._deny(denial)
            return
        rest = bytes(self._h11.trailing_data[0])
        identity = self.config.identify_cookie(headers)
        upgrade = UpgradeRequest(
            plain_head(headers, path.subprotocol),
            rest,
            identity,
            headers,
            name,
            request.target.partition(b"?")[2].decode("latin-1"),
        )
        with suppress(SocketClosedError):  # the client went during the handshake
            await path.serve(self.stream, upgrade)

    # --- Responses.

    async def _respond(self, request: h11.Request) -> None:
        length = next((value for name, value in request.headers if name == b"content-length"), b"0")
        if int(length) > self.config.limits.body_bytes:
            await self._deny(Denial(413, "The request's body is too large."))
            return
        if wait_ms := self.config.take_request():
            await self._deny(_too_many_requests(wait_ms))
            return
        cycle = RequestCycle(request, self, self.config.clock)
        scope = scope_of(request, self.endpoints)
        scope["state"] |= {
            "on_authenticated": self.config.on_authenticated,
            "on_wrong_key": self.config.on_wrong_key,
            "identity": self.config.identity,
        }
        outcome = await run_in_boundary(
            partial(self.config.app, scope, cycle.receive, cycle.send),
            "request_crashed",
            expected=lambda: self._disconnected,
            method=scope["method"],
            path=scope["path"],
        )
        self._responded.set()
        if cycle.started or self._disconnected:
            return
        if outcome.exhausted:
            await self._deny(Denial(503, "The service has too many files open; try later."))
        else:
            await self._deny(Denial(500, "The service failed to answer."))

    def _discard_body(self) -> None:
        """Discard what is left of the request, as far as it has been received."""
        while self._h11.their_state is h11.SEND_BODY:
            if self._h11.next_event() is h11.NEED_DATA:
                return

    async def _deny(self, denial: Denial) -> None:
        """Answer in place of the application, then end the connection."""
        if self._disconnected or self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = denial.text.encode("ascii", "backslashreplace") + b"\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"date", http_date(self.config.clock.now())),
            *(denial.headers or ((b"connection", b"close"),)),
        ]
        await self.send_event(h11.Response(status_code=denial.status, headers=headers))
        if not self._head_only:
            await self.send_event(h11.Data(data=body))
        await self.send_event(h11.EndOfMessage())
        await self._linger()
        self._disconnected = True

    async def _linger(self) -> None:
        """Read a little longer: closing with unread bytes would reset the connection."""
        complete = self._h11.their_state not in (h11.ERROR, h11.SEND_BODY)
        if complete and not self._h11.trailing_data[0]:
            return
        with trio.move_on_after(self.config.limits.linger_seconds):
            try:
                if isinstance(self.stream, trio.SocketStream):
                    await self.stream.send_eof()
                left = self.config.limits.body_bytes * 4
                while left > 0 and (data := await self.stream.receive_some(_RECEIVE_BYTES)):
                    left -= len(data)
            except _DISCONNECTED:
                pass

    # --- `ResponseStream`, for the request cycle.

    async def send_event(self, event: h11.Event) -> None:
        """Send one event. Raises ClientDisconnectedError, also when the client stops reading.

        The head of a response is sent together with what follows it.
        """
        if self._disconnected:
            raise ClientDisconnectedError
        self._unsent += self._h11.send_with_data_passthrough(event) or ()
        if isinstance(event, h11.Response):
            return
        parts, self._unsent = self._unsent, []
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        view = memoryview(data)
        for start in range(0, len(view), _SEND_PIECE):
            await self._send_piece(view[start : start + _SEND_PIECE])

    async def _send_piece(self, piece: memoryview) -> None:
        with trio.move_on_after(self.config.limits.stall_seconds) as scope:
            try:
                await self.stream.send_all(piece)
            except _DISCONNECTED:
                raise self._lost() from None
        if scope.cancelled_caught:  # part of it may have been sent: nothing can follow
            _log.info("http_client_stalled")
            await trio.aclose_forcefully(self.stream)
            raise self._lost()

    def _lost(self) -> ClientDisconnectedError:
        self._disconnected = True
        return ClientDisconnectedError()

    async def next_body(self) -> h11.Data | h11.EndOfMessage:
        """Wait for the next part of the request's body."""
        if self._h11.they_are_waiting_for_100_continue:
            await self.send_event(h11.InformationalResponse(status_code=100, headers=[]))
        with trio.move_on_at(self._body_deadline):
            event = self._h11.next_event()
            while event is h11.NEED_DATA and await self._receive():
                event = self._h11.next_event()
            if isinstance(event, h11.EndOfMessage):
                return event
            if isinstance(event, h11.Data):
                self._body_bytes += len(event.data)
                if self._body_bytes <= self.config.limits.body_bytes:
                    return event
                await self._deny(Denial(413, "The request's body is too large."))
        raise self._lost()

    async def wait_disconnected(self) -> None:
        """Wait until the client has disconnected or the response is complete."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_end, nursery.cancel_scope)
            await self._responded.wait()
            nursery.cancel_scope.cancel()

    async def _watch_for_end(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` at the end of the stream; what is read belongs to the next request."""
        while len(self._h11.trailing_data[0]) < self.config.limits.head_bytes:
            try:
                if not await self._receive():
                    break
            except ClientDisconnectedError:
                break
        else:
            return
        scope.cancel()


def _too_many_requests(wait_ms: int) -> Denial:
    seconds = b"%d" % -(-wait_ms // 1000)
    headers = ((b"retry-after", seconds), (b"connection", b"close"))
    return Denial(429, "Too many requests from this address.", headers)
