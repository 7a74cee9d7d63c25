"""Removing recordings: whatever fails, wherever the power goes, file and entry go together."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_disk import MemoryDisk
from support.power_cut_disk import RecordingDisk
from support.recordings import NOON, segment

from camd.errors import (
    FILE_IN_USE,
    FILE_LEASED,
    FILE_NOT_FOUND,
    FILE_PINNED,
    REMOVAL_FAILED,
    ErrorKind,
)
from camd.model import Segment, SegmentState
from camd.storage.disk import Disk
from camd.storage.index.index_database import IndexDatabase
from camd.storage.index.index_journal import IndexJournal
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.removal import Pin, Pins, Removal, Remover
from camd.storage.rules.journal_records import SegmentNoted

FOLDER = Path("/disk")
HIDDEN = FOLDER / ".camd"
GOING, OTHER = ("a.mp4", "b.mp4"), "c.mp4"
FILES = (*GOING, OTHER)
CONTENT = b"footage" * 1000

Busy = Callable[[Segment], ErrorKind | None]


def nobody(_: Segment) -> None:
    """Let every file go."""


def fill(disk: Disk) -> None:
    """Put recordings on a disk, durably."""
    for name in FILES:
        file = disk.create(FOLDER / name)
        file.append([CONTENT])
        file.sync()
        file.close()
    disk.sync_directory(FOLDER)


@contextmanager
def opened(disk: Disk) -> Iterator[RecordingIndex]:
    """Open the index of a disk in memory; it has what the journal has."""
    lock = os.open(os.devnull, os.O_RDONLY)
    index = RecordingIndex(
        HIDDEN, IndexDatabase.open(Path(":memory:")), IndexJournal.open(disk, HIDDEN), lock, None
    )
    index.catch_up()
    yield index
    index.close()


@contextmanager
def known(disk: Disk) -> Iterator[RecordingIndex]:
    """Open an index that has the recordings on the disk."""
    with opened(disk) as index:
        index.note(*(SegmentNoted(segment(name, size_bytes=len(CONTENT))) for name in FILES))
        yield index


def remover(disk: Disk, index: RecordingIndex, busy: Busy = nobody) -> Remover:
    """Return what is tested."""
    return Remover(disk, FOLDER, index, Pins.of(disk, FOLDER), busy, NOON)


def memory() -> MemoryDisk:
    """Return a disk with recordings on it."""
    disk = MemoryDisk(folders={FOLDER, HIDDEN})
    fill(disk)
    return disk


def there(disk: MemoryDisk | RecordingDisk) -> set[str]:
    """Name the recordings on a disk."""
    return {path.name for path in disk.files if path.parent == FOLDER}


def entries(index: RecordingIndex) -> set[str]:
    """Name what the index knows."""
    return set(index.database.filenames())


def test_what_is_removed_is_gone_and_nothing_else() -> None:
    """The journal is durable before a file goes, and the folder is synced before the answer."""
    disk = memory()
    with known(disk) as index:
        disk.steps.clear()
        answers = remover(disk, index).remove(GOING, "a person asked")
        assert answers == [Removal(name, removed=True, freed_bytes=len(CONTENT)) for name in GOING]
        assert disk.steps == ["append", "sync", "unlink", "unlink", "sync_directory"]
        assert there(disk) == entries(index) == {OTHER}
    with opened(disk) as index:  # a new index
        assert entries(index) == {OTHER}


@pytest.mark.parametrize("reason", [FILE_IN_USE, FILE_LEASED])
def test_what_is_busy_stays(reason: ErrorKind) -> None:
    """A file that is recorded or read is refused with the reason; the others go."""
    disk = memory()
    with known(disk) as index:
        busy = {"a.mp4": reason}
        answers = remover(disk, index, lambda s: busy.get(s.filename)).remove(GOING, "why")
        assert [(a.filename, a.refused) for a in answers] == [("a.mp4", reason), ("b.mp4", None)]
        assert there(disk) == entries(index) == {"a.mp4", OTHER}
        assert answers[0].refusal().kind is reason
        assert answers[0].refusal().data["filename"] == "a.mp4"


def test_a_pinned_file_stays() -> None:
    """I5: a marker is enough, whoever made it; one that is over is none."""
    disk = memory()
    pins = Pins.of(disk, FOLDER)
    pins.put("b.mp4", Pin(until=NOON))
    disk.create(pins.folder / "a.mp4").close()  # by hand: touch
    with known(disk) as index:
        answers = remover(disk, index).remove(GOING, "why")
        assert [a.refused for a in answers] == [FILE_PINNED, None]
        assert there(disk) == entries(index) == {"a.mp4", OTHER}


def test_a_pin_that_comes_at_the_last_moment_holds() -> None:
    """The marker is looked for right before the unlink: the file stays and is known again."""
    disk = memory()
    disk.folders.add(HIDDEN / "pins")

    def pin_the_first(looked_at: Segment) -> None:
        if looked_at.filename == "b.mp4":  # the first was looked at, and found without a pin
            disk.create(HIDDEN / "pins" / "a.mp4").close()

    with known(disk) as index:
        answers = remover(disk, index, pin_the_first).remove(GOING, "why")
        assert [a.refused for a in answers] == [FILE_PINNED, None]
        assert there(disk) == entries(index) == {"a.mp4", OTHER}


def test_an_entry_without_a_file_is_forgotten() -> None:
    """Nothing is freed by it when it was known as missing; its session keeps its other files."""
    disk = memory()
    with known(disk) as index:
        gone = [segment(name, size_bytes=5) for name in ("x.mp4", "y.mp4")]
        index.note(SegmentNoted(gone[0]))
        index.database.apply([SegmentNoted(attrs.evolve(gone[1], state=SegmentState.MISSING))])
        answers = remover(disk, index).remove(["x.mp4", "y.mp4", "z.mp4", "x.mp4"], "why")
        assert {a.filename: (a.refused, a.freed_bytes) for a in answers} == {
            "x.mp4": (None, 5),
            "y.mp4": (None, 0),
            "z.mp4": (FILE_NOT_FOUND, 0),
        }
        assert there(disk) == entries(index) == set(FILES)


def test_file_and_entry_go_together_whatever_fails() -> None:
    """With one failure or two at any steps, file and entry are both there or both not, now and
    after a restart; a success is a success, and nothing else is touched."""
    disk = memory()
    with known(disk) as index:
        begun = len(disk.steps)
        disk.fail(2)  # the longest way: the first file stays
        remover(disk, index).remove(GOING, "why")
        most = len(disk.steps) - begun + 4
    outcomes = set()
    for faults in itertools.combinations_with_replacement(range(most), 2):
        disk = memory()
        with known(disk) as index:
            disk.fail(*faults)
            answers = remover(disk, index).remove(GOING, "why")
            disk.faults.clear()
            assert there(disk) == entries(index), faults
            assert [a.filename for a in answers if a.removed] == sorted(set(GOING) - there(disk))
            assert all(a.removed for a in answers if a.refused is None)
            assert all(a.refused in (None, REMOVAL_FAILED) for a in answers)
            assert {path.name: bytes(f.data) for path, f in disk.files.items()}[OTHER] == CONTENT
            outcomes.add(tuple((a.removed, a.refused is None) for a in answers))
        with opened(disk) as index:
            assert entries(index) <= there(disk), faults  # the others are adopted
            assert OTHER in entries(index)
    assert {((True, True),) * 2, ((True, False),) * 2, ((False, False),) * 2} <= outcomes


@settings(max_examples=400)
@given(st.data())
def test_a_power_cut_leaves_file_and_entry_or_neither(data: st.DataObject) -> None:
    """Wherever the power goes: no entry without its file, so that what start-up adopts makes it
    whole; what was answered stays done; the bystander is untouched."""
    disk = RecordingDisk()
    fill(disk)
    with known(disk) as index:
        before = len(disk.log)
        for name in GOING:
            (answer,) = remover(disk, index).remove([name], "why")
            assert answer.refused is None
            disk.note("answered", name)
    cut = data.draw(st.integers(before, len(disk.log)), label="cut")
    answered = {name for what, name, *_ in disk.log[:cut] if what == "answered"}
    disk.log = [entry for entry in disk.log[:cut] if entry[0] != "answered"]
    left = disk.after_power_cut(data.draw, at_least=len(disk.log))
    with opened(left) as index:
        assert entries(index) <= there(left)
        assert OTHER in entries(index)
    assert there(left) & answered == set()
    assert {bytes(left.files[FOLDER / name]) for name in there(left)} == {CONTENT}
