"""HTTP endpoints: health, metrics, downloads, and the routes of other resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Protocol

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from camd.api.http.files import LeasedResponse, file_response
from camd.api.metrics_methods import comes_from_this_machine
from camd.auth.authenticator import Authenticator
from camd.auth.login_throttle import group_of
from camd.auth.tokens import InvalidCredentialsError
from camd.clock import Clock
from camd.metrics.collector import MetricsCollector
from camd.metrics.exposition import CONTENT_TYPE
from camd.model.notation import format_instant
from camd.rpc.roles import Principal, Role
from camd.storage.storage import Storage

Health = Callable[[], tuple[str, dict[str, tuple[str, str]]]]

Authenticate = Callable[[Request], Awaitable[Response | None]]  # None: let the request pass


class ResourceRoutes(Protocol):
    """HTTP routes of one resource."""

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes; their handlers call `authenticate` first."""


@attrs.define(eq=False)
class HttpApp:
    """Handlers of HTTP requests."""

    _storage: Storage
    _authenticator: Authenticator
    _health: Health
    _metrics: MetricsCollector
    _more: Sequence[ResourceRoutes] = ()
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
                *(route for each in self._more for route in each.routes(self._refuse_unknown)),
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
            "timestamp": format_instant(self._clock.now()),
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
            self._storage.leased(name),
            lambda: file_response(self._storage.stored_file, name, request.headers),
        )

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
        """Identify a request by its API key. Raises InvalidCredentialsError."""
        headers = request.headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = headers.get("x-api-key", "")
        identity = self._identity_without_key(request)
        if identity is None or token.strip():
            identity = self._authenticator.identify(token.strip(), self._clock.now().timestamp())
        assert identity.role.includes(Role.VIEWER)
        _notify_server(request, "on_authenticated", identity)

    def _identity_without_key(self, request: Request) -> Principal | None:
        """Return who the peer of the socket is, or whose session; None: it needs a key."""
        peer: Principal | None = request.scope.get("state", {}).get("identity")
        if peer is not None or request.method not in ("GET", "HEAD"):
            return peer
        return self._authenticator.identify_cookie(
            request.scope["headers"],
            self._clock,
            secure=request.url.scheme == "https",
            upgrade=False,
        )


def _notify_server(request: Request, callback: str, *arguments: object) -> None:
    """Call a callback that the server has put into the scope of the request, if there is one."""
    function = request.scope.get("state", {}).get(callback)
    if function is not None:
        function(*arguments)


def component_response(component: tuple[str, str], clock: Clock, **further: object) -> JSONResponse:
    """Answer with status and details of one component; 500 when it is unhealthy."""
    status, details = component
    when = format_instant(clock.now())
    body = {"status": status, "timestamp": when, "details": details, **further}
    unhealthy = status == "unhealthy"
    return JSONResponse(body, HTTPStatus.INTERNAL_SERVER_ERROR if unhealthy else HTTPStatus.OK)
