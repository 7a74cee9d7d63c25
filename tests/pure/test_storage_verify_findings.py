"""What is said of a file, a session, an index and a journal, for every way to be wrong."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, WHO, segment
from support.recordings_folder import gap, session

from camd.clock import from_unix_micros
from camd.model import Gap, GapCause, SegmentState, SessionState, clock_was_set
from camd.storage.rules.journal_records import (
    GapNoted,
    JournalCondition,
    JournalDamage,
    SegmentNoted,
    SegmentRemovalNoted,
    SessionNoted,
    count_damage,
    decode_records,
    encode_records,
)
from camd.storage.rules.rows import IndexedSession
from camd.storage.verify.rules.findings import FileContents, FileKind, FindingKind, compare_file
from camd.storage.verify.rules.sessions import (
    SEAM,
    compare_session,
    inspect_index,
    uncovered_spans,
)

SEALED = FileContents(
    *("a.mp4", FileKind.SEALED, 1000),
    identity=WHO,
    frames=90,
    duration_seconds=3.0,
    whole_bytes=900,
    sha256="ab" * 32,
)
KNOWN = segment(
    "a.mp4",
    session_id=WHO.session_id,
    start=from_unix_micros(WHO.start_micros),
    frames=90,
    duration_seconds=3.0,
)
INTERRUPTED = attrs.evolve(SEALED, shape=FileKind.INTERRUPTED, sha256=None)


def known(**facts: object):
    """Describe the file as the index has it."""
    return attrs.evolve(KNOWN, **facts)


def faults(findings) -> list[FindingKind]:
    """Name what is wrong; everything comes with words and advice."""
    assert all(c.text and c.advice.endswith(".") and "\n" not in c.text for c in findings)
    return [finding.fault for finding in findings]


def seen(**facts: object) -> FileContents:
    """Describe a sealed file, but for what a test says."""
    return attrs.evolve(SEALED, **facts)


@pytest.mark.parametrize(
    ("found", "expected", "wrong"),
    [
        (SEALED, KNOWN, []),
        (seen(shape=FileKind.BUSY), None, []),
        (seen(shape=FileKind.GONE), KNOWN, [FindingKind.REMOVED]),
        (seen(shape=FileKind.GONE), None, []),
        (seen(shape=FileKind.GONE), known(state=SegmentState.MISSING), [FindingKind.REMOVED]),
        (seen(shape=FileKind.GONE), known(state=SegmentState.MISSING, frames=0), []),
        (
            seen(shape=FileKind.FOREIGN),
            known(state=SegmentState.MISSING, frames=0),
            [FindingKind.FOREIGN],
        ),
        (seen(why_undecodable="has no key frame"), KNOWN, [FindingKind.UNDECODABLE]),
        (seen(shape=FileKind.UNREADABLE, broken="EIO"), KNOWN, [FindingKind.UNREADABLE]),
        (seen(shape=FileKind.FOREIGN), None, [FindingKind.FOREIGN]),
        (seen(shape=FileKind.FOREIGN), KNOWN, [FindingKind.DAMAGED]),
        (seen(shape=FileKind.EMPTY), None, [FindingKind.EMPTY]),
        (seen(shape=FileKind.EMPTY, size_bytes=0), KNOWN, [FindingKind.DAMAGED]),
        (seen(broken="is cut short"), KNOWN, [FindingKind.DAMAGED]),
        (seen(broken="is cut short"), None, [FindingKind.DAMAGED]),
        (SEALED, None, [FindingKind.UNKNOWN]),
        (SEALED, known(state=SegmentState.MISSING), [FindingKind.STATE]),
        (SEALED, known(state=SegmentState.OPEN), [FindingKind.STATE]),
        (SEALED, known(state=SegmentState.INTERRUPTED), [FindingKind.STATE]),
        (INTERRUPTED, known(state=SegmentState.OPEN), [FindingKind.INTERRUPTED]),
        (INTERRUPTED, KNOWN, [FindingKind.STATE]),
        (INTERRUPTED, None, [FindingKind.INTERRUPTED]),
        (SEALED, known(size_bytes=999), [FindingKind.SIZE]),
        (SEALED, known(frames=89), [FindingKind.CONTENT]),
        (SEALED, known(duration_seconds=3.002), [FindingKind.CONTENT]),
        (SEALED, known(duration_seconds=3.0005), []),
        (SEALED, known(session_id="another"), [FindingKind.IDENTITY]),
        (SEALED, known(number=1), [FindingKind.IDENTITY]),
        (SEALED, known(sha256="cd" * 32), [FindingKind.HASH]),
        (seen(sha256=None), known(sha256="cd" * 32), []),
        (seen(sha256=None), known(sha256=None), [FindingKind.UNHASHED]),
        (seen(shape=FileKind.MATROSKA, identity=None), KNOWN, []),
        (seen(shape=FileKind.MATROSKA, identity=None, sha256="0"), KNOWN, [FindingKind.HASH]),
        (seen(shape=FileKind.MATROSKA, identity=None), None, [FindingKind.UNKNOWN]),
    ],
)
def test_a_file_is_judged_by_what_the_index_knows(found: FileContents, expected, wrong) -> None:
    """Each way to differ has its own name, and what is as it was has none."""
    assert faults(compare_file(found, expected)) == wrong


def test_a_second_file_of_a_segment_is_a_copy_or_a_new_name() -> None:
    """Which one, depends on whether the file is there that the index knows."""
    assert faults(compare_file(SEALED, None, "b.mp4")) == [FindingKind.COPY]
    (finding,) = compare_file(SEALED, None, "-b.mp4")
    assert finding.fault is FindingKind.RENAMED
    assert finding.text == "is b.mp4, renamed"


def test_a_torn_end_and_the_place_of_a_damage_are_named() -> None:
    """People learn how much is lost, and where."""
    (torn,) = compare_file(
        attrs.evolve(INTERRUPTED, size_bytes=1010), known(state=SegmentState.OPEN)
    )
    assert "its last 110 bytes are not whole" in torn.text
    (damaged,) = compare_file(seen(sha256="0", damaged_at=77), KNOWN)
    assert "from byte 77 on" in damaged.text


# --- sessions ---


def files(*spans: tuple[float, float], **facts: object):
    """Describe a session's files, by seconds after noon."""
    return tuple(
        segment(
            f"{number}.mp4",
            number=number,
            start=NOON + timedelta(seconds=begin),
            end=NOON + timedelta(seconds=end),
            frames=9,
            **facts,
        )
        for number, (begin, end) in enumerate(spans)
    )


