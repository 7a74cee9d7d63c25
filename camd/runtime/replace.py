"""How a small file is replaced so that a crash leaves the old one or the new one, never half."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

_MOST_ASIDE = 10


def replace_file(path: Path, text: str, mode: int = 0o640) -> None:
    """Put `text` into `path`, durably, all of it or nothing; its folder must exist.

    Blocks for two syncs. Raises OSError.
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
    """Rename a damaged file to a name that nobody has, so that a person can look at it.

    Blocks. Raises OSError.
    """
    names = [file.with_name(f"{file.name}.damaged{number or ''}") for number in range(_MOST_ASIDE)]
    return file.replace(next((name for name in names if not name.exists()), names[0]))
