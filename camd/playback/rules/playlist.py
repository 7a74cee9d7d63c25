"""A range as an HLS playlist (RFC 8216, and its draft revision): one URL for each piece.

Byte ranges of one URL (EXT-X-BYTERANGE) are not used: FFmpeg 5.1 hangs on them over a connection
that stays open. Pictures that are not shown in the order of decoding are named by addresses whose
fragments need no edit list: see `applied_edits`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from fractions import Fraction

from camd.model.notation import format_instant
from camd.mp4.movies.fragment_index import Piece
from camd.playback.rules.playable_files import PlayableFile, PlayableRange, joined_pieces

PIECE_SECONDS = Fraction(4)
GROWING_TARGET = 6  # seconds; the longest piece of most cameras, since it may not change later
APPLIED_EDITS = "edits=applied"  # the query of addresses whose media needs no edit list


def playlist(played: PlayableRange, *, complete: bool) -> str:
    """Write the playlist; without `complete` it grows, and players ask for it again.

    Its addresses are relative to its own. What one that grows has named stays in it as it is:
    players count the pieces, and do not load one again that has become longer.
    """
    listed = [(file, _pieces(file, complete=complete)) for file in played.files]
    entries = [line for file, pieces in listed if pieces for line in _file_lines(file, pieces)]
    durations = [piece.duration for _, pieces in listed for piece in pieces]
    longest = max([*durations, PIECE_SECONDS if complete else GROWING_TARGET])
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{math.ceil(longest)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PLAYLIST-TYPE:{'VOD' if complete else 'EVENT'}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    end = ["#EXT-X-ENDLIST"] if complete else []
    return "\n".join([*head, *entries[_first_discontinuity(entries) :], *end, ""])


def _first_discontinuity(entries: list[str]) -> int:
    """Skip the mark before the first file: nothing comes before it."""
    return 1 if entries else 0


def _pieces(file: PlayableFile, *, complete: bool) -> Sequence[Piece]:
    grows = file.span.growing and not complete
    table, numbers = file.pieces.table, file.numbers
    return tuple(joined_pieces(table, numbers, PIECE_SECONDS, grows=grows))


def _file_lines(file: PlayableFile, pieces: Sequence[Piece]) -> Iterator[str]:
    yield "#EXT-X-DISCONTINUITY"
    edits = f"?{APPLIED_EDITS}" if file.pieces.is_reordered else ""
    yield f'#EXT-X-MAP:URI="../init/{file.filename}{edits}"'
    for piece in pieces:
        start = file.span.start + timedelta(microseconds=int(piece.time * 1_000_000))
        yield f"#EXT-X-PROGRAM-DATE-TIME:{format_instant(start, 'milliseconds')}"
        yield f"#EXTINF:{float(piece.duration):.6f},"
        yield f"../{file.filename}/{piece.begin}-{piece.end}.m4s{edits}"
