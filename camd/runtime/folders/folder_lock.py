"""Keeping a second process out of a folder: a lock on a file in it (flock(2)).

The kernel releases the lock when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger("camd.runtime")


class FolderRefusedError(OSError):
    """A folder that camd must not use, and why."""


class FolderInUseError(FolderRefusedError):
    """Another process has locked this folder."""


def lock_file(path: Path, folder: Path) -> int:
    """Lock `folder` by its file `path` for as long as the returned descriptor is open.

    Blocks on the disk. Raises OSError, and FolderInUseError, which names the process that has the
    lock. On a file system without locks this is logged, and no other process is kept out.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise FolderInUseError(f"{folder} is used by process {owner}") from None
    except OSError as error:
        log.warning("folder_not_locked", folder=str(folder), error=str(error))
    with suppress(OSError):
        os.pwrite(fd, f"{os.getpid():<19}\n".encode(), 0)
    return fd
