"""API keys: opaque secrets of 256 random bits, of which only the SHA-256 is kept.

The functions here read and write files and may block: an event loop calls them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import itertools
import json
import os
import secrets
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from camd.config.small_files import read_small_file
from camd.rpc.roles import AuthMethod, Principal, Role
from camd.runtime.state_file import replace_file

PREFIX = "camd_"
KEYS_FILE = "keys.toml"
ADMIN_KEY_FILE = "admin.key"
_LOCAL_KEY = "local_key_made"  # in the file: the first start has left its key
_MOST_BYTES = 16 * 1024 * 1024
_HEADING = "# API keys of camd: `camd keys add|list|revoke`. The keys themselves are not kept.\n"


class KeyFileError(Exception):
    """The file of API keys cannot be used; the text says why."""


@attrs.frozen
class ApiKey:
    """What is kept of one key. Times are aware, in UTC."""

    name: str
    role: Role
    sha256: str = attrs.field(repr=False)  # of the whole key, 64 hexadecimal digits
    created: datetime
    expires: datetime | None = None

    @property
    def identity(self) -> Principal:
        """Who comes with this key."""
        expires_at = self.expires.timestamp() if self.expires else None
        return Principal(self.name, self.role, expires_at, AuthMethod.API_KEY, self.sha256)


def new_secret() -> str:
    """Make a key: 256 random bits behind a prefix that scanners for leaked secrets can find."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Hash a key for keeping. No salt or stretching: nobody guesses 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def find_key(keys: Sequence[ApiKey], secret: str) -> ApiKey | None:
    """Find the key that `secret` is, in a time that tells nothing about the others."""
    wanted = digest(secret)
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256, wanted):
            found = key
    return found


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Read the file's text; raises KeyFileError."""
    try:
        entries = tomllib.loads(text).get("key", [])
        return tuple(_parse_key(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise KeyFileError(f"{type(error).__name__}: {error}") from error


def _parse_key(entry: dict[str, object]) -> ApiKey:
    name, sha256 = entry["name"], entry["sha256"]
    if not isinstance(name, str) or not isinstance(sha256, str) or len(sha256) != 64:
        raise ValueError("name and sha256 must be strings, sha256 of 64 digits")
    bytes.fromhex(sha256)
    created, expires = entry["created"], entry.get("expires")
    if not isinstance(created, datetime) or not isinstance(expires, datetime | None):
        raise ValueError("created and expires must be times")
    return ApiKey(
        name, Role(entry["role"]), sha256.lower(), _utc(created), expires and _utc(expires)
    )


def _utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def render_keys(keys: Sequence[ApiKey], *, local_key: bool = False) -> str:
    """Write the file's text; `parse_keys` reads it back. `local_key`: see `first_key`."""
    parts = [_HEADING, f"{_LOCAL_KEY} = true\n" if local_key else ""]
    for key in keys:
        parts.append(
            "\n[[key]]\n"
            f"name = {json.dumps(key.name, ensure_ascii=False)}\n"  # a JSON string is a TOML one
            f'role = "{key.role.value}"\n'
            f'sha256 = "{key.sha256}"\n'
            f"created = {key.created.isoformat()}\n"
            + (f"expires = {key.expires.isoformat()}\n" if key.expires else "")
        )
    return "".join(parts)


@attrs.frozen
class KeyFile:
    """The file of keys. Every change is atomic, and changes by several processes queue up."""

    path: Path

    def load(self) -> tuple[ApiKey, ...]:
        """Read all keys; no file means none. Raises KeyFileError."""
        try:
            return parse_keys(read_small_file(self.path, _MOST_BYTES).decode())
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeError) as error:
            raise KeyFileError(f"{self.path}: {error}") from error
        except KeyFileError as error:
            raise KeyFileError(f"{self.path}: {error}") from error

    def has_local_key(self) -> bool:
        """Whether the first start has left its key, as far as the file says so."""
        try:
            return tomllib.loads(self.path.read_text(encoding="utf-8")).get(_LOCAL_KEY) is True
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise KeyFileError(f"{self.path}: {error}") from error

    def version(self) -> tuple[int, int, int] | None:
        """Tell whether the file is another one now, without reading it; None: no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def add(self, name: str, role: Role, *, created: datetime, expires: datetime | None) -> str:
        """Make a key, keep its hash, and return the key: the only time that it is seen.

        Raises ValueError for a name that is taken or cannot be shown on one line.
        """
        if not name.isprintable() or not 1 <= len(name.strip()) <= 64:
            raise ValueError("a key's name has 1 to 64 printable characters")
        secret = new_secret()
        with self.locked():
            keys = self.load()
            if any(key.name == name for key in keys):
                raise ValueError(f"there is a key called {name} already")
            key = ApiKey(name, role, digest(secret), created, expires)
            write_private(self.path, render_keys((*keys, key), local_key=self.has_local_key()))
        return secret

    def revoke(self, name: str) -> bool:
        """Forget the key called `name`; False when there is none."""
        with self.locked():
            keys = self.load()
            left = tuple(key for key in keys if key.name != name)
            if len(left) == len(keys):
                return False
            write_private(self.path, render_keys(left, local_key=self.has_local_key()))
        return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the file while the block runs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def first_key(file: KeyFile, state_dir: Path, *, now: datetime) -> Path | None:
    """At the very first start make an admin key and leave it in `state_dir/admin.key`.

    The command line on the same machine finds it there. Returns that path, or None when it was
    made before, be it revoked since; keys that were added before the first start stay.
    Raises OSError, also for a file of keys that may not be written; KeyFileError.
    """
    if file.has_local_key():
        return None
    clear = state_dir / ADMIN_KEY_FILE
    state_dir.mkdir(parents=True, exist_ok=True)
    secret = new_secret()
    with file.locked():
        keys = file.load()
        if any(key.sha256 == _digest_in(clear) for key in keys):
            return None  # made before such files said so
        taken = {key.name for key in keys}
        name = next(name for name in _admin_names() if name not in taken)
        write_private(clear, secret + "\n")  # first: a crash in between makes a new pair next time
        key = ApiKey(name, Role.ADMIN, digest(secret), now, None)
        try:
            write_private(file.path, render_keys((*keys, key), local_key=True))
        except OSError:
            clear.unlink(missing_ok=True)  # a file whose key is not stored is of no use
            raise
    return clear


def _admin_names() -> Iterator[str]:
    yield "admin"
    for number in itertools.count(1):
        yield f"local-admin{number}"


def _digest_in(clear: Path) -> str | None:
    try:
        return digest(clear.read_text(encoding="ascii").strip())
    except (FileNotFoundError, UnicodeError):
        return None


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file of mode 0600, durably: all of it or nothing."""
    replace_file(path, text, 0o600)
