"""A server on memory streams: the real HTTP loop and the real WebSocket library, no sockets.

Its methods and pages serve tests of the server on real sockets, too.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from camd.auth.authenticator import Authenticator
from camd.auth.key_file import ApiKey, digest
from camd.auth.tokens import mint_token
from camd.clock import Clock, from_unix_micros
from camd.errors import CAMERA_UNKNOWN, Refusal
from camd.rpc.registry import Caller, NoParams, Notification, Registry, method
from camd.rpc.roles import AuthMethod, Principal, Role
from camd.server.application_socket import WebSocketPrefix
from camd.server.asgi import ConnectionAddresses
from camd.server.connection import ConnectionShared
from camd.server.http_connection import HttpConfig, HttpLimits
from camd.server.rules.connection_limits import ConnectionLimits
from camd.server.server import Server
from camd.server.websocket import WebSocket, open_client_websocket

SECRET = "s" * 32
START = 1_800_000_000
NO_ENDPOINTS = ConnectionAddresses(None, None)
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: camera.local:8002\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def now() -> float:
    """Return a wall time that follows the clock of the test."""
    return START + trio.current_time() % 1_000_000


CLOCK = Clock(now=lambda: datetime.fromtimestamp(now(), UTC), monotonic=trio.current_time)


def token(role: Role = Role.OPERATOR, lifetime: float = 1e6) -> str:
    return mint_token(SECRET, user_id="ann", role=role, now=now(), lifetime=lifetime)


def key(name: str, role: Role = Role.OPERATOR) -> ApiKey:
    return ApiKey(name, role, digest(name * 40), from_unix_micros(0))


@attrs.frozen
class Wait:
    seconds: float = 1.0


@attrs.frozen
class Work:
    seconds: float = 1.0
    about: str = "camera camera0"


class ServerMethods:
    """Methods that answer, wait, fail or use the caller's link."""

    @method(role=Role.VIEWER, immediate=True)
    async def ping(self, caller: Caller, params: NoParams) -> object:
        """Answer at once."""
        return "pong"

    @method(role=Role.ADMIN)
    async def rule(self, caller: Caller, params: NoParams) -> object:
        """Answer an administrator."""
        return "pong"

    @method(role=Role.VIEWER)
    async def wait(self, caller: Caller, params: Wait) -> object:
        """Answer after a time."""
        await trio.sleep(params.seconds)
        return params.seconds

    @method(role=Role.VIEWER)
    async def hang(self, caller: Caller, params: NoParams) -> object:
        """Never answer."""
        await trio.sleep_forever()

    @method(role=Role.VIEWER)
    async def crash(self, caller: Caller, params: NoParams) -> object:
        """Fail by a bug."""
        raise ZeroDivisionError("a bug")

    @method(role=Role.VIEWER)
    async def refuse(self, caller: Caller, params: NoParams) -> object:
        """Refuse the call."""
        raise Refusal(CAMERA_UNKNOWN, camera_id="camera9")

    @method(role=Role.VIEWER)
    async def unknown_to_json(self, caller: Caller, params: NoParams) -> object:
        """Return what JSON cannot hold."""
        return object()

    @method(role=Role.VIEWER)
    async def filter(self, caller: Caller, params: NoParams) -> object:
        """Send one notification, and from now on only published ones called `wanted`."""
        caller.link.notify(Notification("missed", {"seq": 0}))
        caller.link.filter(lambda notification: notification.method == "wanted")
        return None

    @method(role=Role.VIEWER)
    async def work(self, caller: Caller, params: Work) -> object:
        """Hold back the notifications about a subject for a time."""
        caller.link.hold(params.about)
        if params.seconds:
            await trio.sleep(params.seconds)
        return {"done": True}


REGISTRY = Registry([ServerMethods()])


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def large(request: Request) -> Response:
    return Response(b"x" * 3_000_000)


