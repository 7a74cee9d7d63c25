"""First samples that FFmpeg has moved to the beginning of a pause are put back to its end."""

from __future__ import annotations

import struct

import pytest
from support import media_streams as build
from support.media_streams import Sample

from camd.mp4.boxes import full_box
from camd.mp4.fragments import Fragment, FragmentReader
from camd.mp4.restamp import with_moved_samples_put_back

PICTURES = [Sample(9, 5120), Sample(8, 512, sync=False), Sample(7, 512, sync=False)]
SOUND = [Sample(3, 48_000), Sample(3, 1024), Sample(3, 1024)]


def read(*tracks: tuple[int, int, list[Sample]], shown: int | None = None) -> Fragment:
    """Read a fragment whose first picture has the presentation time `shown`."""
    told = full_box(b"prft", 1, 0x18, struct.pack(">IQq", 1, 1 << 62, shown or 0))
    data = (told if shown is not None else b"") + build.fragment(*tracks)
    _, found = FragmentReader().feed(build.VIDEO_AND_AUDIO + data)
    assert isinstance(found, Fragment)
    return found


def times(fragment: Fragment) -> list[tuple[int, list[int]]]:
    """Return decode time and durations of each track, read from the fragment's bytes."""
    data = build.VIDEO_AND_AUDIO + fragment.moof + fragment.mdat
    _, again = FragmentReader().feed(data)
    assert isinstance(again, Fragment)
    assert [(r.sizes, r.sync, r.durations) for r in again.runs] == [
        (r.sizes, r.sync, r.durations) for r in fragment.runs
    ]
    return [(run.decode_time, list(run.durations)) for run in fragment.runs]


def test_a_picture_is_put_where_the_stream_says_that_it_is_shown() -> None:
    """Its end stays, and it begins at its presentation time."""
    found = with_moved_samples_put_back(read((1, 10_000, PICTURES), shown=14_608))
    assert times(found) == [(14_608, [512, 512, 512])]
    assert found.start_seconds == 14_608 / 15_360


def test_times_before_zero_are_written_as_such() -> None:
    """A track that began before the first one is put back as well."""
    found = with_moved_samples_put_back(read((1, -10_000, PICTURES), shown=-9_000))
    assert times(found) == [(-9_000, [4120, 512, 512])]


def test_reordered_pictures_are_shown_later_than_they_are_decoded() -> None:
    """The presentation time is compared, not the decode time."""
    pictures = [Sample(9, 5120, offset=1024), Sample(8, 512, sync=False, offset=512)]
    found = with_moved_samples_put_back(read((1, 0, pictures), shown=1024 + 4608))
    assert times(found) == [(4608, [512, 512])]
    assert found.video is not None
    assert list(found.video.composition) == [1024, 512]


@pytest.mark.parametrize("shown", [None, 0, 10_000, 9_000, 10_000 + 5121, 1 << 40, -5])
def test_what_is_not_said_or_impossible_moves_nothing(shown: int | None) -> None:
    """A presentation time outside of the picture's own duration is ignored."""
    fragment = read((1, 10_000, PICTURES), shown=shown)
    assert with_moved_samples_put_back(fragment) is fragment


def test_sound_goes_on_behind_its_pause() -> None:
    """A first packet that lasts a second gets the duration of the next one; its end stays."""
    found = with_moved_samples_put_back(read((1, 0, PICTURES[1:]), (2, 0, SOUND)))
    assert times(found) == [(0, [512, 512]), (46_976, [1024, 1024, 1024])]


def test_of_two_packets_the_first_may_contain_a_long_pause() -> None:
    """A second of silence is no packet."""
    found = with_moved_samples_put_back(read((1, 0, PICTURES[1:]), (2, 0, SOUND[:2])))
    assert times(found) == [(0, [512, 512]), (46_976, [1024, 1024])]


def test_sound_that_merely_jitters_stays() -> None:
    """A few ticks are no pause, a single packet is not changed, and the last one may be short."""
    last = [Sample(3, 1024), Sample(3, 64)]
    for sound in ([Sample(3, 1500), Sample(3, 1024)], [Sample(3, 48_000)], last):
        fragment = read((1, 0, PICTURES[1:]), (2, 0, sound))
        assert with_moved_samples_put_back(fragment) is fragment
