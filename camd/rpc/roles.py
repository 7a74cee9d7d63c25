"""Roles, and who a caller is."""

from __future__ import annotations

import enum

import attrs


class Role(enum.Enum):
    """Rights of a caller; each role includes the rights of the roles before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, required: Role) -> bool:
        """Whether this role is at least `required`."""
        return _RANK[self] >= _RANK[required]

    @property
    def permissions(self) -> tuple[str, ...]:
        """The same as a list for clients: `view`, `control`, `admin`."""
        return _PERMISSIONS[: _RANK[self] + 1]


_RANK = {role: rank for rank, role in enumerate(Role)}
_PERMISSIONS = ("view", "control", "admin")


class AuthMethod(enum.Enum):
    """How a caller was identified."""

    JWT = "jwt"
    API_KEY = "api_key"
    PEER = "peer"  # by the kernel, as the peer of a Unix socket
    ANONYMOUS = "anonymous"  # authentication is switched off


@attrs.frozen
class Principal:
    """An identified caller."""

    name: str
    role: Role
    expires_at: float | None  # seconds since 1970, UTC; None: does not expire
    via: AuthMethod
    credential: str = attrs.field(default="", repr=False)  # an API key's hash
    browser_session: str = attrs.field(default="", repr=False)  # the hash of a session's cookie

    def expired(self, now: float) -> bool:
        """Whether the credentials have expired at `now` (seconds since 1970)."""
        return self.expires_at is not None and now >= self.expires_at


ANONYMOUS = Principal("anonymous", Role.ADMIN, expires_at=None, via=AuthMethod.ANONYMOUS)
