"""Read small files that a person names: regular files only, up to a limit.

Opening a FIFO would wait for a writer, and opening some devices has effects.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "is a directory, not a file"),
    (stat.S_ISFIFO, "is a FIFO, not a file"),
    (stat.S_ISSOCK, "is a socket, not a file"),
    (stat.S_ISBLK, "is a block device, not a file"),
    (stat.S_ISCHR, "is a character device, not a file"),
)


def kind_of_path(mode: int) -> str:
    """Name the kind of a mode of stat(2): "is a directory, not a file"; "" for a regular file."""
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "")


def read_small_file(path: Path, most_bytes: int) -> bytes:
    """Read a whole file. Blocks as long as the file system does.

    Raises OSError, whose `strerror` says why, also for what is no file or is too large.
    """
    _refuse_others(path, path.stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        _refuse_others(path, os.fstat(descriptor).st_mode)  # it may have been replaced
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(0, f"is larger than {most_bytes} bytes", str(path))
    return content


def _refuse_others(path: Path, mode: int) -> None:
    if words := kind_of_path(mode):
        raise OSError(0, words, str(path))
