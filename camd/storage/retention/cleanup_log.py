"""The log of cleanups beside the index: `cleanups.jsonl`, one JSON object a line, append-only."""

from __future__ import annotations

from pathlib import Path

import attrs
import msgspec

from camd.model import CleanupReceipt
from camd.storage.disk import Disk, DiskFile

RECEIPTS = "cleanups.jsonl"


def append_receipt(disk: Disk, folder: Path, receipt: CleanupReceipt) -> None:
    """Append a receipt durably. Raises OSError.

    A line torn by a crash is kept, and the next one begins on a line of its own.
    """
    file = _opened(disk, folder)
    try:
        size = file.size()
        file.truncate(size)  # only moves the file position to the end
        torn = size > 0 and file.read(size - 1, 1) != b"\n"
        line = msgspec.json.encode(attrs.asdict(receipt)) + b"\n"
        file.append([b"\n" * torn, line])
        file.sync()
    finally:
        file.close()


def _opened(disk: Disk, folder: Path) -> DiskFile:
    path = folder / RECEIPTS
    if RECEIPTS in disk.names(folder):
        return disk.open(path)
    file = disk.create(path)
    try:
        disk.sync_directory(folder)
    except OSError:
        file.close()
        raise
    return file
