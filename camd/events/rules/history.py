"""The newest events in memory, bounded in number and bytes, and what is missing before them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

import attrs

from camd.rpc.registry import Notification

MAX_EVENTS = 10_000
MAX_BYTES = 8 * 1024 * 1024  # of encoded parameters
SCAN_EVENTS = 1000  # of one page: what one turn of the event loop looks at

EventTest = Callable[[Notification], bool]


@attrs.frozen
class KeptEvent:
    """An event in the history. `before` is the number that was given out before its own.

    Where the event before it in the history has a lower number than `before`, events are missing.
    """

    notification: Notification
    number: int
    before: int
    size: int  # bytes of its parameters


@attrs.frozen
class HistoryPage:
    """Some events of the history, oldest first.

    `missed` counts the numbers between where the page begins and `last` that are not kept any more;
    numbers that a run without an orderly stop had reserved and perhaps not used are among them.
    """

    events: tuple[Notification, ...]
    last: int  # the page covers everything up to this number; the next one begins behind it
    missed: int
    more: bool
    size: int = 0  # bytes of the events' parameters


@attrs.define(eq=False)
class EventHistory:
    """The kept events by number. `newest` is the last number that was given out, by any run."""

    max_events: int = MAX_EVENTS
    max_bytes: int = MAX_BYTES
    newest: int = 0
    _events: list[KeptEvent] = attrs.field(factory=list, init=False)
    _numbers: list[int] = attrs.field(factory=list, init=False)
    _first: int = attrs.field(default=0, init=False)  # index of the oldest event that is kept
    _bytes: int = attrs.field(default=0, init=False)
    _states: dict[str, int] = attrs.field(factory=dict, init=False)  # newest number of each key

    @property
    def oldest(self) -> int | None:
        """The lowest number that is kept; None while there is no event."""
        return self._numbers[self._first] if self._first < len(self._numbers) else None

    def __len__(self) -> int:
        return len(self._numbers) - self._first

    def add(self, event: KeptEvent) -> None:
        """Keep an event; the oldest ones give way. Its number must be above all others."""
        if event.number <= self.newest:
            raise ValueError(f"{event.number} is not above {self.newest}")
        self._events.append(event)
        self._numbers.append(event.number)
        self._bytes += event.size
        self.newest = event.number
        if event.notification.coalesce_key is not None:
            self._states[event.notification.coalesce_key] = event.number
        while len(self) > self.max_events or (self._bytes > self.max_bytes and len(self) > 1):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        event = self._events[self._first]
        key = event.notification.coalesce_key
        self._bytes -= event.size
        if key is not None and self._states.get(key) == event.number:
            del self._states[key]
        self._first += 1
        if self._first > len(self._numbers) // 2:
            del self._events[: self._first], self._numbers[: self._first]
            self._first = 0

    def after(self, number: int, limit: int) -> tuple[KeptEvent, ...]:
        """List at most `limit` events behind a number, as they are kept."""
        start = self._index_behind(number)
        return tuple(self._events[start : start + limit])

    def page(
        self,
        after: int,
        wanted: EventTest | None = None,
        *,
        limit: int,
        max_bytes: int = MAX_BYTES,
        newest_only: bool = False,
    ) -> HistoryPage:
        """List events behind the number `after` that `wanted` accepts.

        At most `limit`, at most `max_bytes` (but one), and looks at SCAN_EVENTS at most, so that
        `more` may be true while `events` is empty. `newest_only` leaves out states that a newer one
        of the same kind replaces, when that is wanted, too.
        """
        found: list[Notification] = []
        last, missed, size, start = after, 0, 0, self._index_behind(after)
        end = min(len(self._events), start + SCAN_EVENTS)
        for event in self._events[start:end]:
            if self._accepted(event, wanted, newest_only):
                if len(found) >= limit or (found and size + event.size > max_bytes):
                    return HistoryPage(tuple(found), last, missed, more=True, size=size)
                size += event.size
                found.append(event.notification)
            missed += max(0, event.before - last)
            last = event.number
        if end < len(self._events):
            return HistoryPage(tuple(found), last, missed, more=True, size=size)
        missed += max(0, self.newest - last)
        last = max(last, self.newest)
        return HistoryPage(tuple(found), last, missed, more=False, size=size)

    def missed(self, after: int) -> int:
        """Count the numbers behind `after` that are not kept any more."""
        count, last = 0, after
        for event in self._events[self._index_behind(after) :]:
            count += max(0, event.before - last)
            last = event.number
        return count + max(0, self.newest - last)

    def latest(self, wanted: EventTest | None, limit: int) -> int:
        """Give the number behind which the newest `limit` events that `wanted` accepts begin."""
        left = limit
        for event in self._backwards():
            if not left:
                return event.number
            left -= wanted is None or wanted(event.notification)
        oldest = self.oldest
        return self.newest if oldest is None else oldest - 1

    def _backwards(self) -> Iterator[KeptEvent]:
        for index in range(len(self._events) - 1, self._first - 1, -1):
            yield self._events[index]

    def _index_behind(self, number: int) -> int:
        return bisect_right(self._numbers, number, lo=self._first)

    def _accepted(self, event: KeptEvent, wanted: EventTest | None, newest_only: bool) -> bool:
        if wanted is not None and not wanted(event.notification):
            return False
        key = event.notification.coalesce_key
        return not newest_only or key is None or self._states[key] == event.number
