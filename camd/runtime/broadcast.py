"""One writer, many readers: a published value that readers wait on, and a fan-out of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class LatestValue(Generic[T]):
    """The latest frozen value of something; readers may wait for it to change."""

    _value: T
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def value(self) -> T:
        """The latest value; reading never waits."""
        return self._value

    def publish(self, value: T) -> None:
        """Replace the value and wake all tasks that wait for a change."""
        self._value = value
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait_until(self, predicate: Callable[[T], bool]) -> T:
        """Wait until a published value satisfies `predicate`, and return that value.

        A value that is replaced before this task runs may be missed.
        """
        while not predicate(self._value):
            await self._changed.wait()
        return self._value


@attrs.define(eq=False)
class Fanout(Generic[T]):
    """Calls every subscriber's sink with each published item, in order, without waiting.

    A sink must return at once; when its buffer is full, it merges or drops by its own policy. An
    exception from a sink is a bug, and is raised in the publisher.
    """

    _sinks: list[Callable[[T], None]] = attrs.field(factory=list, init=False)

    def publish(self, item: T) -> None:
        """Give `item` to all present subscribers."""
        for sink in tuple(self._sinks):
            sink(item)

    @contextmanager
    def subscribed(self, sink: Callable[[T], None]) -> Iterator[None]:
        """Receive items through `sink` while the block runs."""
        self._sinks.append(sink)
        try:
            yield
        finally:
            self._sinks.remove(sink)

    @property
    def subscribers(self) -> int:
        """The number of subscribers."""
        return len(self._sinks)
