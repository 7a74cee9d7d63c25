"""Leases: files that are being read, and are not deleted meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.define(eq=False)
class FileLeases:
    """Which files have a reader; a file may have several. May be asked in any thread."""

    _readers: Counter[str] = attrs.field(factory=Counter, init=False)

    def __contains__(self, filename: str) -> bool:
        return filename in self._readers

    @property
    def filenames(self) -> frozenset[str]:
        """Every file that has a reader."""
        return frozenset(self._readers)

    @contextmanager
    def hold(self, filename: str) -> Iterator[None]:
        """Keep a file from being deleted while the block runs."""
        self._readers[filename] += 1
        try:
            yield
        finally:
            self._readers[filename] -= 1
            if not self._readers[filename]:
                del self._readers[filename]
