"""A range as an HLS playlist (RFC 8216, and its draft revision): one URL for each piece.

Byte ranges of one URL (EXT-X-BYTERANGE) are not used: FFmpeg 5.1 hangs on them over a connection
that stays open. Pictures that are not shown in the order of decoding are named by addresses whose
fragments need no edit list: see `applied_edits`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction

from camd.model.notation import format_instant
from camd.playback.rules.playable_files import PlayableFile, PlayableRange, joined_pieces

PIECE_SECONDS = Fraction(4)
APPLIED_EDITS = "edits=applied"  # the query of addresses whose media needs no edit list


def playlist(played: PlayableRange, *, complete: bool) -> str:
    """Write the playlist; without `complete` it grows, and players ask for it again.

    Its addresses are relative to its own.
    """
    entries = [line for file in played.files for line in _file_lines(file)]
    longest = max((each for each in _durations(played)), default=PIECE_SECONDS)
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


def _durations(played: PlayableRange) -> Iterator[Fraction]:
    for file in played.files:
        for piece in joined_pieces(file.pieces.table, file.numbers, PIECE_SECONDS):
            yield piece.duration


def _file_lines(file: PlayableFile) -> Iterator[str]:
    yield "#EXT-X-DISCONTINUITY"
    edits = f"?{APPLIED_EDITS}" if file.pieces.edits is not None else ""
    yield f'#EXT-X-MAP:URI="../init/{file.filename}{edits}"'
    for piece in joined_pieces(file.pieces.table, file.numbers, PIECE_SECONDS):
        start = file.span.start + timedelta(microseconds=int(piece.time * 1_000_000))
        yield f"#EXT-X-PROGRAM-DATE-TIME:{format_instant(start, 'milliseconds')}"
        yield f"#EXTINF:{float(piece.duration):.6f},"
        yield f"../{file.filename}/{piece.begin}-{piece.end}.m4s{edits}"
