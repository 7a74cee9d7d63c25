"""What a file source's path is, looked at in a thread: a file, or why it is none."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import attrs

from camd.config.small_files import kind_of_path
from camd.ffmpeg.text import error_patterns as t
from camd.model import Cause, Problem
from camd.runtime.path_lookup import PathLookup

HANGS = Problem(
    "disk_hangs",
    "The disk or network share that the source's file is on does not answer",
    "Check the disk or the mount; it is tried again by itself.",
    Cause.CAMERA_LOST,
)
EMPTY = Problem(
    "unreadable",
    "The source's file is empty",
    "Wait until it is written, or name another file.",
    Cause.UNSUPPORTED_FORMAT,
)
FORBIDDEN = Problem(
    "no_permission",
    "The service may not read the source's file",
    "Let the service's user read the file, and enter the folders above it.",
    Cause.NO_PERMISSION,
)


@attrs.frozen
class FileFacts:
    """What is known of a file that can be read."""

    size_bytes: int
    changed_ns: int


async def look_at_file(path: Path, looks: PathLookup) -> FileFacts | Problem:
    """Say what is at `path`; never opens it, as a FIFO's writer would notice.

    Waits for the disk, with the patience of `looks`.
    """
    return await looks.ask(partial(_look, path), otherwise=HANGS)


def _look(path: Path) -> FileFacts | Problem:
    """Look. Blocks, on a mount that is dead for ever."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return t.ABSENT
    except PermissionError:
        return FORBIDDEN
    except OSError as error:
        return attrs.evolve(t.NOT_A_FILE, message=f"The source's path is no file: {error.strerror}")
    if words := kind_of_path(status.st_mode):
        return attrs.evolve(t.NOT_A_FILE, message=f"The source's path {words}")
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return FORBIDDEN
    if not status.st_size:
        return EMPTY
    return FileFacts(status.st_size, status.st_mtime_ns)
