"""Who a caller is and what a role may do."""

from __future__ import annotations

import enum

import attrs


class Role(enum.Enum):
    """What a caller may do; each role may do everything that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, required: Role) -> bool:
        """Whether a caller with this role may do what needs `required`."""
        return _RANK[self] >= _RANK[required]

    @property
    def permissions(self) -> tuple[str, ...]:
        """The words that clients know for it: `view`, `control`, `admin`."""
        return _PERMISSIONS[: _RANK[self] + 1]


_RANK = {role: rank for rank, role in enumerate(Role)}
_PERMISSIONS = ("view", "control", "admin")


class AuthMethod(enum.Enum):
    """How a caller showed who they are."""

    JWT = "jwt"
    API_KEY = "api_key"
    PEER = "peer"  # the kernel's word on the other end of a Unix socket
    ANONYMOUS = "anonymous"  # authentication is switched off


@attrs.frozen
class Principal:
    """A caller whose credentials were checked."""

    name: str
    role: Role
    expires_at: float | None  # seconds since 1970, UTC; None: does not expire
    via: AuthMethod
    credential: str = attrs.field(default="", repr=False)  # an API key's hash

    def expired(self, now: float) -> bool:
        """Whether the credentials count no longer at `now` (seconds since 1970)."""
        return self.expires_at is not None and now >= self.expires_at


ANONYMOUS = Principal("anonymous", Role.ADMIN, None, AuthMethod.ANONYMOUS)