async def broken(request: Request) -> Response:
    raise ZeroDivisionError("a bug")


class Endless:
    """Yields bytes without end."""

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> bytes:
        return b"x" * 1000


async def endless(request: Request) -> Response:
    return StreamingResponse(Endless())


async def authenticated(request: Request) -> Response:
    """Send bytes without end to an authenticated client."""
    request.scope["state"]["on_authenticated"](Principal("ann", Role.VIEWER, None, AuthMethod.JWT))
    return StreamingResponse(Endless())


async def short_of_files(request: Request) -> Response:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


APP = Starlette(
    routes=[
        Route("/known", authenticated),
        Route("/short", short_of_files),
        Route("/hello", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/large", large),
        Route("/broken", broken),
        Route("/endless", endless),
    ]
)


@attrs.define(eq=False)
class Peer:
    """A client on a WebSocket that speaks JSON."""

    socket: WebSocket
    stream: trio.abc.Stream

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps({"jsonrpc": "2.0", **message}))

    async def receive(self) -> Any:
        return json.loads(await self.socket.receive())

    async def call(self, method: str, **params: object) -> Any:
        """Make a call; return the whole answer."""
        await self.send(id="the call", method=method, params=params)
        answer = await self.receive()
        assert answer["id"] == "the call"
        return answer


@attrs.define(eq=False)
class MemoryServer:
    server: Server
    nursery: trio.Nursery

    def connect(self, *, lockstep: bool = False, client: str | None = None) -> trio.abc.Stream:
        """Open a stream to the server, as a socket would; in lockstep nothing is buffered."""
        endpoints = NO_ENDPOINTS if client is None else ConnectionAddresses((client, 1), None)
        pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
        ours, theirs = pair()
        self.nursery.start_soon(self.server.serve_stream, theirs, endpoints)
        return ours

    @asynccontextmanager
    async def peer(
        self, *, lockstep: bool = False, login: bool = True, client: str | None = None
    ) -> AsyncIterator[Peer]:
        """Open a WebSocket; with `login`, authenticate."""
        stream = self.connect(lockstep=lockstep, client=client)
        async with open_client_websocket(
            stream, host="camera.local", path="/ws", max_message_bytes=2**24
        ) as socket:
            peer = Peer(socket, stream)
            if login:
                assert "result" in await peer.call("authenticate", auth_token=token())
            yield peer
            await trio.aclose_forcefully(stream)

    def publish(
        self, method: str, *, key: str | None = None, about: str = "", **params: object
    ) -> None:
        self.server.deliver(Notification(method, params, key, (about,) if about else ()))


def make_server(
    *,
    keys: tuple[ApiKey, ...] = (),
    origins: tuple[str, ...] = (),
    http_limits: HttpLimits | None = None,
    limits: ConnectionLimits | None = None,
    names: frozenset[str] | None = None,
    enabled: bool = True,
    registry: Registry = REGISTRY,
    sockets: tuple[WebSocketPrefix, ...] = (),
    **shared: Any,
) -> Server:
    authenticator = Authenticator(enabled=enabled, jwt_secret=SECRET, api_keys=keys)
    return Server(
        HttpConfig(
            APP, clock=CLOCK, origins=origins, limits=http_limits or HttpLimits(), names=names
        ),
        ConnectionShared(registry, authenticator, clock=CLOCK, **shared),
        limits or ConnectionLimits(),
        sockets=sockets,
    )


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[MemoryServer]:
    """Run a server until the block ends; `options` are those of `make_server`."""
    with trio.fail_after(100_000):
        async with trio.open_nursery() as nursery:
            await trio.lowlevel.checkpoint()
            yield MemoryServer(make_server(**options), nursery)
            nursery.cancel_scope.cancel()


async def read_all(stream: trio.abc.Stream) -> bytes:
    """Read until the other side has closed."""
    found = bytearray()
    while data := await stream.receive_some(65536):
        found += data
    return bytes(found)
