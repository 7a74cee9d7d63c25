"""Start and end times of all rows of a table: how many match a range, and which is the n-th. Pure.

SQLite counts rows one by one: page 9000 of a million segments takes it 150 ms. Sorted arrays answer
in microseconds; a row takes 16 bytes in each of two of them. They also say which parts of a range
are recorded, where it holds more recordings than can be told apart.
"""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import attrs

NEVER = 2**62  # the end of what is not over
LONG = 86_400_000_000  # a row that lasts longer than a day is sought by its own start


class TimeSpan(NamedTuple):
    """When a row begins and is over; microseconds."""

    camera_id: str
    start: int
    until: int


@attrs.frozen
class IndexPosition:
    """A row in the order "newest first": skip `skip` of those that begin at `start`."""

    start: int
    skip: int


@attrs.frozen
class SortedTimes:
    """Starts and ends of some recordings, each in its own order; microseconds."""

    starts: Sequence[int]
    untils: Sequence[int]

    def begun(self, moments: Iterable[int]) -> Iterator[int]:
        """Count what begins before each moment; they rise."""
        return _places(bisect_left, self.starts, moments)

    def over(self, moments: Iterable[int]) -> Iterator[int]:
        """Count what is over at each moment; they rise."""
        return _places(bisect_right, self.untils, moments)


@attrs.define(eq=False)
class _Column:
    """The times of some rows, each array in its own order."""

    starts: array[int] = attrs.field(factory=lambda: array("q"))
    untils: array[int] = attrs.field(factory=lambda: array("q"))

    def add(self, span: TimeSpan) -> None:
        self.starts.insert(bisect_right(self.starts, span.start), span.start)
        self.untils.insert(bisect_right(self.untils, span.until), span.until)

    def remove(self, span: TimeSpan) -> None:
        del self.starts[bisect_left(self.starts, span.start)]
        del self.untils[bisect_left(self.untils, span.until)]

    def extend(self, starts: Iterable[int], untils: Iterable[int]) -> None:
        """Add rows; quick where hardly any begins earlier than those that are here."""
        _merge(self.starts, starts)
        _merge(self.untils, untils)


def _merge(ordered: array[int], values: Iterable[int]) -> None:
    new = sorted(values)
    if new:
        at = bisect_left(ordered, new[0])
        ordered[at:] = array("q", sorted([*ordered[at:], *new]))


@attrs.define(eq=False)
class TimeIndex:
    """The times of all rows, and of each camera's."""

    _longest: int = attrs.field(default=0, init=False)  # of those that are not long
    _long: list[TimeSpan] = attrs.field(factory=list, init=False)  # open ones, too
    _all: _Column = attrs.field(factory=_Column, init=False)
    _cameras: dict[str, _Column] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, spans: Iterable[TimeSpan]) -> TimeIndex:
        """Build the index of some rows."""
        index = cls()
        index.extend([(camera_id, [start], [until]) for camera_id, start, until in spans])
        return index

    def extend(self, rows: Sequence[tuple[str, Sequence[int], Sequence[int]]]) -> None:
        """Add rows: of each camera some, with their starts and, in the same order, their ends."""
        for camera_id, starts, untils in rows:
            self._column(camera_id).extend(starts, untils)
            if max(map(operator.sub, untils, starts)) > self._longest:
                for start, until in zip(starts, untils, strict=True):
                    self._measure(TimeSpan(camera_id, start, until))
        self._all.extend(
            chain.from_iterable(starts for _, starts, _ in rows),
            chain.from_iterable(untils for _, _, untils in rows),
        )

    def add(self, span: TimeSpan) -> None:
        """Add a row."""
        self._measure(span)
        for column in (self._all, self._column(span.camera_id)):
            column.add(span)

    def remove(self, span: TimeSpan) -> None:
        """Remove a row that was added with these times."""
        if span.until - span.start > LONG:
            self._long.remove(span)
        for column in (self._all, self._column(span.camera_id)):
            column.remove(span)

    def _measure(self, span: TimeSpan) -> None:
        length = span.until - span.start
        if length > LONG:
            self._long.append(span)
        else:
            self._longest = max(self._longest, length)

    def usual_start(self, since: int) -> int:
        """Return the earliest possible start of a row that is not over at `since`, nor long."""
        return since - self._longest

    def long_starts(self, camera_id: str | None, since: int) -> list[int]:
        """Return the starts of those that begin before `usual_start`, and are not over."""
        usual = self.usual_start(since)
        return [
            span.start
            for span in self._long
            if span.start < usual and span.until > since and camera_id in (None, span.camera_id)
        ]

    def earliest_start(self, since: int) -> int:
        """Return the earliest possible start of a row that is not over at `since`."""
        return min(self.usual_start(since), *self.long_starts(None, since), since)

    def count(self, camera_id: str | None, since: int | None, until: int | None) -> int:
        """Count what is not over at `since` and begins before `until`; `since` ≤ `until`."""
        column = self._known(camera_id)
        begun = len(column.starts) if until is None else bisect_left(column.starts, until)
        over = 0 if since is None else bisect_right(column.untils, since)
        return max(0, begun - over)

    def begin_between(self, camera_id: str | None, since: int, until: int | None) -> int:
        """Count what begins from `since` on and before `until`."""
        starts = self._known(camera_id).starts
        end = len(starts) if until is None else bisect_left(starts, until)
        return max(0, end - bisect_left(starts, since))

    def position(
        self, camera_id: str | None, until: int | None, offset: int
    ) -> IndexPosition | None:
        """Find the recording behind `offset` newer ones that begin before `until`."""
        starts = self._known(camera_id).starts
        end = len(starts) if until is None else bisect_left(starts, until)
        at = end - 1 - offset
        if at < 0:
            return None
        start = starts[at]
        return IndexPosition(start, min(bisect_right(starts, start), end) - 1 - at)

    def sorted_times(self, camera_id: str) -> SortedTimes:
        """Return the times of a camera's recordings; they change with the index."""
        column = self._known(camera_id)
        return SortedTimes(column.starts, column.untils)

    def _column(self, camera_id: str) -> _Column:
        return self._cameras.setdefault(camera_id, _Column())

    def _known(self, camera_id: str | None) -> _Column:
        if camera_id is None:
            return self._all
        return self._cameras.get(camera_id) or _Column()


