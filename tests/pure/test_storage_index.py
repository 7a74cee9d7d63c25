"""Index and journal together: what one of them lacks, the other one tells."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from support.fake_disk import MemoryDisk
from support.power_cut_disk import open_index
from support.recordings import gap, segment, session

from camd.model import RecordingQuery, SegmentState, SessionId
from camd.storage.index.index_database import IndexDatabase
from camd.storage.index.index_journal import JournalPosition
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.rules.journal_records import (
    GapNoted,
    Record,
    SegmentNoted,
    SegmentRemovalNoted,
    SessionNoted,
)

FOLDER = Path("/disk")
FACTS: list[Record] = [
    SessionNoted(session()),
    SegmentNoted(segment("a.mp4")),
    GapNoted(gap(1)),
    SegmentNoted(segment("b.mp4", number=1)),
    SegmentRemovalNoted("a.mp4", "asked for"),
    GapNoted(gap(2)),
]


def opened(disk: MemoryDisk, database: bytes | None = None) -> RecordingIndex:
    """Open the index of a disk, with the database as it was at some time."""
    return open_index(disk, database, FOLDER)


def said(index: RecordingIndex) -> tuple[object, ...]:
    """Return all that the index says."""
    database = index.database
    return (
        database.page(RecordingQuery()),
        database.unfinished_sessions(),
        database.gaps(SessionId("s0")),
    )


@pytest.mark.parametrize("lag", range(len(FACTS) + 1))
def test_an_index_that_lags_behind_catches_up(lag: int) -> None:
    """However old the index is, it says after opening what the newest one said; each entry once."""
    disk = MemoryDisk()
    index = opened(disk)
    for number, fact in enumerate(FACTS):
        if number == lag:
            database = index.database._db.serialize()
        index.note(fact)
    if lag == len(FACTS):
        database = index.database._db.serialize()
    again = opened(disk, database)
    assert said(again) == said(index) == said(opened(disk))
    assert again.database.gaps(SessionId("s0")) == (gap(1), gap(2))


@pytest.mark.parametrize("faults", [(n,) for n in range(16)] + [(n, n + 1) for n in range(15)])
def test_what_the_disk_refuses_is_written_with_the_next_note(faults: tuple[int, ...]) -> None:
    """Whichever operations of the journal fail: the index has every fact at once, and when the
    disk works again, so has the journal."""
    disk = MemoryDisk()
    index = opened(disk)
    disk.fail(*faults, code=errno.EIO)
    for fact in FACTS:
        with suppress(OSError):
            index.note(fact)
    whole = opened(MemoryDisk())
    whole.note(*FACTS)
    assert said(index) == said(whole)
    disk.faults.clear()
    index.note(GapNoted(gap(9)))
    whole.note(GapNoted(gap(9)))
    assert said(opened(disk)) == said(whole)


class FullDatabase(IndexDatabase):
    """A database whose volume is full until somebody makes room."""

    full = True

    def apply(self, records: Iterable[Record], position: JournalPosition | None = None) -> None:
        """Apply records when there is room."""
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        super().apply(records, position)


@pytest.mark.parametrize("disk_too", [False, True])
def test_an_index_that_was_full_has_every_fact_later(disk_too: bool) -> None:
    """Facts that the index, or index and journal, could not take are in both when there is room."""
    disk = MemoryDisk()
    index = opened(disk)
    first = index.database  # closes the connection when it goes
    index.database = volume = FullDatabase(first._db)
    if disk_too:
        disk.fail(*range(100), code=errno.ENOSPC)
    for fact in FACTS[:-1]:
        with pytest.raises(sqlite3.OperationalError):
            index.note(fact)
    index.flush()
    disk.faults.clear()
    volume.full = False
    index.flush()
    index.note(FACTS[-1])
    whole = opened(MemoryDisk())
    whole.note(*FACTS)
    assert said(index) == said(opened(disk)) == said(whole)


def test_a_hash_that_comes_late_raises_no_file_from_the_dead() -> None:
    """A file that was removed or replaced while it was hashed stays removed or replaced."""
    index = opened(MemoryDisk())
    unhashed, hashed = segment("a.mp4", sha256=None), segment("a.mp4")
    index.note(SegmentNoted(unhashed))
    index.note_hash(hashed)
    assert index.database.segment("a.mp4") == hashed
    index.note(SegmentNoted(segment("a.mp4", sha256=None, size_bytes=7)))
    index.note_hash(hashed)
    assert index.database.unhashed() == (segment("a.mp4", sha256=None, size_bytes=7),)
    index.note(SegmentRemovalNoted("a.mp4", ""))
    index.note_hash(hashed)
    assert index.database.segment("a.mp4") is None


def test_what_a_crash_left_open_is_marked_when_the_index_is_opened() -> None:
    """A segment that was open at the crash is interrupted afterwards."""
    disk = MemoryDisk()
    index = opened(disk)
    index.note_open(segment("a.mp4", state=SegmentState.OPEN, sha256=None))
    again = opened(disk, index.database._db.serialize())
    assert [s.filename for s in again.database.segments_in(SegmentState.INTERRUPTED)] == ["a.mp4"]
    index.catch_up()  # a second time nothing happens
    assert [s.filename for s in index.database.segments_in(SegmentState.OPEN)] == ["a.mp4"]


def test_the_facts_that_wait_for_the_disk_are_bounded() -> None:
    """While nothing can be written, the newest facts wait in memory, and no more than so many."""
    disk = MemoryDisk()
    index = open_index(disk, None, FOLDER, max_pending=3)
    disk.fail(*range(100), code=errno.ENOSPC)
    for number in range(6):
        with pytest.raises(OSError, match="space"):
            index.note(GapNoted(gap(number)))
    disk.faults.clear()
    index.note()
    assert opened(disk).database.gaps(SessionId("s0")) == (gap(3), gap(4), gap(5))
