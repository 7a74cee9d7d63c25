"""A playlist that grows: what it has named stays as it is, and pieces that left it are counted."""

from __future__ import annotations

from array import array
from datetime import timedelta
from fractions import Fraction
from itertools import count

import attrs
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON

from camd.model import CameraId
from camd.model.timeline import Timeline, TimelineSpan
from camd.mp4.movies.fragment_index import PieceTable
from camd.playback.rules.playable_files import (
    FilePieces,
    PlayableFile,
    PlayableRange,
    choose_pieces,
)
from camd.playback.rules.playlist import KEPT_PLAYLISTS, Asked, Playlists

HOUR_LATER = NOON + timedelta(hours=1)
ASKED: Asked = ("camera0", "12:00", "13:00")


def table(seconds: list[float], durable: float) -> PieceTable:
    """Describe pieces that begin at these seconds, of a file that is durable up to one."""
    known = [each for each in seconds if each < durable]
    return PieceTable(
        timescale=1000,
        media_begin=0,
        media_end=int(durable * 1000),
        first_shown=0,
        late=0,
        latest=int(durable * 1000) - 1,
        over=int(durable * 1000),
        decoded_until=int(durable * 1000),
        frames=len(known),
        begins=array("Q", [int(each * 1000) for each in known]),
        times=array("q", [int(each * 1000) for each in known]),
    )


def listed(tables: list[PieceTable], *, growing: bool) -> PlayableRange:
    """Describe a range with files that follow each other; the last one may grow."""
    start, files = NOON, []
    for number, each in enumerate(tables):
        span = TimelineSpan(
            start=start,
            end=start + timedelta(milliseconds=each.end_time),
            filename=f"{number}.mp4",
            session_id=None,
            growing=growing and number == len(tables) - 1,
            playable=True,
        )
        pieces = FilePieces(b"", "", "", 320, 180, Fraction(0), each)
        chosen = choose_pieces(span, pieces, NOON, HOUR_LATER)
        files += [] if chosen is None else [chosen]
        start = span.end
    return PlayableRange(Timeline(CameraId("camera0"), NOON, HOUR_LATER, (), ()), tuple(files), ())


def media_of(text: str) -> list[str]:
    """Return what a playlist names, in order: heads, marks and pieces with their lengths."""
    kept = ("#EXTINF", "#EXT-X-MAP", "#EXT-X-DISC", "../")
    return [line for line in text.splitlines() if line.startswith(kept)]


@given(
    st.lists(st.floats(0.2, 9), min_size=1, max_size=20).map(lambda some: [0, *some]),
    st.lists(st.floats(0.1, 60), min_size=1, max_size=6).map(sorted),
)
def test_what_a_growing_playlist_has_named_stays(
    lengths: list[float], durable: list[float]
) -> None:
    """However a file grows, is sealed, and another one follows: players load no piece twice."""
    begins = [round(sum(lengths[: number + 1]), 3) for number in range(len(lengths))]
    grown = [table(begins, each) for each in durable]
    known = [listed([each], growing=True) for each in grown]
    known += [listed([grown[-1]], growing=False), listed([grown[-1], grown[0]], growing=True)]
    seen: list[str] = []
    playlists = Playlists()
    for each in known:
        now = media_of(playlists.write(ASKED, each, complete=False))
        assert now[: len(seen)] == seen
        assert media_of(Playlists().write(ASKED, each, complete=False)) == now
        seen = now
    whole = media_of(playlists.write(ASKED, known[-1], complete=True))
    assert whole[: len(seen)] == seen
    assert whole[-1].endswith(f"-{grown[0].media_end}.m4s")


def test_a_growing_playlist_has_no_end_and_its_head_stays() -> None:
    """The target may not change later, so it is a little longer than pieces usually are."""
    growing = listed([table([0, 2, 4, 6, 8], 9)], growing=True)
    playlists = Playlists()
    text = playlists.write(ASKED, growing, complete=False)
    assert "#EXT-X-ENDLIST" not in text
    assert text.count("#EXTINF:4.0") == 2
    whole = playlists.write(ASKED, growing, complete=True)
    assert whole.endswith("#EXT-X-ENDLIST\n")
    assert whole.count("#EXTINF:") == 3
    for head in ("TARGETDURATION:6", "MEDIA-SEQUENCE:0", "PLAYLIST-TYPE:EVENT"):
        assert f"#EXT-X-{head}\n" in text
        assert f"#EXT-X-{head}\n" in whole


# --- files that are removed


