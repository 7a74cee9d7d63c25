"""Authentication of one connection: method `authenticate`, tokens inside calls, expiry.

There are two dialects. After `auth_token`, failure is a JSON-RPC error. Clients of the legacy
dialect, which send `token` and `auth_type`, need failure as a result, and a `result` key in every
error.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import attrs

from camd.auth.authenticator import Authenticator
from camd.auth.tokens import AuthFailure, InvalidCredentialsError
from camd.clock import Clock
from camd.contract.result_types import doc, one_of
from camd.contract.system_results import AuthenticationResult
from camd.errors import NOT_AUTHENTICATED, ParamMistake, Refusal, invalid_params
from camd.rpc.params import unknown_names, with_warnings
from camd.rpc.registry import MethodDescription
from camd.rpc.roles import ANONYMOUS, Principal

_KINDS = (None, "jwt", "api_key", "auto")


@attrs.frozen
class AuthenticationRequest:
    """A key or a JWT."""

    auth_token: Annotated[str | None, doc("an API key or a JWT; failure is an error")] = None
    token: Annotated[
        str | None, doc("in place of `auth_token`; failure is a result, which says so")
    ] = None
    auth_type: Annotated[
        Annotated[str, one_of("jwt", "api_key", "auto")] | None,
        doc("what `token` is; without it, auto"),
    ] = None


AUTHENTICATE_METHOD = MethodDescription(
    name="authenticate",
    params=AuthenticationRequest,
    result=AuthenticationResult,
    documentation="""Tell who the client is; needed before any other call.

    Give `auth_token`, an API key or a JWT. With `token` and `auth_type` instead, failure is a
    result, not an error, for clients that expect that.
    """,
)
_PARAMETERS = tuple(field.name for field in attrs.fields(AuthenticationRequest))


@attrs.define(eq=False)
class ConnectionAuth:
    """The identity of one connection: that of the first valid credentials, or of `authenticate`."""

    authenticator: Authenticator
    connection_id: str
    dialect: str  # auto | always | never
    clock: Clock
    identity: Principal | None = None
    null_result: bool = attrs.field(init=False)  # errors also have "result": null
    last_failure: AuthFailure | None = attrs.field(default=None, init=False)  # not yet delayed
    _generation: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.null_result = self.dialect == "always"
        self._generation = self.authenticator.generation
        if not self.authenticator.enabled:
            self.identity = ANONYMOUS

    def _unix_now(self) -> float:
        """Return seconds since 1970, for the expiry of credentials."""
        return self.clock.now().timestamp()

    @property
    def is_authenticated(self) -> bool:
        """Whether the connection has an identity whose credentials are valid now."""
        return self.identity is not None and self._failure(self.identity) is None

    def keep_session(self) -> None:
        """Count the session of the connection as used."""
        if self.identity is not None and self.identity.browser_session:
            self.authenticator.sessions.use(
                self.identity.browser_session, now=self.clock.monotonic(), unix_now=self._unix_now()
            )

    def identify(self, params: dict[str, Any]) -> Principal:
        """Return who makes a call; removes `auth_token` from `params`. Raises Refusal."""
        token = params.pop("auth_token", None)
        if token is not None:
            if not isinstance(token, str):
                raise invalid_params(ParamMistake("auth_token", "must be a string"))
            identity = self._identify(token)
            if not self.is_authenticated:
                self.identity = identity
            return identity
        if self.identity is None:
            raise Refusal(NOT_AUTHENTICATED, reason=AuthFailure.MISSING.value)
        failure = self._failure(self.identity)
        if failure is not None:
            raise _refusal(failure)
        return self.identity

    def authenticate(self, params: dict[str, Any]) -> dict[str, object]:
        """Return the result of the method `authenticate`. Raises Refusal as the dialect says."""
        answer = with_warnings(self._authenticate(params), unknown_names(params, _PARAMETERS))
        assert isinstance(answer, dict)
        return answer

    def _authenticate(self, params: dict[str, Any]) -> dict[str, object]:
        legacy = "token" in params and "auth_token" not in params
        if legacy and self.dialect != "never":
            self.null_result = True
        try:
            self.identity = self._identify(_token_in(params))
        except Refusal as refusal:
            if not self.null_result or not (legacy or self.dialect == "always"):
                raise
            reason = refusal.data.get("reason", refusal.kind.name)
            return {"authenticated": False, "error": refusal.message, "reason": reason}
        return self._success_result(self.identity)

    def _identify(self, token: str) -> Principal:
        try:
            identity = self.authenticator.identify(token, self._unix_now())
        except InvalidCredentialsError as error:
            self.last_failure = error.reason
            raise _refusal(error.reason) from None
        return identity

    def _failure(self, identity: Principal) -> AuthFailure | None:
        if identity.expires_at is not None and identity.expired(self._unix_now()):
            return AuthFailure.EXPIRED
        if identity.browser_session and not self.authenticator.sessions.holds(
            identity.browser_session
        ):
            return AuthFailure.SESSION_ENDED
        if self._generation != self.authenticator.generation:
            if self.authenticator.revoked(identity):
                return AuthFailure.REVOKED
            self._generation = self.authenticator.generation
        return None

    def _success_result(self, identity: Principal) -> dict[str, object]:
        expires_at = identity.expires_at
        return {
            "authenticated": True,
            "role": identity.role.value,
            "permissions": identity.role.permissions,
            "expires_at": None if expires_at is None else _iso(expires_at),
            "session_id": self.connection_id,
            "user_id": identity.name,
            "auth_method": identity.via.value,
        }


def _token_in(params: dict[str, Any]) -> str:
    name = "auth_token" if "auth_token" in params else "token"
    token = params.get(name)
    if not isinstance(token, str):
        message = "is required" if token is None else "must be a string"
        raise invalid_params(ParamMistake("auth_token" if token is None else name, message))
    if params.get("auth_type") not in _KINDS:
        raise invalid_params(ParamMistake("auth_type", "must be one of jwt, api_key"))
    return token


def _refusal(reason: AuthFailure) -> Refusal:
    text = reason.value.replace("_", " ")
    return Refusal(NOT_AUTHENTICATED, f"Authentication failed: {text}", reason=reason.value)


def _iso(moment: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return None
