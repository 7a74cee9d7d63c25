"""The key file: API keys of 256 random bits, of which only the SHA-256 is stored.

The functions read and write files and may block; call them in a thread.
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

from camd.auth.key_names import is_key_name, seen
from camd.rpc.roles import AuthMethod, Principal, Role
from camd.runtime.small_files import read_small_file
from camd.runtime.state_file import replace_file

PREFIX = "camd_"
KEYS_FILE = "keys.toml"
ADMIN_KEY_FILE = "admin.key"
_LOCAL_KEY = "local_key_made"  # in the file: the first start has written its admin key
MAX_KEYS = 1000
MAX_NAME_CHARACTERS = 64
_MAX_BYTES = 16 * 1024 * 1024
_HEADING = "# API keys of camd: `camd keys`. The keys themselves are not stored.\n"


class KeyFileError(Exception):
    """The key file cannot be used; the text says why."""


class NameTakenError(ValueError):
    """There is a key of this name already."""


class TooManyKeysError(ValueError):
    """There are as many keys as there may be."""


@attrs.frozen
class ApiKey:
    """One key as it is stored. Times are aware, in UTC."""

    name: str
    role: Role
    sha256: str = attrs.field(repr=False)  # of the whole key, 64 hexadecimal digits
    created: datetime
    expires: datetime | None = None

    @property
    def identity(self) -> Principal:
        """The identity of a caller with this key."""
        expires_at = self.expires.timestamp() if self.expires else None
        return Principal(
            self.name, self.role, expires_at, via=AuthMethod.API_KEY, credential=self.sha256
        )


def new_secret() -> str:
    """Make a key: 256 random bits after a prefix that secret scanners can find."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Hash a key for storage. 256 random bits need neither salt nor stretching."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def find_api_key(api_keys: Sequence[ApiKey], secret: str) -> ApiKey | None:
    """Find the key whose secret this is; the comparison takes constant time."""
    wanted = digest(secret)
    found = None
    for api_key in api_keys:
        if hmac.compare_digest(api_key.sha256, wanted):
            found = api_key
    return found


def _reason(error: OSError | ValueError) -> str:
    """Say what is wrong; an OSError would name the file once more."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def parse_key_file(text: str) -> tuple[ApiKey, ...]:
    """Parse the text of a key file. Raises KeyFileError."""
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


def render_key_file(api_keys: Sequence[ApiKey], *, local_key: bool = False) -> str:
    """Make the text of a key file for `parse_key_file`. `local_key`: see `make_first_key`."""
    parts = [_HEADING, f"{_LOCAL_KEY} = true\n" if local_key else ""]
    for api_key in api_keys:
        parts.append(  # a JSON string is a TOML one
            "\n[[key]]\n"
            f"name = {json.dumps(api_key.name, ensure_ascii=False)}\n"
            f'role = "{api_key.role.value}"\n'
            f'sha256 = "{api_key.sha256}"\n'
            f"created = {api_key.created.isoformat()}\n"
            + (f"expires = {api_key.expires.isoformat()}\n" if api_key.expires else "")
        )
    return "".join(parts)


@attrs.frozen
class KeyFile:
    """The key file. Changes are atomic, and serialized between processes."""

    path: Path

    def load(self) -> tuple[ApiKey, ...]:
        """Read all keys; none when there is no file. Raises KeyFileError."""
        try:
            return parse_key_file(read_small_file(self.path, _MAX_BYTES).decode())
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeError) as error:
            raise KeyFileError(f"{self.path}: {_reason(error)}") from error
        except KeyFileError as error:
            raise KeyFileError(f"{self.path}: {error}") from error

    def has_local_key(self) -> bool:
        """Whether the file says that the first start has written its admin key."""
        try:
            return tomllib.loads(self.path.read_text(encoding="utf-8")).get(_LOCAL_KEY) is True
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise KeyFileError(f"{self.path}: {_reason(error)}") from error

    def version(self) -> tuple[int, int, int] | None:
        """A value that changes with the file, without reading it; None: no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def add(self, name: str, role: Role, *, created: datetime, expires: datetime | None) -> str:
        """Make a key, store its hash, and return the key, which is not stored.

        Raises ValueError for a name that is too long or not printable, NameTakenError,
        TooManyKeysError, KeyFileError, and OSError when the file cannot be written.
        """
        if not is_key_name(name, MAX_NAME_CHARACTERS):
            raise ValueError(f"a key's name has 1 to {MAX_NAME_CHARACTERS} printable characters")
        secret, looks = new_secret(), seen(name)
        with self.locked():
            api_keys = self.load()
            if any(seen(api_key.name) == looks for api_key in api_keys):
                raise NameTakenError(f"there is a key called {name} already")
            if len(api_keys) >= MAX_KEYS:
                raise TooManyKeysError(f"there are {MAX_KEYS} keys; revoke one that nobody uses")
            api_key = ApiKey(name, role, digest(secret), created, expires)
            write_private(
                self.path, render_key_file((*api_keys, api_key), local_key=self.has_local_key())
            )
        return secret

    def revoke(self, name: str) -> bool:
        """Remove the key called `name`; False when there is none.

        Raises KeyFileError, and OSError when the file cannot be written.
        """
        with self.locked():
            api_keys = self.load()
            left = tuple(api_key for api_key in api_keys if api_key.name != name)
            if len(left) == len(api_keys):
                return False
            write_private(self.path, render_key_file(left, local_key=self.has_local_key()))
        return True

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock against changes by other processes while the block runs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def make_first_key(file: KeyFile, state_dir: Path, *, now: datetime) -> Path | None:
    """At the first start, make an admin key and write it to `state_dir/admin.key` for the CLI.

    Returns that path; None when the key was made before, even if it was revoked since. Keys that
    were added before the first start stay. Raises KeyFileError, and OSError, also when the key file
    cannot be written.
    """
    if file.has_local_key():
        return None
    secret_path = state_dir / ADMIN_KEY_FILE
    state_dir.mkdir(parents=True, exist_ok=True)
    secret = new_secret()
    with file.locked():
        api_keys = file.load()
        if any(api_key.sha256 == _digest_in(secret_path) for api_key in api_keys):
            return None  # made by a version that did not record it in the file
        taken = {api_key.name for api_key in api_keys}
        name = next(name for name in _admin_names() if name not in taken)
        write_private(secret_path, secret + "\n")  # first: a crash here leads to a new pair
        api_key = ApiKey(name, Role.ADMIN, digest(secret), now, None)
        try:
            write_private(file.path, render_key_file((*api_keys, api_key), local_key=True))
        except OSError:
            secret_path.unlink(missing_ok=True)  # useless: its hash was not stored
            raise
    return secret_path


def _admin_names() -> Iterator[str]:
    yield "admin"
    for number in itertools.count(1):
        yield f"local-admin{number}"


def _digest_in(secret_path: Path) -> str | None:
    try:
        return digest(secret_path.read_text(encoding="ascii").strip())
    except (FileNotFoundError, UnicodeError):
        return None


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically and durably by a file of mode 0600."""
    replace_file(path, text, 0o600)
