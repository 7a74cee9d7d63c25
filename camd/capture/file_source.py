"""What a file source's path is, looked at in a thread: a file, or why it is none."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import attrs

from camd.config.small_files import kind_of_path
from camd.model import Problem
from camd.model.problems import (
    DISK_HANGS,
    EMPTY_FILE,
    FILE_NOT_READABLE,
    NOT_A_FILE,
    NOT_FOUND,
)
from camd.runtime.path_lookup import PathLookup


@attrs.frozen
class FileFacts:
    """What is known of a file that can be read."""

    size_bytes: int
    changed_ns: int


async def look_at_file(path: Path, looks: PathLookup) -> FileFacts | Problem:
    """Say what is at `path`; never opens it, as a FIFO's writer would notice.

    Waits for the disk, with the timeout of `looks`.
    """
    return await looks.ask(partial(_look, path), otherwise=DISK_HANGS)


def _look(path: Path) -> FileFacts | Problem:
    """Look. Blocks, on a mount that is dead for ever."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return NOT_FOUND
    except PermissionError:
        return FILE_NOT_READABLE
    except OSError as error:
        return attrs.evolve(NOT_A_FILE, message=f"The source's path is no file: {error.strerror}")
    if words := kind_of_path(status.st_mode):
        return attrs.evolve(NOT_A_FILE, message=f"The source's path {words}")
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return FILE_NOT_READABLE
    if not status.st_size:
        return EMPTY_FILE
    return FileFacts(status.st_size, status.st_mtime_ns)
