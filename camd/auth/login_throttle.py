"""How wrong keys are slowed down: by the address that they come from, and all together.

A right key is never refused here: a client that guesses waits for each answer, new connections of
its address are served half a second later, and while many guess all are taken more slowly.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

import attrs

from camd.auth.tokens import AuthFailure

BURST = 5  # wrong keys of one address that are answered at once
PER_SECOND = 0.5  # after that; what is faster waits …
LONGEST_SECONDS = 10.0  # … for so long at most
MOST_DEBT = 60.0  # keys of one address that are remembered: it is forgiven after two minutes
HESITATION_SECONDS = 0.5  # before a connection is served whose address is too fast
ALL_BURST = 50
ALL_PER_SECOND = 5.0
PACE_SECONDS = 0.003  # between two connections, while all together are too fast
MOST_ADDRESSES = 1024
LOG_SECONDS = 10.0
LOCAL = "local"

# A client without credentials, or with old ones, does not guess.
_NO_GUESS = (AuthFailure.MISSING, AuthFailure.EXPIRED, AuthFailure.NOT_YET_VALID)


def group_of(host: str | None) -> str:
    """Name the group that an address is counted with: itself, or for IPv6 its /64.

    None stands for a Unix socket.
    """
    if host is None:
        return LOCAL
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


@attrs.define(eq=False)
class _FailureScore:
    """Grows by one with each wrong key and shrinks with time, in keys."""

    per_second: float
    keys: float = 0.0
    updated: float = 0.0

    def at(self, now: float) -> float:
        self.keys = max(0.0, self.keys - (now - self.updated) * self.per_second)
        self.updated = now
        return self.keys

    def add(self, now: float, most: float) -> float:
        self.keys = min(most, self.at(now) + 1)
        return self.keys


@attrs.define(eq=False)
class LoginThrottle:
    """Counts wrong keys. Times are seconds of any clock that does not step."""

    _debts: OrderedDict[str, _FailureScore] = attrs.field(factory=OrderedDict, init=False)
    _all: _FailureScore = attrs.field(factory=lambda: _FailureScore(ALL_PER_SECOND), init=False)
    _unsaid: int = attrs.field(default=0, init=False)
    _said: float = attrs.field(default=float("-inf"), init=False)

    def note(self, address: str, reason: AuthFailure, now: float) -> float:
        """Count one; give the seconds that its answer has to wait."""
        if reason in _NO_GUESS:
            return 0.0
        debt = self._debts.pop(address, None) or _FailureScore(PER_SECOND, updated=now)
        self._debts[address] = debt  # the latest is the last
        if len(self._debts) > MOST_ADDRESSES:
            self._debts.popitem(last=False)
        self._all.add(now, 2 * ALL_BURST)
        self._unsaid += 1
        return min(LONGEST_SECONDS, max(0.0, debt.add(now, MOST_DEBT) - BURST) / PER_SECOND)

    def hesitation(self, address: str, now: float) -> float:
        """Give the seconds before a connection from `address` is served: 0 for most."""
        debt = self._debts.get(address)
        return HESITATION_SECONDS if debt is not None and debt.at(now) > BURST else 0.0

    def unsaid(self, now: float) -> int:
        """Give how many were counted since this was last asked; 0 when that is too soon."""
        if not self._unsaid or now - self._said < LOG_SECONDS:
            return 0
        count, self._unsaid, self._said = self._unsaid, 0, now
        return count

    def pace(self, now: float) -> float:
        """Give the seconds between two connections: 0 unless there are many wrong keys."""
        return PACE_SECONDS if self._all.at(now) > ALL_BURST else 0.0
