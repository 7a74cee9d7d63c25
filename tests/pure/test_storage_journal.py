"""The journal: what was noted is read again, whatever a crash or a failing disk did to its end."""

from __future__ import annotations

import errno
import zlib
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_disk import MemoryDisk
from support.power_cut_disk import RecordingDisk
from support.recordings import NOON, gap, segment, session

from camd.model import SegmentState, SessionState
from camd.storage.index.index_journal import IndexJournal, JournalPosition
from camd.storage.rules.journal_records import (
    GapNoted,
    Record,
    SegmentNoted,
    SegmentRemovalNoted,
    SessionNoted,
    decode_records,
    encode_records,
)

FOLDER = Path("/disk")
BEGIN = JournalPosition()
RECORDS: list[Record] = [
    SegmentNoted(segment()),
    SegmentNoted(segment("ü\n.mp4", sha256=None, certain=False, state=SegmentState.MISSING)),
    SegmentRemovalNoted("a.mp4", "asked for"),
    SessionNoted(session()),
    SessionNoted(session(end=NOON, duration_limit=timedelta(minutes=5), key="k")),
    GapNoted(gap(3)),
    GapNoted(gap(4.123456, exact=False)),
]


def noted(disk: MemoryDisk | RecordingDisk, since: JournalPosition = BEGIN) -> list[Record]:
    """Read everything behind a place."""
    found = IndexJournal(disk, FOLDER).read(since)
    return [record for records, _ in found for record in records]


# --- lines ---


def test_records_come_out_as_they_went_in() -> None:
    """Every field of every kind survives, microseconds and newlines in names included."""
    assert list(decode_records(encode_records(RECORDS))) == RECORDS


def test_a_session_is_noted_without_what_has_records_of_its_own() -> None:
    """Segments and gaps are not written twice."""
    whole = session(segments=(segment(),), gaps=(gap(1),), warnings=("w",))
    (read,) = decode_records(encode_records([SessionNoted(whole)]))
    assert read == SessionNoted(attrs.evolve(whole, segments=(), gaps=(), warnings=()))


@given(st.data())
def test_damage_costs_only_the_lines_it_hits(data: st.DataObject) -> None:
    """Bytes that were overwritten by anything cost their own lines; all others are read."""
    lines = encode_records(RECORDS).split(b"\n")[:-1]
    hit = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[hit]) - 1))
    garbage = data.draw(st.binary(min_size=1, max_size=len(lines[hit]) - at))
    damaged = lines[hit][:at] + garbage + lines[hit][at + len(garbage) :]
    if damaged == lines[hit]:
        return
    rest = RECORDS[:hit] + RECORDS[hit + 1 :]
    assert (
        list(decode_records(b"\n".join([*lines[:hit], damaged, *lines[hit + 1 :]]) + b"\n")) == rest
    )


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(garbage: bytes) -> None:
    """Whatever stands in a journal is passed over."""
    assert list(decode_records(garbage)) == []


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b'{"kind":"segment"}',
        b'{"kind":"segment","fact":{"segment":{"filename":1}}}',
        b'{"kind":"of a later version","fact":{}}',
        b'{"kind":["segment"],"fact":{}}',
    ],
)
def test_whole_lines_that_say_nothing_are_passed_over(text: bytes) -> None:
    """A line whose checksum is right and whose content is not known is no error."""
    assert list(decode_records(b"%08x %s\n" % (zlib.crc32(text), text))) == []


# --- the file ---


def test_a_journal_is_continued() -> None:
    """What is appended after opening again stands behind what was there; places tell it apart."""
    disk = MemoryDisk()
    journal = IndexJournal.open(disk, FOLDER)
    journal.append(RECORDS[:2])
    position = journal.position
    journal.close()
    journal = IndexJournal.open(disk, FOLDER)
    assert journal.position == position
    journal.append(RECORDS[2:])
    journal.append([])
    journal.close()
    assert noted(disk) == RECORDS
    assert noted(disk, position) == RECORDS[2:]
    assert noted(disk, journal.position) == []
    assert disk.open_files == 0


def test_a_long_journal_has_several_files() -> None:
    """A file that is long enough is followed by another one; all are read, in order."""
    disk = MemoryDisk()
    journal = IndexJournal.open(disk, FOLDER, max_file_bytes=1000)
    for record in RECORDS:
        journal.append([record])
    assert journal.numbers() == list(range(1, journal.position.file + 1))
    assert journal.position.file > 1
    assert noted(disk) == RECORDS
    assert noted(disk, JournalPosition(2, 0)) == RECORDS[-len(noted(disk, JournalPosition(2, 0))) :]


