"""The server: serves connections, delivers notifications, ends connections in order."""

from __future__ import annotations

from functools import partial

import attrs
import structlog
import trio

from camd.auth.login_throttle import group_of
from camd.rpc import codec
from camd.rpc.registry import Notification
from camd.rpc.roles import Principal
from camd.server.application_socket import ApplicationSocket, WebSocketPrefix
from camd.server.asgi import ConnectionAddresses
from camd.server.connection import Connection, ConnectionShared
from camd.server.error_boundary import run_in_boundary
from camd.server.http_connection import (
    HttpConfig,
    HttpConnection,
    UpgradePath,
    UpgradeRequest,
)
from camd.server.rules.connection_limits import (
    RESERVED_FOR_ADMINS,
    AddressRates,
    ConnectionLimits,
    LimitedConnection,
)
from camd.server.rules.request_validation import bearer_of
from camd.server.websocket import TRY_LATER, WebSocket, open_server_websocket, text_frame

HTTP_REQUESTS_PER_MINUTE = 6000  # of one address
_LOG_INTERVAL_SECONDS = 60.0
_CLOSE_SOON_SECONDS = 0.5
_CLOSING = 32  # connections above the limits that may be closing at the same time
_log = structlog.get_logger("camd.server")


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
        *,
        with_websocket: bool = True,
    ) -> None:
        """Serve HTTP, and WebSockets besides, on one connection until it ends; then close it.

        `identity`: who the client is, when the socket itself says so. Exceptions are logged.
        """
        scope = trio.CancelScope()
        entry = LimitedConnection(
            address=group_of(endpoints.client[0] if endpoints.client else None),
            close=partial(self._close_soon, scope),
        )
        config = self._http_config_for(entry, identity, secure=endpoints.scheme == "https")
        if with_websocket:
            config = attrs.evolve(config, upgrades=self._upgrades(entry, identity))
        http = HttpConnection(stream, config, endpoints)
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

    def _http_config_for(
        self, entry: LimitedConnection, identity: Principal | None, *, secure: bool
    ) -> HttpConfig:
        """Configure HTTP on one connection: who its client is, and what counts against it."""
        return attrs.evolve(
            self.http_config,
            on_authenticated=partial(self.limits.mark_authenticated, entry),
            on_wrong_key=partial(self.limits.mark_wrong_key, entry),
            identity=identity,
            identify_cookie=partial(
                self.shared.authenticator.identify_cookie,
                clock=self.shared.clock,
                secure=secure,
                upgrade=True,
            ),
            take_request=lambda: self.rates.take(entry.address, trio.current_time()),
        )

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
