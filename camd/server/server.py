"""The server: accepts connections, serves them, delivers notifications, stops in order."""

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
from camd.clock import Clock
from camd.config.schema import ServerConfig
from camd.events.rules.history import EventHistory
from camd.rpc import codec
from camd.rpc.registry import Notification, Registry
from camd.rpc.roles import Principal
from camd.rpc.server_counters import ServerCounters
from camd.runtime import fd_limits
from camd.runtime.broadcast import Fanout
from camd.server.application_socket import ApplicationSocket, WebSocketPrefix
from camd.server.asgi import AsgiApp, ConnectionAddresses
from camd.server.connection import Connection, ConnectionShared
from camd.server.error_boundary import run_in_boundary
from camd.server.http_connection import (
    HttpConfig,
    HttpConnection,
    UpgradePath,
    UpgradeRequest,
)
from camd.server.listeners import (
    PRIVATE_MODE,
    PUBLIC_MODE,
    Listener,
    open_listeners,
    peer_credentials,
    read_machine_names,
    tls_context,
)
from camd.server.rules.connection_limits import (
    RESERVED_FOR_ADMINS,
    AddressRates,
    ConnectionLimits,
    LimitedConnection,
)
from camd.server.rules.request_checks import bearer_of, own_names
from camd.server.websocket import TRY_LATER, WebSocket, open_server_websocket, text_frame

STOP_SECONDS = 2.0
HTTP_REQUESTS_PER_MINUTE = 6000  # of one address
_ACCEPT_RETRY_SECONDS = 0.25  # when no file descriptors are left
_LOG_INTERVAL_SECONDS = 60.0
_CLOSE_SOON_SECONDS = 0.5
_CLOSING = 32  # connections above the limits that may be closing at the same time
_log = structlog.get_logger("camd.server")

SocketStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@attrs.define(eq=False)
class Server:
    """The handle: where it listens and who is connected."""

    http_config: HttpConfig
    shared: ConnectionShared
    limits: ConnectionLimits = attrs.field(factory=ConnectionLimits)
    rates: AddressRates = attrs.field(factory=lambda: AddressRates(HTTP_REQUESTS_PER_MINUTE))
    addresses: tuple[str, ...] = ()
    health_addresses: tuple[str, ...] = ()
    sockets: tuple[WebSocketPrefix, ...] = ()
    _clients: set[Connection] = attrs.field(factory=set, init=False)
    _application_sockets: set[ApplicationSocket] = attrs.field(factory=set, init=False)
    _streams: set[HttpConnection] = attrs.field(factory=set, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _exhausted_logged: float = attrs.field(default=float("-inf"), init=False)

    @property
    def connections(self) -> int:
        """Number of connected WebSocket clients."""
        return len(self._clients)

    def deliver(self, notification: Notification) -> None:
        """Queue a notification for every client; it is encoded once. Does not block."""
        if self._clients:
            payload = codec.encode_notification(notification)
            text, frame = str(payload, "utf-8"), text_frame(payload)
            for client in tuple(self._clients):
                client.deliver(notification, text, frame)

    async def serve_stream(
        self,
        stream: trio.abc.Stream,
        endpoints: ConnectionAddresses,
        identity: Principal | None = None,
    ) -> None:
        """Serve HTTP and WebSocket on one connection until it ends; then close it.

        `identity`: who the client is, when the socket itself says so. Exceptions are logged.
        """
        await self._serve(stream, endpoints, identity, with_websocket=True)

    async def serve_http(self, stream: trio.abc.Stream, endpoints: ConnectionAddresses) -> None:
        """Serve HTTP alone on one connection until it ends; then close it."""
        await self._serve(stream, endpoints, None, with_websocket=False)

    async def _serve(
        self,
        stream: trio.abc.Stream,
        endpoints: ConnectionAddresses,
        identity: Principal | None,
        *,
        with_websocket: bool,
    ) -> None:
        scope = trio.CancelScope()
        entry = LimitedConnection(
            address=group_of(endpoints.client[0] if endpoints.client else None),
            close=partial(self._close_soon, scope),
        )
        http_config = attrs.evolve(
            self.http_config,
            on_authenticated=partial(self.limits.mark_authenticated, entry),
            on_wrong_key=partial(self.limits.mark_wrong_key, entry),
            identity=identity,
            identify_cookie=partial(
                self.shared.authenticator.identify_cookie,
                clock=self.shared.clock,
                secure=endpoints.scheme == "https",
                upgrade=True,
            ),
            take_request=lambda: self.rates.take(entry.address, trio.current_time()),
        )
        if with_websocket:
            upgrades = self._upgrades(entry, identity)
            http_config = attrs.evolve(http_config, upgrades=upgrades)
        http = HttpConnection(stream, http_config, endpoints)
        try:
            if self._stopping:
                return
            self._count(entry, identity)
            self._streams.add(http)
            with scope:
                if identity is None:
                    await self._delay_start(entry)
                await run_in_boundary(http.serve, "connection_crashed", client=endpoints.client)
        finally:
            self._streams.discard(http)
            self.limits.remove(entry)
            await trio.aclose_forcefully(stream)

    async def _delay_start(self, entry: LimitedConnection) -> None:
        """Wait before serving an address from which too many wrong keys came."""
        throttle = self.shared.authenticator.throttle
        if seconds := throttle.connection_delay(entry.address, trio.current_time()):
            await trio.sleep(seconds)

    def _count(self, entry: LimitedConnection, identity: Principal | None) -> None:
        if identity is None or not self.limits.mark_authenticated(entry, identity):
            self.limits.add(entry)
        self.shared.call_stats.refused_connections = self.limits.refused_count

    def _upgrades(
        self, entry: LimitedConnection, identity: Principal | None
    ) -> tuple[UpgradePath, ...]:
        """Make the table of paths for one connection."""
        calls = UpgradePath(self.http_config.path, partial(self._serve_calls, entry, identity))
        others = (
            UpgradePath(
                each.prefix, partial(self._serve_socket, entry, identity, each), each.subprotocol
            )
            for each in self.sockets
        )
        return (calls, *others)

    async def _serve_calls(
        self,
        entry: LimitedConnection,
        identity: Principal | None,
        stream: trio.abc.Stream,
        upgrade: UpgradeRequest,
    ) -> None:
        stats, limit = self.shared.call_stats, self.shared.max_message_bytes
        async with open_server_websocket(
            stream, head=upgrade.head, rest=upgrade.rest, max_message_bytes=limit
        ) as socket:
            connection = Connection(
                shared=self.shared,
                socket=socket,
                identity=identity or upgrade.identity,
                on_authenticated=partial(self._mark_authenticated, entry),
                on_wrong_key=partial(self.limits.mark_wrong_key, entry),
                address=entry.address,
            )
            self._prepare_end(entry, connection)
            self._clients.add(connection)
            stats.connections = self.connections
            try:
                await connection.serve()
            finally:
                connection.send_queue.discard()
                self._clients.discard(connection)
                stats.connections = self.connections

    async def _serve_socket(
        self,
        entry: LimitedConnection,
        identity: Principal | None,
        path: WebSocketPrefix,
        stream: trio.abc.Stream,
        upgrade: UpgradeRequest,
    ) -> None:
        async with open_server_websocket(
            stream,
            head=upgrade.head,
            rest=upgrade.rest,
            max_message_bytes=self.shared.max_message_bytes,
            subprotocol=path.subprotocol,
        ) as websocket:
            socket = self._application_socket(entry, identity, websocket, upgrade)
            self._prepare_end(entry, socket)
            self._application_sockets.add(socket)
            try:
                await socket.serve(path.serve)
            finally:
                self._application_sockets.discard(socket)

    def _application_socket(
        self,
        entry: LimitedConnection,
        identity: Principal | None,
        websocket: WebSocket,
        upgrade: UpgradeRequest,
    ) -> ApplicationSocket:
        return ApplicationSocket(
            shared=self.shared,
            socket=websocket,
            name=upgrade.name,
            query=upgrade.query,
            token=bearer_of(upgrade.headers),
            identity=identity or upgrade.identity,
            on_authenticated=partial(self._mark_authenticated, entry),
            on_wrong_key=partial(self.limits.mark_wrong_key, entry),
            address=entry.address,
        )

    def _prepare_end(
        self, entry: LimitedConnection, connection: Connection | ApplicationSocket
    ) -> None:
        """Let the limit of unauthenticated connections, and a stop, end it with a reason."""
        close_stream = entry.close

        def close() -> None:
            connection.end(TRY_LATER, "too many connections have not authenticated")
            close_stream()

        entry.close = close
        if self._stopping:
            connection.end()

    def _close_soon(self, scope: trio.CancelScope) -> None:
        """Cancel after a time in which the client can be told why; at once with too many open."""
        limits = self.limits
        most = limits.max_authenticated + limits.max_unauthenticated + RESERVED_FOR_ADMINS
        at_once = len(self._streams) > most + _CLOSING
        scope.deadline = trio.current_time() + (0.0 if at_once else _CLOSE_SOON_SECONDS)

    def _mark_authenticated(self, entry: LimitedConnection, identity: Principal) -> bool:
        accepted = self.limits.mark_authenticated(entry, identity)
        if not accepted:
            _log.warning(
                "too_many_connections",
                address=entry.address,
                authenticated=self.limits.authenticated,
                limit=self.limits.max_authenticated,
            )
        self.shared.call_stats.refused_connections = self.limits.refused_count
        return accepted

    def free_descriptor(self) -> None:
        """Close one unauthenticated connection when no descriptors are left; log once a minute."""
        self.limits.close_oldest()
        now = trio.current_time()
        if now - self._exhausted_logged >= _LOG_INTERVAL_SECONDS:
            self._exhausted_logged = now
            _log.warning(
                "descriptors_exhausted",
                authenticated=self.limits.authenticated,
                unauthenticated=self.limits.unauthenticated,
            )

    def stop(self) -> None:
        """End all connections; responses that are being sent may be completed."""
        self._stopping = True
        for client in tuple(self._clients):
            client.end()
        for each in tuple(self._application_sockets):
            each.end()
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
    clock: Clock,
    inherited: Sequence[socket.socket] = (),
    legacy_dialect: str = "auto",
    history: EventHistory | None = None,
    call_stats: ServerCounters | None = None,
    max_sockets: int | None = None,
    sockets: Sequence[WebSocketPrefix] = (),
) -> AsyncIterator[Server]:
    """Serve clients while the block runs. Raises ListenError before it begins.

    `sockets` are paths of WebSockets that the caller serves, besides that of calls.

    With `inherited` sockets, `config.listen` is ignored. `max_sockets` is an upper bound for all
    connections together. Leaving the block closes the listeners, ends the connections (close code
    1001) and takes at most two seconds.
    """
    shared = ConnectionShared(
        registry=registry,
        authenticator=authenticator,
        clock=clock,
        call_stats=call_stats or ServerCounters(),
        max_calls_in_flight=config.max_calls_in_flight,
        requests_per_minute=config.requests_per_minute,
        max_message_bytes=config.max_message_bytes,
        legacy_dialect=legacy_dialect,
        history=EventHistory() if history is None else history,
        authentication_seconds=config.authentication_timeout.total_seconds(),
    )
    tls = await _load_tls(config)
    health = (config.health_listen,) if config.health_listen else ()
    async with (
        open_listeners(
            () if inherited else config.listen, inherited, unix_mode=_unix_mode(authenticator)
        ) as listeners,
        open_listeners(health, unix_mode=_unix_mode(authenticator)) as health_listeners,
    ):
        addresses = tuple(each.address for each in listeners)
        names = own_names(
            (*config.hosts, *await read_machine_names()), (*config.listen, *addresses)
        )
        server = Server(
            http_config=HttpConfig(
                app=app,
                clock=clock,
                path=config.path,
                origins=config.origins,
                names=names,
            ),
            shared=shared,
            limits=_connection_limits(config, max_sockets),
            rates=AddressRates(config.http_requests_per_minute),
            addresses=addresses,
            health_addresses=tuple(each.address for each in health_listeners),
            sockets=tuple(sockets),
        )
        _log.info("listening", addresses=addresses, health=server.health_addresses)
        with notifications.subscribed(server.deliver):
            async with _accepting(server, listeners, health_listeners, tls):
                yield server


