"""Which role a process of this machine has on a Unix socket: `[auth.peers]`, by user and group."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterable, Mapping

import attrs
import structlog

from camd.config.values import PeerRules
from camd.rpc.roles import AuthMethod, Principal, Role

_log = structlog.get_logger("camd.auth")


@attrs.frozen
class PeerCredentials:
    """What the kernel says about the process that has connected, at that moment."""

    uid: int
    groups: frozenset[int] = frozenset()  # its primary group and its supplementary ones


@attrs.frozen
class PeerRoles:
    """Roles by numeric user and group. Our own user and root are administrators."""

    own_uid: int = attrs.field(factory=os.geteuid)
    users: Mapping[int, Role] = attrs.field(factory=dict)
    groups: Mapping[int, Role] = attrs.field(factory=dict)

    @property
    def admits_others(self) -> bool:
        """Whether users besides our own and root may have a role."""
        return bool(self.users or self.groups)

    def identify(self, peer: PeerCredentials) -> Principal | None:
        """Return who a peer is; None: the kernel's word is not enough, it needs a key."""
        role = self._role_of(peer)
        if role is None:
            return None
        return Principal(f"uid:{peer.uid}", role, expires_at=None, via=AuthMethod.PEER)

    def _role_of(self, peer: PeerCredentials) -> Role | None:
        """A user's own entry decides; without one, the highest role of its groups."""
        if peer.uid in (0, self.own_uid):
            return Role.ADMIN
        if peer.uid in self.users:
            return self.users[peer.uid]
        found = {self.groups[group] for group in peer.groups if group in self.groups}
        return next((role for role in reversed(Role) if role in found), None)


def resolve_peers(rules: PeerRules) -> PeerRoles:
    """Look up the numbers of users and groups. Blocks.

    A name that is not known is logged and grants nothing, so that a directory service that is down
    does not keep the service from starting.
    """
    return PeerRoles(
        users=_resolve(rules.users, "user", lambda name: pwd.getpwnam(name).pw_uid),
        groups=_resolve(rules.groups, "group", lambda name: grp.getgrnam(name).gr_gid),
    )


def _resolve(
    entries: Iterable[tuple[str, str]], kind: str, look_up: Callable[[str], int]
) -> dict[int, Role]:
    roles = {}
    for name, role in entries:
        try:
            number = int(name) if name.isdigit() else look_up(name)
        except (KeyError, OSError):
            _log.warning("peer_name_unknown", kind=kind, name=name)
            continue
        roles[number] = Role(role)
    return roles
