"""Identify callers by credentials of any kind: the key file and the JWT secret."""

from __future__ import annotations

import errno
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import structlog
import trio

from camd.auth.key_file import (
    KEYS_FILE,
    ApiKey,
    KeyFile,
    KeyFileError,
    find_api_key,
    make_first_key,
)
from camd.auth.login_throttle import LoginThrottle
from camd.auth.peer_roles import PeerRoles, resolve_peers
from camd.auth.sign_in import (
    BrowserSessions,
    Headers,
    SignInCodes,
    SignInFailures,
    session_identity,
)
from camd.auth.tokens import AuthFailure, InvalidCredentialsError, validate_token
from camd.clock import Clock
from camd.config.schema import AuthConfig
from camd.errors import ConfigError
from camd.rpc.roles import ANONYMOUS, AuthMethod, Principal
from camd.runtime.aligned_sleep import sleep_aligned
from camd.runtime.folders.access_advice import explain_access, explain_error
from camd.runtime.small_files import read_small_file

_REFRESH_SECONDS = 2.0
_RETRY_SECONDS = 10.0
_SECRET_BYTES = 64 * 1024
_log = structlog.get_logger("camd.auth")


@attrs.define(eq=False)
class FirstKey:
    """The admin key of the first start: a disk that is full or read-only gets it later.

    A key file that is there, and cannot be written, is somebody's intention: it gets none.
    """

    _file: KeyFile
    _state_dir: Path
    _clock: Clock
    _make: Callable[..., Path | None] = make_first_key
    _retry_at: float | None = attrs.field(default=-math.inf, init=False)  # monotonic; None: never

    def make(self) -> None:
        """Make the key unless it was made before; what the disk refuses is logged once. Blocks.

        Raises KeyFileError when the key file cannot be read.
        """
        now = self._clock.monotonic()
        if self._retry_at is None or now < self._retry_at:
            return
        first, self._retry_at = self._retry_at == -math.inf, None
        try:
            path = self._make(self._file, self._state_dir, now=self._clock.now())
        except OSError as error:
            if self._file.version() is None:
                self._retry_at = now + _RETRY_SECONDS
            if first:
                advice = self._advice(error)
                _log.warning("admin_key_not_written", error=str(error), suggestion=advice)
            return
        if path is not None:
            _log.info("admin_key_written", path=str(path))

    def _advice(self, error: OSError) -> str:
        """Say what to do, so that the key can be written."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"Free space on the disk of {self._state_dir}; the key is written then."
        with suppress(OSError):
            if (advice := explain_access(self._state_dir, "state folder")) is not None:
                return f"{advice.reason}. {advice.suggestion}"
        return f"Make {self._state_dir} writable; the key is written then."


@attrs.define(eq=False)
class Authenticator:
    """Identifies callers from memory; `refresh` reads the key file again when it has changed.

    `generation` increases whenever keys may have been revoked.
    """

    enabled: bool = True
    jwt_secret: str = attrs.field(default="", repr=False)
    api_keys: tuple[ApiKey, ...] = attrs.field(default=(), repr=False)
    file: KeyFile | None = None
    first_key: FirstKey | None = None
    throttle: LoginThrottle = attrs.field(factory=LoginThrottle)
    peers: PeerRoles = attrs.field(factory=PeerRoles)
    sessions: BrowserSessions = attrs.field(factory=BrowserSessions)
    codes: SignInCodes = attrs.field(factory=SignInCodes)
    sign_in_failures: SignInFailures = attrs.field(factory=SignInFailures)
    generation: int = attrs.field(default=0, init=False)
    _version: object = attrs.field(default=None, init=False)
    _reading: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def identify(self, token: str, now: float) -> Principal:
        """Return whose `token` it is. Raises InvalidCredentialsError. `now`: seconds since 1970."""
        if not self.enabled:
            return ANONYMOUS
        if not token:
            raise InvalidCredentialsError(AuthFailure.MISSING)
        if token.count(".") == 2:  # no API key has dots
            return validate_token(token, self.jwt_secret, now)
        api_key = find_api_key(self.api_keys, token)
        if api_key is None:
            raise InvalidCredentialsError(AuthFailure.UNKNOWN_KEY)
        if api_key.identity.expired(now):
            raise InvalidCredentialsError(AuthFailure.EXPIRED)
        return api_key.identity

    def identify_cookie(
        self, headers: Headers, clock: Clock, *, secure: bool, upgrade: bool
    ) -> Principal | None:
        """Return who a request comes from, by the cookie of its session; None: it has none.

        `headers` are those of the request, `secure` says whether it came over TLS. An `upgrade` to
        a WebSocket needs our own Origin.
        """
        found = session_identity(
            self.sessions,
            headers,
            secure=secure,
            upgrade=upgrade,
            now=clock.monotonic(),
            unix_now=clock.now().timestamp(),
        )
        return None if found is None or self.revoked(found) else found

    async def delay_refusal(self, address: str, reason: AuthFailure) -> None:
        """Count a refused key of `address` (see `group_of`) and wait before it is answered."""
        now = trio.current_time()
        seconds = self.throttle.record_failure(address, reason, now)
        count = self.throttle.take_unlogged(now)
        if count:
            _log.warning("wrong_keys", count=count, address=address, reason=reason.value)
        await trio.sleep(seconds)

    def revoked(self, identity: Principal) -> bool:
        """Whether the API key of `identity` no longer exists."""
        if identity.via is not AuthMethod.API_KEY:
            return False
        return all(api_key.sha256 != identity.credential for api_key in self.api_keys)

    def refresh(self) -> None:
        """Read the key file if it has changed; a broken file changes nothing. Blocks.

        An admin key of the first start that the disk did not take is tried again.

        Threads may call it at the same time: keys that were read later are not replaced by earlier.
        """
        if self.file is None:
            return
        if self.first_key is not None:
            with suppress(KeyFileError):  # reading the file says so
                self.first_key.make()
        with self._reading:
            self._read_changed(self.file)

    def _read_changed(self, file: KeyFile) -> None:
        version = file.version()
        if version == self._version:
            return
        self._version = version
        try:
            self.api_keys = file.load()
        except KeyFileError as error:
            _log.warning("keys_unreadable", error=str(error), kept=len(self.api_keys))
            return
        self.generation += 1


@asynccontextmanager
async def open_authenticator(
    auth: AuthConfig, state_dir: Path, *, clock: Clock
) -> AsyncIterator[Authenticator]:
    """Identify callers while the block runs; changes of the key file are seen within seconds.

    The first start writes an admin key to `state_dir`. Raises ConfigError when a file that `[auth]`
    names cannot be used.
    """
    authenticator = await trio.to_thread.run_sync(
        _load, auth, state_dir, clock, abandon_on_cancel=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve_refresh, authenticator)
        yield authenticator
        nursery.cancel_scope.cancel()


def _load(auth: AuthConfig, state_dir: Path, clock: Clock) -> Authenticator:
    if not auth.enabled:
        return Authenticator(enabled=False)
    file = KeyFile(auth.keys_file or state_dir / KEYS_FILE)
    first_key = FirstKey(file, state_dir, clock)
    try:
        first_key.make()
        secret = auth.jwt_secret
        if not secret and auth.jwt_secret_file is not None:
            secret = read_small_file(auth.jwt_secret_file, _SECRET_BYTES).decode().strip()
        api_keys = file.load()
    except (OSError, UnicodeError, KeyFileError) as error:
        cause = error.__cause__ if isinstance(error, KeyFileError) else error
        advice = explain_error(cause) if isinstance(cause, OSError) else None
        raise ConfigError((f"auth: {advice or error}",)) from error
    peers = resolve_peers(auth.peers)
    authenticator = Authenticator(
        jwt_secret=secret, api_keys=api_keys, file=file, first_key=first_key, peers=peers
    )
    authenticator.refresh()
    return authenticator


async def _serve_refresh(authenticator: Authenticator) -> None:
    while True:
        await sleep_aligned(_REFRESH_SECONDS)
        # Abandoned when a shutdown finds the disk hanging: the thread only reads.
        await trio.to_thread.run_sync(authenticator.refresh, abandon_on_cancel=True)
