"""The exports that were prepared last, so that a download that is resumed begins at once.

An export is kept with what it was made of. It is taken again for the same range while the index
lists the same recordings and gaps, and the files on the disk are the same ones. What nobody takes
for KEPT_SECONDS is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from camd.export.rules.export_plan import ExportRange
from camd.model import Gap, Segment, SegmentState

KEPT_BYTES = 48 * 1024 * 1024  # of heads; a day of 30 frames a second with sound has 46 million
KEPT_EXPORTS = 8
KEPT_SECONDS = 900.0  # since it was taken last

ExportT = TypeVar("ExportT")
FileFacts = tuple[int, int, int, int]


@attrs.frozen
class ExportKey:
    """What an export is made of: the range, the part whose head it has, recordings and gaps."""

    wanted: ExportRange
    part: int
    segments: tuple[Segment, ...]
    gaps: tuple[Gap, ...]

    @property
    def is_final(self) -> bool:
        """Whether no recording of it grows."""
        return all(segment.state is not SegmentState.OPEN for segment in self.segments)


@attrs.frozen
class KeptExport(Generic[ExportT]):
    """An export, and what its files were like."""

    export: ExportT = attrs.field(repr=False)
    head_bytes: int
    files: tuple[FileFacts, ...]


@attrs.define(eq=False)
class KeptExports(Generic[ExportT]):
    """At most KEPT_EXPORTS, with heads of KEPT_BYTES; those used longest ago are forgotten."""

    most_bytes: int = KEPT_BYTES
    _kept: OrderedDict[ExportKey, KeptExport[ExportT]] = attrs.field(
        factory=OrderedDict, init=False
    )
    _taken: dict[ExportKey, float] = attrs.field(factory=dict, init=False)  # when, monotonic

    @property
    def head_bytes(self) -> int:
        """Size of all heads."""
        return sum(each.head_bytes for each in self._kept.values())

    def find(self, export_key: ExportKey, now: float) -> KeptExport[ExportT] | None:
        """Return the export of a key, at `now` in monotonic seconds."""
        if export_key in self._kept:
            self._kept.move_to_end(export_key)
            self._taken[export_key] = now
        return self._kept.get(export_key)

    def keep(self, export_key: ExportKey, kept: KeptExport[ExportT], now: float) -> None:
        """Keep an export, in place of an older one of its range, and forget what is too much."""
        for other in [each for each in self._kept if _replaces(export_key, each)]:
            self._forget(other)
        if kept.head_bytes > self.most_bytes:
            return
        self._kept[export_key], self._taken[export_key] = kept, now
        while len(self._kept) > KEPT_EXPORTS or self.head_bytes > self.most_bytes:
            self._forget(next(iter(self._kept)))

    def forget_old(self, now: float) -> None:
        """Forget what nobody has taken for KEPT_SECONDS."""
        for old in [each for each, taken in self._taken.items() if now - taken >= KEPT_SECONDS]:
            self._forget(old)

    def _forget(self, export_key: ExportKey) -> None:
        del self._kept[export_key], self._taken[export_key]


def _replaces(export_key: ExportKey, other: ExportKey) -> bool:
    return (export_key.wanted, export_key.part) == (other.wanted, other.part)


def facts_of(paths: Iterable[Path]) -> tuple[FileFacts, ...] | None:
    """Return what tells files from others that took their names; None: one is gone. Blocks."""
    try:
        found = [path.stat(follow_symlinks=False) for path in paths]
    except FileNotFoundError:
        return None
    return tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in found)
