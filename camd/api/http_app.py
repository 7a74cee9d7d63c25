"""HTTP endpoints: health checks, metrics, and downloads of recordings."""

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

from camd.api.metrics_methods import comes_from_this_machine
from camd.auth.authenticator import Authenticator
from camd.auth.login_throttle import group_of
from camd.auth.tokens import InvalidCredentialsError
from camd.clock import Clock
from camd.errors import FILE_NOT_FOUND, INVALID_PARAMS, Refusal
from camd.metrics.collector import MetricsCollector
from camd.metrics.exposition import CONTENT_TYPE
from camd.model import ReadableRecording
from camd.rpc.roles import Role
from camd.storage.storage import Storage

Health = Callable[[], tuple[str, dict[str, tuple[str, str]]]]

_MEDIA_TYPES = {".mp4": "video/mp4", ".mkv": "video/x-matroska"}
_MEGABYTE = 1 << 20


@attrs.define(eq=False)
class HttpApp:
    """Handlers of HTTP requests."""

    _storage: Storage
    _authenticator: Authenticator
    _health: Health
    _metrics: MetricsCollector
    _clock: Clock = attrs.field(kw_only=True)
    ready: bool = False

    def app(self) -> Starlette:
        """Build the ASGI application."""
        return Starlette(
            routes=[
                Route("/health/live", self.live),
                Route("/health/ready", self.is_ready),
                Route("/health/system", self.system),
                Route("/metrics", self.metrics),
                Route("/files/recordings/{name:path}", self.recording),
            ]
        )

    async def live(self, request: Request) -> Response:
        """Answer as long as the event loop runs."""
        return JSONResponse({"status": "alive"})

    async def is_ready(self, request: Request) -> Response:
        """Answer 200 when clients are served, else 503."""
        if self.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, HTTPStatus.SERVICE_UNAVAILABLE)

    async def system(self, request: Request) -> Response:
        """Describe the service and its components; 500 when it is unhealthy."""
        overall, parts = self._health()
        body = {
            "status": overall,
            "timestamp": self._clock.now().isoformat().replace("+00:00", "Z"),
            "components": {
                name: {"status": status, "details": details}
                for name, (status, details) in parts.items()
            },
        }
        code = HTTPStatus.INTERNAL_SERVER_ERROR if overall == "unhealthy" else HTTPStatus.OK
        return JSONResponse(body, code)

    async def metrics(self, request: Request) -> Response:
        """Write the metrics in Prometheus' text format; from this machine no key is needed."""
        local = comes_from_this_machine(request)
        refused = None if local else await self._refuse_unknown(request)
        if refused is not None:
            return refused
        return Response(await self._metrics.text(), media_type=CONTENT_TYPE)

    async def recording(self, request: Request) -> Response:
        """Send a recording; of one that is being recorded, the part that is durable."""
        if (refused := await self._refuse_unknown(request)) is not None:
            return refused
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

    async def _refuse_unknown(self, request: Request) -> Response | None:
        """Refuse a request without a valid key, wrong ones after a delay; None: it has one."""
        try:
            self._authenticate(request)
        except InvalidCredentialsError as error:
            host = request.client.host if request.client is not None else None
            _notify_server(request, "on_wrong_key")
            await self._authenticator.delay_refusal(group_of(host), error.reason)
            return JSONResponse(
                {"error": "unauthorized", "reason": error.reason.value},
                HTTPStatus.UNAUTHORIZED,
                {"WWW-Authenticate": "Bearer"},
            )
        return None

    def _authenticate(self, request: Request) -> None:
        """Check the key of a request. Raises InvalidCredentialsError."""
        headers = request.headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = headers.get("x-api-key", "")
        identity = request.scope.get("state", {}).get("identity")  # of the socket's peer
        if identity is None or token.strip():
            identity = self._authenticator.check(token.strip(), self._clock.now().timestamp())
        assert identity.role.includes(Role.VIEWER)
        _notify_server(request, "on_authenticated", identity)


def _notify_server(request: Request, callback: str, *arguments: object) -> None:
    """Call a callback that the server has put into the scope of the request, if there is one."""
    function = request.scope.get("state", {}).get(callback)
    if function is not None:
        function(*arguments)


@cache
def _load_file_reader() -> None:
    """Import what Starlette needs to read files; it would do so on the event loop. Blocks."""
    importlib.import_module("anyio._backends._trio")
    _ = anyio.open_file  # newer versions import at this access


class LeasedResponse(Response):
    """Holds the lease of a file while the file is looked up and sent."""

    def __init__(
        self, lease: AbstractContextManager[None], respond: Callable[[], Awaitable[Response]]
    ) -> None:
        super().__init__()
        self._lease, self._respond = lease, respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond under the lease."""
        with self._lease:
            response = await self._respond()
            await response(scope, receive, send)


class DurableFileResponse(FileResponse):
    """The first `size_bytes` of a file that may grow meanwhile."""

    chunk_size = _MEGABYTE

    def __init__(self, file: ReadableRecording) -> None:
        times = 3 * (file.modified.timestamp(),)
        super().__init__(
            file.path,
            media_type=_MEDIA_TYPES.get(file.path.suffix, "application/octet-stream"),
            filename=file.filename,
            stat_result=os.stat_result((0o100640, 0, 0, 1, 0, 0, file.size_bytes, *times)),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send no more than the announced length."""
        await trio.to_thread.run_sync(_load_file_reader)
        left = 0

        async def send_announced(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                left = int(dict(message["headers"]).get(b"content-length", b"0"))
                await send(message)
            elif message.get("body") and left > 0:
                body = message["body"][:left]
                left -= len(body)
                await send({**message, "body": body, "more_body": left > 0})
            elif not message.get("body"):
                await send(message)

        await super().__call__(scope, receive, send_announced)


def _unchanged(request: Mapping[str, str], response: Mapping[str, str]) -> bool:
    """Whether the client has this version of the file (RFC 9110, 13.1.2 and 13.1.3)."""
    tags = request.get("if-none-match")
    if tags is not None:
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return "*" in known or response["etag"] in known
    since = request.get("if-modified-since")
    return since is not None and since == response["last-modified"] and "range" not in request
