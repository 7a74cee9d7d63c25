"""The front: listens, shares out connections, spreads news, and ends all of it in good order."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import structlog
import trio

from camd.auth.authenticator import Authenticator
from camd.auth.login_throttle import group_of
from camd.config.schema import ServerConfig
from camd.rpc import codec
from camd.rpc.registry import Notification, Registry
from camd.rpc.roles import Principal
from camd.runtime import fd_limits
from camd.runtime.broadcast import Fanout
from camd.server.asgi import AsgiApp, Endpoints
from camd.server.connection import CallStats, Connection, ConnectionShared
from camd.server.error_boundary import guarded
from camd.server.http_connection import HttpConfig, HttpConnection, UpgradeRequest
from camd.server.listeners import Listener, open_listeners, peer_identity, tls_context
from camd.server.rules.connection_limits import KEPT, ConnectionLimits, LimitedConnection
from camd.server.rules.upgrade import own_names
from camd.server.websocket import TRY_LATER, open_server_websocket

STOP_SECONDS = 2.0
_EXHAUSTED_SECONDS = 0.25  # before the next try to accept, when no descriptors are left
_SAY_SECONDS = 60.0
_CUT_SECONDS = 0.5
_LEAVING = 32  # connections that are being closed and have no place any more
_log = structlog.get_logger("camd.server")

SocketStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
Accept = Callable[[SocketStream], Awaitable[None]]


@attrs.define(eq=False)
class Server:
    """The handle: where it listens and who is connected."""

    site: HttpConfig
    service: ConnectionShared
    places: ConnectionLimits = attrs.field(factory=ConnectionLimits)
    addresses: tuple[str, ...] = ()
    health_addresses: tuple[str, ...] = ()
    _clients: set[Connection] = attrs.field(factory=set, init=False)
    _streams: set[HttpConnection] = attrs.field(factory=set, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _exhausted_said: float = attrs.field(default=float("-inf"), init=False)

    @property
    def connections(self) -> int:
        """How many WebSocket clients are connected."""
        return len(self._clients)

    def deliver(self, notification: Notification) -> None:
        """Give news to every client; encoded once for all of them. Never waits."""
        if self._clients:
            text = str(codec.encode_notification(notification), "utf-8")
            for client in tuple(self._clients):
                client.deliver(notification, text)

    async def serve_stream(
        self, stream: trio.abc.Stream, ends: Endpoints, identity: Principal | None = None
    ) -> None:
        """Serve one connection until it ends, whatever happens on it; then close it.

        `identity` is who the socket itself says the client is.
        """
        await self._serve(stream, ends, identity, with_calls=True)

    async def serve_site(self, stream: trio.abc.Stream, ends: Endpoints) -> None:
        """Serve HTTP on one connection until it ends, whatever happens on it; then close it."""
        await self._serve(stream, ends, None, with_calls=False)

    async def _serve(
        self,
        stream: trio.abc.Stream,
        ends: Endpoints,
        identity: Principal | None,
        *,
        with_calls: bool,
    ) -> None:
        scope = trio.CancelScope()
        guest = LimitedConnection(
            group_of(ends.client[0] if ends.client else None), lambda: self._cut(scope)
        )
        site = attrs.evolve(
            self.site,
            admitted=partial(self.places.settle, guest),
            refused=partial(self.places.demote, guest),
        )
        if with_calls:
            site = attrs.evolve(site, upgrade=partial(self._serve_websocket, guest, identity))
        http = HttpConnection(stream, site, ends)
        try:
            if self._stopping:
                return
            self._enter(guest, identity)
            self._streams.add(http)
            with scope:
                if identity is None:
                    await self._hesitate(guest)
                await guarded(http.serve, "connection_crashed", client=ends.client)
        finally:
            self._streams.discard(http)
            self.places.leave(guest)
            await trio.aclose_forcefully(stream)

    async def _hesitate(self, guest: LimitedConnection) -> None:
        """Let those wait a moment from whose address too many wrong keys came."""
        now = trio.current_time()
        if seconds := self.service.authenticator.failures.hesitation(guest.address, now):
            await trio.sleep(seconds)

    def _enter(self, guest: LimitedConnection, identity: Principal | None) -> None:
        """Give a connection a place; one that the socket itself identifies is no stranger."""
        if identity is None or not self.places.settle(guest, identity):
            self.places.enter(guest)
        self.service.traffic.refused_connections = self.places.turned_away

    async def _serve_websocket(
        self,
        guest: LimitedConnection,
        identity: Principal | None,
        stream: trio.abc.Stream,
        upgrade: UpgradeRequest,
    ) -> None:
        traffic, limit = self.service.traffic, self.service.max_message_bytes
        async with open_server_websocket(
            stream, head=upgrade.head, rest=upgrade.rest, max_message_bytes=limit
        ) as ws:
            connection = Connection(
                *(self.service, ws, identity),
                *(partial(self._binding, guest), partial(self.places.demote, guest), guest.address),
            )
            cut = guest.send_away

            def send_away() -> None:
                connection.end(TRY_LATER, "too many connections have not authenticated")
                cut()

            guest.send_away = send_away
            if self._stopping:
                connection.end()
            self._clients.add(connection)
            traffic.connections = self.connections
            try:
                await connection.serve()
            finally:
                self._clients.discard(connection)
                traffic.connections = self.connections

    def _cut(self, scope: trio.CancelScope) -> None:
        """End a connection: soon, so that it can be told why; at once when there are too many."""
        most = self.places.most_known + self.places.most_strangers + KEPT + _LEAVING
        crowded = len(self._streams) > most
        scope.deadline = trio.current_time() + (0.0 if crowded else _CUT_SECONDS)

    def _binding(self, guest: LimitedConnection, identity: Principal) -> bool:
        bound = self.places.settle(guest, identity)
        if not bound:
            _log.warning("too_many_connections", limit=self.places.most_known)
        self.service.traffic.refused_connections = self.places.turned_away
        return bound

    def exhausted(self) -> None:
        """Make room when no descriptors are left: close one connection without a key.

        Logs that once a minute.
        """
        self.places.make_room()
        now = trio.current_time()
        if now - self._exhausted_said >= _SAY_SECONDS:
            self._exhausted_said = now
            _log.warning(
                "descriptors_exhausted", known=self.places.known, strangers=self.places.strangers
            )

    def stop(self) -> None:
        """Tell everybody that it is over; responses under way may be finished."""
        self._stopping = True
        for client in tuple(self._clients):
            client.end()
        for stream in tuple(self._streams):
            stream.finish()


@asynccontextmanager
async def open_server(
    config: ServerConfig,
    *,
    registry: Registry,
    authenticator: Authenticator,
    notifications: Fanout[Notification],
    app: AsgiApp,
    inherited: Sequence[socket.socket] = (),
    legacy_dialect: str = "auto",
    traffic: CallStats | None = None,
    max_sockets: int | None = None,
) -> AsyncIterator[Server]:
    """Serve clients while the block runs; raises ListenError before it begins.

    With `inherited` sockets, the addresses of `config.listen` are left alone. `max_sockets` bounds
    all connections together, whatever `config` says. Leaving the block closes the doors, tells the
    clients (close code 1001) and takes two seconds at most.
    """
    service = ConnectionShared(
        registry,
        authenticator,
        traffic or CallStats(),
        config.max_calls_in_flight,
        config.requests_per_minute,
        config.max_message_bytes,
        legacy_dialect,
        authentication_seconds=config.authentication_timeout.total_seconds(),
    )
    places = _places(config, max_sockets)
    tls = None
    if config.tls_cert is not None:
        load = partial(tls_context, config.tls_cert, config.tls_key)
        tls = await trio.to_thread.run_sync(load, abandon_on_cancel=True)
    health = (config.health_listen,) if config.health_listen else ()
    async with (
        open_listeners(() if inherited else config.listen, inherited) as main_doors,
        open_listeners(health) as health_doors,
    ):
        addresses = tuple(door.address for door in main_doors)
        names = own_names(config.hosts, (*config.listen, *addresses))
        site = HttpConfig(
            *(app, config.path, config.origins), names=None if authenticator.enabled else names
        )
        health_addresses = tuple(door.address for door in health_doors)
        front = Server(site, service, places, addresses, health_addresses)
        _log.info("listening", addresses=front.addresses, health=front.health_addresses)
        with notifications.subscribed(front.deliver):
            async with trio.open_nursery() as clients:
                async with trio.open_nursery() as doors:
                    for door in main_doors:
                        doors.start_soon(_serve_door, door, tls, front, True, clients)
                    for door in health_doors:
                        doors.start_soon(_serve_door, door, None, front, False, clients)
                    yield front
                    doors.cancel_scope.cancel()
                front.stop()
                clients.cancel_scope.deadline = trio.current_time() + STOP_SECONDS


async def _serve_door(
    door: Listener,
    tls: ssl.SSLContext | None,
    front: Server,
    with_calls: bool,
    clients: trio.Nursery,
) -> None:
    """Accept connections for ever; without descriptors, quietly try again a little later."""
    failures = front.service.authenticator.failures
    async with door.listener:  # closed as soon as nothing accepts any more
        while True:
            transport = await _next(door, front)
            stream: SocketStream = transport
            if tls is not None and not door.is_unix:
                stream = trio.SSLStream(transport, tls, server_side=True, https_compatible=True)
            clients.start_soon(_accept, front, with_calls, stream)
            if not door.is_unix and (pause := failures.pace(trio.current_time())):
                await trio.sleep(pause)


async def _next(door: Listener, front: Server) -> trio.SocketStream:
    while True:
        try:
            return await door.listener.accept()
        except OSError as error:
            if not fd_limits.exhausted(error):
                raise
        front.exhausted()
        await trio.sleep(_EXHAUSTED_SECONDS)


def _places(config: ServerConfig, max_sockets: int | None) -> ConnectionLimits:
    """Share out what may be connected at a time."""
    known, strangers = config.max_connections, config.max_unauthenticated
    if max_sockets is not None:
        strangers = min(strangers, max(1, max_sockets // 4))
        known = max(1, min(known, max_sockets - strangers - KEPT))
    if known < config.max_connections:
        _log.warning("connections_limited", limit=known, configured=config.max_connections)
    return ConnectionLimits(known, strangers)


async def _accept(front: Server, with_calls: bool, stream: SocketStream) -> None:
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    sock = transport.socket
    ends = Endpoints(_name(sock.getpeername), _name(sock.getsockname), _scheme(stream))
    if with_calls:
        await front.serve_stream(stream, ends, peer_identity(sock))
    else:
        await front.serve_site(stream, ends)


def _scheme(stream: SocketStream) -> str:
    return "https" if isinstance(stream, trio.SSLStream) else "http"


def _name(ask: Callable[[], object]) -> tuple[str, int] | None:
    with suppress(OSError):  # the client has gone already
        name = ask()
        if isinstance(name, tuple):
            return name[0], name[1]
    return None