def judged(segments, gaps=(), captured: int | None = None, **facts: object) -> list[FindingKind]:
    """Judge a session of these files and ledger entries; its sums are right unless given."""
    written = sum(each.frames for each in segments)
    exact = sum(entry.frames for entry in gaps if entry.exact)
    total = written + exact if captured is None else captured
    account = IndexedSession(session(segments=segments, gaps=gaps, **facts), total, written)
    return faults(compare_session(account))


def test_files_without_a_seam_are_all_right() -> None:
    """Less than half a second between two files, either way, is no gap and no overlap."""
    assert judged(files((0, 10), (10, 20), (20.4, 30), (29.6, 40))) == []


def test_the_clock_of_a_source_drifts() -> None:
    """By two thousandths of the file before it, a file may overlap that, or lie apart from it."""
    assert judged(files((0, 1800), (1796, 3600), (3603.9, 5400))) == []
    assert judged(files((0, 1800), (1795.8, 3600))) == [FindingKind.OVERLAP]
    assert judged(files((0, 1800), (1804.3, 3600))) == [FindingKind.UNCOVERED]


def test_a_hole_needs_a_ledger_entry() -> None:
    """Time between two files is covered by entries, or said to be in neither."""
    apart = files((0, 10), (15, 20))
    assert judged(apart) == [FindingKind.UNCOVERED]
    assert judged(apart, (gap(10, 15),)) == []
    assert judged(apart, (gap(10, 12), gap(12.2, 15))) == []
    assert judged(apart, (gap(10, 12),)) == [FindingKind.UNCOVERED]
    assert judged(apart, (gap(11, 14),)) == [FindingKind.UNCOVERED, FindingKind.UNCOVERED]


