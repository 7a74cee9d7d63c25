"""Limits of connections, delays after wrong keys, host names: decisions without sockets."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.auth.login_throttle import (
    ALL_BURST,
    BURST,
    CONNECTION_DELAY_SECONDS,
    LOCAL,
    LOG_SECONDS,
    MAX_ADDRESSES,
    MAX_DELAY_SECONDS,
    PER_SECOND,
    LoginThrottle,
    group_of,
)
from camd.auth.tokens import AuthFailure
from camd.rpc.roles import ANONYMOUS, AuthMethod, Principal, Role
from camd.runtime.fd_limits import exhausted, socket_limit
from camd.server.rules.connection_limits import MAX_ADDRESSES as MAX_RATED
from camd.server.rules.connection_limits import (
    RESERVED_FOR_ADMINS,
    AddressRates,
    ConnectionLimits,
    LimitedConnection,
    is_own_address,
)
from camd.server.rules.request_validation import is_own, machine_names, own_names

WRONG = AuthFailure.UNKNOWN_KEY


def identity(role: Role) -> Principal:
    return Principal("ann", role, None, AuthMethod.API_KEY)


class OpenConnections:
    """Limits, and the connections that are open."""

    def __init__(self, authenticated: int, unauthenticated: int) -> None:
        self.limits = ConnectionLimits(authenticated, unauthenticated)
        self.open: list[LimitedConnection] = []

    def add(self, address: str) -> LimitedConnection:
        entry = LimitedConnection(address, lambda: self.open.remove(entry))
        self.open.append(entry)
        self.limits.add(entry)
        return entry


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("esl"))))
def test_unauthenticated_connections_are_bounded_and_new_ones_accepted(
    most: int, steps: list[tuple[str, str]]
) -> None:
    """In any order of events: never too many, and the newest connection is open."""
    connections = OpenConnections(2, most)
    authenticated: list[LimitedConnection] = []
    for address, step in steps:
        if step == "e":
            newest = connections.add(address)
            assert newest in connections.open or most == 1
        elif connections.open:
            entry = connections.open[0]
            if step == "s" and connections.limits.mark_authenticated(entry, identity(Role.VIEWER)):
                authenticated.append(entry)
            connections.open.remove(entry)
            if entry not in authenticated:
                connections.limits.remove(entry)
        assert connections.limits.unauthenticated == len(connections.open) <= most
        assert connections.limits.authenticated == len(authenticated) <= 2


def test_the_address_with_most_connections_loses_its_oldest() -> None:
    """Many connections of one address close each other, the oldest first."""
    connections = OpenConnections(10, 4)
    lone = connections.add("192.0.2.1")
    many = [connections.add("203.0.113.9") for _ in range(9)]
    assert connections.open == [lone, *many[-3:]]
    assert connections.limits.refused_count == 6


def test_a_connection_with_a_wrong_key_is_closed_first() -> None:
    """Clients that guess keys do not displace one that has not sent a key yet."""
    connections = OpenConnections(10, 4)
    first, *guessing = [connections.add("203.0.113.9") for _ in range(4)]
    for entry in guessing:
        connections.limits.mark_wrong_key(entry)
    for _ in range(3):
        connections.add("203.0.113.9")
    assert first in connections.open
    assert not set(guessing) & set(connections.open)
    connections.limits.mark_wrong_key(guessing[0])  # closed already: nothing happens


def test_connections_above_the_limit_are_for_administrators_with_a_key() -> None:
    """Others are refused, and so are all clients while authentication is off."""
    limits = ConnectionLimits(1, 10)
    guests = [LimitedConnection("a", lambda: None) for _ in range(RESERVED_FOR_ADMINS + 4)]
    for entry in guests:
        limits.add(entry)
    assert limits.mark_authenticated(guests[0], identity(Role.VIEWER))
    assert limits.mark_authenticated(guests[0], identity(Role.VIEWER))  # again: nothing changes
    assert not limits.mark_authenticated(guests[1], identity(Role.OPERATOR))
    assert not limits.mark_authenticated(guests[1], ANONYMOUS)
    for entry in guests[2 : RESERVED_FOR_ADMINS + 2]:
        assert limits.mark_authenticated(entry, identity(Role.ADMIN))
    assert not limits.mark_authenticated(guests[-1], identity(Role.ADMIN))
    limits.remove(guests[2])
    assert limits.mark_authenticated(guests[-1], identity(Role.ADMIN))


def test_more_wrong_keys_wait_longer() -> None:
    """A few are answered at once, then at the rate; other addresses do not wait."""
    throttle = LoginThrottle()
    assert [throttle.record_failure("a", WRONG, 0.0) for _ in range(BURST)] == [0.0] * BURST
    assert throttle.record_failure("a", WRONG, 0.0) == 1 / PER_SECOND
    assert max(throttle.record_failure("a", WRONG, 0.0) for _ in range(1000)) == MAX_DELAY_SECONDS
    assert throttle.record_failure("b", WRONG, 0.0) == 0.0
    assert throttle.connection_delay("a", 0.0) == CONNECTION_DELAY_SECONDS
    assert throttle.connection_delay("b", 0.0) == throttle.connection_delay("c", 0.0) == 0.0
    assert throttle.record_failure("a", WRONG, 130.0) == 0.0  # two minutes later
    assert throttle.connection_delay("a", 130.0) == 0.0


def test_no_key_and_an_expired_key_are_no_guesses() -> None:
    """They are refused, but neither delayed nor logged."""
    throttle = LoginThrottle()
    for reason in (AuthFailure.MISSING, AuthFailure.EXPIRED, AuthFailure.NOT_YET_VALID):
        assert not any(throttle.record_failure("a", reason, 0.0) for _ in range(1000))
    assert throttle.take_unlogged(0.0) == 0


def test_wrong_keys_of_many_addresses_delay_all_connections() -> None:
    """Wrong keys of all addresses are counted together; the table of addresses is bounded."""
    throttle = LoginThrottle()
    for number in range(ALL_BURST):
        throttle.record_failure(f"198.51.100.{number}", WRONG, 0.0)
    assert throttle.accept_delay(0.0) == 0.0
    for number in range(3 * MAX_ADDRESSES):
        throttle.record_failure(f"2001:db8:{number:x}::/64", WRONG, 0.0)
    assert throttle.accept_delay(0.0) > 0
    assert len(throttle._scores) == MAX_ADDRESSES
    assert throttle.accept_delay(3600.0) == 0.0


def test_wrong_keys_are_logged_at_once_and_then_summed_up() -> None:
    """The first wrong key is logged; later ones are counted until the next line."""
    throttle, logged = LoginThrottle(), []
    for tenth in range(int(LOG_SECONDS * 10 * 3)):
        throttle.record_failure("a", WRONG, tenth / 10)
        if count := throttle.take_unlogged(tenth / 10):
            logged.append((tenth / 10, count))
    assert logged == [(0.0, 1), (LOG_SECONDS, 100), (2 * LOG_SECONDS, 100)]


@pytest.mark.parametrize(
    ("host", "group"),
    [
        (None, LOCAL),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_an_ipv6_address_counts_with_its_network(host: str | None, group: str) -> None:
    """A /64 of IPv6 counts as one address."""
    assert group_of(host) == group


def test_own_names_are_loopback_addresses_and_configured_names() -> None:
    """Other host names are not, even when they contain ours."""
    names = own_names(("Recorder.local",), ("0.0.0.0:8002", "nvr:8002", "unix:/run/camd.sock"))
    ours = ("localhost:1", "127.0.0.1", "[::1]:8002", "192.0.2.9:8002", "recorder.LOCAL.", "nvr")
    assert all(is_own(host, names) for host in ours)
    others = (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "0x7f000001",
        "",
        "[",
        "@",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "localhost#evil.example",
        "localhost?evil.example",
        "localhost:8002:80",
        "localhost:8002x",
        "local host",
        "localhost,evil.example",
        "127.1",
        "2130706433",
    )
    assert not any(is_own(host, names) for host in others)


def test_names_of_the_machine_come_from_its_files() -> None:
    """The node name, its search domains and the names beside it in hosts(5) are our own."""
    hosts = (
        "127.0.0.1 localhost\n# 127.0.1.1 recorder old.example\n"
        "127.0.1.1 recorder.example.org Recorder nvr # recorder\n\n10.0.0.9 other.example\n"
    )
    resolver = "nameserver 10.0.0.1\nsearch lan example.net.\noptions ndots:1\n"
    assert machine_names("Recorder", hosts, resolver) == (
        *("nvr", "recorder", "recorder.example.net", "recorder.example.org", "recorder.lan"),
        "recorder.local",
    )
    assert machine_names("cam.example.org", "", "") == ("cam", "cam.example.org", "cam.local")
    assert machine_names("", "\n:::\n", "search") == ()
    assert machine_names("a", "x", "domain .") == ("a", "a.local")


def test_one_address_has_a_part_of_the_connections() -> None:
    """Its oldest one is closed for a new one; this machine's own addresses may have all."""
    connections = OpenConnections(2, 10)
    connections.limits.max_unauthenticated_per_address = 2
    other, *ours = [connections.add(address) for address in "baaa"]
    assert connections.open == [other, *ours[1:]]
    local = [connections.add("127.0.0.1") for _ in range(5)]
    assert connections.open == [other, *ours[1:], *local]


