"""Run an ASGI application for one HTTP request (ASGI 3.0, HTTP 2.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import attrs
import h11

from camd.clock import Clock

Message = MutableMapping[str, Any]  # as ASGI defines it
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
_NO_BODY = (204, 304)


class ClientDisconnectedError(OSError):
    """The client disconnected before its response was complete."""


class ResponseStream(Protocol):
    """What a request cycle needs of its connection."""

    async def send_event(self, event: h11.Event) -> None:
        """Send an event. Raises ClientDisconnectedError."""

    async def next_body(self) -> h11.Data | h11.EndOfMessage:
        """Wait for the next part of the request's body. Raises ClientDisconnectedError."""

    async def wait_disconnected(self) -> None:
        """Wait until the client has disconnected or the response is complete."""


@attrs.frozen
class ConnectionAddresses:
    """Addresses of both ends of a connection."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str = "http"
    unix: bool = False  # a Unix socket, which no web page can reach


def scope_of(request: h11.Request, endpoints: ConnectionAddresses) -> Message:
    """Make the ASGI scope of a request."""
    path, _, query = request.target.partition(b"?")
    if not path.startswith((b"/", b"*")):  # absolute form: RFC 9112, 3.2.2
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.http_version.decode("ascii"),
        "method": request.method.decode("ascii").upper(),
        "scheme": endpoints.scheme,
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.headers),
        "client": endpoints.client,
        "server": endpoints.server,
        "state": {},
    }


@attrs.define(eq=False)
class RequestCycle:
    """Runs an application for one request; `complete`: the response was sent in full."""

    request: h11.Request
    stream: ResponseStream
    clock: Clock
    started: bool = attrs.field(default=False, init=False)
    complete: bool = attrs.field(default=False, init=False)
    _start: Message | None = attrs.field(default=None, init=False)
    _bodiless: bool = attrs.field(default=False, init=False)
    _body_read: bool = attrs.field(default=False, init=False)

    async def receive(self) -> Message:
        """See ASGI: the request's body in parts, then `http.disconnect`."""
        if self._body_read:
            if not self.complete:
                await self.stream.wait_disconnected()
            return {"type": "http.disconnect"}
        try:
            event = await self.stream.next_body()
        except ClientDisconnectedError:
            self._body_read = True
            return {"type": "http.disconnect"}
        if isinstance(event, h11.EndOfMessage):
            self._body_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": bytes(event.data), "more_body": True}

    async def send(self, message: Message) -> None:
        """See ASGI: the start of the response, then its body in parts."""
        if message["type"] == "http.response.start":
            self._start = message  # sent with the first part of the body
        elif message["type"] == "http.response.body":
            await self._send_body(message)

    async def _send_body(self, message: Message) -> None:
        if self.complete:
            return
        if not self.started:
            await self._send_head()
        body = message.get("body", b"")
        if body and not self._bodiless:
            await self.stream.send_event(h11.Data(data=body))
        if not message.get("more_body", False):
            await self.stream.send_event(h11.EndOfMessage())
            self.complete = True

    async def _send_head(self) -> None:
        if self._start is None:
            raise RuntimeError("the application sent a body before the response's start")
        status = int(self._start["status"])
        headers = [(bytes(name), bytes(value)) for name, value in self._start.get("headers", ())]
        if not any(name.lower() == b"date" for name, _ in headers):
            headers.append((b"date", http_date(self.clock.now())))
        self._bodiless = self.request.method == b"HEAD" or status in _NO_BODY
        self.started = True
        await self.stream.send_event(h11.Response(status_code=status, headers=headers))


def http_date(moment: datetime) -> bytes:
    """Format a time as HTTP does (RFC 9110, 5.6.7)."""
    return format_datetime(moment, usegmt=True).encode("ascii")
