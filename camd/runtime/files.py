"""How a folder is kept from a second process: a lock on a file in it (flock(2)).

The kernel lets go of it when the process ends, whatever ends it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

log = structlog.get_logger("camd.runtime")

STATE_LOCK = "lock"
_CLOSE_SECONDS = 2


class FolderInUseError(OSError):
    """Another process has this folder."""


def lock_file(path: Path, folder: Path) -> int:
    """Lock `folder` by its file `path` for as long as the returned descriptor is open.

    Blocks on the disk. Raises FolderInUseError, which says who has it, and OSError. Where the
    file system has no locks, that is logged and no other process is kept out.
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
    """Keep other services out of `state_dir` while the block runs; the folder is made if missing.

    Raises FolderInUseError. A folder that cannot be written keeps no process out; what has to write
    into it says what is wrong with it.
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


# --- How the file system is asked without the event loop, and without waiting for a dead mount.

T = TypeVar("T")

PATIENCE_SECONDS = 5.0


@attrs.define(eq=False)
class PathLookup:
    """Looks at the file system in threads: so many at a time, each waited for so long.

    A thread that hangs is waited for no more and keeps its place, so that their number is bounded.
    """

    places: int = 1
    patience_seconds: float = PATIENCE_SECONDS
    _limiter: trio.CapacityLimiter = attrs.field(
        default=attrs.Factory(lambda self: trio.CapacityLimiter(self.places), takes_self=True),
        init=False,
    )

    async def ask(self, look: Callable[[], T], otherwise: T) -> T:
        """Return what `look` finds, or `otherwise` when the disk does not answer in time.

        Raises what `look` raises.
        """
        with trio.move_on_after(self.patience_seconds):
            return await trio.to_thread.run_sync(
                look, limiter=self._limiter, abandon_on_cancel=True
            )
        return otherwise


# --- How a small file is replaced so that a crash leaves the old one or the new one, never half.

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
