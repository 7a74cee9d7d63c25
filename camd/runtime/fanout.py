"""One publisher, many subscribers, none of whom can slow the publisher down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


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
