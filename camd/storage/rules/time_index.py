"""Start and end times of all recordings: how many match a range, and which is the n-th. Pure.

SQLite counts rows one by one: page 9000 of a million segments takes it 150 ms. Sorted arrays answer
in microseconds, with 16 bytes a segment in each of two orders.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

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

    def floor(self, since: int) -> int:
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

    def _column(self, camera_id: str) -> _Column:
        return self._cameras.setdefault(camera_id, _Column())

    def _known(self, camera_id: str | None) -> _Column:
        if camera_id is None:
            return self._all
        return self._cameras.get(camera_id) or _Column()
