"""Keeping a second process out of a folder: a lock on a file in it (flock(2)).

The kernel releases the lock when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
import trio

log = structlog.get_logger("camd.runtime")

STATE_LOCK = "lock"
_CLOSE_SECONDS = 2


class FolderInUseError(OSError):
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


@asynccontextmanager
async def open_state(state_dir: Path) -> AsyncIterator[None]:
    """Lock `state_dir` while the block runs; the folder is made if it is missing.

    Raises FolderInUseError. A folder that cannot be written is not locked and no error here:
    whoever writes into it reports that.
    """
    lock = await trio.to_thread.run_sync(_lock_state, state_dir, abandon_on_cancel=True)
    try:
        yield
    finally:
        if lock is not None:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_SECONDS):
                await trio.to_thread.run_sync(os.close, lock, abandon_on_cancel=True)


def _lock_state(state_dir: Path) -> int | None:
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        return lock_file(state_dir / STATE_LOCK, state_dir)
    except FolderInUseError as error:
        raise FolderInUseError(
            f"{error}; stop that one, or give each service a storage.state_dir of its own"
        ) from None
    except OSError as error:
        log.warning("folder_not_locked", folder=str(state_dir), error=str(error))
    return None
