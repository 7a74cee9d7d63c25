"""The state folder: locked by one process, and of a format that this camd knows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import trio

from camd.runtime.folders.folder_lock import FolderInUseError, FolderRefusedError, lock_file
from camd.runtime.folders.format_marker import claim_format

log = structlog.get_logger("camd.runtime")

STATE_LOCK = "lock"
_CLOSE_SECONDS = 2


@asynccontextmanager
async def open_state(state_dir: Path) -> AsyncIterator[None]:
    """Lock `state_dir` while the block runs; the folder is made if it is missing.

    Raises FolderInUseError and FormatRefusedError. A folder that cannot be written is not locked,
    and no error here: whoever writes into it reports that.
    """
    lock = await trio.to_thread.run_sync(_lock_state, state_dir, abandon_on_cancel=True)
    try:
        yield
    finally:
        if lock is not None:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_SECONDS):
                await trio.to_thread.run_sync(os.close, lock, abandon_on_cancel=True)


def _lock_state(state_dir: Path) -> int | None:
    lock = None
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = lock_file(state_dir / STATE_LOCK, state_dir)
        claim_format(state_dir)
    except FolderInUseError as error:
        raise FolderInUseError(
            f"{error}; stop that one, or give each service a storage.state_dir of its own"
        ) from None
    except FolderRefusedError:
        if lock is not None:
            os.close(lock)
        raise
    except OSError as error:
        log.warning("state_folder_not_prepared", folder=str(state_dir), error=str(error))
    return lock
