"""What does not add up: a session's files against its ledger; index and journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from types import MappingProxyType

from camd.model import Cause, Gap, Segment, SegmentState, SessionState
from camd.storage.check.rules.findings import RECOVER, REINDEX, REPORT, Finding, FindingKind
from camd.storage.rules.journal_records import JournalFacts
from camd.storage.rules.rows import IndexedSession

SEAM = timedelta(milliseconds=500)  # less than this between two files is no hole: clocks drift
_SAME_SECONDS = 0.001
NONE_REMOVED: Mapping[int, int] = MappingProxyType({})
_MOST_STEPS = 20  # of the clock between two files that are tried together
_OPEN = (SegmentState.OPEN, SegmentState.INTERRUPTED)


def check_session(
    account: IndexedSession, removed: Mapping[int, int] = NONE_REMOVED
) -> list[Finding]:
    """Look for time that no file and no ledger entry covers, and for sums that do not add up.

    `removed` are the frames of segments that camd has removed, by number: they are no loss. The
    newest file of a session that goes on is left out: its entries may come later.
    """
    session = account.session
    found = list[Finding]()

    def found_one(fault: FindingKind, text: str, advice: str = REPORT) -> None:
        found.append(Finding(f"session {session.session_id}", fault, text, advice))

    over = session.state is SessionState.ENDED
    settled = [s for s in session.segments if over or s.state not in _OPEN]
    files = sorted(settled, key=lambda segment: segment.number)
    steps = [gap.stepped for gap in session.gaps if gap.cause is Cause.CLOCK_STEP]
    for before, after in pairwise(files):
        if before.number == after.number:
            found_one(
                FindingKind.OVERLAP, f"{before.filename} and {after.filename} have one number"
            )
            continue
        if any(number in removed for number in range(before.number + 1, after.number)):
            continue
        for fault, text in _check_seam(before, after, session.gaps, steps):
            found_one(fault, text)
    for gap in session.gaps:
        if not _consistent(gap):
            found_one(
                FindingKind.SUMS, f"the entry from {_moment(gap.start)} contradicts itself", REINDEX
            )
    if over:
        there = {segment.number for segment in session.segments}
        gone = sum(frames for number, frames in removed.items() if number not in there)
        written = sum(segment.frames for segment in session.segments) + gone
        lost = sum(gap.frames for gap in session.gaps if gap.exact)
        noted = f"{account.frames_captured} frames were captured, {account.frames_written} written"
        if (account.frames_captured, account.frames_written) != (written + lost, written):
            found_one(FindingKind.SUMS, f"{noted}; files hold {written}, the ledger {lost}")
    return found


def _consistent(gap: Gap) -> bool:
    """Whether an entry's length fits its ends; of a span with holes only some is missing."""
    seconds = (gap.end - gap.start).total_seconds()
    more = gap.duration_seconds - seconds
    part = gap.cause is Cause.FRAMES_DROPPED_BY_SOURCE and gap.duration_seconds >= 0
    fits = more <= _SAME_SECONDS if part else abs(more) <= _SAME_SECONDS
    return seconds >= 0 and gap.frames >= 0 and fits


def _check_seam(
    before: Segment, after: Segment, gaps: Sequence[Gap], steps: list[timedelta]
) -> list[tuple[FindingKind, str]]:
    """Judge what lies between two files; `steps` of the clock that explain it are taken out.

    The end of the first file is by the clock as it was before a step, the rest by the one after.
    """
    found = _faults_between(before, after, gaps, timedelta(0))
    for taken in _runs(steps):
        if not found:
            break
        by = sum((steps[at] for at in taken), timedelta(0))
        if not (explained := _faults_between(before, after, gaps, by)):
            found = explained
            for at in reversed(taken):
                del steps[at]
    return found


def _runs(steps: Sequence[timedelta]) -> list[range]:
    """Say which steps may lie between two files: one, or several in a row."""
    most = min(len(steps), _MOST_STEPS)
    return [
        range(first, first + length)
        for length in range(1, most + 1)
        for first in range(most)
        if first + length <= most
    ]


def _faults_between(
    before: Segment, after: Segment, gaps: Sequence[Gap], stepped: timedelta
) -> list[tuple[FindingKind, str]]:
    found = list[tuple[FindingKind, str]]()
    end, between = before.end + stepped, f"between {before.filename} and {after.filename}"
    if end - after.start > SEAM:
        seconds = (end - after.start).total_seconds()
        text = f"{after.filename} begins {seconds:.3f} s before {before.filename} ends"
        found.append((FindingKind.OVERLAP, text))
    for start, until in uncovered(end, after.start, gaps):
        seconds = (until - start).total_seconds()
        text = (
            f"{seconds:.3f} s from {_moment(start)} are in no file and no ledger entry, {between}"
        )
        found.append((FindingKind.UNCOVERED, text))
    return found


def uncovered(
    start: datetime, end: datetime, gaps: Iterable[Gap]
) -> Iterator[tuple[datetime, datetime]]:
    """Yield what lies between `start` and `end` and in no gap, if it is more than a seam."""
    at = start
    for gap in sorted(gaps, key=lambda gap: gap.start):
        until = min(gap.start, end)
        if until - at > SEAM:
            yield at, until
        at = max(at, gap.end)
    if end - at > SEAM:
        yield at, end


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}"


# --- index and journal --------------------------------------------------------------------


def check_index(problem: str, journal: JournalFacts, known: int) -> list[Finding]:
    """Say whether the index can be read, and the journal that it would be rebuilt from.

    `known` is how many files or sessions there are to know of.
    """
    found = list[Finding]()

    def found_one(fault: FindingKind, text: str, advice: str) -> None:
        found.append(
            Finding(fault.value if fault is FindingKind.INDEX else "journal", fault, text, advice)
        )

    if problem and known:
        found_one(FindingKind.INDEX, problem, RECOVER if problem == "is not there" else REINDEX)
    lost = "What it said of sessions and their ledger is lost with it if the index is, too."
    if known and not journal.files:
        found_one(FindingKind.JOURNAL, "is not there", f"Put it back from a copy. {lost}")
    else:
        for name in journal.missing:
            found_one(FindingKind.JOURNAL, f"lacks {name}", f"Put it back from a copy. {lost}")
    for name, why in journal.unreadable:
        found_one(
            FindingKind.JOURNAL, f"{name} cannot be read: {why}", "Check permissions and the disk."
        )
    if journal.short:
        found_one(FindingKind.JOURNAL, "is shorter than it was", f"Put it back from a copy. {lost}")
    if journal.damage.damaged:
        text = f"has {journal.damage.damaged} damaged lines"
        found_one(FindingKind.JOURNAL, text, f"Check the disk. {lost}")
    if journal.damage.torn:
        text = f"has {journal.damage.torn} lines that a crash cut short"
        found_one(FindingKind.TORN, text, "Nothing was promised of them; nothing is to do.")
    if journal.damage.unknown:
        text = f"has {journal.damage.unknown} lines of another version of camd"
        found_one(FindingKind.TORN, text, "They are kept, and read by that version.")
    return found


def unaccounted_session(session_id: str) -> Finding:
    """Say what is known of a session of which there are only files."""
    return Finding(
        f"session {session_id}",
        FindingKind.UNACCOUNTED,
        "is known by its files alone: its ledger is lost, or has not been written yet",
        "Nothing is to do; what its files do not hold is accounted for nowhere.",
    )
