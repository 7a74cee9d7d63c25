"""Start and end times of all recordings: how many match a range, and which is the n-th. Pure.

SQLite counts rows one by one: page 9000 of a million segments takes it 150 ms. Sorted arrays answer
in microseconds; a segment takes 16 bytes in each of two of them. They also say which parts of a
range are recorded, where it holds more recordings than can be told apart.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

import attrs

NEVER = 2**62  # the end of an open recording


@attrs.frozen
class TimeSpan:
    """When a recording begins and is over; microseconds."""

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

    def begun(self, moment: int, least: int = 0) -> int:
        """Count what begins before a moment; at least `least` do."""
        return bisect_left(self.starts, moment, least)

    def over(self, moment: int, least: int = 0) -> int:
        """Count what is over at a moment; at least `least` are."""
        return bisect_right(self.untils, moment, least)


@attrs.define(eq=False)
class _Column:
    """The times of some recordings, each array in its own order."""

    starts: array[int] = attrs.field(factory=lambda: array("q"))
    untils: array[int] = attrs.field(factory=lambda: array("q"))

    def extend(self, spans: Iterable[TimeSpan]) -> None:
        both = [(span.start, span.until) for span in spans]
        self.starts = array("q", sorted([*self.starts, *(start for start, _ in both)]))
        self.untils = array("q", sorted([*self.untils, *(until for _, until in both)]))

    def add(self, span: TimeSpan) -> None:
        self.starts.insert(bisect_right(self.starts, span.start), span.start)
        self.untils.insert(bisect_right(self.untils, span.until), span.until)

    def remove(self, span: TimeSpan) -> None:
        del self.starts[bisect_left(self.starts, span.start)]
        del self.untils[bisect_left(self.untils, span.until)]


@attrs.define(eq=False)
class TimeIndex:
    """The times of all recordings, and of each camera's."""

    _longest: int = attrs.field(default=0, init=False)  # the longest finished recording
    _growing: list[int] = attrs.field(factory=list, init=False)  # starts of open recordings
    _all: _Column = attrs.field(factory=_Column, init=False)
    _cameras: dict[str, _Column] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, spans: Iterable[TimeSpan]) -> TimeIndex:
        """Build the index of many recordings at once."""
        timeline = cls()
        by_camera: dict[str, list[TimeSpan]] = {}
        for span in spans:
            by_camera.setdefault(span.camera_id, []).append(span)
        for camera_id, some in by_camera.items():
            timeline._column(camera_id).extend(some)
            for span in some:
                timeline._measure(span)
        timeline._all.extend(span for some in by_camera.values() for span in some)
        return timeline

    def add(self, span: TimeSpan) -> None:
        """Add a recording."""
        self._measure(span)
        for column in (self._all, self._column(span.camera_id)):
            column.add(span)

    def remove(self, span: TimeSpan) -> None:
        """Remove a recording that was added with these times."""
        if span.until == NEVER:
            self._growing.remove(span.start)
        for column in (self._all, self._column(span.camera_id)):
            column.remove(span)

    def _measure(self, span: TimeSpan) -> None:
        if span.until == NEVER:
            self._growing.append(span.start)
        else:
            self._longest = max(self._longest, span.until - span.start)

    def earliest_start(self, since: int) -> int:
        """Return the earliest possible start of a recording that is not over at `since`."""
        return min(since - self._longest, *self._growing, since)

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
    joined: list[int] = []  # index of the first, behind the last, count
    begun = over = gone_begun = gone_over = 0
    for begin, end in _parts(since, until, 2 * most):
        begun, over = known.begun(end, begun), known.over(begin, over)
        gone_begun, gone_over = absent.begun(end, gone_begun), absent.over(begin, gone_over)
        if begun - over > gone_begun - gone_over:
            joined = [joined[0] if joined else over, begun]
            continue
        if joined:
            yield _range_of(known, absent, joined)
        joined = []
    if joined:
        yield _range_of(known, absent, joined)


def _parts(since: int, until: int, count: int) -> Iterator[tuple[int, int]]:
    width = max(1, -(-(until - since) // count))
    for begin in range(since, until, width):
        yield begin, min(begin + width, until)


def _range_of(known: SortedTimes, absent: SortedTimes, joined: Sequence[int]) -> CoveredRange:
    first, last = joined[0], joined[1] - 1
    while first < last and _has(absent.starts, known.starts[first]):
        first += 1
    while first < last and _has(absent.untils, known.untils[last]):
        last -= 1
    start, until = known.starts[first], known.untils[last]
    gone = absent.begun(until) - absent.over(start)
    return CoveredRange(start, until, max(1, last + 1 - first - max(0, gone)))


def _has(ordered: Sequence[int], value: int) -> bool:
    at = bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value
