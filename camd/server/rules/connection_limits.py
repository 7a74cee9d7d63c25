"""How many connections may be open, which one is closed when there are too many, and rates.

Connections that have not authenticated, WebSocket or HTTP, have a limit of their own. Above it, the
oldest one of the address with the most of them is closed, so that a new one is always accepted: a
client with a key authenticates within milliseconds. Connections that sent a wrong key go first.

One address may have a part of the connections only. This machine's own addresses may have all of
them: a reverse proxy brings every client from there.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter, OrderedDict
from collections.abc import Callable

import attrs

from camd.auth.login_throttle import LOCAL
from camd.rpc.roles import AuthMethod, Principal, Role

MAX_ADDRESSES = 1024  # whose requests are counted
RESERVED_FOR_ADMINS = 8  # above the limit, for administrators and the local command line


@attrs.define(eq=False)
class LimitedConnection:
    """One connection; `close` ends it, and is replaced when it becomes a WebSocket."""

    address: str  # as `group_of` names it
    close: Callable[[], None]


@attrs.define(eq=False)
class ConnectionLimits:
    """The open connections of one server, counted."""

    max_authenticated: int = 1000
    max_unauthenticated: int = 256
    max_authenticated_per_address: int = 256
    max_unauthenticated_per_address: int = 64
    refused_count: int = attrs.field(default=0, init=False)  # closed or refused for a limit
    _unauthenticated: dict[str, OrderedDict[LimitedConnection, None]] = attrs.field(
        factory=dict, init=False
    )  # by address
    _count: int = attrs.field(default=0, init=False)  # of unauthenticated ones
    _authenticated: set[LimitedConnection] = attrs.field(factory=set, init=False)
    _by_address: Counter[str] = attrs.field(factory=Counter, init=False)  # authenticated ones

    @property
    def unauthenticated(self) -> int:
        """How many connections have not authenticated."""
        return self._count

    @property
    def authenticated(self) -> int:
        """How many connections have authenticated."""
        return len(self._authenticated)

    def add(self, connection: LimitedConnection) -> None:
        """Count a new connection; above the limit, close another one."""
        same_address = self._unauthenticated.setdefault(connection.address, OrderedDict())
        same_address[connection] = None
        self._count += 1
        too_many = len(same_address) > self.max_unauthenticated_per_address
        if too_many and not is_own_address(connection.address):
            self._close_first(same_address)
        elif self._count > self.max_unauthenticated:
            self.close_oldest()

    def close_oldest(self) -> None:
        """Close the oldest unauthenticated connection of the address with the most of them."""
        if self._unauthenticated:
            self._close_first(max(self._unauthenticated.values(), key=len))

    def _close_first(self, same_address: OrderedDict[LimitedConnection, None]) -> None:
        connection = next(iter(same_address))
        self._forget_unauthenticated(connection)
        self.refused_count += 1
        connection.close()

    def mark_wrong_key(self, connection: LimitedConnection) -> None:
        """Let this connection be the first of its address to be closed."""
        same_address = self._unauthenticated.get(connection.address)
        if same_address is not None and connection in same_address:
            same_address.move_to_end(connection, last=False)

    def mark_authenticated(self, connection: LimitedConnection, identity: Principal) -> bool:
        """Count a connection as authenticated; False when there are too many."""
        if connection in self._authenticated:
            return True
        admin = identity.role is Role.ADMIN and identity.via is not AuthMethod.ANONYMOUS
        reserved = RESERVED_FOR_ADMINS if admin else 0
        full = len(self._authenticated) >= self.max_authenticated + reserved
        if full or not (admin or self._has_room(connection.address)):
            self.refused_count += 1
            return False
        self._forget_unauthenticated(connection)
        self._authenticated.add(connection)
        self._by_address[connection.address] += 1
        return True

    def _has_room(self, address: str) -> bool:
        """Whether one more connection of this address may authenticate."""
        own = is_own_address(address)
        return own or self._by_address[address] < self.max_authenticated_per_address

    def remove(self, connection: LimitedConnection) -> None:
        """Stop counting a connection; does nothing when it is not counted."""
        if connection in self._authenticated:
            self._authenticated.remove(connection)
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]
        self._forget_unauthenticated(connection)

    def _forget_unauthenticated(self, connection: LimitedConnection) -> None:
        same_address = self._unauthenticated.get(connection.address)
        if same_address is None or connection not in same_address:
            return
        del same_address[connection]
        self._count -= 1
        if not same_address:
            del self._unauthenticated[connection.address]


def is_own_address(address: str) -> bool:
    """Whether an address, as `group_of` names it, is one of this machine alone."""
    if address == LOCAL:
        return True
    try:
        return ipaddress.ip_network(address).network_address.is_loopback or address == "::/64"
    except ValueError:
        return False


# --- The calls of one client, the requests of one address


@attrs.define(eq=False)
class TokenBucket:
    """Allows `per_minute` calls at once and as many in each minute; 0: no limit.

    Times are seconds of any monotonic clock.
    """

    per_minute: int
    _tokens: float = attrs.field(init=False)
    _updated: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.per_minute)

    def take(self, now: float) -> int:
        """Take one call: 0 when it is allowed, else the milliseconds to wait."""
        if self.per_minute <= 0:
            return 0
        if self._updated is not None:
            earned = (now - self._updated) * self.per_minute / 60
            self._tokens = min(float(self.per_minute), self._tokens + earned)
        self._updated = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return max(1, math.ceil((1 - self._tokens) * 60_000 / self.per_minute))


@attrs.define(eq=False)
class AddressRates:
    """A bucket of requests for each address; at most MAX_ADDRESSES are remembered.

    The address that was quiet longest is forgotten first.
    """

    per_minute: int
    _buckets: OrderedDict[str, TokenBucket] = attrs.field(factory=OrderedDict, init=False)

    def take(self, address: str, now: float) -> int:
        """Take one request of `address`: 0 when it is allowed, else the milliseconds to wait."""
        bucket = self._buckets.pop(address, None) or TokenBucket(self.per_minute)
        self._buckets[address] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket.take(now)