def test_an_overlap_is_a_fault_unless_the_clock_was_stepped() -> None:
    """Two files of one session never hold the same time."""
    overlapping = files((0, 10), (8, 20))
    assert judged(overlapping) == [FindingKind.OVERLAP]
    assert judged(overlapping, (step(8, -2),)) == []
    assert judged(overlapping, (step(8, -1),)) == [FindingKind.OVERLAP]


def step(at: float, by: float) -> Gap:
    """Describe that the clock was set by so many seconds, at a moment of the new time."""
    words = clock_was_set(timedelta(seconds=by))
    return gap(at, at, cause=GapCause.CLOCK_STEP, action=words, exact=True)


@pytest.mark.parametrize("by", [3600.0, -3600.0, 3.5, -3.5, 0.6])
def test_a_step_of_the_clock_is_neither_hole_nor_overlap(by: float) -> None:
    """Between two files the clock may be set, forward or back; what is missing beside that, or
    without that, is still found, and a step explains one seam only."""
    stepped = files((0, 10), (10 + by, 20 + by), (20 + by, 30 + by))
    entry = step(10 + by, by)
    assert entry.stepped == timedelta(seconds=by)
    assert judged(stepped, (entry,)) == []
    assert judged(stepped) != []
    lost = files((0, 10), (15 + by, 20 + by))  # the camera was away for 5 s as well
    assert judged(lost, (entry,)) != []
    assert judged(lost, (entry, gap(10 + by, 15 + by))) == []
    twice = files((0, 10), (10 + by, 20 + by), (20 + 2 * by, 30 + 2 * by))
    assert judged(twice, (entry,)) != []
    assert judged(twice, (entry, step(20 + 2 * by, by))) == []
    both = files((0, 10), (10 + by + 7, 20))  # two steps while nothing was recorded
    assert judged(both[:1] + both[1:], (entry, step(10 + by + 7, 7.0))) == []


def test_a_span_with_holes_is_longer_than_what_is_missing_in_it() -> None:
    """An entry about frames that a source left out has the span, and how much of it is missing."""
    holes = {"cause": GapCause.FRAMES_DROPPED_BY_SOURCE, "duration_seconds": 2.0}
    assert judged(files((0, 10)), (gap(1, 9, **holes),)) == []
    assert judged(files((0, 10)), (gap(1, 2, **holes),)) == [FindingKind.SUMS]


def test_two_files_with_one_number_are_a_fault() -> None:
    """A segment is one file."""
    twice = tuple(attrs.evolve(each, number=0) for each in files((0, 10), (10, 20)))
    assert judged(twice) == [FindingKind.OVERLAP]


def test_the_newest_file_of_a_running_session_is_not_judged() -> None:
    """Its ledger entries may be written after it began."""
    first, second = files((0, 10), (15, 20))
    growing = (first, attrs.evolve(second, state=SegmentState.OPEN))
    running = {"state": SessionState.RECORDING, "end": None}
    assert judged(growing, **running) == []
    assert judged((first, second), **running) == [FindingKind.UNCOVERED]


def test_sums_have_to_add_up_when_a_session_is_over() -> None:
    """Captured is written and ledgered (I4); a running session has no sums yet."""
    one = files((0, 10))
    exact = gap(10, 11, frames=5, exact=True)
    assert judged(one, (exact,)) == []
    assert judged(one, (exact,), captured=9) == [FindingKind.SUMS]
    assert judged(one, captured=10) == [FindingKind.SUMS]
    assert judged(one, captured=0, state=SessionState.WAITING) == []


