"""Whether a range is complete, and a playlist that grows: what it has named stays as it is."""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import NOON, segment, session

from camd.model import CameraId, Segment, SegmentState, Session, SessionState
from camd.model.timeline import Timeline, TimelineSpan
from camd.mp4.movies.fragment_index import PieceTable
from camd.playback.rules.playable_files import FilePieces, PlayableRange, choose_pieces
from camd.playback.rules.playlist import playlist
from camd.playback.rules.range_end import LATEST_ARRIVAL, final_until

HOUR_LATER = NOON + timedelta(hours=1)


def at(seconds: float) -> datetime:
    """Return a time in seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def file(begin: float, end: float, state: SegmentState = SegmentState.SEALED) -> Segment:
    """Describe a file of the session; times are seconds after noon."""
    return segment(f"{begin}.mp4", start=at(begin), end=at(end), state=state)


OPEN = file(10, 18, SegmentState.OPEN)
WAITING = {"state": SessionState.WAITING, "durable": True}


def running(*segments: Segment, **facts: object) -> Session:
    """Describe a session that runs since noon."""
    return session(
        **{"start": NOON, "state": SessionState.RECORDING, "segments": segments, **facts}
    )


@pytest.mark.parametrize(
    ("found", "final"),
    [
        (running(state=SessionState.STARTING), at(-5)),  # it may begin with pre-roll
        (running(file(0, 10)), at(10)),  # between two files none grows
        (running(file(0, 10), OPEN), at(15)),  # what is written, and not durable, cannot be played
        (running(OPEN, file(20, 21, SegmentState.OPEN)), at(15)),  # the first is being sealed
        (running(file(0, 10), file(10, 11, SegmentState.OPEN)), at(10)),  # it has no piece yet
        (running(file(0, 10), **WAITING), HOUR_LATER - LATEST_ARRIVAL),  # its camera is away
        (running(file(0, 7300), **WAITING), at(7300)),  # by a clock that was set back
        (running(file(0, 10), state=SessionState.WAITING, durable=False), at(10)),
    ],
)
def test_a_range_is_final_up_to_what_can_be_played(found: Session, final: datetime) -> None:
    """Up to the end of the newest file; while a session waits, up to a moment ago."""
    ends = {"10.mp4": at(15)} if OPEN in found.segments else {}
    told = final_until(
        found, ends, now=HOUR_LATER, preroll=timedelta(seconds=5), disk_takes_all=True
    )
    assert told == final


def test_frames_that_wait_for_the_disk_are_still_to_come() -> None:
    """However long it hangs: they were taken long ago."""
    told = final_until(
        running(file(0, 10), **WAITING),
        {},
        now=HOUR_LATER,
        preroll=timedelta(0),
        disk_takes_all=False,
    )
    assert told == at(10)


def table(seconds: list[float], durable: float) -> PieceTable:
    """Describe pieces that begin at these seconds, of a file that is durable up to one."""
    known = [each for each in seconds if each < durable]
    return PieceTable(
        timescale=1000,
        media_begin=0,
        media_end=int(durable * 1000),
        first_shown=0,
        end_time=int(durable * 1000),
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
    for each in known:
        now = media_of(playlist(each, complete=False))
        assert now[: len(seen)] == seen
        seen = now
    whole = media_of(playlist(known[-1], complete=True))
    assert whole[: len(seen)] == seen
    assert whole[-1].endswith(f"-{grown[0].media_end}.m4s")


def test_a_growing_playlist_has_no_end_and_its_longest_piece_stays() -> None:
    """The target may not change later, so it is a little longer than pieces usually are."""
    growing = listed([table([0, 2, 4, 6, 8], 9)], growing=True)
    text = playlist(growing, complete=False)
    assert "#EXT-X-ENDLIST" not in text
    assert "#EXT-X-TARGETDURATION:6\n" in text
    assert text.count("#EXTINF:4.0") == 2
    text = playlist(attrs.evolve(growing), complete=True)
    assert text.endswith("#EXT-X-ENDLIST\n")
    assert "#EXT-X-TARGETDURATION:4\n" in text
    assert text.count("#EXTINF:") == 3
