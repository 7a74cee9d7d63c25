"""A bounded queue of writes that wait for a disk that refuses them. Pure.

When it is full, entries that can be derived from the files are dropped first, then the oldest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.define(eq=False)
class NoteBacklog(Generic[T]):
    """Waiting entries, oldest first; thread-safe.

    `is_derivable` returns whether an entry can be restored by reading the files.
    """

    most: int
    is_derivable: Callable[[T], bool]
    lost: int = attrs.field(default=0, init=False)  # entries that were not derivable
    _dropped: int = attrs.field(default=0, init=False)  # derivable entries
    _waiting: list[T] = attrs.field(factory=list, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def first(self) -> T | None:
        """The oldest entry, None when nothing waits."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def all(self) -> list[T]:
        """Return all entries, oldest first."""
        with self._lock:
            return list(self._waiting)

    def add(self, *notes: T) -> None:
        """Add entries; when too many wait, drop some."""
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
        """Return how many derivable entries were dropped since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def remove(self, notes: list[T]) -> None:
        """Remove entries that are written, or no longer wanted."""
        with self._lock:
            gone = set(map(id, notes))
            self._waiting = [note for note in self._waiting if id(note) not in gone]
