"""A range as an HLS playlist (RFC 8216, and its draft revision): one URL for each piece.

What a playlist that grows has named stays in it as it is, at the same number: players count the
pieces, and do not load one again that has become longer. When the first files are removed, they
leave the playlist, and it says how many pieces came before (6.2.2); a piece in the middle that is
gone is marked. An EVENT playlist may do neither (4.3.3.5): the type is omitted from then on.

Byte ranges of one URL (EXT-X-BYTERANGE) are not used: FFmpeg 5.1 hangs on them over a connection
that stays open. Pictures that are not shown in the order of decoding are named by addresses whose
fragments need no edit list: see `applied_edits`.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction

import attrs

from camd.model.notation import format_instant
from camd.mp4.movies.fragment_index import Piece
from camd.playback.rules.playable_files import (
    FilePieces,
    PlayableFile,
    PlayableRange,
    joined_pieces,
)

PIECE_SECONDS = Fraction(4)
LEAST_TARGET = Fraction(6)  # the longest piece of most cameras: it may not change later
KEPT_PLAYLISTS = 32  # that grow, of those asked for last
APPLIED_EDITS = "edits=applied"  # the query of addresses whose media needs no edit list
SOUND_OFF = "sound=off"  # the query of addresses of pieces without their sound


Asked = tuple[str, str | None, str | None]  # a camera, and the range as it was asked for


@attrs.frozen
class NamedFile:
    """A file as a playlist names it. `grows`: pieces may be added. `is_gone`: it was removed."""

    file: PlayableFile
    grows: bool
    is_gone: bool = False

    def pieces(self) -> Sequence[Piece]:
        """Return its pieces, joined."""
        table, numbers = self.file.pieces.table, self.file.numbers
        return tuple(joined_pieces(table, numbers, PIECE_SECONDS, grows=self.grows))

    def followed_by(self, now: NamedFile | None) -> NamedFile:
        """Return how it is named from now on: its first piece stays; None: it is not there."""
        if now is None:
            return attrs.evolve(self, is_gone=True)
        numbers = range(self.file.numbers.start, now.file.numbers.stop)
        return attrs.evolve(now, file=attrs.evolve(now.file, numbers=numbers))


@attrs.define(eq=False)
class _Named:
    """What one playlist has named, and how much of it has left at its beginning."""

    files: dict[str, NamedFile] = attrs.field(factory=dict)
    left_pieces: int = 0
    left_files: int = 0
    left_until: datetime | None = None  # when the last file that left had begun

    def take(self, present: dict[str, NamedFile]) -> None:
        """Go on to what is there now: new files are named behind those that were named before."""
        for name, was in self.files.items():
            self.files[name] = was.followed_by(present.pop(name, None))
        for name, new in present.items():
            if (self.left_until is None or new.file.span.start > self.left_until) and new.pieces():
                self.files[name] = new
        while self.files and (first := next(iter(self.files.values()))).is_gone:
            del self.files[first.file.filename]
            self.left_pieces += len(first.pieces())
            self.left_files += 1
            self.left_until = first.file.span.start


@attrs.define(eq=False)
class Playlists:
    """Writes playlists; remembers what the last few that grow have named."""

    _kept: OrderedDict[Asked, _Named] = attrs.field(factory=OrderedDict, init=False)

    def write(
        self, asked: Asked, played: PlayableRange, *, complete: bool, with_sound: bool = True
    ) -> str:
        """Write a playlist; without `complete` it grows, and players ask for it again.

        Its addresses are relative to its own. Without `with_sound` they are those of pieces without
        their sound.
        """
        has_grown = asked in self._kept
        named = self._kept.pop(asked, None) or _Named()
        if has_grown or not complete:
            self._kept[asked] = named
        while len(self._kept) > KEPT_PLAYLISTS:
            self._kept.popitem(last=False)
        named.take(
            {
                file.filename: NamedFile(file, grows=file.span.growing and not complete)
                for file in played.files
            }
        )
        return _text(named, complete=complete, with_sound=with_sound)


def _text(named: _Named, *, complete: bool, with_sound: bool) -> str:
    files = [(each, each.pieces()) for each in named.files.values()]
    entries = [line for file, pieces in files for line in _file_lines(file, pieces, with_sound)]
    durations = [piece.duration for _, pieces in files for piece in pieces]
    lasts = not named.left_pieces and not any(file.is_gone for file, _ in files)
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{math.ceil(max([*durations, LEAST_TARGET]))}",
        f"#EXT-X-MEDIA-SEQUENCE:{named.left_pieces}",
        *([f"#EXT-X-DISCONTINUITY-SEQUENCE:{named.left_files}"] if named.left_files else []),
        *(["#EXT-X-PLAYLIST-TYPE:EVENT"] if lasts else []),
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    end = ["#EXT-X-ENDLIST"] if complete else []
    return "\n".join([*head, *entries[_first_discontinuity(entries) :], *end, ""])


def _first_discontinuity(entries: list[str]) -> int:
    """Skip the mark before the first file: nothing comes before it."""
    return 1 if entries else 0


def _file_lines(named: NamedFile, pieces: Sequence[Piece], with_sound: bool) -> Iterator[str]:
    file = named.file
    yield "#EXT-X-DISCONTINUITY"
    query = _query(file.pieces, with_sound)
    yield f'#EXT-X-MAP:URI="../init/{file.filename}{query}"'
    for piece in pieces:
        start = file.span.start + timedelta(microseconds=int(piece.time * 1_000_000))
        if named.is_gone:
            yield "#EXT-X-GAP"
        yield f"#EXT-X-PROGRAM-DATE-TIME:{format_instant(start, 'milliseconds')}"
        yield f"#EXTINF:{float(piece.duration):.6f},"
        yield f"../{file.filename}/{piece.begin}-{piece.end}.m4s{query}"


def _query(pieces: FilePieces, with_sound: bool) -> str:
    if pieces.muted is not None and not with_sound:
        return f"?{SOUND_OFF}"
    return f"?{APPLIED_EDITS}" if pieces.is_reordered else ""
