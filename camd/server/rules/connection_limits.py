"""Who may stay connected: few who have not shown a key, and places kept for administrators.

Strangers are connections that have not authenticated, WebSocket or HTTP. When there are too many of
them, the oldest one of the address that has the most is closed, so that a new one always gets in: a
client with a key shows it within milliseconds. One that has shown a wrong key is closed first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs

from camd.rpc.roles import AuthMethod, Principal, Role

KEPT = 8  # beyond the limit, for administrators with a key and for the local command line


@attrs.define(eq=False)
class LimitedConnection:
    """One connection; `send_away` ends it, and may be replaced as it becomes something else."""

    address: str  # as `group_of` names it
    send_away: Callable[[], None]


@attrs.define(eq=False)
class ConnectionLimits:
    """The places of one server."""

    most_known: int = 1000
    most_strangers: int = 256
    turned_away: int = attrs.field(default=0, init=False)
    _strangers: dict[str, OrderedDict[LimitedConnection, None]] = attrs.field(
        factory=dict, init=False
    )
    _count: int = attrs.field(default=0, init=False)  # of strangers
    _known: set[LimitedConnection] = attrs.field(factory=set, init=False)

    @property
    def strangers(self) -> int:
        """How many have not authenticated."""
        return self._count

    @property
    def known(self) -> int:
        """How many have."""
        return len(self._known)

    def enter(self, guest: LimitedConnection) -> None:
        """Let a stranger in; when there are too many, another one is sent away."""
        self._strangers.setdefault(guest.address, OrderedDict())[guest] = None
        self._count += 1
        if self._count > self.most_strangers:
            self.make_room()

    def make_room(self) -> None:
        """Send the oldest stranger away, of the address that has the most of them."""
        if not self._strangers:
            return
        crowd = max(self._strangers.values(), key=len)
        guest = next(iter(crowd))
        self._forget_stranger(guest)
        self.turned_away += 1
        guest.send_away()

    def demote(self, guest: LimitedConnection) -> None:
        """Let a stranger be the first to go: a wrong key was shown."""
        crowd = self._strangers.get(guest.address)
        if crowd is not None and guest in crowd:
            crowd.move_to_end(guest, last=False)

    def settle(self, guest: LimitedConnection, identity: Principal) -> bool:
        """Give a guest who has shown a key a place of the others; False: there is none."""
        if guest in self._known:
            return True
        administers = identity.role is Role.ADMIN and identity.via is not AuthMethod.ANONYMOUS
        if len(self._known) >= self.most_known + (KEPT if administers else 0):
            self.turned_away += 1
            return False
        self._forget_stranger(guest)
        self._known.add(guest)
        return True

    def leave(self, guest: LimitedConnection) -> None:
        """Free a guest's place; fine when it has none any more."""
        self._known.discard(guest)
        self._forget_stranger(guest)

    def _forget_stranger(self, guest: LimitedConnection) -> None:
        crowd = self._strangers.get(guest.address)
        if crowd is None or guest not in crowd:
            return
        del crowd[guest]
        self._count -= 1
        if not crowd:
            del self._strangers[guest.address]
