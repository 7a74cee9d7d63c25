"""The pieces of one file, and the files of a range, as players need them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction

import attrs

from camd.model.timeline import Timeline, TimelineSpan
from camd.mp4.movies.applied_edits import AppliedEdits
from camd.mp4.movies.fragment_index import Piece, PieceTable

_MICROSECOND = timedelta(microseconds=1)


@attrs.frozen
class MutedPieces:
    """The pieces of a file without their sound, and what a browser needs to know of them."""

    mime: str
    edits: AppliedEdits


@attrs.frozen
class FilePieces:
    """What is known of one file: how it begins, and where its pieces are.

    `offset`: where the first frame is on the time line that `init` gives to a player, in seconds.
    `edits`: for players that ignore edit lists; None where it makes no difference. `muted`: for
    players that cannot play the sound; None without sound.
    """

    init: bytes = attrs.field(repr=False)
    mime: str
    codecs: str
    width: int
    height: int
    offset: Fraction
    table: PieceTable
    edits: AppliedEdits | None = None
    muted: MutedPieces | None = None

    @property
    def edits_offset(self) -> Fraction | None:
        """Where the first frame is with applied edits, in seconds; None without any."""
        return None if self.edits is None else self._offset_with(self.edits)

    @property
    def muted_offset(self) -> Fraction | None:
        """Where the first frame is without the sound, in seconds; None where there is none."""
        return None if self.muted is None else self._offset_with(self.muted.edits)

    def _offset_with(self, edits: AppliedEdits) -> Fraction:
        return self.table.seconds(self.table.first_shown) + edits.later_shown

    @property
    def is_reordered(self) -> bool:
        """Whether pictures are shown in another order than they are decoded."""
        return self.edits is not None and self.edits.composition > 0


@attrs.frozen
class PlayableFile:
    """A file of a range, and the numbers of those of its pieces that are in the range."""

    span: TimelineSpan
    pieces: FilePieces
    numbers: range

    @property
    def filename(self) -> str:
        """Its name."""
        assert self.span.filename is not None
        return self.span.filename

    def start_of(self, number: int) -> datetime:
        """Return when a piece begins, by the wall clock."""
        table = self.pieces.table
        micros = table.times[number] * 1_000_000 // table.timescale
        return self.span.start + timedelta(microseconds=micros)

    @property
    def end(self) -> datetime:
        """When the last frame that can be played ends, by the wall clock.

        Of a growing file: the instant before which no frame can be added.
        """
        table = self.pieces.table
        ticks = table.decoded_until if self.span.growing else table.end_time
        micros = max(0, ticks) * 1_000_000 // table.timescale
        return self.span.start + timedelta(microseconds=micros)


@attrs.frozen
class PlayableRange:
    """A time line with the files that can be played; `unplayable` names the others."""

    timeline: Timeline
    files: tuple[PlayableFile, ...]
    unplayable: tuple[str, ...]


def choose_pieces(
    span: TimelineSpan, pieces: FilePieces, since: datetime, until: datetime
) -> PlayableFile | None:
    """Choose the pieces of a file that lie in a range; None when there are none."""
    begin, end = (_seconds(each - span.start) for each in (since, until))
    numbers = pieces.table.between(begin, end)
    return PlayableFile(span, pieces, numbers) if len(numbers) else None


def _seconds(length: timedelta) -> Fraction:
    return Fraction(length // _MICROSECOND, 1_000_000)


def joined_pieces(
    table: PieceTable, numbers: range, least: Fraction, *, grows: bool = False
) -> Iterator[Piece]:
    """Join pieces that follow each other until they last `least` seconds.

    Of a table that `grows`, only those to which nothing is added any more.
    """
    held: Piece | None = None
    known = numbers[:-1] if grows and numbers and numbers[-1] == len(table) - 1 else numbers
    for piece in (table[number] for number in known):
        held = piece if held is None else _joined(held, piece)
        if held.duration >= least:
            yield held
            held = None
    if held is not None and not grows:
        yield held


def _joined(first: Piece, second: Piece) -> Piece:
    return Piece(first.begin, second.end, first.time, first.duration + second.duration)
