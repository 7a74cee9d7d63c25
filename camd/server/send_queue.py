"""Bounded send queue of one client; a newer state message replaces an older one."""

from __future__ import annotations

from collections import OrderedDict

import attrs
import trio

FAIR_CHARACTERS = 256 * 1024  # of one client; more only while the budget lasts


class SendQueueFullError(Exception):
    """The client reads too slowly."""


@attrs.define(eq=False)
class SendBudget:
    """What may wait for all clients of one server together, in characters."""

    max_characters: int = 128 * 1024 * 1024
    used: int = attrs.field(default=0, init=False)


@attrs.define(eq=False)
class SendQueue:
    """A queue for one writer. Messages with the same key replace each other, others add up.

    A replacement goes to the end of the queue, so that sequence numbers only increase.
    """

    max_messages: int = 256
    max_characters: int = 8 * 1024 * 1024
    budget: SendBudget = attrs.field(factory=SendBudget)
    _items: OrderedDict[str | int, str] = attrs.field(factory=OrderedDict, init=False)
    _characters: int = attrs.field(default=0, init=False)
    _number: int = attrs.field(default=0, init=False)
    _waiting: trio.Event | None = attrs.field(default=None, init=False)
    _woken: bool = attrs.field(default=False, init=False)
    _shrunk: trio.Event | None = attrs.field(default=None, init=False)

    def put(self, text: str, coalesce_key: str | None = None) -> None:
        """Queue `text`, in place of a message with the same key. Does not block.

        Raises SendQueueFullError above the bounds. A single message always fits.
        """
        if coalesce_key is not None:
            self._count(-len(self._items.pop(coalesce_key, "")))
        elif len(self._items) >= self.max_messages:
            raise SendQueueFullError(f"more than {self.max_messages} messages are waiting")
        if self._items and self._characters + len(text) > self.max_characters:
            raise SendQueueFullError(f"more than {self.max_characters} characters are waiting")
        waiting = self._characters + len(text)
        spent = self.budget.used + len(text) > self.budget.max_characters
        if self._items and spent and waiting > FAIR_CHARACTERS:
            raise SendQueueFullError("too much is waiting for all clients together")
        self._number += 1
        self._items[self._number if coalesce_key is None else coalesce_key] = text
        self._count(len(text))
        self._tell_reader()

    async def take(self) -> str | None:
        """Wait for the oldest message and remove it from the queue; None after `wake`."""
        while not self._items:
            if self._woken:
                self._woken = False
                return None
            self._waiting = trio.Event()
            await self._waiting.wait()
        return self.take_nowait()

    def wake(self) -> None:
        """Let `take` return although nothing is queued."""
        self._woken = True
        self._tell_reader()

    async def wait_below(self, count: int) -> None:
        """Wait until fewer than `count` messages are queued."""
        while len(self._items) >= count:
            self._shrunk = self._shrunk or trio.Event()
            await self._shrunk.wait()

    def take_nowait(self) -> str:
        """Remove the oldest message; there must be one."""
        _, text = self._items.popitem(last=False)
        self._count(-len(text))
        if self._shrunk is not None:
            self._shrunk.set()
            self._shrunk = None
        return text

    def discard(self) -> None:
        """Remove all messages: the client has gone."""
        self._items.clear()
        self._count(-self._characters)

    def _tell_reader(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None

    def _count(self, characters: int) -> None:
        self._characters += characters
        self.budget.used += characters

    def __len__(self) -> int:
        return len(self._items)
