"""Open the server as it is configured: its listeners, TLS, limits; accept connections."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog
import trio

from camd.auth.authenticator import Authenticator
from camd.clock import Clock
from camd.config.schema import ServerConfig
from camd.events.rules.history import EventHistory
from camd.rpc.registry import Notification, Registry
from camd.rpc.server_counters import ServerCounters
from camd.runtime import fd_limits
from camd.runtime.broadcast import Fanout
from camd.server.application_socket import WebSocketPrefix
from camd.server.asgi import AsgiApp, ConnectionAddresses
from camd.server.connection import ConnectionShared
from camd.server.http_connection import HttpConfig
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
)
from camd.server.rules.request_validation import own_names
from camd.server.server import Server

STOP_SECONDS = 2.0
_ACCEPT_RETRY_SECONDS = 0.25  # when no file descriptors are left
_log = structlog.get_logger("camd.server")

SocketStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


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
    tls, mode = await _load_tls(config), _unix_mode(authenticator)
    listen = () if inherited else config.listen
    health = (config.health_listen,) if config.health_listen else ()
    async with (
        open_listeners(listen, inherited, unix_mode=mode) as listeners,
        open_listeners(health, unix_mode=mode) as health_listeners,
    ):
        addresses = tuple(each.address for each in listeners)
        server = Server(
            http_config=await _http_config(config, app, addresses, clock=clock),
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


async def _http_config(
    config: ServerConfig, app: AsgiApp, addresses: Sequence[str], *, clock: Clock
) -> HttpConfig:
    """Configure HTTP with the names by which clients may address this machine."""
    hosts, listen = (*config.hosts, *await read_machine_names()), (*config.listen, *addresses)
    names = own_names(hosts, listen)
    return HttpConfig(app=app, clock=clock, path=config.path, origins=config.origins, names=names)


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
    peer = peer_credentials(sock) if with_websocket else None
    identity = server.shared.authenticator.peers.identify(peer) if peer else None
    await server.serve_stream(stream, endpoints, identity, with_websocket=with_websocket)


def _address(query: Callable[[], object]) -> tuple[str, int] | None:
    with suppress(OSError):  # the client has disconnected already
        name = query()
        if isinstance(name, tuple):
            return name[0], name[1]
    return None
