"""Receipts of cleanups on a disk that loses its power."""

from __future__ import annotations

from pathlib import Path

import attrs
import msgspec
from hypothesis import given
from hypothesis import strategies as st
from support.power_cut_disk import RecordingDisk
from support.recordings import NOON

from camd.model import CleanupReceipt
from camd.storage.retention.cleanup import RECEIPTS, append_receipt

FOLDER = Path("/disk/.camd")
RECEIPT = CleanupReceipt(
    *(NOON, NOON, "ann", "age", "older than 3 days", 2, 1, 1000, ("a.mp4",), 1, 0, 0),
    stopped_by_limit=False,
    complete=True,
    message="",
)


@given(st.integers(1, 4))
def test_a_receipt_that_was_written_survives_a_power_cut(count: int) -> None:
    """The power may go the moment after: each receipt that was written is there, whole."""
    disk = RecordingDisk()
    for number in range(count):
        append_receipt(disk, FOLDER, attrs.evolve(RECEIPT, files_planned=number))
        left = disk.barely().files[FOLDER / RECEIPTS]
        found = [msgspec.json.decode(line)["files_planned"] for line in left.splitlines()]
        assert found == list(range(number + 1))
