"""Delays after wrong keys, by address and for all addresses together.

A valid key is never refused for them. A client that guesses waits for each answer; new connections
of its address are served half a second later; and while many clients guess, connections are
accepted more slowly.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

import attrs

from camd.auth.tokens import AuthFailure

BURST = 5  # wrong keys of one address that are answered at once
PER_SECOND = 0.5  # after that; faster ones wait
MAX_DELAY_SECONDS = 10.0
MAX_SCORE = 60.0  # of one address, in keys; it is zero again after two minutes
CONNECTION_DELAY_SECONDS = 0.5  # for connections of an address with a high score
ALL_BURST = 50
ALL_PER_SECOND = 5.0
ACCEPT_DELAY_SECONDS = 0.003  # between connections, while the score of all addresses is high
MAX_ADDRESSES = 1024
LOG_SECONDS = 10.0
LOCAL = "local"

# A client without credentials, or with expired ones, does not guess.
_NO_GUESS = (AuthFailure.MISSING, AuthFailure.EXPIRED, AuthFailure.NOT_YET_VALID)


def group_of(host: str | None) -> str:
    """Name the group in which an address is counted: itself, or its /64 for IPv6.

    None: a Unix socket.
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
    """Wrong keys: each adds one, and `per_second` are subtracted with time."""

    per_second: float
    score: float = 0.0
    updated: float = 0.0

    def at(self, now: float) -> float:
        self.score = max(0.0, self.score - (now - self.updated) * self.per_second)
        self.updated = now
        return self.score

    def add(self, now: float, most: float) -> float:
        self.score = min(most, self.at(now) + 1)
        return self.score


@attrs.define(eq=False)
class LoginThrottle:
    """Counts wrong keys. Times are seconds of any monotonic clock."""

    _scores: OrderedDict[str, _FailureScore] = attrs.field(factory=OrderedDict, init=False)
    _all: _FailureScore = attrs.field(factory=lambda: _FailureScore(ALL_PER_SECOND), init=False)
    _unlogged: int = attrs.field(default=0, init=False)
    _last_logged: float = attrs.field(default=float("-inf"), init=False)

    def record_failure(self, address: str, reason: AuthFailure, now: float) -> float:
        """Count a refused key; return by how many seconds its answer is delayed."""
        if reason in _NO_GUESS:
            return 0.0
        score = self._scores.pop(address, None) or _FailureScore(PER_SECOND, updated=now)
        self._scores[address] = score  # at the end: the oldest is removed first
        if len(self._scores) > MAX_ADDRESSES:
            self._scores.popitem(last=False)
        self._all.add(now, 2 * ALL_BURST)
        self._unlogged += 1
        return min(MAX_DELAY_SECONDS, max(0.0, score.add(now, MAX_SCORE) - BURST) / PER_SECOND)

    def connection_delay(self, address: str, now: float) -> float:
        """Return by how many seconds a new connection of `address` is delayed; usually 0."""
        score = self._scores.get(address)
        return CONNECTION_DELAY_SECONDS if score is not None and score.at(now) > BURST else 0.0

    def take_unlogged(self, now: float) -> int:
        """Return how many keys to log now; 0 within LOG_SECONDS of the last time."""
        if not self._unlogged or now - self._last_logged < LOG_SECONDS:
            return 0
        count, self._unlogged, self._last_logged = self._unlogged, 0, now
        return count

    def accept_delay(self, now: float) -> float:
        """Return the seconds between two accepted connections; usually 0."""
        return ACCEPT_DELAY_SECONDS if self._all.at(now) > ALL_BURST else 0.0
