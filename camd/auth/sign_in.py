"""Sign-in of the web page: sessions, known by a cookie, and codes that open one session each.

Nothing is stored: a restart of the service ends all sessions. A cookie and a code hold 256 random
bits; only their SHA-256 is kept. Times are seconds: `now` of any monotonic clock, `unix_now` since
1970.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from urllib.parse import urlsplit

import attrs

from camd.auth.key_file import digest
from camd.rpc.roles import Principal

MAX_SESSIONS = 1000  # the one that was not used for the longest time ends
IDLE_SECONDS = 12 * 3600.0
LONGEST_SECONDS = 7 * 24 * 3600.0
MAX_CODES = 64  # the oldest is forgotten
CODE_SECONDS = 60.0
MAX_SIGN_IN_FAILURES = 5  # of one address within SIGN_IN_WINDOW_SECONDS
SIGN_IN_WINDOW_SECONDS = 60.0
MAX_SIGN_IN_ADDRESSES = 1024

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case


# --- Sessions.


@attrs.define(eq=False)
class _BrowserSession:
    identity: Principal
    used: float


@attrs.define(eq=False)
class BrowserSessions:
    """The sessions of people who have signed in."""

    _sessions: OrderedDict[str, _BrowserSession] = attrs.field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        """Return the number of sessions, those included that have ended by themselves."""
        return len(self._sessions)

    def begin(self, identity: Principal, *, now: float, unix_now: float) -> tuple[str, Principal]:
        """Begin a session; return the value of its cookie, and who its requests come from."""
        cookie = secrets.token_urlsafe(32)
        session = digest(cookie)
        ends = unix_now + LONGEST_SECONDS
        expires_at = ends if identity.expires_at is None else min(ends, identity.expires_at)
        identity = attrs.evolve(identity, expires_at=expires_at, browser_session=session)
        self._sessions[session] = _BrowserSession(identity, now)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie, identity

    def find(self, cookie: str, *, now: float, unix_now: float) -> Principal | None:
        """Return who a cookie belongs to, and count it as used; None: to nobody."""
        return self.use(digest(cookie), now=now, unix_now=unix_now)

    def use(self, session: str, *, now: float, unix_now: float) -> Principal | None:
        """Count a session as used; return whose it is, or None when it has ended."""
        found = self._sessions.get(session)
        if found is None:
            return None
        if now - found.used >= IDLE_SECONDS or found.identity.expired(unix_now):
            del self._sessions[session]
            return None
        found.used = now
        self._sessions.move_to_end(session)
        return found.identity

    def holds(self, session: str) -> bool:
        """Whether this session has not been ended."""
        return session in self._sessions

    def end(self, session: str) -> None:
        """End a session."""
        self._sessions.pop(session, None)


# --- Codes.


@attrs.define(eq=False)
class SignInCodes:
    """Codes that are valid once, for CODE_SECONDS."""

    _codes: OrderedDict[str, tuple[Principal, float]] = attrs.field(
        factory=OrderedDict, init=False, repr=False
    )

    def create(self, identity: Principal, *, now: float) -> str:
        """Make a code with which one session of `identity` can be begun."""
        code = secrets.token_urlsafe(32)
        self._codes[digest(code)] = (identity, now + CODE_SECONDS)
        if len(self._codes) > MAX_CODES:
            self._codes.popitem(last=False)
        return code

    def take(self, code: str, *, now: float) -> Principal | None:
        """Use up a code; None: there is none such, it was used, or it is too old."""
        identity, until = self._codes.pop(digest(code), (None, now))
        return identity if now < until else None


# --- Failures.


@attrs.define(eq=False)
class SignInFailures:
    """Counts failed attempts to sign in, by the address group of `login_throttle.group_of`."""

    _failed: OrderedDict[str, tuple[float, ...]] = attrs.field(factory=OrderedDict, init=False)

    def wait_seconds(self, address: str, now: float) -> float:
        """Return after how many seconds this address may try again; 0: at once."""
        recent = self._recent(address, now)
        if len(recent) < MAX_SIGN_IN_FAILURES:
            return 0.0
        return recent[-MAX_SIGN_IN_FAILURES] + SIGN_IN_WINDOW_SECONDS - now

    def count(self, address: str, now: float) -> None:
        """Count a failed attempt."""
        recent = self._recent(address, now)
        self._failed[address] = (*recent, now)[-MAX_SIGN_IN_FAILURES:]
        self._failed.move_to_end(address)
        if len(self._failed) > MAX_SIGN_IN_ADDRESSES:
            self._failed.popitem(last=False)

    def _recent(self, address: str, now: float) -> tuple[float, ...]:
        times = self._failed.get(address, ())
        return tuple(each for each in times if now - each < SIGN_IN_WINDOW_SECONDS)


# --- What a browser sends.


def cookie_name(headers: Headers, *, secure: bool) -> str:
    """Return the name of our cookie for the host of a request.

    Cookies do not belong to a port, so the name has it: two services on one machine do not sign
    each other's users out. With TLS, the prefix makes browsers refuse one set by another host.
    """
    try:
        port = urlsplit(f"//{_sole(headers, b'host')}").port
    except ValueError:
        port = None
    return f"{'__Host-' if secure else ''}camd_session{'' if port is None else f'_{port}'}"


def cookie_of(headers: Headers, *, secure: bool) -> str | None:
    """Return the value of our cookie; None when there is none, or more than one."""
    name = cookie_name(headers, secure=secure)
    pairs = [
        pair.strip().partition("=")
        for key, value in headers
        if key == b"cookie"
        for pair in value.decode("latin-1").split(";")
    ]
    found = [value for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 else None


def comes_from_own_web_page(headers: Headers) -> bool:
    """Whether a request names as its Origin the host, with port, that it is sent to.

    Browsers send a cookie with requests of web pages of the same host at any port,
    `SameSite=Strict` or not. So a cookie counts for an upgrade or a change only together with our
    own origin.
    """
    origin, host = _sole(headers, b"origin"), _sole(headers, b"host")
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and authority != "" and authority == host.lower()


def may_read(headers: Headers) -> bool:
    """Whether a cookie counts for a request to read: not where another web page embeds it."""
    return _sole(headers, b"sec-fetch-site") in ("", "same-origin", "none")


def _sole(headers: Headers, name: bytes) -> str:
    """Return the value of a header; empty when it is missing or given twice."""
    found = [value.decode("latin-1").strip() for key, value in headers if key == name]
    return found[0] if len(found) == 1 else ""


def session_identity(
    sessions: BrowserSessions,
    headers: Headers,
    *,
    secure: bool,
    upgrade: bool,
    now: float,
    unix_now: float,
) -> Principal | None:
    """Return who a request comes from, by its cookie; None: the cookie says nothing.

    `secure`: it came over TLS. `upgrade`: it asks for a WebSocket, which needs our own Origin.
    """
    allowed = comes_from_own_web_page(headers) if upgrade else may_read(headers)
    cookie = cookie_of(headers, secure=secure)
    if not allowed or cookie is None:
        return None
    return sessions.find(cookie, now=now, unix_now=unix_now)
