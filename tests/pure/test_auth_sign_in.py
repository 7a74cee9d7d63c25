"""Browser sessions, sign-in codes, failed attempts, and what a browser's headers prove."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.auth.sign_in import (
    CODE_SECONDS,
    IDLE_SECONDS,
    LONGEST_SECONDS,
    MAX_CODES,
    MAX_SESSIONS,
    MAX_SIGN_IN_ADDRESSES,
    MAX_SIGN_IN_FAILURES,
    SIGN_IN_WINDOW_SECONDS,
    BrowserSessions,
    Headers,
    SignInCodes,
    SignInFailures,
    comes_from_own_web_page,
    cookie_name,
    cookie_of,
    may_read,
    session_identity,
)
from camd.rpc.roles import AuthMethod, Principal, Role

UNIX = 1_800_000_000.0
ANN = Principal("ann", Role.OPERATOR, None, AuthMethod.API_KEY, credential="a" * 64)


def begun(sessions: BrowserSessions, identity: Principal = ANN) -> str:
    return sessions.begin(identity, now=0.0, unix_now=UNIX)[0]


def found(sessions: BrowserSessions, cookie: str, now: float) -> Principal | None:
    return sessions.find(cookie, now=now, unix_now=UNIX + now)


# --- sessions


def test_a_session_belongs_to_who_began_it() -> None:
    """Its requests have the name, the role and the key of whoever signed in."""
    sessions = BrowserSessions()
    identity = found(sessions, begun(sessions), 1.0)
    assert identity is not None
    assert (identity.name, identity.role) == ("ann", Role.OPERATOR)
    assert identity.credential == ANN.credential


def test_a_cookie_holds_256_random_bits_and_is_not_kept() -> None:
    """Two are never the same, and neither `repr` of what is kept holds one."""
    sessions = BrowserSessions()
    one, other = begun(sessions), begun(sessions)
    assert one != other
    assert len(one) == 43  # 32 bytes in base64
    assert one not in repr(sessions)
    assert one not in repr(found(sessions, one, 0.0))


def test_a_session_ends_when_it_is_not_used() -> None:
    """Each use counts from anew; after twelve hours without one it is over, for good."""
    sessions = BrowserSessions()
    cookie = begun(sessions)
    assert found(sessions, cookie, IDLE_SECONDS - 1)
    assert found(sessions, cookie, 2 * IDLE_SECONDS - 2)
    assert found(sessions, cookie, 3 * IDLE_SECONDS - 2) is None
    assert found(sessions, cookie, 0.0) is None


def test_a_session_ends_after_a_week_however_much_it_is_used() -> None:
    """Seven days after the sign-in."""
    sessions = BrowserSessions()
    cookie = begun(sessions)
    now = 0.0
    while now < LONGEST_SECONDS - IDLE_SECONDS:
        now += IDLE_SECONDS / 2
        assert found(sessions, cookie, now)
    assert found(sessions, cookie, LONGEST_SECONDS) is None


def test_a_session_ends_with_the_credentials_that_began_it() -> None:
    """A JWT that expires in a minute gives a session of a minute."""
    sessions = BrowserSessions()
    jwt = Principal("ann", Role.VIEWER, UNIX + 60, AuthMethod.JWT)
    cookie = begun(sessions, jwt)
    assert found(sessions, cookie, 59.0)
    assert found(sessions, cookie, 60.0) is None


def test_signing_out_ends_this_session_alone() -> None:
    """Another browser of the same person stays signed in."""
    sessions = BrowserSessions()
    one, other = begun(sessions), begun(sessions)
    identity = found(sessions, one, 0.0)
    assert identity is not None
    sessions.end(identity.browser_session)
    assert not sessions.holds(identity.browser_session)
    assert found(sessions, one, 1.0) is None
    assert found(sessions, other, 1.0)


def test_above_the_limit_the_session_ends_that_was_unused_for_longest() -> None:
    """Whoever signs in is never refused for the number of sessions."""
    sessions = BrowserSessions()
    cookies = [begun(sessions) for _ in range(MAX_SESSIONS)]
    assert found(sessions, cookies[0], 1.0)
    newest = begun(sessions)
    assert len(sessions) == MAX_SESSIONS
    assert found(sessions, cookies[1], 2.0) is None
    assert found(sessions, cookies[0], 2.0)
    assert found(sessions, newest, 2.0)


# --- codes


def test_a_code_works_once_within_a_minute() -> None:
    """A link that was used, or is too old, opens nothing."""
    codes = SignInCodes()
    used, late = codes.create(ANN, now=0.0), codes.create(ANN, now=0.0)
    assert codes.take(used, now=CODE_SECONDS - 0.1) == ANN
    assert codes.take(used, now=CODE_SECONDS - 0.1) is None
    assert codes.take(late, now=CODE_SECONDS) is None
    assert codes.take("", now=0.0) is None


def test_codes_are_bounded() -> None:
    """The oldest is forgotten."""
    codes = SignInCodes()
    made = [codes.create(ANN, now=0.0) for _ in range(MAX_CODES + 1)]
    assert codes.take(made[0], now=1.0) is None
    assert codes.take(made[1], now=1.0) == ANN
    assert made[-1] not in repr(codes)


# --- failures


def test_five_failures_a_minute_are_answered() -> None:
    """Then the address waits until the first of them is a minute old; another one does not."""
    failures = SignInFailures()
    for second in range(MAX_SIGN_IN_FAILURES):
        assert failures.wait_seconds("a", float(second)) == 0.0
        failures.count("a", float(second))
    last = float(MAX_SIGN_IN_FAILURES - 1)
    assert failures.wait_seconds("a", last) == SIGN_IN_WINDOW_SECONDS - last
    assert failures.wait_seconds("b", last) == 0.0
    assert failures.wait_seconds("a", SIGN_IN_WINDOW_SECONDS) == 0.0


@given(st.lists(st.floats(0, 400), max_size=60))
def test_no_minute_has_more_than_five_counted_failures(times: list[float]) -> None:
    """However the attempts come: whoever respects the wait fails five times in any minute."""
    failures, counted = SignInFailures(), []
    for now in sorted(times):
        if failures.wait_seconds("a", now) == 0.0:
            failures.count("a", now)
            counted.append(now)
    for start in counted:
        minute = [each for each in counted if start <= each < start + SIGN_IN_WINDOW_SECONDS]
        assert len(minute) <= MAX_SIGN_IN_FAILURES


def test_counted_addresses_are_bounded() -> None:
    """The one that failed the longest ago is forgotten."""
    failures = SignInFailures()
    for number in range(MAX_SIGN_IN_ADDRESSES + 1):
        for _ in range(MAX_SIGN_IN_FAILURES):
            failures.count(str(number), 0.0)
    assert failures.wait_seconds("0", 0.0) == 0.0
    assert failures.wait_seconds("1", 0.0) > 0.0


# --- headers

HOST = (b"host", b"camera.local:8002")


def headers(*pairs: tuple[bytes, bytes]) -> Headers:
    return (HOST, *pairs)


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (b"http://camera.local:8002", True),
        (b"https://CAMERA.local:8002", True),  # a proxy in front may speak TLS
        (b"http://camera.local:8003", False),
        (b"http://camera.local", False),
        (b"http://evil.example", False),
        (b"http://camera.local:8002.evil.example", False),
        (b"ftp://camera.local:8002", False),
        (b"null", False),
        (b"", False),
    ],
)
def test_only_the_own_origin_counts(origin: bytes, own: bool) -> None:
    """Another port is another page, though browsers send it the same cookies."""
    assert comes_from_own_web_page(headers((b"origin", origin))) is own


def test_an_origin_counts_once_and_next_to_one_host() -> None:
    """What is missing or given twice proves nothing."""
    origin = (b"origin", b"http://camera.local:8002")
    assert not comes_from_own_web_page(headers())
    assert not comes_from_own_web_page(headers(origin, origin))
    assert not comes_from_own_web_page((HOST, HOST, origin))
    assert not comes_from_own_web_page((origin,))


@pytest.mark.parametrize(
    ("fetched", "counts"),
    [(b"same-origin", True), (b"none", True), (b"same-site", False), (b"cross-site", False)],
)
def test_a_picture_that_another_page_embeds_needs_more_than_a_cookie(
    fetched: bytes, counts: bool
) -> None:
    """Sec-Fetch-Site says who embeds; browsers that do not send it are not refused for it."""
    assert may_read(headers((b"sec-fetch-site", fetched))) is counts
    assert may_read(headers())


def test_two_services_of_one_machine_have_cookies_of_their_own() -> None:
    """The name has the port; with TLS, the prefix that binds the cookie to the host."""
    assert cookie_name(headers(), secure=False) == "camd_session_8002"
    assert cookie_name(headers(), secure=True) == "__Host-camd_session_8002"
    assert cookie_name(((b"host", b"camera.local"),), secure=False) == "camd_session"
    assert cookie_name(((b"host", b"x:nonsense"),), secure=False) == "camd_session"
    assert cookie_name((), secure=False) == "camd_session"


def test_a_cookie_is_found_among_others() -> None:
    """One of our name, in any header; two of them are none."""
    one = (b"cookie", b"a=b; camd_session_8002=value; camd_session=other")
    assert cookie_of(headers(one), secure=False) == "value"
    assert cookie_of(headers(one), secure=True) is None
    assert cookie_of(headers(one, one), secure=False) is None
    assert cookie_of(headers((b"cookie", b"\xff;=;;camd_session_8002")), secure=False) == ""


def test_an_upgrade_needs_the_own_origin_and_reading_does_not() -> None:
    """The same cookie, with and without an Origin."""
    sessions = BrowserSessions()
    cookie = (b"cookie", f"camd_session_8002={begun(sessions)}".encode())
    own = (b"origin", b"http://camera.local:8002")

    def known(*pairs: tuple[bytes, bytes], upgrade: bool) -> bool:
        return (
            session_identity(
                sessions, headers(*pairs), secure=False, upgrade=upgrade, now=0.0, unix_now=UNIX
            )
            is not None
        )

    assert known(cookie, own, upgrade=True)
    assert not known(cookie, upgrade=True)
    assert not known(cookie, (b"origin", b"http://camera.local:3000"), upgrade=True)
    assert known(cookie, upgrade=False)
    assert not known(cookie, (b"sec-fetch-site", b"same-site"), upgrade=False)
    assert not known(own, upgrade=True)
