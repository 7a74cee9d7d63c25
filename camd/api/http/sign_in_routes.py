"""HTTP: signing in and out of the web page (`/session`); the method that makes a sign-in code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

import attrs
import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from camd.api import result_fields
from camd.api.http.app import Authenticate
from camd.auth.authenticator import Authenticator
from camd.auth.login_throttle import group_of
from camd.auth.sign_in import (
    CODE_SECONDS,
    LONGEST_SECONDS,
    comes_from_own_web_page,
    cookie_name,
)
from camd.auth.tokens import MAX_TOKEN_CHARACTERS, AuthFailure, InvalidCredentialsError
from camd.clock import Clock
from camd.contract.result_types import doc
from camd.contract.sign_in_results import SignInCode
from camd.model.notation import format_instant
from camd.rpc.registry import Caller, method
from camd.rpc.roles import ANONYMOUS, Principal, Role

MAX_SIGN_IN_BYTES = MAX_TOKEN_CHARACTERS + 1024  # of the body of `POST /session`
_FRAGMENT = "/#code="
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_log = structlog.get_logger("camd.auth")


@attrs.frozen
class _SignIn:
    """The body of `POST /session`: one of both."""

    auth_token: str | None = attrs.field(default=None, repr=False)
    code: str | None = attrs.field(default=None, repr=False)


# --- The method.


@attrs.frozen
class SignInCodeParams:
    """What the session may do that the code begins."""

    role: Annotated[
        Role | None, doc("what the browser may do; without it, what the caller may")
    ] = None


@attrs.define(eq=False)
class SignInApi:
    """Makes codes with which a browser signs in."""

    _authenticator: Authenticator
    _clock: Clock = attrs.field(kw_only=True)

    @method(role=Role.ADMIN, result=SignInCode, immediate=True)
    async def create_sign_in_code(
        self, caller: Caller, params: SignInCodeParams
    ) -> result_fields.View:
        """Make a code that signs a browser in as the caller: once, within `expires_in` seconds.

        `path` is to be put behind the address of the service. Browsers do not send what is behind
        `#`, so the code is in no log.
        """
        identity = _with_role(caller.identity, params.role)
        code = self._authenticator.codes.create(identity, now=self._clock.monotonic())
        return {
            "code": code,
            "path": f"{_FRAGMENT}{code}",
            "role": identity.role.value,
            "expires_in": CODE_SECONDS,
            "expires_at": self._clock.now() + timedelta(seconds=CODE_SECONDS),
        }


def _with_role(identity: Principal, role: Role | None) -> Principal:
    """Return the caller, or the same with another role; it is an administrator, who has all."""
    return identity if role is None else attrs.evolve(identity, role=role)


# --- HTTP routes.


@attrs.define(eq=False)
class SignInRoutes:
    """`/session`: who is signed in (GET), sign in (POST), sign out (DELETE)."""

    _authenticator: Authenticator
    _websocket: str = "/ws"  # the path on which calls are made
    _clock: Clock = attrs.field(kw_only=True)

    def routes(self, authenticate: Authenticate) -> Sequence[Route]:
        """Return the routes."""
        return [
            Route("/session", self.describe),
            Route("/session", self.sign_in, methods=["POST"]),
            Route("/session", self.sign_out, methods=["DELETE"]),
        ]

    async def describe(self, request: Request) -> Response:
        """Say who is signed in, if anybody is."""
        identity = self._identity(request)
        if identity is None:
            return JSONResponse({"authenticated": False}, headers=_HEADERS)
        return JSONResponse(self._described(identity), headers=_HEADERS)

    async def sign_in(self, request: Request) -> Response:
        """Begin a session for a key, a JWT or a code, and set its cookie.

        403 from a web page that is not ours. After too many failures of the address 429, unless it
        is a code that is known: wrong keys of others must not keep out who has a link.
        """
        body = await request.body()  # in any case, so that the connection can be used again
        if not comes_from_own_web_page(request.scope["headers"]):
            return _refused(HTTPStatus.FORBIDDEN, "foreign_origin")
        address, now = _address(request), self._clock.monotonic()
        wait = self._authenticator.sign_in_failures.wait_seconds(address, now)
        try:
            given = _read(body)
            if wait and given.code is None:
                return _refused(HTTPStatus.TOO_MANY_REQUESTS, "too_many_failures", wait)
            identity = self._identify(given)
        except InvalidCredentialsError as error:
            if wait:
                return _refused(HTTPStatus.TOO_MANY_REQUESTS, "too_many_failures", wait)
            return await self._fail(request, address, error.reason)
        return self._begin(request, identity)

    async def sign_out(self, request: Request) -> Response:
        """End the session of the cookie, and its connections."""
        await request.body()  # as above
        if not comes_from_own_web_page(request.scope["headers"]):
            return _refused(HTTPStatus.FORBIDDEN, "foreign_origin")
        identity = self._identity(request)
        if identity is not None:
            self._authenticator.sessions.end(identity.browser_session)
        response = Response(status_code=HTTPStatus.NO_CONTENT, headers=_HEADERS)
        _set_cookie(response, request, "", seconds=0)
        return response

    def _identify(self, given: _SignIn) -> Principal:
        """Return who signs in. Raises InvalidCredentialsError."""
        if given.code is not None:
            identity = self._authenticator.codes.take(given.code, now=self._clock.monotonic())
            if identity is None:
                raise InvalidCredentialsError(AuthFailure.UNKNOWN_CODE)
            return identity
        token = (given.auth_token or "").strip()
        return self._authenticator.identify(token, self._clock.now().timestamp())

    def _begin(self, request: Request, identity: Principal) -> Response:
        now, unix_now = self._clock.monotonic(), self._clock.now().timestamp()
        cookie, identity = self._authenticator.sessions.begin(identity, now=now, unix_now=unix_now)
        _log.info("signed_in", name=identity.name, role=identity.role.value)
        response = JSONResponse(self._described(identity), headers=_HEADERS)
        _set_cookie(response, request, cookie, seconds=LONGEST_SECONDS)
        return response

    async def _fail(self, request: Request, address: str, reason: AuthFailure) -> Response:
        """Count a failure, and refuse after the delay that wrong keys of this address have."""
        authenticator = self._authenticator
        authenticator.sign_in_failures.count(address, self._clock.monotonic())
        await authenticator.delay_refusal(address, reason)
        return _refused(HTTPStatus.UNAUTHORIZED, reason.value)

    def _identity(self, request: Request) -> Principal | None:
        if not self._authenticator.enabled:
            return ANONYMOUS
        return self._authenticator.identify_cookie(
            request.scope["headers"], self._clock, secure=_is_secure(request), upgrade=False
        )

    def _described(self, identity: Principal) -> result_fields.View:
        expires_at = identity.expires_at
        ends = None if expires_at is None else datetime.fromtimestamp(expires_at, UTC)
        return {
            "authenticated": True,
            "name": identity.name,
            "role": identity.role.value,
            "permissions": list(identity.role.permissions),
            "expires_at": ends and format_instant(ends),
            "auth_method": identity.via.value,
            "websocket": self._websocket,
        }


def _read(body: bytes) -> _SignIn:
    """Read the body of a sign-in. Raises InvalidCredentialsError."""
    try:
        if len(body) > MAX_SIGN_IN_BYTES:
            raise ValueError("too long")
        return msgspec.json.decode(body, type=_SignIn)
    except ValueError:  # msgspec's errors are such
        raise InvalidCredentialsError(AuthFailure.MALFORMED) from None


def _refused(status: HTTPStatus, reason: str, wait: float | None = None) -> Response:
    headers = dict(_HEADERS)
    if wait is not None:
        headers["Retry-After"] = str(math.ceil(wait))
    return JSONResponse({"authenticated": False, "reason": reason}, status, headers)


def _set_cookie(response: Response, request: Request, value: str, *, seconds: float) -> None:
    secure = _is_secure(request)
    response.set_cookie(
        cookie_name(request.scope["headers"], secure=secure),
        value,
        max_age=int(seconds),
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _address(request: Request) -> str:
    return group_of(request.client.host if request.client is not None else None)
