"""One-frame fragments joined into one: the same samples, with the same times."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import VIDEO_AND_AUDIO, Sample, fragment, read

from camd.mp4.fragments import Fragment, TrackRun
from camd.mp4.frames.join import fragment_without_sound, join
from camd.mp4.moov import init_without_sound

Row = tuple[int, int, bytes, int, bool, int]  # track, decode time, bytes, duration, sync, offset


def rows(fragments: list[Fragment]) -> list[Row]:
    """Return every sample, track by track."""
    found: list[Row] = []
    for each in fragments:
        for run in each.runs:
            found += _rows(each, run)
    return sorted(found, key=lambda row: row[0])


def _rows(each: Fragment, run: TrackRun) -> list[Row]:
    found: list[Row] = []
    time, number = run.decode_time, 0
    for chunk in run.chunks:
        at = chunk.offset - len(each.moof)
        for _ in range(chunk.count):
            size, duration = run.sizes[number], run.durations[number]
            offset = run.composition[number] if run.composition else 0
            data, sync = each.mdat[at : at + size], bool(run.sync[number])
            found.append((run.track_id, time, data, duration, sync, offset))
            at, time, number = at + size, time + duration, number + 1
    return found


SAMPLE = st.builds(
    Sample,
    st.integers(0, 30),
    st.sampled_from([512, 512, 512, 500, 1024, 0]),
    st.booleans(),
    st.sampled_from([0, 0, 512, -512, 1024]),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Make frames one behind the other, with sound beside, between, or not at all."""
    start = draw(st.sampled_from([0, 1 << 33, -4096]))
    times, stream = {1: start, 2: 3 * start}, VIDEO_AND_AUDIO
    for number in range(draw(st.integers(1, 12))):
        tracks = []
        for track in draw(st.sampled_from([(1,), (1,), (2,), (1, 2), (2, 1)])):
            samples = draw(st.lists(SAMPLE, min_size=1, max_size=2 if track == 2 else 1))
            tracks.append((track, times[track], samples))
            times[track] += sum(sample.duration for sample in samples)
        stream += fragment(*tracks, sequence=number)
    return stream


@given(frames())
def test_joined_frames_are_the_same_samples(stream: bytes) -> None:
    """Bytes, decode times, durations, sync flags and offsets, also of what is written and read."""
    init, singles = read(stream)
    joined = join(singles)
    assert rows([joined]) == rows(singles)
    assert (joined.frames, joined.video is None) == (
        sum(each.frames for each in singles),
        all(each.video is None for each in singles),
    )
    _, (back,) = read(init.ftyp + init.moov + joined.moof + joined.mdat)
    assert back == joined


@given(frames())
def test_joining_what_is_joined_changes_nothing(stream: bytes) -> None:
    """Fragments of many samples can be joined as well."""
    _, singles = read(stream)
    half = len(singles) // 2 + 1
    parts = [join(singles[:half])] + ([join(singles[half:])] if singles[half:] else [])
    assert rows([join(parts)]) == rows(singles)


@given(frames())
def test_without_sound_the_pictures_are_the_same(stream: bytes) -> None:
    """Bytes and times; a fragment of sound alone is none. The header has one track as well."""
    init, singles = read(stream)
    kept = [each for each in map(fragment_without_sound, singles) if each is not None]
    assert rows(kept) == [row for row in rows(singles) if row[0] == init.video.track_id]
    header = init_without_sound(init)
    assert header.tracks == (init.video,)
    assert (init.moov.count(b"trex"), header.moov.count(b"trex")) == (2, 1)
    moved = b"".join(each.moof + each.mdat for each in kept)
    assert read(header.ftyp + header.moov + moved) == (header, kept)


def test_each_track_has_one_part_and_one_run() -> None:
    """What is the same for all samples is written once."""
    tracks = [
        ((1, n * 512, [Sample(9, sync=not n)]), (2, n * 1024, [Sample(5, 1024)])) for n in range(15)
    ]
    _, singles = read(VIDEO_AND_AUDIO + b"".join(fragment(*each) for each in tracks))
    joined = join(singles)
    assert joined.moof.count(b"traf") == joined.moof.count(b"trun") == 2
    fixed = 8 + 16 + 2 * (8 + 24 + 20 + 20) + 4  # the flags of the key frame
    assert len(joined.moof) == fixed + 4 * 30


def test_a_sample_lasts_until_the_next_one_of_its_track() -> None:
    """Decode times are kept, where a duration was only guessed."""
    starts = [0, 512, 1100, 1500]
    _, singles = read(
        VIDEO_AND_AUDIO + b"".join(fragment((1, start, [Sample(9)])) for start in starts)
    )
    (run,) = join(singles).runs
    assert list(run.durations) == [512, 588, 400, 512]
    assert run.duration == 1500 + 512


@pytest.mark.parametrize("second", [0, -5])
def test_times_that_do_not_grow_are_refused(second: int) -> None:
    """No sample gets a duration of nothing or less."""
    stream = fragment((1, 0, [Sample(9)])) + fragment((1, second, [Sample(9)]))
    _, singles = read(VIDEO_AND_AUDIO + stream)
    with pytest.raises(ValueError, match="do not grow"):
        join(singles)


def test_what_the_first_picture_says_of_time_is_kept() -> None:
    """The reference time of a joined fragment is that of its first picture."""
    _, (sound, later, one, two) = read(
        VIDEO_AND_AUDIO
        + fragment((2, 0, [Sample(5, 1024)]))
        + fragment((2, 1024, [Sample(5, 1024)]))
        + fragment((1, 0, [Sample(9)]))
        + fragment((1, 512, [Sample(9)]))
    )
    one, two = (attrs.evolve(each, wall_micros=n, shown=n) for n, each in ((7, one), (8, two)))
    joined = join([sound, one, two])
    assert (joined.wall_micros, joined.shown) == (7, 7)
    assert join([sound, later]).wall_micros is None
