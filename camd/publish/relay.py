"""A relay on the loopback for one FFmpeg process: it adds credentials, and TLS, to its RTSP."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.config.schema import MediaMtxConfig
from camd.model import Problem
from camd.publish.connecting import StreamServerError, connect_to_server
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.rtsp_requests import RelayError, RequestRewriter, basic_authorization
from camd.runtime.path_lookup import BoundedFileCalls

log = structlog.get_logger("camd.publish")

CONNECT_SECONDS = 5.0
CHUNK_BYTES = 64 * 1024
GATHER_SECONDS = 0.02  # FFmpeg writes each packet by itself; taking many at once saves wake-ups
_LOOPBACK = "0100007F"  # 127.0.0.1 as /proc/net/tcp writes it on little-endian machines (proc(5))
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


def needs_relay(config: MediaMtxConfig) -> bool:
    """Whether FFmpeg cannot publish by itself without a secret in its arguments."""
    return bool(config.username) or config.rtsp.lower().startswith("rtsps:")


@asynccontextmanager
async def open_relay(config: MediaMtxConfig, tls: ssl.SSLContext) -> AsyncIterator[RtspRelay]:
    """Relay the first connection while the block runs.

    Only a process of the same user is connected: any other would publish with camd's credentials.
    """
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port: int = listener.socket.getsockname()[1]
    relay = RtspRelay(config, tls, port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.serve, listener)  # noqa: ASYNC113 - it listens already
        try:
            yield relay
        finally:
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class RtspRelay:
    """Connects FFmpeg, which uses `address`, to the server; `problem` says why that failed."""

    _config: MediaMtxConfig
    _tls: ssl.SSLContext
    _port: int
    problem: Problem | None = attrs.field(default=None, init=False)
    _looks: BoundedFileCalls = attrs.field(factory=BoundedFileCalls, init=False)

    @property
    def address(self) -> str:
        """The beginning of the URL that FFmpeg is given; it has no credentials."""
        return f"rtsp://127.0.0.1:{self._port}"

    async def serve(self, listener: trio.SocketListener) -> None:
        """Connect the first process of this user, and nobody else, to the server."""
        async with listener:
            stream = await self._accept_own(listener)
        try:
            await self._connect_through(stream)
        except* StreamServerError as errors:
            self.problem = _first_problem(errors)
        except* (RelayError, *_BROKEN) as errors:
            log.info("relay_ended", why=str(errors.exceptions[0]))
        finally:
            await trio.aclose_forcefully(stream)

    async def _accept_own(self, listener: trio.SocketListener) -> trio.SocketStream:
        while True:
            stream = await listener.accept()
            owner = await self._find_owner(stream)
            if owner == os.geteuid():
                return stream
            log.warning("relay_refused", uid=owner)
            await trio.aclose_forcefully(stream)

    async def _find_owner(self, stream: trio.SocketStream) -> int | None:
        """Return whose process is at the other end; None: it is gone, or nobody knows."""
        try:
            peer: int = stream.socket.getpeername()[1]
            return await self._looks.ask(partial(socket_owner, peer, self._port), None)
        except OSError:
            return None

    async def _connect_through(self, local: trio.SocketStream) -> None:
        remote = await self._connect()
        authorization = b""
        if self._config.username:
            authorization = basic_authorization(self._config.username, self._config.password)
        url = self._config.rtsp.encode()
        rewriter = RequestRewriter(self.address.encode(), url, authorization)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_back, remote, local, nursery.cancel_scope)
                while chunk := await local.receive_some(CHUNK_BYTES):
                    await remote.send_all(rewriter.feed(bytes(chunk)))
                    await trio.sleep(GATHER_SECONDS)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(remote)

    async def _connect(self) -> trio.abc.Stream:
        with trio.move_on_after(CONNECT_SECONDS):
            return await connect_to_server(self._config.rtsp, self._tls)
        raise StreamServerError(problems.SILENT)


def _first_problem(errors: BaseExceptionGroup[StreamServerError]) -> Problem | None:
    found = errors.exceptions[0]
    return found.problem if isinstance(found, StreamServerError) else None


async def _pass_back(
    remote: trio.abc.Stream, local: trio.SocketStream, over: trio.CancelScope
) -> None:
    """Pass the server's answers on as they are; when the server closes, the relay ends."""
    while chunk := await remote.receive_some(CHUNK_BYTES):
        await local.send_all(chunk)
    over.cancel()


def socket_owner(peer_port: int, own_port: int, table: Path = Path("/proc/net/tcp")) -> int | None:
    """Return the user id of the socket at the other end of a loopback connection. Blocks."""
    local, remote = f"{_LOOPBACK}:{peer_port:04X}", f"{_LOOPBACK}:{own_port:04X}"
    for line in table.read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[1:3] == [local, remote]:
            return int(fields[7])
    return None
