"""A value with one writer and many readers, who may wait for it to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class Published(Generic[T]):
    """The latest frozen value of something; older ones are forgotten (keep the latest only)."""

    _value: T
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def value(self) -> T:
        """The latest value; reading never waits."""
        return self._value

    def publish(self, value: T) -> None:
        """Replace the value and wake everybody who waits for a change."""
        self._value = value
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait_until(self, predicate: Callable[[T], bool]) -> T:
        """Wait until a published value satisfies `predicate`, and return that value.

        Values that come and go between two turns of the event loop may be missed.
        """
        while not predicate(self._value):
            await self._changed.wait()
        return self._value


# --- One publisher, many subscribers, none of whom can slow the publisher down.


@attrs.define(eq=False)
class Fanout(Generic[T]):
    """Hands each published item to every subscriber's sink, in order, without waiting.

    A sink must return at once: it keeps, merges, drops or counts, as its own buffer's policy
    says. A sink that raises is a bug and travels up to the publisher.
    """

    _sinks: list[Callable[[T], None]] = attrs.field(factory=list, init=False)

    def publish(self, item: T) -> None:
        """Give `item` to everybody subscribed at this moment."""
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
        """How many sinks listen."""
        return len(self._sinks)