# --- what is recorded of a range

_NEAR = 8  # rows

NO_TIMES = SortedTimes((), ())


@attrs.frozen
class CoveredRange:
    """Recordings that lie so close together that they are shown as one: `count` of them."""

    start: int
    until: int
    count: int


def covered_ranges(
    known: SortedTimes, absent: SortedTimes, since: int, until: int, most: int
) -> Iterator[CoveredRange]:
    """Yield at most `most` ranges from `since` to `until` in which something is recorded.

    `absent` are those of `known` whose files are gone. What is apart by more than two parts, of
    which there are twice as many as `most`, is never joined. Start and end are those of the first
    and of the last recording.
    """
    bounds = _bounds(since, until, 2 * most)
    counts = (
        each
        for times in (known, absent)
        for each in (times.begun(bounds[1:]), times.over(bounds[:-1]))
    )
    joined: tuple[int, int] | None = None  # index of the first, behind the last
    for begun, over, gone_begun, gone_over in zip(*counts, strict=True):
        if begun - over > gone_begun - gone_over:
            joined = (joined[0] if joined else over, begun)
            continue
        if joined:
            yield _range_of(known, absent, *joined)
        joined = None
    if joined:
        yield _range_of(known, absent, *joined)


def begin_groups(
    starts: Sequence[int], since: int, until: int, most: int
) -> Iterator[tuple[int, int]]:
    """Yield index of the first and of the last of those that begin in each part of a range.

    There are at most `most` parts, of equal length; those without a start are left out.
    """
    for first, behind in pairwise(_places(bisect_left, starts, _bounds(since, until, most))):
        if behind > first:
            yield first, behind - 1


def _bounds(since: int, until: int, count: int) -> list[int]:
    """Return the bounds of at most `count` parts of equal length; the last one may be shorter."""
    width = max(1, -(-(until - since) // count))
    return [*range(since, until, width), until]


def _places(
    find: Callable[[Sequence[int], int, int, int], int],
    ordered: Sequence[int],
    moments: Iterable[int],
) -> Iterator[int]:
    """Find the place of each of some moments that rise, first near the place before: most steps are
    as long as the last one was."""
    place = step = 0
    for moment in moments:
        near = place + 2 * step + _NEAR
        end = near if near < len(ordered) and ordered[near] > moment else len(ordered)
        before, place = place, find(ordered, moment, place, end)
        step = place - before
        yield place


def _range_of(known: SortedTimes, absent: SortedTimes, first: int, behind: int) -> CoveredRange:
    last = behind - 1
    while first < last and _has(absent.starts, known.starts[first]):
        first += 1
    while first < last and _has(absent.untils, known.untils[last]):
        last -= 1
    start, until = known.starts[first], known.untils[last]
    gone = bisect_left(absent.starts, until) - bisect_right(absent.untils, start)
    return CoveredRange(start, until, max(1, last + 1 - first - max(0, gone)))


def _has(ordered: Sequence[int], value: int) -> bool:
    at = bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value
