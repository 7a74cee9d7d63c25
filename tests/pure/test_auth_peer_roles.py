"""Roles of local users and groups: who has which, decided on numbers."""

from __future__ import annotations

import pytest

from camd.auth.peer_roles import PeerCredentials, PeerRoles
from camd.rpc.roles import AuthMethod, Role

ROLES = PeerRoles(
    own_uid=500,
    users={7: Role.VIEWER, 0: Role.VIEWER, 500: Role.VIEWER},
    groups={70: Role.OPERATOR, 71: Role.ADMIN, 72: Role.VIEWER},
)


@pytest.mark.parametrize(
    ("uid", "groups", "role"),
    [
        (0, (), Role.ADMIN),
        (500, (), Role.ADMIN),
        (7, (71,), Role.VIEWER),
        (8, (72, 70), Role.OPERATOR),
        (8, (72, 70, 71), Role.ADMIN),
        (8, (1,), None),
        (8, (), None),
        (70, (7,), None),
    ],
)
def test_a_role_comes_from_the_user_then_from_its_groups(
    uid: int, groups: tuple[int, ...], role: Role | None
) -> None:
    """Our own user and root are administrators whatever is configured."""
    identity = ROLES.identify(PeerCredentials(uid, frozenset(groups)))
    assert (identity is None) == (role is None)
    if identity is not None:
        assert identity.role is role
        assert (identity.name, identity.via) == (f"uid:{uid}", AuthMethod.PEER)


def test_without_entries_only_the_own_user_and_root_have_a_role() -> None:
    """So the socket stays private."""
    roles = PeerRoles(own_uid=500)
    assert not roles.admits_others
    assert ROLES.admits_others
    assert roles.identify(PeerCredentials(8, frozenset((0, 500)))) is None
