"""Pages of rows that have a start and an end, in a bounded time however many there are.

The times of all rows are kept in memory (`TimeIndex`): they say how many rows match, and where a
page begins, so that SQLite skips nothing. They are read in steps, so that nobody waits for long.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
import msgspec

from camd.clock import to_unix_micros
from camd.model import RecordingQuery
from camd.storage.rules.time_index import NEVER, TimeIndex, TimeSpan


@attrs.frozen
class TimedPage:
    """Rows, newest first, and the number of all that match."""

    rows: tuple[sqlite3.Row, ...]
    total: int


@attrs.frozen
class _AskedRange:
    """A query in microseconds; `since` is not after `until`."""

    camera_id: str | None
    since: int | None
    until: int | None


_Place = tuple[int, str | int]  # start and key
_BEGINNING: _Place = (-NEVER, "")
_ROWS = 10_000  # that are read at once
_decode = msgspec.json.Decoder(list[int]).decode


@attrs.define(eq=False)
class TimedTable:
    """The rows of one table. Every method blocks on the disk; for the index's thread.

    `key_column` sorts the rows that begin at one moment; `until` is the SQL expression of the
    moment when a row is over, later than its start. `source` and `condition` may choose some rows.
    """

    _db: sqlite3.Connection
    source: str
    key_column: str
    until: str
    condition: str = "1"
    complete: bool = attrs.field(default=False, init=False)  # the times of all rows are known
    _times: TimeIndex = attrs.field(factory=TimeIndex, init=False)
    _read: _Place = attrs.field(default=_BEGINNING, init=False)  # of the last row that was read

    # --- times

    def read_times(self, limit: int) -> None:
        """Read the times of the next rows, at most `limit`; with all of them it is `complete`.

        SQLite makes one text of the times of each camera: a million rows are few objects.
        """
        if self.complete:
            return
        behind = f"{self.condition} AND (start_us, {self.key_column}) > (?, ?)"
        values = [*self._read]
        last = self._db.execute(
            f"SELECT start_us, {self.key_column} FROM {self.source} WHERE {behind}"  # noqa: S608
            f" ORDER BY start_us, {self.key_column} LIMIT 1 OFFSET ?",
            (*values, limit - 1),
        ).fetchone()
        if last is not None:
            behind += f" AND (start_us, {self.key_column}) <= (?, ?)"
            values += last
        rows = self._db.execute(
            f"SELECT camera_id, group_concat(start_us), group_concat({self.until})"  # noqa: S608
            f" FROM {self.source} WHERE {behind} GROUP BY camera_id",
            values,
        ).fetchall()
        self._times.extend([(row[0], _numbers(row[1]), _numbers(row[2])) for row in rows])
        self.complete = last is None
        if last is not None:
            self._read = (last[0], last[1])

    @property
    def times(self) -> TimeIndex:
        """The times of all rows; those that are not known are read now."""
        while not self.complete:
            self.read_times(_ROWS)
        return self._times

    def forget_times(self) -> None:
        """Begin to read them anew."""
        self.complete, self._times, self._read = False, TimeIndex(), _BEGINNING

    @contextmanager
    def changing(self, row_key: str) -> Iterator[None]:
        """Follow the change of one row, which the block makes."""
        before = self._times_of(row_key)
        yield
        after = self._times_of(row_key)
        if before == after:
            return
        if before is not None and self._knows(before, row_key):
            self._times.remove(before)
        self._add(after, row_key)

    def follow_new(self, row_key: int) -> None:
        """Follow the insertion of a row."""
        self._add(self._times_of(row_key), row_key)

    def _add(self, span: TimeSpan | None, row_key: str | int) -> None:
        if span is not None and self._knows(span, row_key):
            self._times.add(span)

    def _knows(self, span: TimeSpan, row_key: str | int) -> bool:
        """Whether the part of the table that was read has the place of a row."""
        return self.complete or (span.start, row_key) <= self._read

    def _times_of(self, row_key: str | int) -> TimeSpan | None:
        row = self._db.execute(
            f"SELECT camera_id, start_us, {self.until} FROM {self.source}"  # noqa: S608
            f" WHERE {self.key_column} = ? AND {self.condition}",
            (row_key,),
        ).fetchone()
        return None if row is None else TimeSpan(*row)

    # --- pages

    def page(self, query: RecordingQuery, select: str = "") -> TimedPage:
        """List rows, newest first; `select` is the beginning of the statement, without WHERE.

        Every page takes the same time; until all times are known, SQLite counts and skips rows.
        """
        select = select or f"SELECT * FROM {self.source}"  # noqa: S608
        since = None if query.since is None else to_unix_micros(query.since)
        until = None if query.until is None else to_unix_micros(query.until)
        backwards = since is not None and until is not None and since > until
        if query.session_id is not None or backwards or not self.complete:
            return self._page_by_count(query, select)
        asked = _AskedRange(query.camera_id, since, until)
        total = self.times.count(*attrs.astuple(asked))
        limit = min(query.limit, total - query.offset)
        if limit <= 0:
            return TimedPage((), total)
        return TimedPage(tuple(self._rows(select, asked, query.offset, limit)), total)

    def _rows(self, select: str, asked: _AskedRange, offset: int, limit: int) -> list[sqlite3.Row]:
        """Return `limit` rows, which there are: first those that begin within the range."""
        times, camera_id, since = self.times, asked.camera_id, asked.since
        if since is None:
            return self._from_position(select, asked, offset, limit)
        within = times.begin_between(camera_id, since, asked.until)
        rows: list[sqlite3.Row] = []
        if offset < within:
            rows += self._from_position(select, asked, offset, min(limit, within - offset))
        if (left := limit - len(rows)) > 0:
            rows += self._earlier(select, camera_id, since, max(0, offset - within), left)
        return rows

    def _from_position(
        self, select: str, asked: _AskedRange, offset: int, limit: int
    ) -> list[sqlite3.Row]:
        """Return rows that begin within the range."""
        position = self.times.position(asked.camera_id, asked.until, offset)
        assert position is not None, "there are so many"
        # One upper bound for the start: with two, SQLite may seek by the wrong one.
        where, values = self._of_camera(asked.camera_id)
        where.append("start_us <= ?")
        values.append(position.start)
        return self._select(select, where, values, limit, position.skip)

    def _earlier(
        self, select: str, camera_id: str | None, since: int, offset: int, limit: int
    ) -> list[sqlite3.Row]:
        """Return rows that began before `since` and were not over then.

        Those that lasted for long are sought by their own starts: between them and `since` there
        may be any number of others.
        """
        usual = self.times.usual_start(since)
        where, values = self._of_camera(camera_id)
        recent = [*where, "start_us >= ?", "start_us < ?", f"{self.until} > ?"]
        rows = self._select(select, recent, [*values, usual, since, since], limit, offset)
        if (left := limit - len(rows)) <= 0:
            return rows
        long = self.times.long_starts(camera_id, since)
        skipped = self._count(recent, [*values, usual, since, since]) if not rows else offset
        where += [f"start_us IN ({_placeholders(long)})", f"{self.until} > ?"]
        return rows + self._select(
            select, where, [*values, *long, since], left, max(0, offset - skipped)
        )

    def _page_by_count(self, query: RecordingQuery, select: str) -> TimedPage:
        """List rows where few can match: of one session, or around one moment; see `page`."""
        where, values = self._of_camera(query.camera_id)
        if query.session_id is not None:
            where.append("session_id = ?")
            values.append(query.session_id)
        if query.since is not None:
            since = to_unix_micros(query.since)
            where.append(f"{self.until} > ?")
            values.append(since)
            if self.complete:
                where.append("start_us >= ?")
                values.append(self.times.earliest_start(since))
        if query.until is not None:
            where.append("start_us < ?")
            values.append(to_unix_micros(query.until))
        rows = self._select(select, where, values, query.limit, query.offset)
        return TimedPage(tuple(rows), self._count(where, values))

    def _of_camera(self, camera_id: str | None) -> tuple[list[str], list[object]]:
        return ([], []) if camera_id is None else (["camera_id = ?"], [camera_id])

    def _select(
        self, select: str, where: Sequence[str], values: Sequence[object], limit: int, skip: int
    ) -> list[sqlite3.Row]:
        order = f" ORDER BY start_us DESC, {self.key_column} DESC LIMIT ? OFFSET ?"
        return self._db.execute(
            f"{select} WHERE {self._all_of(where)}{order}", (*values, limit, skip)
        ).fetchall()

    def _count(self, where: Sequence[str], values: Sequence[object]) -> int:
        query = f"SELECT count(*) FROM {self.source} WHERE {self._all_of(where)}"  # noqa: S608
        return int(self._db.execute(query, values).fetchone()[0])

    def _all_of(self, where: Sequence[str]) -> str:
        return " AND ".join((self.condition, *where))


def _numbers(text: str) -> list[int]:
    return _decode(f"[{text}]")


def _placeholders(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
