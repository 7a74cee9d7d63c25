"""How long the last picture of a file lasts where its duration was not known."""

from __future__ import annotations

from array import array
from fractions import Fraction

import attrs
import pytest
from support import media_streams as build

from camd.mp4.fragments import FragmentReader, Init
from camd.mp4.inspect import StoredSamples
from camd.mp4.movies.cut_frames import choose_frames, shown_ticks
from camd.mp4.movies.cut_movie import CutBuilder, FileCut
from camd.mp4.movies.recorded_tracks import RecordedTrack, RecordedTracks

(INIT,) = FragmentReader().feed(build.VIDEO_AND_AUDIO)
assert isinstance(INIT, Init)
assert INIT.audio is not None
SCALE = INIT.video.timescale


def samples(*durations: int) -> StoredSamples:
    """Make pictures that lie one behind the other, a key frame first."""
    count = len(durations)
    offsets = array("Q", (1000 + 10 * number for number in range(count)))
    sizes = array("I", [10] * count)
    sync = b"\x01" + bytes(count - 1)
    return StoredSamples(INIT.video, offsets, sizes, array("I", durations), array("i"), sync)


@pytest.mark.parametrize(
    ("durations", "number", "lasts"),
    [
        ((512, 512, 512, 1), 3, 512),  # a single tick: the next one had not come
        ((512, 500, 520, 124), 3, 500),  # as long as the shortest before it
        ((512, 500, 520, 125), 3, 125),  # it is known
        ((153600, 512, 512, 512, 1), 4, 512),  # a pause before is no interval
        ((512, 512, 512, 512), 3, 512),
        ((512, 1, 512, 512), 1, 16),  # not the last one: a millisecond, that it is seen
        ((1,), 0, 16),  # nothing is before it
    ],
)
def test_a_last_picture_of_unknown_duration(
    durations: tuple[int, ...], number: int, lasts: int
) -> None:
    """It lasts as long as the pictures before it, and no other picture does."""
    assert shown_ticks(samples(*durations), number) == lasts


def test_the_last_packet_of_sound_keeps_its_duration() -> None:
    """A stream of sound ends with a packet that is cut."""
    assert INIT.audio is not None
    sound = attrs.evolve(samples(1024, 1024, 100), track=INIT.audio)
    assert shown_ticks(sound, 2) == 100


@pytest.mark.parametrize("after", [None, 0, 3, 9])
def test_a_cut_begins_where_all_is_right_in_time(after: int | None) -> None:
    """With the key frame before, where a decoder can begin anew with it; else with an earlier one,
    so many frames before the first that is shown, and players begin with none in between."""
    found = attrs.evolve(samples(*[10] * 24), sync=b"\x01\0\0\0" * 6)
    for wanted in range(24):
        cut = choose_frames(found, 10 * wanted, 10 * wanted + 10, recovery=lambda _: after)
        if wanted < (after or 0):
            assert cut is None  # nothing is before the file
            continue
        assert cut is not None
        assert found.sync[cut.first] == 1
        assert cut.hidden_before == wanted - cut.first
        nearest = wanted - wanted % 4
        if after is None:
            assert (cut.first, cut.dependent) == (nearest, frozenset())
            continue
        assert cut.first == 0 or after <= wanted - cut.first < after + 8
        assert cut.first < nearest or nearest == 0
        assert cut.dependent == frozenset(range(cut.first + 4, wanted + 1, 4))
        builder = CutBuilder(FileCut(RecordedTracks(INIT, Fraction(0), RecordedTrack(found)), cut))
        builder.add(FileCut(RecordedTracks(INIT, Fraction(0), RecordedTrack(found)), cut))
        assert builder.finish(0).lead_in == wanted - cut.first


def test_files_that_end_with_an_unknown_duration_lose_no_time() -> None:
    """Each picture of an export is shown as long as the others, at the ends of files, too."""
    found = samples(*[512] * 29, 1)
    file = RecordedTracks(INIT, Fraction(0), RecordedTrack(found))
    frames = choose_frames(found, 0, 10**9, continued=False, decodable_start=True)
    assert frames is not None
    builder = CutBuilder(FileCut(file, frames))
    builder.add(FileCut(file, frames), goes_on=True)
    builder.add(FileCut(file, frames))
    movie = builder.finish(0)
    assert movie.frames == 60
    assert movie.duration == Fraction(60 * 512, SCALE)
