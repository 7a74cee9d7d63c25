"""Viewers of a running daemon, with a WebSocket library's own client."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import trio
import trio_websocket
from running_daemon import Daemon

SMALL_BUFFER = 8192  # of a socket that a viewer does not read
LARGEST = 64 << 20


@attrs.define(eq=False)
class LiveViewer:
    """A viewer, and what it has got."""

    socket: trio_websocket.WebSocketConnection
    told: list[dict[str, Any]] = attrs.field(factory=list)
    binaries: list[bytes] = attrs.field(factory=list)
    unbroken: int | None = None  # binaries up to a second message, such as `skipped`

    async def next(self) -> Any:
        """Wait for the next message: an object, or bytes."""
        message = await self.socket.get_message()
        if isinstance(message, bytes):
            self.binaries.append(message)
            return message
        self.told.append(json.loads(message))
        if self.unbroken is None and len(self.told) > 1:
            self.unbroken = len(self.binaries)
        return self.told[-1]

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Read until a message that is wanted."""
        while not wanted(message := await self.next()):
            pass
        return message

    async def until_told(self, kind: str) -> dict[str, Any]:
        """Read until a text message of this type."""
        found: dict[str, Any] = await self.until(
            lambda message: isinstance(message, dict) and message["type"] == kind
        )
        return found

    async def until_binaries(self, count: int) -> None:
        """Read until it has so many binaries."""
        while len(self.binaries) < count:
            await self.next()

    async def read_on(self) -> None:
        """Read until cancelled."""
        while True:
            await self.next()

    def write(self, path: Path) -> Path:
        """Write what it has got of its first stream, up to the first gap, as a file."""
        path.write_bytes(b"".join(self.binaries[: self.unbroken]))
        return path


@asynccontextmanager
async def watching(
    daemon: Daemon,
    name: str,
    *,
    key: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    buffer: int | None = None,
) -> AsyncIterator[LiveViewer]:
    """Watch `/live/{name}`; `key` None: the administrator's. `buffer`: bytes of the socket."""
    host, _, port = daemon.url.removeprefix("ws://").removesuffix("/ws").rpartition(":")
    async with trio.open_nursery() as nursery:
        with trio.socket.socket() as sock:
            if buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            await sock.connect((host, int(port)))
            connection = await trio_websocket.wrap_client_stream(
                nursery,
                trio.SocketStream(sock),
                f"{host}:{port}",
                f"/live/{name}",
                subprotocols=["camd.live.1"],
                extra_headers=[(key.encode(), value.encode()) for key, value in headers],
                max_message_size=LARGEST,
                receive_buffer_size=1 << 20 if buffer is None else buffer,
            )
            if not headers:
                token = daemon.key if key is None else key
                await connection.send_message(json.dumps({"auth_token": token}))
            yield LiveViewer(connection)
            nursery.cancel_scope.cancel()


async def closed_with(viewer: LiveViewer) -> tuple[int, str | None]:
    """Read to the end; return code and reason."""
    with suppress(trio_websocket.ConnectionClosed):
        await viewer.read_on()
    reason = viewer.socket.closed
    assert reason is not None
    return int(reason.code), reason.reason
