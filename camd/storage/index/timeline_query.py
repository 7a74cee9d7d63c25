"""Look up what is recorded over a range, and what is missing: in a bounded time for any range."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from camd.clock import from_unix_micros, to_unix_micros
from camd.model import CameraId, GapCause, SegmentState, SessionId
from camd.model.timeline import Timeline, TimelineGap, TimelineSpan
from camd.storage.rules.time_index import (
    NEVER,
    TimeIndex,
    begin_groups,
    covered_ranges,
)

MOST_SPANS = 2000
MOST_GAPS = 2000
_STARTS = 900  # in one statement: some SQLites allow 999 values

_SPAN = "filename, session_id, start_us, end_us, until_us, state"
_GAP = "start_us, end_us, cause, exact"


@attrs.frozen
class TimelineQuery:
    """Queries of one camera's time line. They block on the disk; for the index's thread."""

    _db: sqlite3.Connection
    _times: TimeIndex
    _missing: TimeIndex  # the segments whose files are gone
    _gap_times: TimeIndex

    def timeline(self, camera_id: CameraId, since: datetime, until: datetime) -> Timeline:
        """Return spans and gaps of a range, never more than MOST_SPANS and MOST_GAPS.

        An open recording ends with the range, in its span.
        """
        begin, end = to_unix_micros(since), to_unix_micros(until)
        spans: Sequence[TimelineSpan]
        removed: Sequence[TimelineGap] = ()
        if self._times.count(camera_id, begin, end) <= MOST_SPANS:
            rows = self._rows(camera_id, begin, end)
            spans = [_span_of(row, until) for row in rows if row["state"] != "missing"]
            removed = [_removed(row) for row in rows if row["state"] == "missing"]
        else:
            spans = list(self._joined(camera_id, begin, end))
        gaps = [*self._gaps(camera_id, begin, end), *removed]
        return Timeline(
            camera_id=camera_id,
            since=since,
            until=until,
            spans=tuple(spans),
            gaps=tuple(_merge(sorted(gaps, key=lambda gap: gap.start), begin, end)),
            before=self._end_before(camera_id, begin),
            after=self._start_after(camera_id, end),
        )

    # --- footage

    def _rows(self, camera_id: str, begin: int, end: int) -> list[sqlite3.Row]:
        return self._db.execute(
            f"SELECT {_SPAN} FROM segments WHERE camera_id = ? AND start_us >= ?"  # noqa: S608
            " AND start_us < ? AND until_us > ? ORDER BY start_us, filename",
            (camera_id, self._times.earliest_start(begin), end, begin),
        ).fetchall()

    def _joined(self, camera_id: str, begin: int, end: int) -> Iterator[TimelineSpan]:
        absent = self._missing.sorted_times(camera_id)
        known = self._times.sorted_times(camera_id)
        for found in covered_ranges(known, absent, begin, end, MOST_SPANS):
            row = self._only(camera_id, found.start) if found.count == 1 else None
            until = from_unix_micros(min(end, found.until))
            if row is not None:
                yield _span_of(row, until)
                continue
            yield TimelineSpan(
                start=from_unix_micros(found.start),
                end=from_unix_micros(found.until) if found.until < NEVER else until,
                filename=None,
                session_id=None,
                growing=found.until >= NEVER,
                playable=True,
                merged=found.count,
            )

    def _only(self, camera_id: str, start: int) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(
            f"SELECT {_SPAN} FROM segments WHERE camera_id = ? AND start_us = ?"  # noqa: S608
            " AND state != 'missing'",
            (camera_id, start),
        ).fetchone()
        return row

    def _end_before(self, camera_id: str, begin: int) -> datetime | None:
        row = self._db.execute(
            "SELECT end_us FROM segments WHERE camera_id = ? AND start_us < ?"
            " AND state != 'missing' AND until_us <= ? ORDER BY start_us DESC LIMIT 1",
            (camera_id, begin, begin),
        ).fetchone()
        return None if row is None else from_unix_micros(row["end_us"])

    def _start_after(self, camera_id: str, end: int) -> datetime | None:
        row = self._db.execute(
            "SELECT start_us FROM segments WHERE camera_id = ? AND start_us >= ?"
            " AND state != 'missing' ORDER BY start_us LIMIT 1",
            (camera_id, end),
        ).fetchone()
        return None if row is None else from_unix_micros(row["start_us"])

    # --- the ledger

    def _gaps(self, camera_id: str, begin: int, end: int) -> Iterator[TimelineGap]:
        times = self._gap_times
        yield from self._earlier_gaps(camera_id, begin)
        if times.begin_between(camera_id, begin, end) > MOST_GAPS:
            yield from self._joined_gaps(camera_id, begin, end)
            return
        inside = self._db.execute(
            f"SELECT {_GAP} FROM gaps WHERE camera_id = ? AND start_us >= ? AND start_us < ?"  # noqa: S608
            " ORDER BY start_us",
            (camera_id, begin, end),
        )
        yield from map(_gap_of, inside.fetchall())

    def _earlier_gaps(self, camera_id: str, begin: int) -> Iterator[TimelineGap]:
        """Yield the entries that began before the range, and reach into it."""
        if not self._gap_times.count(camera_id, begin, begin):
            return
        usual = self._gap_times.usual_start(begin)
        recent = self._db.execute(
            f"SELECT {_GAP} FROM gaps WHERE camera_id = ? AND start_us >= ? AND start_us < ?"  # noqa: S608
            " AND end_us > ?",
            (camera_id, usual, begin, begin),
        )
        yield from map(_gap_of, recent.fetchall())
        for row in self._gaps_at(camera_id, self._gap_times.long_starts(camera_id, begin)):
            if row["end_us"] > begin:
                yield _gap_of(row)

    def _joined_gaps(self, camera_id: str, begin: int, end: int) -> Iterator[TimelineGap]:
        """Yield one gap for each part of the range in which some begin, MOST_GAPS at most.

        Start, cause and exactness are those of the first, the end is that of the last.
        """
        starts = self._gap_times.sorted_times(camera_id).starts
        groups = list(begin_groups(starts, begin, end, MOST_GAPS - 1))
        wanted = [starts[at] for group in groups for at in group]
        rows = {row["start_us"]: row for row in self._gaps_at(camera_id, wanted)}
        for first, last in groups:
            row, end_row = rows[starts[first]], rows[starts[last]]
            yield TimelineGap(
                start=from_unix_micros(row["start_us"]),
                end=from_unix_micros(max(row["end_us"], end_row["end_us"])),
                cause=row["cause"],
                exact=bool(row["exact"] and end_row["exact"]),
                merged=last + 1 - first,
            )

    def _gaps_at(self, camera_id: str, starts: Sequence[int]) -> Iterator[sqlite3.Row]:
        """Yield the entries with these starts; in their order, neighbours are on one page."""
        for at in range(0, len(starts), _STARTS):
            some = starts[at : at + _STARTS]
            marks = ",".join("?" * len(some))
            yield from self._db.execute(
                f"SELECT {_GAP} FROM gaps WHERE camera_id = ? AND start_us IN ({marks})",  # noqa: S608
                (camera_id, *some),
            ).fetchall()


def _span_of(row: sqlite3.Row, until: datetime) -> TimelineSpan:
    growing = row["until_us"] >= NEVER
    return TimelineSpan(
        start=from_unix_micros(row["start_us"]),
        end=max(until, from_unix_micros(row["end_us"]))
        if growing
        else from_unix_micros(row["end_us"]),
        filename=row["filename"],
        session_id=SessionId(row["session_id"]),
        growing=growing and row["state"] == SegmentState.OPEN.value,
        playable=row["filename"].endswith(".mp4"),
    )


def _removed(row: sqlite3.Row) -> TimelineGap:
    """Make the gap that a missing file has left."""
    start, end = from_unix_micros(row["start_us"]), from_unix_micros(row["end_us"])
    return TimelineGap(start, end, GapCause.FILE_REMOVED.value, exact=True)


def _gap_of(row: sqlite3.Row) -> TimelineGap:
    start, end = from_unix_micros(row["start_us"]), from_unix_micros(row["end_us"])
    return TimelineGap(start, end, row["cause"], bool(row["exact"]))


def _merge(gaps: Sequence[TimelineGap], begin: int, end: int) -> Iterator[TimelineGap]:
    """Merge neighbours within a part of the range, where there are too many."""
    if len(gaps) <= MOST_GAPS:
        yield from gaps
        return
    width = -(-(end - begin) // (MOST_GAPS - 1))  # those that began earlier have a part, too
    held: TimelineGap | None = None
    place = None
    for gap in gaps:
        part = max(-1, (to_unix_micros(gap.start) - begin) // width)
        if held is not None and part == place:
            held = attrs.evolve(
                held,
                end=max(held.end, gap.end),
                exact=held.exact and gap.exact,
                merged=held.merged + gap.merged,
            )
            continue
        if held is not None:
            yield held
        held, place = gap, part
    if held is not None:
        yield held
