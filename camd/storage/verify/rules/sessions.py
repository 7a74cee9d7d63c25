"""Compare a session's files with its ledger, and index with journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from types import MappingProxyType

from camd.model import Gap, GapCause, Segment, SegmentState, Session, SessionState
from camd.model.recordings import CLOCK_DRIFT
from camd.storage.rules.journal_records import JournalCondition
from camd.storage.rules.rows import IndexedSession
from camd.storage.verify.rules.findings import RECOVER, REINDEX, REPORT, Finding, FindingKind

SEAM = timedelta(milliseconds=500)  # less between two files is no gap
_SAME_SECONDS = 0.001
NONE_REMOVED: Mapping[int, int] = MappingProxyType({})
_MAX_STEPS = 20  # clock steps considered between two files
_OPEN = (SegmentState.OPEN, SegmentState.INTERRUPTED)


def compare_session(
    account: IndexedSession, removed: Mapping[int, int] = NONE_REMOVED
) -> list[Finding]:
    """Find time that no file and no gap covers, and sums that do not add up.

    `removed` are the frames of segments that camd has removed, by number: they are no loss. The
    newest file of a running session is left out: its gaps may come later.
    """
    session = account.session
    subject = f"session {session.session_id}"
    found = [Finding(subject, *fault, REPORT) for fault in _compare_files(session, removed)]
    found += [
        Finding(
            subject,
            FindingKind.SUMS,
            f"the entry from {_moment(gap.start)} contradicts itself",
            REINDEX,
        )
        for gap in session.gaps
        if not _consistent(gap)
    ]
    if session.state is SessionState.ENDED and (text := _compare_sums(account, removed)):
        found.append(Finding(subject, FindingKind.SUMS, text, REPORT))
    return found


def _compare_files(
    session: Session, removed: Mapping[int, int]
) -> Iterator[tuple[FindingKind, str]]:
    """Compare the times between files with the ledger; removed files explain anything."""
    ended = session.state is SessionState.ENDED
    final = [s for s in session.segments if ended or s.state not in _OPEN]
    steps = [gap.stepped for gap in session.gaps if gap.cause is GapCause.CLOCK_STEP]
    for before, after in pairwise(sorted(final, key=lambda segment: segment.number)):
        if before.number == after.number:
            text = f"{before.filename} and {after.filename} have one number"
            yield FindingKind.OVERLAP, text
        elif not any(number in removed for number in range(before.number + 1, after.number)):
            yield from _compare_seam(before, after, session.gaps, steps)


def _compare_sums(account: IndexedSession, removed: Mapping[int, int]) -> str:
    """Compare the sums of an ended session with its files and gaps; "" when they agree."""
    session = account.session
    there = {segment.number for segment in session.segments}
    gone = sum(frames for number, frames in removed.items() if number not in there)
    written = sum(segment.frames for segment in session.segments) + gone
    lost = sum(gap.frames for gap in session.gaps if gap.exact)
    if (account.frames_captured, account.frames_written) == (written + lost, written):
        return ""
    noted = f"{account.frames_captured} frames were captured, {account.frames_written} written"
    return f"{noted}; files hold {written}, the ledger {lost}"


def _consistent(gap: Gap) -> bool:
    """Return whether a gap's length fits its ends; dropped frames are spread over a longer span."""
    seconds = (gap.end - gap.start).total_seconds()
    more = gap.duration_seconds - seconds
    part = gap.cause is GapCause.FRAMES_DROPPED_BY_SOURCE and gap.duration_seconds >= 0
    fits = more <= _SAME_SECONDS if part else abs(more) <= _SAME_SECONDS
    return seconds >= 0 and gap.frames >= 0 and fits


def _compare_seam(
    before: Segment, after: Segment, gaps: Sequence[Gap], steps: list[timedelta]
) -> list[tuple[FindingKind, str]]:
    """Compare the time between two files with the ledger; clock steps are allowed for once.

    The end of the first file is by the clock before a step, the rest by the clock after it.
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
    """Return the steps that may lie between two files: one, or several in a row."""
    most = min(len(steps), _MAX_STEPS)
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
    seam = SEAM + CLOCK_DRIFT * (before.end - before.start)  # the clock of a source drifts
    if end - after.start > seam:
        seconds = (end - after.start).total_seconds()
        text = f"{after.filename} begins {seconds:.3f} s before {before.filename} ends"
        found.append((FindingKind.OVERLAP, text))
    for start, until in uncovered_spans(end, after.start, gaps, seam):
        seconds = (until - start).total_seconds()
        text = (
            f"{seconds:.3f} s from {_moment(start)} are in no file and no ledger entry, {between}"
        )
        found.append((FindingKind.UNCOVERED, text))
    return found


def uncovered_spans(
    start: datetime, end: datetime, gaps: Iterable[Gap], seam: timedelta = SEAM
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the spans between `start` and `end` that no gap covers, longer than a seam."""
    at = start
    for gap in sorted(gaps, key=lambda gap: gap.start):
        until = min(gap.start, end)
        if until - at > seam:
            yield at, until
        at = max(at, gap.end)
    if end - at > seam:
        yield at, end


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}"


# --- index and journal


def inspect_index(problem: str, journal: JournalCondition, known: int) -> list[Finding]:
    """Inspect whether the index can be read, and the journal that it would be rebuilt from.

    `known` is how many files or sessions there are.
    """
    found = list[Finding]()

    def add(fault: FindingKind, text: str, advice: str) -> None:
        found.append(
            Finding(fault.value if fault is FindingKind.INDEX else "journal", fault, text, advice)
        )

    if problem and known:
        add(FindingKind.INDEX, problem, RECOVER if problem == "is not there" else REINDEX)
    lost = "Its sessions and gaps are lost if the index is lost, too."
    if known and not journal.files:
        add(FindingKind.JOURNAL, "is not there", f"Put it back from a copy. {lost}")
    else:
        for name in journal.missing:
            add(FindingKind.JOURNAL, f"lacks {name}", f"Put it back from a copy. {lost}")
    for name, why in journal.unreadable:
        add(FindingKind.JOURNAL, f"{name} cannot be read: {why}", "Check permissions and the disk.")
    if journal.short:
        add(FindingKind.JOURNAL, "is shorter than it was", f"Put it back from a copy. {lost}")
    if journal.damage.damaged:
        text = f"has {journal.damage.damaged} damaged lines"
        add(FindingKind.JOURNAL, text, f"Check the disk. {lost}")
    if journal.damage.torn:
        text = f"has {journal.damage.torn} lines that a crash cut short"
        add(FindingKind.TORN, text, "They were never confirmed; nothing has to be done.")
    if journal.damage.unknown:
        text = f"has {journal.damage.unknown} lines of another version of camd"
        add(FindingKind.TORN, text, "They are kept, and read by that version.")
    return found


def unaccounted_session(session_id: str) -> Finding:
    """Return the finding for a session of which only files are known."""
    return Finding(
        f"session {session_id}",
        FindingKind.UNACCOUNTED,
        "is known by its files alone: its gaps are lost, or have not been written yet",
        "Nothing has to be done; gaps between its files cannot be explained.",
    )