def numbered(text: str) -> dict[int, tuple[int, str]]:
    """Return each piece by its number, with that of its discontinuity (RFC 8216, 6.2.2)."""
    numbers: count[int] = count(tag(text, "MEDIA-SEQUENCE"))
    breaks, found = tag(text, "DISCONTINUITY-SEQUENCE"), {}
    for line in text.splitlines():
        breaks += line == "#EXT-X-DISCONTINUITY"
        if line.startswith("../"):
            found[next(numbers)] = breaks, line
    return found


def tag(text: str, name: str) -> int:
    return int(text.partition(f"#EXT-X-{name}:")[2].partition("\n")[0] or 0)


def without(played: PlayableRange, *names: str) -> PlayableRange:
    """Remove files from a range."""
    files = tuple(each for each in played.files if each.filename not in names)
    return attrs.evolve(played, files=files)


SHORT = table([0, 4, 8], 10)
FOUR = listed([SHORT, SHORT, SHORT, SHORT], growing=True)


@given(st.lists(st.sets(st.sampled_from(["0.mp4", "1.mp4", "2.mp4", "3.mp4"])), max_size=4))
def test_each_piece_keeps_its_number(removals: list[set[str]]) -> None:
    """Whatever is removed, one after the other: a player never takes one piece for another."""
    playlists, gone = Playlists(), set[str]()
    before = numbered(playlists.write(ASKED, FOUR, complete=False))
    for removed in removals:
        gone |= removed
        text = playlists.write(ASKED, without(FOUR, *gone), complete=False)
        now = numbered(text)
        assert now.items() <= before.items()
        assert not now or list(now) == list(range(min(now), max(before) + 1))
        lost = [line for _, line in now.values() if line.split("/")[1] in gone]
        assert text.count("#EXT-X-GAP") == len(lost)
        assert ("PLAYLIST-TYPE" in text) == (not gone)
        before = now
    left = without(FOUR, *gone)
    whole = playlists.write(ASKED, left, complete=True)
    assert numbered(whole).items() >= before.items()
    assert whole.endswith("#EXT-X-ENDLIST\n")


def test_the_first_pieces_leave_and_are_counted() -> None:
    """Two files of two whole pieces each, and a mark between them."""
    playlists = Playlists()
    playlists.write(ASKED, FOUR, complete=False)
    text = playlists.write(ASKED, without(FOUR, "0.mp4", "1.mp4"), complete=False)
    assert (tag(text, "MEDIA-SEQUENCE"), tag(text, "DISCONTINUITY-SEQUENCE")) == (6, 2)
    nothing = playlists.write(ASKED, attrs.evolve(FOUR, files=()), complete=False)
    assert (tag(nothing, "MEDIA-SEQUENCE"), numbered(nothing)) == (11, {})
    again = playlists.write(ASKED, FOUR, complete=False)  # such as a disk that is back
    assert numbered(again) == {}


def test_a_range_that_moves_on_with_the_present_leaves_whole_files() -> None:
    """Its first file keeps its first piece until the file is out of the range."""
    playlists = Playlists()
    first = numbered(playlists.write(ASKED, FOUR, complete=False))
    late = FOUR.files[0]
    moved = (attrs.evolve(late, numbers=range(1, 3)), *FOUR.files[1:])
    text = playlists.write(ASKED, attrs.evolve(FOUR, files=moved), complete=False)
    assert numbered(text) == first
    text = playlists.write(ASKED, attrs.evolve(FOUR, files=moved[1:]), complete=False)
    assert numbered(text) == {number: first[number] for number in range(3, 11)}


def test_a_file_of_a_clock_that_was_set_back_comes_behind_the_others() -> None:
    """It begins before those that were named already, and their numbers stay."""
    playlists = Playlists()
    first = numbered(playlists.write(ASKED, FOUR, complete=False))
    span = attrs.evolve(FOUR.files[0].span, filename="back.mp4", start=NOON - timedelta(hours=1))
    back = PlayableFile(span, FOUR.files[0].pieces, range(3))
    text = playlists.write(ASKED, attrs.evolve(FOUR, files=(back, *FOUR.files)), complete=False)
    assert numbered(text).items() >= first.items()
    assert list(numbered(text).values())[-1][1].startswith("../back.mp4/")


def test_few_playlists_are_remembered() -> None:
    """Those asked for last; of a range to which nothing is added, none."""
    playlists = Playlists()
    playlists.write(ASKED, FOUR, complete=True)
    assert len(playlists._kept) == 0
    for number in range(2 * KEPT_PLAYLISTS):
        playlists.write(("camera0", str(number), None), FOUR, complete=False)
        playlists.write(ASKED, FOUR, complete=False)
    assert len(playlists._kept) == KEPT_PLAYLISTS
    text = playlists.write(ASKED, without(FOUR, "0.mp4"), complete=False)
    assert tag(text, "MEDIA-SEQUENCE") == 3
