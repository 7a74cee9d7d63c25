"""Who may stay connected, and how wrong keys are slowed down: decisions without sockets."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.auth.login_throttle import (
    ALL_BURST,
    BURST,
    HESITATION_SECONDS,
    LOCAL,
    LOG_SECONDS,
    LONGEST_SECONDS,
    MOST_ADDRESSES,
    PER_SECOND,
    LoginThrottle,
    group_of,
)
from camd.auth.tokens import AuthFailure
from camd.rpc.roles import ANONYMOUS, AuthMethod, Principal, Role
from camd.runtime.fd_limits import exhausted, for_sockets
from camd.server.rules.connection_limits import KEPT, ConnectionLimits, LimitedConnection
from camd.server.rules.upgrade import is_own, own_names

WRONG = AuthFailure.UNKNOWN_KEY


def identity(role: Role) -> Principal:
    return Principal("ann", role, None, AuthMethod.API_KEY)


class CamerasRig:
    """Places, and the guests that are in."""

    def __init__(self, known: int, strangers: int) -> None:
        self.places = ConnectionLimits(known, strangers)
        self.inside: list[LimitedConnection] = []

    def enter(self, address: str) -> LimitedConnection:
        guest = LimitedConnection(address, lambda: self.inside.remove(guest))
        self.inside.append(guest)
        self.places.enter(guest)
        return guest


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("esl"))))
def test_strangers_are_bounded_and_newcomers_get_in(
    most: int, steps: list[tuple[str, str]]
) -> None:
    """However they come, settle and leave: never too many, and whoever comes last is in."""
    rig = CamerasRig(2, most)
    settled: list[LimitedConnection] = []
    for address, step in steps:
        if step == "e":
            newest = rig.enter(address)
            assert newest in rig.inside or most == 1
        elif rig.inside:
            guest = rig.inside[0]
            if step == "s" and rig.places.settle(guest, identity(Role.VIEWER)):
                settled.append(guest)
            rig.inside.remove(guest)
            if guest not in settled:
                rig.places.leave(guest)
        assert rig.places.strangers == len(rig.inside) <= most
        assert rig.places.known == len(settled) <= 2


def test_the_busiest_address_makes_room() -> None:
    """A crowd from one address sends its own members away, the oldest first."""
    rig = CamerasRig(10, 4)
    lone = rig.enter("192.0.2.1")
    crowd = [rig.enter("203.0.113.9") for _ in range(9)]
    assert rig.inside == [lone, *crowd[-3:]]
    assert rig.places.turned_away == 6


def test_who_has_shown_a_wrong_key_makes_room_first() -> None:
    """Guesses that wait for their answer do not push out who has not shown a key yet."""
    rig = CamerasRig(10, 4)
    first, *guessing = [rig.enter("203.0.113.9") for _ in range(4)]
    for guest in guessing:
        rig.places.demote(guest)
    for _ in range(3):
        rig.enter("203.0.113.9")
    assert first in rig.inside
    assert not set(guessing) & set(rig.inside)
    rig.places.demote(guessing[0])  # has gone: nothing happens


def test_places_beyond_the_limit_are_for_administrators_with_a_key() -> None:
    """Others are refused there, and so is everybody when authentication is off."""
    places = ConnectionLimits(1, 10)
    guests = [LimitedConnection("a", lambda: None) for _ in range(KEPT + 4)]
    for guest in guests:
        places.enter(guest)
    assert places.settle(guests[0], identity(Role.VIEWER))
    assert places.settle(guests[0], identity(Role.VIEWER))  # again: nothing changes
    assert not places.settle(guests[1], identity(Role.OPERATOR))
    assert not places.settle(guests[1], ANONYMOUS)
    for guest in guests[2 : KEPT + 2]:
        assert places.settle(guest, identity(Role.ADMIN))
    assert not places.settle(guests[-1], identity(Role.ADMIN))
    places.leave(guests[2])
    assert places.settle(guests[-1], identity(Role.ADMIN))


def test_wrong_keys_wait_longer_the_more_there_are() -> None:
    """A few at once, then as many as the rate allows; another address waits for nothing."""
    failures = LoginThrottle()
    assert [failures.note("a", WRONG, 0.0) for _ in range(BURST)] == [0.0] * BURST
    assert failures.note("a", WRONG, 0.0) == 1 / PER_SECOND
    assert max(failures.note("a", WRONG, 0.0) for _ in range(1000)) == LONGEST_SECONDS
    assert failures.note("b", WRONG, 0.0) == 0.0
    assert failures.hesitation("a", 0.0) == HESITATION_SECONDS
    assert failures.hesitation("b", 0.0) == failures.hesitation("c", 0.0) == 0.0
    assert failures.note("a", WRONG, 130.0) == 0.0  # two minutes later
    assert failures.hesitation("a", 130.0) == 0.0


def test_no_key_and_an_old_key_are_no_guess() -> None:
    """They are refused, and neither slowed down nor logged."""
    failures = LoginThrottle()
    for reason in (AuthFailure.MISSING, AuthFailure.EXPIRED, AuthFailure.NOT_YET_VALID):
        assert not any(failures.note("a", reason, 0.0) for _ in range(1000))
    assert failures.unsaid(0.0) == 0


def test_many_addresses_slow_connections_down_and_take_no_memory() -> None:
    """Guesses from everywhere are counted together; the table of addresses is bounded."""
    failures = LoginThrottle()
    for number in range(ALL_BURST):
        failures.note(f"198.51.100.{number}", WRONG, 0.0)
    assert failures.pace(0.0) == 0.0
    for number in range(3 * MOST_ADDRESSES):
        failures.note(f"2001:db8:{number:x}::/64", WRONG, 0.0)
    assert failures.pace(0.0) > 0
    assert len(failures._debts) == MOST_ADDRESSES
    assert failures.pace(3600.0) == 0.0


def test_the_log_says_at_once_and_then_seldom() -> None:
    """The first wrong key is said, the others are counted until the next line."""
    failures, said = LoginThrottle(), []
    for tenth in range(int(LOG_SECONDS * 10 * 3)):
        failures.note("a", WRONG, tenth / 10)
        if count := failures.unsaid(tenth / 10):
            said.append((tenth / 10, count))
    assert said == [(0.0, 1), (LOG_SECONDS, 100), (2 * LOG_SECONDS, 100)]


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
def test_an_address_counts_as_whom_it_belongs_to(host: str | None, group: str) -> None:
    """One person has a whole /64 of IPv6."""
    assert group_of(host) == group


def test_our_names_are_loopback_addresses_and_what_is_configured() -> None:
    """Names of others are not ours, however they look."""
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
    )
    assert not any(is_own(host, names) for host in others)


def test_recordings_keep_their_descriptors() -> None:
    """Clients, each with a file open, leave what recordings need, also where there are few."""
    assert for_sockets(1024) == 256
    assert for_sockets(1_000_000) > 100_000
    for limit in range(64, 5000, 7):
        assert limit - 2 * for_sockets(limit) >= min(512, limit // 2) - 16


def test_only_a_want_of_descriptors_counts_as_one() -> None:
    """Groups count when nothing else is in them."""
    short, other = OSError(errno.EMFILE, ""), OSError(errno.EIO, "")
    assert exhausted(short)
    assert exhausted(ExceptionGroup("", [short, ExceptionGroup("", [OSError(errno.ENFILE, "")])]))
    assert not exhausted(ExceptionGroup("", [short, other]))
    assert not exhausted(other)
