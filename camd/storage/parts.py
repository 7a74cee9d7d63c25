"""Where Matroska files lie while they are made, and what a crash leaves of them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from camd.storage.archive import FOLDER, LOCK
from camd.storage.naming import is_part, part_of


def part_path(recordings: Path, filename: str) -> Path:
    """Say where the MKV of a segment is written while it is made."""
    return recordings / FOLDER / part_of(filename)


def held(recordings: Path) -> bool:
    """Whether a service has the folder: then parts in it are being written (proc_locks(5)).

    Takes no lock, so that it delays no process; False also where that cannot be told.
    """
    try:
        facts = (recordings / FOLDER / LOCK).stat()
        locks = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    device = facts.st_dev
    return f" {os.major(device):02x}:{os.minor(device):02x}:{facts.st_ino} " in locks


def parts_in(recordings: Path) -> list[str]:
    """Name what is left of MKVs, relative to the folder; also where earlier versions had them."""
    found: list[str] = []
    for folder in (FOLDER, ""):
        with suppress(OSError):
            names = sorted(os.listdir(recordings / folder))
            found += (str(Path(folder, name)) for name in names if is_part(name))
    return found