@pytest.mark.parametrize(
    "entry", [gap(5, 4), gap(5, 6, duration_seconds=2.0), gap(5, 6, frames=-1)]
)
def test_an_entry_that_contradicts_itself_is_a_fault(entry) -> None:
    """Its length is that between its ends, and neither time nor frames are negative."""
    assert judged(files((0, 10)), (entry,), captured=9) == [FindingKind.SUMS]


moments = st.integers(0, 50).map(float)


@given(st.lists(st.tuples(moments, moments)), moments, moments)
def test_what_is_uncovered_is_what_no_gap_has(
    spans: list[tuple[float, float]], begin: float, end: float
) -> None:
    """Every second between two files is in an entry, or in a span without one, and never both."""
    entries = [gap(min(span), max(span)) for span in spans]
    start, until = NOON + timedelta(seconds=begin), NOON + timedelta(seconds=end)
    holes = list(uncovered_spans(start, until, entries))
    assert all(hole_end - hole_start > SEAM for hole_start, hole_end in holes)
    for second in range(50):
        middle = NOON + timedelta(seconds=second + 0.5)
        covered = any(entry.start <= middle < entry.end for entry in entries)
        inside = start <= middle < until
        assert any(a <= middle < b for a, b in holes) == (inside and not covered)


# --- index and journal ---


@pytest.mark.parametrize(
    ("problem", "journal", "wrong"),
    [
        ("", JournalCondition(1), []),
        ("is not there", JournalCondition(1), [FindingKind.INDEX]),
        ("cannot be read: garbage", JournalCondition(1), [FindingKind.INDEX]),
        ("", JournalCondition(0), [FindingKind.JOURNAL]),
        ("", JournalCondition(2, missing=("journal-000002.jsonl",)), [FindingKind.JOURNAL]),
        (
            "",
            JournalCondition(1, unreadable=(("journal-000001.jsonl", "EIO"),)),
            [FindingKind.JOURNAL],
        ),
        ("", JournalCondition(1, short=True), [FindingKind.JOURNAL]),
        ("", JournalCondition(1, damage=JournalDamage(damaged=1)), [FindingKind.JOURNAL]),
        (
            "",
            JournalCondition(1, damage=JournalDamage(torn=1, unknown=1)),
            [FindingKind.TORN, FindingKind.TORN],
        ),
    ],
)
def test_index_and_journal_are_judged(problem: str, journal: JournalCondition, wrong) -> None:
    """What cannot be read, is gone, or was shortened is said; a crash's torn line is harmless."""
    assert faults(inspect_index(problem, journal, 3)) == wrong


def test_an_empty_folder_needs_neither_index_nor_journal() -> None:
    """Where nothing was ever recorded, nothing is missing."""
    assert inspect_index("is not there", JournalCondition(), 0) == []


EVERYTHING = [
    SegmentNoted(KNOWN),
    SegmentRemovalNoted("a.mp4", "became a.mkv"),
    SessionNoted(session(duration_limit=timedelta(seconds=8.5))),
    SessionNoted(session(duration_limit=None, end=None)),
    GapNoted(gap(1, 2.5)),
]


def test_every_record_comes_back_as_it_was() -> None:
    """A timed session too: its limit is in the line, and is read from it."""
    data = encode_records(EVERYTHING)
    assert list(decode_records(data)) == EVERYTHING
    assert count_damage(data) == JournalDamage()


def test_lines_without_meaning_are_told_apart() -> None:
    """A line that a crash cut, one that was damaged later, and one of a later version."""
    line = encode_records(EVERYTHING[:1])
    assert count_damage(line[:50] + b"\n" + line) == JournalDamage(torn=1)
    assert count_damage(line + bytes(100)) == JournalDamage(torn=1)
    damaged = line.replace(b"a.mp4", b"b.mp4")
    assert count_damage(damaged + line) == JournalDamage(damaged=1)
    later = b'{"kind":"weather","fact":{}}'
    assert count_damage(_checked_line(later)) == JournalDamage(unknown=1)


def _checked_line(text: bytes) -> bytes:
    import zlib

    return b"%08x %s\n" % (zlib.crc32(text), text)
