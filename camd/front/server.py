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

from camd.access.authenticator import Authenticator
from camd.config.schema import ServerConfig
from camd.front.connection import Connection, Service
from camd.front.exchange import AsgiApp, Endpoints
from camd.front.guard import guarded
from camd.front.http import HttpConnection, Site, Upgrade
from camd.front.listen import Door, open_doors, peer_identity, tls_context
from camd.front.websocket import TRY_LATER, open_server_websocket
from camd.rpc import codec
from camd.rpc.notification import Notification
from camd.rpc.registry import Registry
from camd.rpc.roles import Identity
from camd.rpc.traffic import Traffic
from camd.runtime.fanout import Fanout

STOP_SECONDS = 2.0
_SPARE_CONNECTIONS = 64  # for plain HTTP beside a full house of WebSockets
_log = structlog.get_logger("camd.front")

SocketStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
Accept = Callable[[SocketStream], Awaitable[None]]


@attrs.define(eq=False)
class Front:
    """The handle: where it listens and who is connected."""

    site: Site
    service: Service
    max_connections: int = 1000
    addresses: tuple[str, ...] = ()
    health_addresses: tuple[str, ...] = ()
    _clients: set[Connection] = attrs.field(factory=set, init=False)
    _streams: set[HttpConnection] = attrs.field(factory=set, init=False)
    _stopping: bool = attrs.field(default=False, init=False)

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
        self, stream: trio.abc.Stream, ends: Endpoints, identity: Identity | None = None
    ) -> None:
        """Serve one connection until it ends, whatever happens on it; then close it.

        `identity` is who the socket itself says the client is.
        """
        site = attrs.evolve(self.site, upgrade=partial(self._serve_websocket, identity))
        await self.serve_site(stream, ends, site)

    async def serve_site(self, stream: trio.abc.Stream, ends: Endpoints, site: Site) -> None:
        """Serve HTTP on one connection until it ends, whatever happens on it; then close it."""
        http = HttpConnection(stream, site, ends)
        try:
            if self._stopping or len(self._streams) >= self.max_connections + _SPARE_CONNECTIONS:
                self.service.traffic.refused_connections += 1
                return
            self._streams.add(http)
            await guarded(http.serve, "connection_crashed", client=ends.client)
        finally:
            self._streams.discard(http)
            await trio.aclose_forcefully(stream)

    async def _serve_websocket(
        self, identity: Identity | None, stream: trio.abc.Stream, upgrade: Upgrade
    ) -> None:
        traffic, limit = self.service.traffic, self.service.max_message_bytes
        async with open_server_websocket(
            stream, head=upgrade.head, rest=upgrade.rest, max_message_bytes=limit
        ) as ws:
            if self._stopping or self.connections >= self.max_connections:
                traffic.refused_connections += 1
                _log.warning("too_many_connections", limit=self.max_connections)
                await ws.close(TRY_LATER, "too many connections")
                return
            connection = Connection(self.service, ws, identity)
            self._clients.add(connection)
            traffic.connections = self.connections
            try:
                await connection.serve()
            finally:
                self._clients.discard(connection)
                traffic.connections = self.connections

    def stop(self) -> None:
        """Tell everybody that it is over; responses under way may be finished."""
        self._stopping = True
        for client in tuple(self._clients):
            client.end()
        for stream in tuple(self._streams):
            stream.finish()


@asynccontextmanager
async def open_front(
    config: ServerConfig,
    *,
    registry: Registry,
    authenticator: Authenticator,
    notifications: Fanout[Notification],
    app: AsgiApp,
    inherited: Sequence[socket.socket] = (),
    legacy_dialect: str = "auto",
    traffic: Traffic | None = None,
) -> AsyncIterator[Front]:
    """Serve clients while the block runs; raises ListenError before it begins.

    With `inherited` sockets, the addresses of `config.listen` are left alone. Leaving the block
    closes the doors, tells the clients (close code 1001) and takes two seconds at most.
    """
    service = Service(
        registry,
        authenticator,
        traffic or Traffic(),
        config.max_calls_in_flight,
        config.requests_per_minute,
        config.max_message_bytes,
        legacy_dialect,
    )
    site = Site(app, config.path, config.origins)
    tls = None
    if config.tls_cert is not None:
        load = partial(tls_context, config.tls_cert, config.tls_key)
        tls = await trio.to_thread.run_sync(load, abandon_on_cancel=True)
    health = (config.health_listen,) if config.health_listen else ()
    async with (
        open_doors(() if inherited else config.listen, inherited) as main_doors,
        open_doors(health) as health_doors,
    ):
        front = Front(
            site,
            service,
            config.max_connections,
            tuple(door.address for door in main_doors),
            tuple(door.address for door in health_doors),
        )
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
    door: Door, tls: ssl.SSLContext | None, front: Front, with_calls: bool, clients: trio.Nursery
) -> None:
    listener: trio.abc.Listener[SocketStream] = door.listener
    if tls is not None and not door.is_unix:
        listener = trio.SSLListener(door.listener, tls, https_compatible=True)
    accept = partial(_accept, front, with_calls)
    await trio.serve_listeners(accept, [listener], handler_nursery=clients)


async def _accept(front: Front, with_calls: bool, stream: SocketStream) -> None:
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    sock = transport.socket
    ends = Endpoints(_name(sock.getpeername), _name(sock.getsockname), _scheme(stream))
    if with_calls:
        await front.serve_stream(stream, ends, peer_identity(sock))
    else:
        await front.serve_site(stream, ends, front.site)


def _scheme(stream: SocketStream) -> str:
    return "https" if isinstance(stream, trio.SSLStream) else "http"


def _name(ask: Callable[[], object]) -> tuple[str, int] | None:
    with suppress(OSError):  # the client has gone already
        name = ask()
        if isinstance(name, tuple):
            return name[0], name[1]
    return None
