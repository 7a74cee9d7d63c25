"""Decide what an export reads of which files, and what is missing in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import attrs

from camd.model import CameraId, Gap, Segment, SegmentState
from camd.mp4.movies.cut_frames import EVER

LONGEST = timedelta(hours=24)
READABLE = (SegmentState.SEALED, SegmentState.OPEN, SegmentState.INTERRUPTED)
NOT_RECORDED = "not_recorded"
NO_FRAME = "no_frame"  # one that was taken before is shown all the time
NOT_DURABLE = "not_durable_yet"
FILE_MISSING = "missing"

_SEAM = timedelta(seconds=1)  # by which arrivals of frames around a rotation may be uneven
_NEAR_SEAM = timedelta(seconds=0.5)
_SHORTEST = timedelta(seconds=0.5)  # of missing footage that no ledger entry explains
_SHORTEST_LATE = timedelta(seconds=0.1)  # of footage that is not durable yet
_MICRO = timedelta(microseconds=1)
AROUND = timedelta(seconds=1)  # files that begin or end so near may be needed for a range
BEFORE = timedelta(seconds=60)  # the longest group of pictures for which the file before is used


@attrs.frozen
class ExportRange:
    """The frames of a camera whose time lies from `begin` to before `end`."""

    camera_id: CameraId
    begin: datetime
    end: datetime


@attrs.frozen
class ExportGap:
    """Footage that is missing in an export. `exact`: the times are those of the gap ledger."""

    start: datetime
    end: datetime
    cause: str
    exact: bool
    frames: int | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()


@attrs.frozen
class FramesAround:
    """When the last frame before a range was taken, and the first one behind it; None: unknown."""

    before: datetime | None
    after: datetime | None

    def with_other(self, other: FramesAround) -> FramesAround:
        """Return the nearest frames of two files."""
        before = [each for each in (self.before, other.before) if each is not None]
        after = [each for each in (self.after, other.after) if each is not None]
        return FramesAround(max(before, default=None), min(after, default=None))


NO_FRAMES = FramesAround(None, None)


@attrs.frozen
class ExportFile:
    """A file of an export. `begin` and `end` are seconds after its first frame; None: no bound.

    `joined`: its first frame follows the last one of the file before. `goes_on`: the next one's
    first frame follows, and is in the export. `leads_in`: where none of its frames is wanted, the
    next file's first ones need them. `own_end`: where the range ends in this file, in case the next
    one has no frame of it: when its leading frames are shown is only estimated. `lead_in`: the file
    before, which is needed where a decoder cannot begin anew with this one.
    """

    segment: Segment
    begin: Fraction | None
    end: Fraction | None
    joined: bool = False
    goes_on: bool = False
    leads_in: bool = False
    own_end: Fraction | None = None
    lead_in: ExportFile | None = None

    def continues(self, before: ExportFile) -> bool:
        """Whether a movie that has `before`, to its end, goes on with this file."""
        follows = self.segment.number == before.segment.number + 1
        same = self.segment.session_id == before.segment.session_id
        return self.joined and follows and same and before.goes_on


def ended_by_itself(planned: ExportFile) -> ExportFile:
    """Return what is wanted of a file when the next one has no frame of the range."""
    return attrs.evolve(planned, end=planned.own_end, goes_on=False)


def plan_files(
    segments: Iterable[Segment], gaps: Sequence[Gap], wanted: ExportRange
) -> tuple[ExportFile, ...]:
    """Put the files in the order in which they were recorded, and say what of each is wanted.

    The times of two files that one session wrote one behind the other may overlap by as much as
    arrivals of frames are uneven: the earlier one is wanted to its end then, and the next one from
    its beginning.
    """
    ordered = _in_order(segments)
    if not ordered:
        return ()
    seams = [
        _Seam(before, after, _is_joined(before, after, gaps)) for before, after in pairwise(ordered)
    ]
    planned = []
    for segment, before, behind in zip(ordered, [None, *seams], [*seams, None], strict=True):
        whole_before = before is not None and before.joined and before.end > wanted.begin
        leads_in = behind is not None and behind.joined and behind.needs_before(wanted)
        whole_behind = leads_in or (
            behind is not None and behind.joined and behind.begin < wanted.end
        )
        own_end = seconds_between(segment.start, wanted.end)
        is_first = before is not None and before.joined and not whole_before
        file = ExportFile(
            segment,
            None if whole_before else seconds_between(segment.start, wanted.begin),
            None if whole_behind else own_end,
            joined=before is not None and before.joined,
            goes_on=whole_behind,
            own_end=own_end if behind is not None and behind.after.start > wanted.end else None,
            leads_in=leads_in,
            lead_in=before.lead_in(wanted) if before is not None and is_first else None,
        )
        if leads_in or _may_hold(file, wanted, before):
            planned.append(file)
    return tuple(planned)


@attrs.frozen
class _Seam:
    """Two files one behind the other; `joined`: no frame is missing between them."""

    before: Segment
    after: Segment
    joined: bool

    @property
    def _leading(self) -> timedelta:
        """How long the first frames of the later file are shown that need the file before."""
        frame = self.after.duration_seconds / max(1, self.after.frames)
        return timedelta(seconds=frame * (self.after.leading_frames or 0))

    @property
    def begin(self) -> datetime:
        """When the first frame of the later file is shown, leading ones included."""
        early = self._leading
        return self.after.start - (early + _MICRO if early else early)

    @property
    def end(self) -> datetime:
        """When the last frame of the earlier file has been shown."""
        return self.before.end - self._leading

    def lead_in(self, wanted: ExportRange) -> ExportFile | None:
        """Return the earlier file for a range that begins in the later one."""
        if not self.after.start <= wanted.begin < self.after.start + BEFORE:
            return None
        begin = seconds_between(self.before.start, wanted.begin)
        return ExportFile(self.before, begin, None, goes_on=True, leads_in=True)

    def needs_before(self, wanted: ExportRange) -> bool:
        """Whether a range begins at leading frames."""
        return self.begin <= wanted.begin < self.after.start


def _may_hold(file: ExportFile, wanted: ExportRange, before: _Seam | None) -> bool:
    """Whether a file may have a frame of a range; its neighbours are listed, too."""
    begin = file.segment.start
    if before is not None and before.joined:
        begin = before.begin
    return begin < wanted.end and file.segment.end > wanted.begin


def _in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Order by sessions, and by number within each: the clock may have been set back meanwhile."""
    begun: dict[str, datetime] = {}
    found = list(segments)
    for segment in found:
        known = begun.get(segment.session_id, segment.start)
        begun[segment.session_id] = min(known, segment.start)
    return sorted(
        found, key=lambda each: (begun[each.session_id], each.session_id, each.number, each.start)
    )