def test_authenticated_connections_of_an_address_are_counted_exactly() -> None:
    """Whoever leaves makes room; counting one twice or removing one twice changes nothing."""
    limits = ConnectionLimits(max_authenticated_per_address=2)
    viewer, admin = identity(Role.VIEWER), identity(Role.ADMIN)
    entries = [LimitedConnection("a", lambda: None) for _ in range(4)]
    assert [limits.mark_authenticated(each, viewer) for each in entries[:3]] == [True, True, False]
    assert limits.mark_authenticated(entries[0], viewer)
    assert limits.mark_authenticated(entries[3], admin)
    for entry in (entries[3], entries[1], entries[1]):
        limits.remove(entry)
    assert limits.mark_authenticated(entries[2], viewer)
    assert not limits.mark_authenticated(entries[1], viewer)


@pytest.mark.parametrize(
    ("address", "own"),
    [
        *((group_of(host), True) for host in (None, "127.0.0.1", "127.9.9.9", "::1")),
        *((group_of(host), False) for host in ("192.0.2.1", "10.0.0.1", "2001:db8::1", "odd")),
    ],
)
def test_addresses_of_this_machine_alone(address: str, own: bool) -> None:
    """Loopback and Unix sockets are; others are not."""
    assert is_own_address(address) == own


def test_addresses_whose_requests_are_counted_are_bounded() -> None:
    """The address that was quiet longest is forgotten, one that goes on asking is not."""
    rates = AddressRates(1)
    assert rates.take("busy", 0.0) == 0
    for number in range(3 * MAX_RATED):
        assert rates.take(str(number), 0.0) == 0
        assert rates.take("busy", 0.0) == 60_000
    assert rates.take("0", 0.0) == 0


def test_clients_leave_descriptors_for_recordings() -> None:
    """Clients, each with a file open, leave what recordings need, also with a low limit."""
    assert socket_limit(1024) == 256
    assert socket_limit(1_000_000) > 100_000
    for limit in range(64, 5000, 7):
        assert limit - 2 * socket_limit(limit) >= min(512, limit // 2) - 16


def test_only_a_lack_of_descriptors_counts_as_one() -> None:
    """A group counts when it contains nothing else."""
    short, other = OSError(errno.EMFILE, ""), OSError(errno.EIO, "")
    assert exhausted(short)
    assert exhausted(ExceptionGroup("", [short, ExceptionGroup("", [OSError(errno.ENFILE, "")])]))
    assert not exhausted(ExceptionGroup("", [short, other]))
    assert not exhausted(other)
