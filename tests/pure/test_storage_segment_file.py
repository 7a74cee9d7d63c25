"""A segment on a disk that fails at any step: nothing foreign is touched, nothing is claimed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from itertools import accumulate
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_disk import MemoryDisk
from support.recordings import NOON, WHO, footage, growing_bytes, sealed_bytes

from camd.model import CameraId
from camd.mp4.segment import CHECKSUM_BOX_SIZE, HASHED_FROM, SegmentLayout, read_checksum_box
from camd.storage.rules.naming import candidates
from camd.storage.segment_file import FileTooLargeError, SegmentFile

FOLDER = Path("/disk")
INIT, FRAGMENTS = footage(4)
FIRST = FRAGMENTS[0]


def create(disk: MemoryDisk) -> SegmentFile:
    """Begin a segment under the first free name."""
    names = candidates(CameraId("camera0"), NOON)
    return SegmentFile.create(disk, FOLDER, names, SegmentLayout(INIT, FIRST, WHO), FIRST)


def content(disk: MemoryDisk, segment: SegmentFile) -> bytes:
    """Read the file as another program would see it now."""
    return bytes(disk.files[segment.path].data)


def whole(frames: int) -> list:
    """Return the fragments that make up `frames`; fails when a part of one was counted."""
    ends = [0, *accumulate(fragment.frames for fragment in FRAGMENTS)]
    return FRAGMENTS[: ends.index(frames)]


def seal_in_the_end(segment: SegmentFile, attempts: int = 60) -> int:
    """Seal, and again when that fails; return how often it failed."""
    for failures in range(attempts):
        try:
            segment.seal()
        except OSError:
            continue
        return failures
    raise AssertionError("sealing never succeeded")


# --- without faults ---


def test_a_growing_segment_is_its_header_and_whole_fragments() -> None:
    """After create and after every append the file holds exactly what the index says."""
    disk = MemoryDisk()
    segment = create(disk)
    for count, fragment in enumerate(FRAGMENTS[1:], 1):
        assert content(disk, segment) == growing_bytes(INIT, FRAGMENTS[:count], FIRST)
        segment.append([fragment])
        assert segment.index.frames == 3 * (count + 1)
        assert segment.size_bytes == segment.index.size_bytes == len(content(disk, segment))


def test_a_segment_is_never_seen_without_footage() -> None:
    """I1: header and first fragment come in one write, and both are durable with the name."""
    disk = MemoryDisk()
    segment = create(disk)
    assert disk.steps == ["create", "append", "sync", "sync_directory"]
    assert disk.files[segment.path].durable == growing_bytes(INIT, FRAGMENTS[:1], FIRST)
    assert segment.synced_bytes == segment.size_bytes


def test_a_sealed_segment_is_what_a_receipt_says() -> None:
    """Sealed bytes are right and durable, and the hash covers the file from byte 48 on."""
    disk = MemoryDisk()
    segment = create(disk)
    segment.append(FRAGMENTS[1:])
    segment.seal()
    segment.close()
    data = sealed_bytes(INIT, FRAGMENTS, FIRST)
    assert content(disk, segment) == disk.files[segment.path].durable == data
    assert segment.sha256 == hashlib.sha256(data[HASHED_FROM:]).hexdigest()
    assert segment.size_bytes == segment.synced_bytes == len(data)
    assert disk.open_files == 0


def test_the_final_index_is_durable_before_the_old_one_is_hidden() -> None:
    """A power cut at any step leaves a growing segment or a sealed one."""
    disk = MemoryDisk()
    segment = create(disk)
    segment.append(FRAGMENTS[1:])
    segment.sync()
    before = len(disk.steps)
    segment.seal()
    assert disk.steps[before:] == ["append", "sync", "overwrite", "sync"]


def test_a_sync_counts_what_it_made_durable_and_only_then() -> None:
    """What was appended is not durable until synced, and nothing is synced twice."""
    disk = MemoryDisk()
    segment = create(disk)
    first = segment.size_bytes
    segment.append(FRAGMENTS[1:2])
    assert segment.synced_bytes == first
    segment.sync()
    segment.sync()
    assert segment.synced_bytes == segment.size_bytes == len(disk.files[segment.path].durable)
    assert disk.steps.count("sync") == 2
    segment.append(FRAGMENTS[2:3])
    disk.fail(0, code=errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        segment.sync()
    assert segment.synced_bytes == len(disk.files[segment.path].durable)


def test_taken_names_are_passed_over() -> None:
    """Files that have the names already stay as they are; the first free name is taken."""
    disk = MemoryDisk()
    taken = [create(disk).path for _ in range(2)]
    foreign = FOLDER / "camera0_2026-01-15_12-00-00_2.mp4"
    disk.create(foreign).append([b"foreign"])
    before = {path: bytes(file.data) for path, file in disk.files.items()}
    segment = create(disk)
    assert [path.name[27:] for path in taken] == [".mp4", "_1.mp4"]
    assert segment.path.name == "camera0_2026-01-15_12-00-00_3.mp4"
    segment.append(FRAGMENTS[1:])
    segment.seal()
    assert {path: bytes(disk.files[path].data) for path in before} == before


# --- one fault at every step ---


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", range(4))
def test_a_create_that_fails_leaves_nothing(step: int, code: int) -> None:
    """Whichever step fails, its error is raised, no file of ours stays, and nothing is open."""
    disk = MemoryDisk()
    foreign = FOLDER / "camera0_2026-01-15_12-00-00.mp4"
    disk.create(foreign).append([b"foreign"])
    disk.fail(step, code=code)
    with pytest.raises(OSError, match=os.strerror(code)):
        create(disk)
    assert list(disk.files) == [foreign]
    assert disk.files[foreign].data == b"foreign"
    assert disk.open_files == 1  # the foreign one
    assert create(disk).path.name.endswith("_1.mp4")


def test_a_create_tells_its_own_error_when_cleaning_up_fails_too() -> None:
    """The error that is raised is the one that came first."""
    disk = MemoryDisk()
    disk.fail(1)
    disk.fail(2, code=errno.EIO)
    with pytest.raises(OSError, match="space"):
        create(disk)
    assert disk.open_files == 0


@pytest.mark.parametrize("step", range(3))
def test_an_append_that_fails_leaves_whole_fragments(step: int) -> None:
    """Fragments before the one that failed are in the file and counted, the others neither; the
    next append goes on behind them."""
    disk = MemoryDisk()
    segment = create(disk)
    disk.fail(step)
    with pytest.raises(OSError, match="space"):
        segment.append(FRAGMENTS[1:])
    kept = FRAGMENTS[: 1 + step]
    assert whole(segment.index.frames) == kept
    assert content(disk, segment) == growing_bytes(INIT, kept, FIRST)
    segment.append(FRAGMENTS[1 + step :])
    segment.seal()
    assert content(disk, segment) == sealed_bytes(INIT, FRAGMENTS, FIRST)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("step", range(4))
def test_a_seal_that_fails_can_be_tried_again(step: int, code: int) -> None:
    """Whichever step of a seal fails, the next attempt gives the file and the hash that there
    would have been without the failure."""
    disk = MemoryDisk()
    segment = create(disk)
    segment.append(FRAGMENTS[1:])
    disk.fail(step, code=code)
    with pytest.raises(OSError, match=os.strerror(code)):
        segment.seal()
    assert segment.sha256 is None
    segment.seal()
    data = sealed_bytes(INIT, FRAGMENTS, FIRST)
    assert content(disk, segment) == disk.files[segment.path].durable == data
    assert segment.sha256 == hashlib.sha256(data[HASHED_FROM:]).hexdigest()
    assert segment.size_bytes == len(data)


def test_what_could_not_be_cut_off_is_not_built_upon() -> None:
    """When a torn fragment cannot be cut off either, it is before anything else is written."""
    disk = MemoryDisk()
    segment = create(disk)
    disk.fail(0)
    disk.fail(1, code=errno.EIO)
    with pytest.raises(OSError, match="space"):
        segment.append(FRAGMENTS[1:2])
    segment.seal()
    assert content(disk, segment) == sealed_bytes(INIT, FRAGMENTS[:1], FIRST)


# --- any faults ---


@given(st.sets(st.integers(0, 40), max_size=25), st.lists(st.integers(1, 3), max_size=8))
def test_whatever_fails_a_sealed_file_holds_what_was_counted(
    faults: set[int], batches: list[int]
) -> None:
    """With any steps failing, the file that is sealed in the end holds exactly the fragments
    that the index counted, and its hash is right."""
    disk = MemoryDisk()
    segment = create(disk)
    disk.fail(*faults)
    for batch in batches:
        done = len(whole(segment.index.frames))
        try:
            segment.append(FRAGMENTS[done : done + batch])
        except OSError:
            continue
    kept = whole(segment.index.frames)
    seal_in_the_end(segment)
    data = sealed_bytes(INIT, kept, FIRST)
    assert content(disk, segment) == disk.files[segment.path].durable == data
    assert segment.sha256 == hashlib.sha256(data[HASHED_FROM:]).hexdigest()


def test_a_sync_that_failed_once_is_never_forgotten() -> None:
    """I8: after a failed sync a later one may succeed over lost pages; the file stays doubtful."""
    disk = MemoryDisk()
    segment = create(disk)
    segment.append(FRAGMENTS[1:2])
    disk.fail(0, code=errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        segment.sync()
    assert segment.doubtful
    segment.sync()
    segment.seal()
    assert (segment.doubtful, segment.sha256 is not None) == (True, True)


# --- what a file says of itself ---


def test_a_file_calls_durable_what_was_synced() -> None:
    """Behind each fragment stands how much was on stable storage when it was written: recovery
    does not read that again, so it must never be more."""
    disk = MemoryDisk()
    segment = create(disk)
    durable, ends = [0], [segment.size_bytes]
    for number, fragment in enumerate(FRAGMENTS[1:]):
        if number == 1:
            segment.sync()
        durable.append(len(disk.files[segment.path].durable))
        segment.append([fragment])
        ends.append(segment.size_bytes)
    data = content(disk, segment)
    checks = [read_checksum_box(data[end - CHECKSUM_BOX_SIZE : end]) for end in ends]
    assert [check and check.synced_bytes for check in checks] == durable
    assert durable[1] == ends[0] < durable[2] == ends[1] == durable[3] < ends[2]


# --- limits ---


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_segment_that_is_cut_at_a_mark_is_as_if_nothing_had_come_behind(kept: int) -> None:
    """What is cut off is read back as it came, and the rest seals to the very same bytes."""
    disk = MemoryDisk()
    segment = create(disk)
    segment.append(FRAGMENTS[1:])
    mark = segment._marks[kept - 1]
    assert segment.fragments_behind(mark) == [
        attrs.evolve(each, moof=moved.moof, wall_micros=None)
        for each, moved in zip(FRAGMENTS[kept:], segment.fragments_behind(mark), strict=True)
    ]
    segment.split_at(mark, segment.index_before(mark))
    segment.seal()
    expected = sealed_bytes(INIT, FRAGMENTS[:kept], FIRST)
    assert content(disk, segment) == expected
    assert segment.sha256 == hashlib.sha256(expected[HASHED_FROM:]).hexdigest()


def test_no_fragment_takes_the_room_of_the_final_index() -> None:
    """Whatever the limit, what was appended can be sealed within it."""
    whole_size = len(sealed_bytes(INIT, FRAGMENTS, FIRST))
    refused = set()
    for limit in range(
        len(growing_bytes(INIT, FRAGMENTS[:1], FIRST)) + 3000, whole_size + 3000, 50
    ):
        disk = MemoryDisk(known_limit=limit, hard_limit=limit)
        segment = create(disk)
        with contextlib.suppress(FileTooLargeError):
            segment.append(FRAGMENTS[1:])
        refused.add(segment.index.frames)
        segment.seal()
        assert len(content(disk, segment)) <= limit
    assert len(refused) > 1
