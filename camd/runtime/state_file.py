"""One way to keep a small state file: bounded, replaced atomically, never overwritten unread.

Reading changes nothing. Content that cannot be parsed counts as absent; before it is replaced, the
file is renamed to `NAME.damaged`, so that a person can look at it. A file that a newer version of
camd wrote stays as it is, and nothing is written while it is there.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import attrs
import msgspec
import structlog
from cattrs.preconf.msgspec import make_converter

from camd.runtime.file_presence import is_there

log = structlog.get_logger("camd.state")

T = TypeVar("T")

MAX_BYTES = 1024 * 1024
_MAX_DAMAGED = 10  # copies; then the oldest name is used again
_CONVERTER = make_converter()


class NewerVersionError(ValueError):
    """A newer version of camd wrote this."""


def validate_version(content: object, known: int) -> None:
    """Validate the format version of a file's top-level object. Raises ValueError."""
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("has no version")
    if version > known:
        raise NewerVersionError(f"has version {version}, and this camd knows {known}")


def to_json(value: object) -> str:
    """Convert a value to one line of JSON."""
    return bytes(_CONVERTER.dumps(value)).decode() + "\n"


def from_json(text: str, kind: type[T], *, version: int | None = None) -> T:
    """Convert JSON to a value of a class, whose fields are not converted. Raises ValueError.

    `version` is the newest that is known of a file with a version, which is validated first.
    """
    try:
        content = msgspec.json.decode(text, type=dict[str, object])
        if version is not None:
            validate_version(content, version)
        return msgspec.convert(content, kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"is not understood: {error}") from error


@attrs.frozen
class StateFile(Generic[T]):
    """A file and its format. `parse` raises ValueError. Every method blocks on the disk."""

    path: Path
    parse: Callable[[str], T]
    render: Callable[[T], str] = to_json
    mode: int = 0o640

    def load(self) -> T | None:
        """Return the value; None when there is none, or it cannot be read (which is logged)."""
        try:
            return self.read()
        except OSError as error:
            log.error("state_file_unreadable", file=str(self.path), error=str(error))
            return None

    def read(self) -> T | None:
        """Return the value as `load` does. Raises OSError when the file cannot be read."""
        try:
            return self.parsed()
        except FileNotFoundError:
            return None
        except NewerVersionError as error:
            log.error("state_file_newer", file=str(self.path), error=str(error))
        except ValueError as error:
            log.error("state_file_damaged", file=str(self.path), error=str(error))
        return None

    def parsed(self) -> T:
        """Return the value, and log nothing. Raises OSError; ValueError says what is wrong."""
        return self._parsed(self._content())

    def save(self, value: T) -> bool:
        """Write the value durably; False when the file has it, or must not be replaced.

        Makes the folder when it is missing. Blocks for two syncs. Raises OSError, also when the
        present content cannot be read.
        """
        text = self.render(value)
        if len(text.encode()) > MAX_BYTES:
            raise OSError(errno.EFBIG, "A state file must not be so large", str(self.path))
        try:
            present = self._content()
            if present == text.encode():
                return False
            self._parsed(present)
        except FileNotFoundError:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        except NewerVersionError as error:
            log.error("state_file_newer", file=str(self.path), error=str(error))
            return False
        except ValueError as error:
            aside = set_aside(self.path)
            log.error("state_file_set_aside", file=str(aside), error=str(error))
        replace_file(self.path, text, self.mode)
        return True

    def _content(self) -> bytes:
        with self.path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)

    def _parsed(self, content: bytes) -> T:
        if len(content) > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES} bytes")
        try:
            return self.parse(content.decode())
        except RecursionError as error:
            raise ValueError("is nested too deeply") from error


def replace_file(path: Path, text: str, mode: int = 0o640) -> None:
    """Replace a file durably: after a crash it has the old content or the new one.

    Its folder must exist. Blocks for two syncs. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not every file system can
            raise
    finally:
        os.close(folder)


def set_aside(file: Path) -> Path:
    """Rename a damaged file to a free name, and return that. Blocks. Raises OSError."""
    names = [file.with_name(f"{file.name}.damaged{n or ''}") for n in range(_MAX_DAMAGED)]
    return file.replace(next((name for name in names if not is_there(name)), names[0]))
