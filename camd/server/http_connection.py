"""HTTP/1.1 on one connection: requests for an application, upgrades for somebody else.

Everything is bounded: the size of a head and of a body, the time for a head, between requests,
and without progress while sending.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import h11
import structlog
import trio

from camd.rpc.roles import Principal
from camd.server.asgi import AsgiApp, ClientGoneError, Endpoints, Exchange, http_date, scope_of
from camd.server.error_boundary import guarded
from camd.server.rules.upgrade import Denial, check_host, check_upgrade, plain_head, wants_upgrade

_RECEIVE_BYTES = 64 * 1024
_SEND_PIECE = 256 * 1024  # progress is measured in pieces of this size
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
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
    """A request that may become a WebSocket: its head, and what came right behind it."""

    head: bytes
    rest: bytes


@attrs.frozen
class HttpConfig:
    """What is served: the application, and one path for WebSockets where `upgrade` is given."""

    app: AsgiApp
    path: str = "/ws"
    origins: tuple[str, ...] = ()
    upgrade: Callable[[trio.abc.Stream, UpgradeRequest], Awaitable[None]] | None = None
    admitted: Callable[[Principal], object] | None = None  # told when a request shows a key
    refused: Callable[[], object] | None = None  # told when it shows a wrong one
    names: frozenset[str] | None = None  # by which browsers may call us; None: by any
    limits: HttpLimits = HttpLimits()


@attrs.define(eq=False)
class HttpConnection:
    """One connection; `serve` runs it until it ends or becomes a WebSocket."""

    stream: trio.abc.Stream
    site: HttpConfig
    ends: Endpoints
    _h11: h11.Connection = attrs.field(init=False)
    _first: bool = attrs.field(default=True, init=False)
    _gone: bool = attrs.field(default=False, init=False)  # nothing can be sent any more
    _head_only: bool = attrs.field(default=False, init=False)  # the request was HEAD
    _unsent: list[bytes] = attrs.field(factory=list, init=False)
    _body_bytes: int = attrs.field(default=0, init=False)
    _body_deadline: float = attrs.field(default=0.0, init=False)
    _idle: trio.CancelScope | None = attrs.field(default=None, init=False)
    _finishing: bool = attrs.field(default=False, init=False)
    _responded: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._h11 = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self.site.limits.head_bytes
        )

    async def serve(self) -> None:
        """Answer requests, one after the other. The caller closes the stream afterwards."""
        try:
            while (request := await self._next_request()) is not None:
                if self._is_websocket(request):
                    await self._upgrade(request)
                    return
                await self._respond(request)
                self._skip_body()
                if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                    await self._linger()
                    return
                self._h11.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._deny(Denial(error.error_status_hint, f"Bad request: {error}"))
        except ClientGoneError:
            pass

    def finish(self) -> None:
        """End soon: after the response that is being sent, or at once when there is none."""
        self._finishing = True
        if self._idle is not None:
            self._idle.cancel()

    # --- requests

    async def _next_request(self) -> h11.Request | None:
        limits = self.site.limits
        self._head_only = False
        if self._finishing:
            return None
        if self._h11.our_state is h11.IDLE and not self._h11.trailing_data[0]:
            patience = limits.head_seconds if self._first else limits.idle_seconds
            with trio.move_on_after(patience) as self._idle:
                if not await self._feed():
                    return None
            self._idle = None
            if not self._h11.trailing_data[0]:
                return None  # idle for too long, or finished
        with trio.move_on_after(limits.head_seconds):
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._head_only = event.method == b"HEAD"
                    if sum(len(name) + len(value) + 4 for name, value in event.headers) > (
                        limits.head_bytes  # h11 lets more pass when it comes in one piece
                    ):
                        raise h11.RemoteProtocolError("the head is too large", 431)
                    self._first = False
                    self._body_bytes = 0
                    self._body_deadline = trio.current_time() + limits.body_seconds
                    self._responded = trio.Event()
                    return event
                if event is not h11.NEED_DATA or not await self._feed():
                    return None
        await self._deny(Denial(408, "The request took too long."))
        return None

    async def _feed(self) -> bool:
        """Hand h11 what the client sends next; False at its end."""
        try:
            data = await self.stream.receive_some(_RECEIVE_BYTES)
        except _GONE:
            raise self._lost() from None
        self._h11.receive_data(bytes(data))
        return bool(data)

    # --- WebSockets

    def _is_websocket(self, request: h11.Request) -> bool:
        return self.site.upgrade is not None and (
            request.target.partition(b"?")[0] == self.site.path.encode()
        )

    async def _upgrade(self, request: h11.Request) -> None:
        assert self.site.upgrade is not None
        headers = list(request.headers)
        denial = check_upgrade(
            *(request.method, request.http_version, headers),
            *(self.site.origins, self.site.names),
        )
        if denial is not None:
            if wants_upgrade(headers):
                _log.info("upgrade_refused", status=denial.status, why=denial.text)
            await self._deny(denial)
            return
        rest = bytes(self._h11.trailing_data[0])
        await self.site.upgrade(self.stream, UpgradeRequest(plain_head(headers), rest))

    # --- responses

    async def _respond(self, request: h11.Request) -> None:
        length = next((value for name, value in request.headers if name == b"content-length"), b"0")
        if int(length) > self.site.limits.body_bytes:
            await self._deny(Denial(413, "The request's body is too large."))
            return
        denial = check_host(list(request.headers), self.site.names)
        if denial is not None:
            await self._deny(denial)
            return
        exchange = Exchange(request, self)
        scope = scope_of(request, self.ends)
        scope["state"] |= {"admitted": self.site.admitted, "refused": self.site.refused}
        outcome = await guarded(
            partial(self.site.app, scope, exchange.receive, exchange.send),
            "request_crashed",
            expected=lambda: self._gone,
            method=scope["method"],
            path=scope["path"],
        )
        self._responded.set()
        if exchange.started or self._gone:
            return
        if outcome.exhausted:
            await self._deny(Denial(503, "The service has too many files open; try later."))
        else:
            await self._deny(Denial(500, "The service failed to answer."))

    def _skip_body(self) -> None:
        """Step over what is left of the request, as far as it is here already."""
        while self._h11.their_state is h11.SEND_BODY:
            if self._h11.next_event() is h11.NEED_DATA:
                return

    async def _deny(self, denial: Denial) -> None:
        """Answer without asking the application, then end the connection."""
        if self._gone or self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = denial.text.encode("ascii", "backslashreplace") + b"\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"date", http_date()),
            *(denial.headers or ((b"connection", b"close"),)),
        ]
        await self.send_event(h11.Response(status_code=denial.status, headers=headers))
        if not self._head_only:
            await self.send_event(h11.Data(data=body))
        await self.send_event(h11.EndOfMessage())
        await self._linger()
        self._gone = True

    async def _linger(self) -> None:
        """Read on for a moment: closing on unread bytes would destroy the answer under way."""
        heard_out = self._h11.their_state not in (h11.ERROR, h11.SEND_BODY)
        if heard_out and not self._h11.trailing_data[0]:
            return
        with trio.move_on_after(self.site.limits.linger_seconds):
            try:
                if isinstance(self.stream, trio.SocketStream):
                    await self.stream.send_eof()
                left = self.site.limits.body_bytes * 4
                while left > 0 and (data := await self.stream.receive_some(_RECEIVE_BYTES)):
                    left -= len(data)
            except _GONE:
                pass

    # --- what an exchange needs (see `Wire`)

    async def send_event(self, event: h11.Event) -> None:
        """Send one event; raises ClientGoneError, also when the client takes nothing.

        The head of a response goes out together with what follows it.
        """
        if self._gone:
            raise ClientGoneError
        self._unsent += self._h11.send_with_data_passthrough(event) or ()
        if isinstance(event, h11.Response):
            return
        parts, self._unsent = self._unsent, []
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        view = memoryview(data)
        for start in range(0, len(view), _SEND_PIECE):
            await self._send_piece(view[start : start + _SEND_PIECE])

    async def _send_piece(self, piece: memoryview) -> None:
        with trio.move_on_after(self.site.limits.stall_seconds) as scope:
            try:
                await self.stream.send_all(piece)
            except _GONE:
                raise self._lost() from None
        if scope.cancelled_caught:  # part of it may be out: nothing can follow
            _log.info("http_client_stalled")
            await trio.aclose_forcefully(self.stream)
            raise self._lost()

    def _lost(self) -> ClientGoneError:
        self._gone = True
        return ClientGoneError()

    async def next_body(self) -> h11.Data | h11.EndOfMessage:
        """Wait for the next part of the request's body."""
        if self._h11.they_are_waiting_for_100_continue:
            await self.send_event(h11.InformationalResponse(status_code=100, headers=[]))
        with trio.move_on_at(self._body_deadline):
            event = self._h11.next_event()
            while event is h11.NEED_DATA and await self._feed():
                event = self._h11.next_event()
            if isinstance(event, h11.EndOfMessage):
                return event
            if isinstance(event, h11.Data):
                self._body_bytes += len(event.data)
                if self._body_bytes <= self.site.limits.body_bytes:
                    return event
                await self._deny(Denial(413, "The request's body is too large."))
        raise self._lost()

    async def wait_gone(self) -> None:
        """Wait until the client has gone away or the response is complete."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_end, nursery.cancel_scope)
            await self._responded.wait()
            nursery.cancel_scope.cancel()

    async def _watch_for_end(self, scope: trio.CancelScope) -> None:
        """Read ahead, within bounds; what comes belongs to the next request."""
        while len(self._h11.trailing_data[0]) < self.site.limits.head_bytes:
            try:
                if not await self._feed():
                    break
            except ClientGoneError:
                break
        else:
            return
        scope.cancel()