def _is_joined(before: Segment, after: Segment, gaps: Sequence[Gap]) -> bool:
    """Whether no frame is missing between two files."""
    if before.session_id != after.session_id or before.number + 1 != after.number:
        return False
    if abs(after.start - before.end) > _SEAM or before.state is SegmentState.INTERRUPTED:
        return False
    return not any(
        gap.session_id == after.session_id
        and gap.lost_footage
        and gap.start < after.start + _NEAR_SEAM
        and gap.end > before.end - _NEAR_SEAM
        for gap in gaps
    )


def seconds_between(earlier: datetime, later: datetime) -> Fraction:
    """Return the time from one instant to another in seconds, exactly."""
    return Fraction((later - earlier) // _MICRO, 1_000_000)


def later_by(start: datetime, seconds: Fraction) -> datetime:
    """Return the instant so many seconds later, rounded down to microseconds.

    Rounded down, a range that begins at a frame's time and ends at another's has the one and not
    the other.
    """
    return start + timedelta(microseconds=seconds * 1_000_000 // 1)


def ticks_at(seconds: Fraction | None, zero: Fraction, timescale: int, *, none: int) -> int:
    """Return the first tick that is not before `seconds` after `zero`; `none` without a bound."""
    return none if seconds is None else -(-(seconds + zero) * timescale // 1)


def window(planned: ExportFile, zero: Fraction, timescale: int) -> tuple[int, int]:
    """Return what is wanted of a file in ticks of its video, from a track time of zero."""
    return (
        ticks_at(planned.begin, zero, timescale, none=-EVER),
        ticks_at(planned.end, zero, timescale, none=EVER),
    )


# --- what is missing


@attrs.frozen
class ShownSpan:
    """Wall times between which frames of a file are shown."""

    start: datetime
    end: datetime


def list_missing(
    spans: Iterable[ShownSpan],
    gaps: Iterable[Gap],
    missing: Iterable[Segment],
    wanted: ExportRange,
    *,
    now: datetime,
    growing: bool,
) -> tuple[ExportGap, ...]:
    """List what is missing in an export, in order of time: from the ledger, and what it lacks.

    `missing` are files that were recorded and are not there. `growing`: the camera is recording,
    and the end may not be durable yet. What lies in the future is not missing.
    """
    found = [
        ExportGap(gap.start, gap.end, gap.cause.value, gap.exact, gap.frames)
        for gap in gaps
        if gap.lost_footage and gap.start < wanted.end and gap.end > wanted.begin
    ]
    for segment in missing:
        start, end = max(segment.start, wanted.begin), min(segment.end, wanted.end)
        found.append(ExportGap(start, end, FILE_MISSING, exact=False, frames=segment.frames))
    until = min(wanted.end, now)
    covered = [(span.start, span.end) for span in spans]
    covered += [(gap.start, gap.end) for gap in found]
    for start, end in _uncovered(covered, wanted.begin, until):
        late = growing and end == until
        if end - start > (_SHORTEST_LATE if late else _SHORTEST):
            cause = NOT_DURABLE if late else NOT_RECORDED
            found.append(ExportGap(start, end, cause, exact=False))
    return tuple(sorted(found, key=lambda each: (each.start, each.end, each.cause)))


def _uncovered(
    covered: Iterable[tuple[datetime, datetime]], begin: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """List what lies in no interval, from `begin` to `end`."""
    found, at = [], begin
    for start, until in sorted(covered):
        if min(start, end) > at:
            found.append((at, min(start, end)))
        at = max(at, until)
    return [*found, (at, end)] if end > at else found


def is_readable(segment: Segment) -> bool:
    """Whether a file may hold footage that can be read."""
    return segment.state in READABLE


def is_missing(segment: Segment, wanted: ExportRange) -> bool:
    """Whether footage of a range was in a file that is not there any more."""
    return segment.state is SegmentState.MISSING and overlaps_range(segment, wanted)


def overlaps_range(segment: Segment, wanted: ExportRange) -> bool:
    """Whether a recording lies in a range, if only in part; one that grows has no end."""
    open_end = segment.state is SegmentState.OPEN
    return segment.start < wanted.end and (open_end or segment.end > wanted.begin)
