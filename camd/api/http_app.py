"""What the same port serves over HTTP: health for machines, files for whoever may see them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from http import HTTPStatus

import anyio
import attrs
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from camd.auth.authenticator import Authenticator
from camd.auth.login_throttle import group_of
from camd.auth.tokens import AccessRefusedError
from camd.clock import now
from camd.errors import FILE_NOT_FOUND, INVALID_PARAMS, Refusal
from camd.model import StoredFile
from camd.rpc.roles import Role
from camd.storage.storage import Storage

Health = Callable[[], tuple[str, dict[str, tuple[str, str]]]]

_MEDIA_TYPES = {".mp4": "video/mp4", ".mkv": "video/x-matroska"}
_MEGABYTE = 1 << 20


@attrs.define(eq=False)
class HttpApp:
    """Handlers for HTTP requests."""

    _storage: Storage
    _access: Authenticator
    _health: Health
    ready: bool = False

    def app(self) -> Starlette:
        """Build the application; every route names its methods, everything else is 404."""
        return Starlette(
            routes=[
                Route("/health/live", self.live),
                Route("/health/ready", self.is_ready),
                Route("/health/system", self.system),
                Route("/files/recordings/{name:path}", self.recording),
            ]
        )

    async def live(self, request: Request) -> Response:
        """The event loop turns: that is all this says."""
        return JSONResponse({"status": "alive"})

    async def is_ready(self, request: Request) -> Response:
        """Whether clients are served."""
        if self.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def system(self, request: Request) -> Response:
        """How the service and its parts are: 200 while it does its work, 500 when it cannot."""
        overall, parts = self._health()
        body = {
            "status": overall,
            "timestamp": now().isoformat().replace("+00:00", "Z"),
            "components": {
                name: {"status": status, "details": details}
                for name, (status, details) in parts.items()
            },
        }
        code = HTTPStatus.INTERNAL_SERVER_ERROR if overall == "unhealthy" else HTTPStatus.OK
        return JSONResponse(body, code)

    async def recording(self, request: Request) -> Response:
        """Serve a recording, or of a growing one what is durable."""
        try:
            self._admit(request)
        except AccessRefusedError as error:
            host = request.client.host if request.client is not None else None
            _tell(request, "refused")
            await self._access.slow_down(group_of(host), error.reason)
            return JSONResponse(
                {"error": "unauthorized", "reason": error.reason.value},
                HTTPStatus.UNAUTHORIZED,
                {"WWW-Authenticate": "Bearer"},
            )
        name = request.path_params["name"]
        return LeasedResponse(
            self._storage.leased(name), lambda: self._file_response(name, request.headers)
        )

    async def _file_response(self, name: str, headers: Mapping[str, str]) -> Response:
        try:
            file = await self._storage.stored_file(name)
        except Refusal as refusal:
            missing = refusal.kind in (FILE_NOT_FOUND, INVALID_PARAMS)
            code = HTTPStatus.NOT_FOUND if missing else HTTPStatus.SERVICE_UNAVAILABLE
            return JSONResponse({"error": refusal.message, "code": refusal.kind.code}, code)
        response = DurableFileResponse(file)
        if _unchanged(headers, response.headers):
            kept = {k: response.headers[k] for k in ("etag", "last-modified")}
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=kept)
        return response

    def _admit(self, request: Request) -> None:
        """Check the key of a request, and tell the server that there is one.

        Raises AccessRefusedError.
        """
        headers = request.headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = headers.get("x-api-key", "")
        identity = self._access.check(token.strip(), now().timestamp())
        assert identity.role.includes(Role.VIEWER)
        _tell(request, "admitted", identity)


def _tell(request: Request, what: str, *arguments: object) -> None:
    """Tell the server, where it wants to know."""
    listener = request.scope.get("state", {}).get(what)
    if listener is not None:
        listener(*arguments)


@cache
def _load_file_reader() -> None:
    """Import what reads files for Starlette, which it would else do on the event loop. Blocks."""
    importlib.import_module("anyio._backends._trio")
    _ = anyio.open_file  # newer versions import when they are asked for it


class LeasedResponse(Response):
    """Holds a file's lease from before it is looked up until all of it is sent."""

    def __init__(
        self, lease: AbstractContextManager[None], respond: Callable[[], Awaitable[Response]]
    ) -> None:
        super().__init__()
        self._lease, self._respond = lease, respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out what to answer, and answer."""
        with self._lease:
            response = await self._respond()
            await response(scope, receive, send)


class DurableFileResponse(FileResponse):
    """A file of which only the first `size_bytes` exist for the client, however it grows."""

    chunk_size = _MEGABYTE

    def __init__(self, file: StoredFile) -> None:
        moment = file.modified.timestamp()
        size = file.size_bytes
        super().__init__(
            file.path,
            media_type=_MEDIA_TYPES.get(file.path.suffix, "application/octet-stream"),
            filename=file.filename,
            stat_result=os.stat_result((0o100640, 0, 0, 1, 0, 0, size, moment, moment, moment)),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what the head promised and not a byte more, should the file have grown."""
        await trio.to_thread.run_sync(_load_file_reader)
        left = 0

        async def send_promised(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                promised = dict(message["headers"]).get(b"content-length", b"0")
                left = int(promised)
                await send(message)
            elif message.get("body") and left > 0:
                body = message["body"][:left]
                left -= len(body)
                await send({**message, "body": body, "more_body": left > 0})
            elif not message.get("body"):
                await send(message)

        await super().__call__(scope, receive, send_promised)


def _unchanged(asked: Mapping[str, str], have: Mapping[str, str]) -> bool:
    """Whether the client's copy is the same (RFC 9110, 13.1.2 and 13.1.3)."""
    tags = asked.get("if-none-match")
    if tags is not None:
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return "*" in known or have["etag"] in known
    since = asked.get("if-modified-since")
    return since is not None and since == have["last-modified"] and "range" not in asked
