"""Notes that wait for a disk on which nothing can be written: in order, and never too many. Pure.

When there are too many, those go first that the files themselves tell as well, then the oldest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.define(eq=False)
class NoteBacklog(Generic[T]):
    """What waits, oldest first. May be used by several threads at a time.

    `is_derivable` says of a note that it can be found out again by looking at the files.
    """

    most: int
    is_derivable: Callable[[T], bool]
    lost: int = attrs.field(default=0, init=False)  # that nothing else tells
    _dropped: int = attrs.field(default=0, init=False)  # that something else tells
    _waiting: list[T] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def first(self) -> T | None:
        """The oldest, None when nothing waits."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def all(self) -> list[T]:
        """Everything that waits, oldest first."""
        with self._lock:
            return list(self._waiting)

    def add(self, *notes: T) -> None:
        """Put notes behind all others; past the bound, some of all go."""
        with self._lock:
            self._waiting += notes
            while len(self._waiting) > self.most:
                self._drop_one()

    def _drop_one(self) -> None:
        spare = (at for at, note in enumerate(self._waiting) if self.is_derivable(note))
        at = next(spare, None)
        if at is None:
            self.lost += 1
        else:
            self._dropped += 1
        del self._waiting[at or 0]

    def take_dropped(self) -> int:
        """Say how many were given up since the last time that something else tells."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def settle(self, notes: list[T]) -> None:
        """Take these out: they are written, or not wanted any more."""
        with self._lock:
            gone = set(map(id, notes))
            self._waiting = [note for note in self._waiting if id(note) not in gone]