def test_foreign_files_are_no_journal() -> None:
    """Files of other names are not read."""
    disk = MemoryDisk()
    for name in ("journal-1.jsonl", "journal-000001.jsonl~", "index.sqlite"):
        disk.create(FOLDER / name).append([encode_records(RECORDS)])
    assert noted(disk) == []
    assert IndexJournal.open(disk, FOLDER).position == JournalPosition(1)


@pytest.mark.parametrize("faults", [(n,) for n in range(8)] + [(n, n + 1) for n in range(7)])
def test_a_failing_disk_costs_no_line_that_was_confirmed(faults: tuple[int, ...]) -> None:
    """Whichever operation fails: what append returned from is read, whole, and appending again
    works when the disk does."""
    disk = MemoryDisk()
    confirmed: list[Record] = []
    disk.fail(*faults, code=errno.EIO)
    journal = IndexJournal.open(disk, FOLDER)
    for record in RECORDS:
        try:
            journal.append([record])
        except OSError:
            continue
        confirmed.append(record)
    assert len(confirmed) >= len(RECORDS) - len(faults)
    found = noted(disk)
    assert [record for record in found if record in confirmed] == confirmed


@settings(max_examples=400)
@given(st.data())
def test_a_power_cut_costs_no_line_that_was_confirmed(data: st.DataObject) -> None:
    """Whenever the power goes: all confirmed lines are read, and the journal goes on behind them,
    a torn line at its end included."""
    disk = RecordingDisk()
    journal = IndexJournal.open(disk, FOLDER)
    confirmations = []
    for record in RECORDS:
        journal.append([record])
        confirmations.append(len(disk.log))
    cut = data.draw(st.integers(0, len(disk.log)), label="operations before the cut")
    left = disk.cut_at(cut, data.draw)
    confirmed = sum(after <= cut for after in confirmations)
    found = noted(left)
    assert found[:confirmed] == RECORDS[:confirmed]
    assert all(record in RECORDS for record in found)
    again = IndexJournal.open(left, FOLDER)
    more = SegmentRemovalNoted("behind.mp4", "")
    again.append([more])
    assert noted(left) == [*found, more]


def test_a_session_that_ended_is_the_latest_word() -> None:
    """Records keep their order, so that the latest of two about one thing can count."""
    ended = session(state=SessionState.ENDED)
    disk = MemoryDisk()
    journal = IndexJournal.open(disk, FOLDER)
    journal.append([SessionNoted(session()), SessionNoted(ended)])
    assert noted(disk)[-1] == SessionNoted(ended)


def test_a_name_that_could_not_be_synced_is_synced_later() -> None:
    """A file whose name is not durable yet is made so before a line in it is confirmed."""
    disk = RecordingDisk()
    disk.create(FOLDER / "journal-000001.jsonl")  # and the power went, or the sync failed
    journal = IndexJournal.open(disk, FOLDER)
    journal.append(RECORDS[:1])
    assert noted(disk.barely()) == RECORDS[:1]


def test_a_changed_digit_makes_a_line_invalid() -> None:
    """A line that still is what a line looks like, but says something else, is passed over."""
    line = encode_records(RECORDS[:1])
    at = next(n for n, byte in enumerate(line[9:], 9) if chr(byte).isdigit())
    changed = line[:at] + (b"1" if line[at : at + 1] != b"1" else b"2") + line[at + 1 :]
    assert list(decode_records(line)) == RECORDS[:1]
    assert list(decode_records(changed)) == []


def test_a_file_that_may_not_grow_is_followed_by_the_next() -> None:
    """Wherever the limit of a file's size cuts a line, every record is durable and read once."""
    whole = sum(len(encode_records([record])) for record in RECORDS)
    for limit in range(max(len(encode_records([record])) for record in RECORDS) + 1, whole, 37):
        disk = MemoryDisk(hard_limit=limit)
        journal = IndexJournal.open(disk, FOLDER)
        for record in RECORDS:
            journal.append([record])
        journal.close()
        assert noted(disk) == RECORDS
        assert len(IndexJournal(disk, FOLDER).numbers()) > 1
        assert all(len(file.data) <= limit for file in disk.files.values())
