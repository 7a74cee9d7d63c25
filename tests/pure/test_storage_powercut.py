"""Power cuts: whatever a disk could leave of a segment, recovery makes a recording of it.

Thousands of states: the power goes behind any operation, and of everything that was not synced
any combination of blocks may be missing.
"""

from __future__ import annotations

from itertools import repeat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.power_cut_disk import RecordingDisk
from support.recordings import WHO, footage

from camd.mp4.segment import SegmentLayout
from camd.storage.recovery.file_recovery import RecoveredFile, ensure_sealed, hash_file
from camd.storage.segment_file import SegmentFile

PATH = Path("/disk/camera0_2026-01-15_12-00-00.mp4")
COUNT = 5
INIT, FRAGMENTS = footage(COUNT)
FRAMES = FRAGMENTS[0].frames


def _recorded(
    syncs: list[bool], *, seal: bool, count: int = COUNT
) -> tuple[RecordingDisk, list[tuple[int, int]]]:
    """Record fragments; return the disk, and after which operation how many are durable."""
    disk = RecordingDisk()
    index = SegmentLayout(INIT, FRAGMENTS[0], WHO)
    segment = SegmentFile.create(disk, PATH.parent, repeat(PATH.name), index, FRAGMENTS[0])
    confirmations = [(0, 0), (len(disk.log), 1)]  # the first fragment comes with the file
    for number, fragment in enumerate(FRAGMENTS[1:count], 1):
        segment.append([fragment])
        if syncs[number]:
            segment.sync()
            confirmations.append((len(disk.log), number + 1))
    if seal:
        segment.seal()
        confirmations.append((len(disk.log), count))
    segment.close()
    return disk, confirmations


def _sealed(syncs: list[bool], count: int) -> bytes:
    """Say what the file holds when it is sealed after so many fragments."""
    disk, _ = _recorded(syncs, seal=True, count=count)
    return bytes(disk.files[PATH])


def _recover(disk: RecordingDisk) -> RecoveredFile | None:
    return ensure_sealed(disk, PATH) if PATH in disk.files else None


@settings(max_examples=1000)
@given(st.data())
def test_a_power_cut_costs_only_what_was_not_synced(data: st.DataObject) -> None:
    """I1, I2: every state becomes a sealed file that holds all that was durable, in order."""
    syncs = data.draw(st.lists(st.booleans(), min_size=COUNT, max_size=COUNT), label="syncs")
    disk, confirmations = _recorded(syncs, seal=data.draw(st.booleans(), label="sealed"))
    cut = data.draw(st.integers(0, len(disk.log)), label="operations before the cut")
    left = disk.cut_at(cut, data.draw)
    durable = max(count for after, count in confirmations if after <= cut)
    recovered = _recover(left)
    frames = recovered.segment.frames if recovered else 0
    assert frames >= durable * FRAMES
    assert frames % FRAMES == 0
    if recovered is not None:
        assert bytes(left.files[PATH]) == _sealed(syncs, frames // FRAMES)
        assert recovered.segment.size_bytes == len(left.files[PATH])


@settings(max_examples=250)
@given(st.data())
def test_a_power_cut_during_recovery_is_recovered_from(data: st.DataObject) -> None:
    """Recovery itself may be cut off at any point, and loses nothing that it had found."""
    syncs = data.draw(st.lists(st.booleans(), min_size=COUNT, max_size=COUNT), label="syncs")
    disk, _ = _recorded(syncs, seal=False)
    left = disk.after_power_cut(data.draw)
    if PATH not in left.files:
        return
    again = RecordingDisk()  # the machine starts again: what is there, is durable
    again.create(PATH).append([bytes(left.files[PATH])])
    again.open(PATH).sync()
    again.sync_directory(PATH.parent)
    found = len(again.log)
    first = _recover(again)
    cut = again.after_power_cut(data.draw, at_least=found)
    second = _recover(cut)
    if first is None or second is None:
        assert first == second
    else:
        assert second.segment == first.segment
        assert cut.files == again.files


def test_what_is_recovered_is_what_a_seal_would_have_made() -> None:
    """A file that was whole but for its seal ends up byte for byte the same, hash included."""
    disk, _ = _recorded([True] * COUNT, seal=False)
    sealed, _ = _recorded([True] * COUNT, seal=True)
    assert _recover(disk) is not None
    assert disk.files == sealed.files
    assert hash_file(disk, PATH) == hash_file(sealed, PATH)


def test_a_sealed_file_is_adopted_as_it_is() -> None:
    """Recovery of a sealed file reads it, and writes nothing."""
    disk, _ = _recorded([True] * COUNT, seal=True)
    operations = len(disk.log)
    recovered = _recover(disk)
    assert recovered is not None
    assert (recovered.note, recovered.segment.frames) == ("adopted", COUNT * FRAMES)
    assert len(disk.log) == operations


def test_without_repair_nothing_is_written() -> None:
    """A dry run says what would be done, and does none of it."""
    disk, _ = _recorded([True] * COUNT, seal=False)
    operations, before = len(disk.log), bytes(disk.files[PATH])
    recovered = ensure_sealed(disk, PATH, repair=False)
    assert recovered is not None
    assert recovered.segment.frames == COUNT * FRAMES
    assert (len(disk.log), bytes(disk.files[PATH])) == (operations, before)


def test_foreign_files_are_left_alone() -> None:
    """I5: what camd did not write is not touched, whatever its name says."""
    for content in (b"", b"\0" * 4096, b"RIFF" + bytes(100), _sealed([True], 1)[:40]):
        disk = RecordingDisk()
        disk.create(PATH).append([content])
        operations = len(disk.log)
        assert _recover(disk) is None
        assert (len(disk.log), bytes(disk.files[PATH])) == (operations, content)


def test_what_was_recovered_stays_so_after_a_power_cut() -> None:
    """A file that was reported as sealed in place is sealed, whenever the power goes then."""
    disk, _ = _recorded([True] * COUNT, seal=False)
    disk = disk.settled()
    assert _recover(disk) is not None
    sealed, _ = _recorded([True] * COUNT, seal=True)
    assert disk.barely().files == sealed.files
