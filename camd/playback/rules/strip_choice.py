"""Which key frames are the tiles of a strip."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

import attrs

from camd.playback.rules.playable_files import PlayableFile, PlayableRange


@attrs.frozen
class Tile:
    """A key frame: the first one of a piece of a file."""

    file: PlayableFile
    number: int  # of the piece

    @property
    def time(self) -> datetime:
        """When it was taken."""
        return self.file.start_of(self.number)

    @property
    def cache_key(self) -> tuple[str, int]:
        """Its unique key."""
        return self.file.filename, self.file.pieces.table.begins[self.number]


def choose_tiles(played: PlayableRange, count: int) -> tuple[Tile, ...]:
    """Choose the key frames of `count` instants that divide the range evenly.

    There are at most `count`: an instant at which nothing was recorded has none, and no key frame
    is repeated.
    """
    line = played.timeline
    step = (line.until - line.since) / count
    instants = (line.since + step * (2 * number + 1) / 2 for number in range(count))
    return tuple(tile for tile, _ in groupby(_tiles(played, instants)))


def _tiles(played: PlayableRange, instants: Iterator[datetime]) -> Iterator[Tile]:
    for instant in instants:
        for file in reversed(played.files):
            if file.span.start <= instant < file.end:
                yield Tile(file, _number_at(file, instant - file.span.start))
                break


def _number_at(file: PlayableFile, since_start: timedelta) -> int:
    return file.pieces.table.number_at(since_start // timedelta(microseconds=1))