@asynccontextmanager
async def _accepting(
    server: Server,
    listeners: Sequence[Listener],
    health_listeners: Sequence[Listener],
    tls: ssl.SSLContext | None,
) -> AsyncIterator[None]:
    async with trio.open_nursery() as clients:
        async with trio.open_nursery() as accepting:
            serve = partial(_serve_accepted, server, with_websocket=True)
            for each in listeners:
                accepting.start_soon(_accept, each, tls, server, serve, clients)
            serve_health = partial(_serve_accepted, server, with_websocket=False)
            for each in health_listeners:
                accepting.start_soon(_accept, each, None, server, serve_health, clients)
            yield
            accepting.cancel_scope.cancel()
        server.stop()
        clients.cancel_scope.deadline = trio.current_time() + STOP_SECONDS


async def _load_tls(config: ServerConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    load = partial(tls_context, config.tls_cert, config.tls_key)
    return await trio.to_thread.run_sync(load, abandon_on_cancel=True)


def _unix_mode(authenticator: Authenticator) -> int:
    """Let everybody connect where users have roles, and whoever has none needs a key."""
    public = authenticator.enabled and authenticator.peers.admits_others
    return PUBLIC_MODE if public else PRIVATE_MODE


def _connection_limits(config: ServerConfig, max_sockets: int | None) -> ConnectionLimits:
    """Divide `max_sockets` between connections with and without a key."""
    authenticated, unauthenticated = config.max_connections, config.max_unauthenticated
    if max_sockets is not None:
        unauthenticated = min(unauthenticated, max(1, max_sockets // 4))
        available = max_sockets - unauthenticated - RESERVED_FOR_ADMINS
        authenticated = max(1, min(authenticated, available))
    if authenticated < config.max_connections:
        _log.warning("connections_limited", limit=authenticated, configured=config.max_connections)
    return ConnectionLimits(
        authenticated,
        unauthenticated,
        max_authenticated_per_address=config.max_connections_per_address,
        max_unauthenticated_per_address=max(1, unauthenticated // 4),
    )


async def _accept(
    listener: Listener,
    tls: ssl.SSLContext | None,
    server: Server,
    serve: Callable[[SocketStream], Awaitable[None]],
    clients: trio.Nursery,
) -> None:
    """Accept connections until cancelled and start `serve` for each in `clients`."""
    throttle = server.shared.authenticator.throttle
    async with listener.socket:  # closed as soon as nothing accepts any more
        while True:
            transport = await _accept_one(listener, server)
            stream: SocketStream = transport
            if tls is not None and not listener.is_unix:
                stream = trio.SSLStream(transport, tls, server_side=True, https_compatible=True)
            clients.start_soon(serve, stream)
            if not listener.is_unix and (delay := throttle.accept_delay(trio.current_time())):
                await trio.sleep(delay)


async def _accept_one(listener: Listener, server: Server) -> trio.SocketStream:
    while True:
        try:
            return await listener.socket.accept()
        except OSError as error:
            if not fd_limits.exhausted(error):
                raise
        server.free_descriptor()
        await trio.sleep(_ACCEPT_RETRY_SECONDS)


async def _serve_accepted(server: Server, stream: SocketStream, *, with_websocket: bool) -> None:
    secure = isinstance(stream, trio.SSLStream)
    sock = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
    endpoints = ConnectionAddresses(
        client=_address(sock.getpeername),
        server=_address(sock.getsockname),
        scheme="https" if secure else "http",
        unix=sock.family == socket.AF_UNIX,
    )
    if with_websocket:
        peer = peer_credentials(sock)
        identify = server.shared.authenticator.peers.identify
        await server.serve_stream(stream, endpoints, identify(peer) if peer else None)
    else:
        await server.serve_http(stream, endpoints)


def _address(query: Callable[[], object]) -> tuple[str, int] | None:
    with suppress(OSError):  # the client has disconnected already
        name = query()
        if isinstance(name, tuple):
            return name[0], name[1]
    return None
