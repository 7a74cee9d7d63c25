"""What a movie cut of recordings shows, as real FFmpegs decode it: the frames asked for."""

from __future__ import annotations

import functools
import re
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import attrs
import pytest
from export_cuts import NOON, RATE, Footage, between, cut, record, record_frames, shown
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ffmpeg_media as ffmpeg

from camd.export.rules.export_plan import later_by
from camd.mp4.boxes import MediaError
from camd.mp4.movies.cut_frames import choose_frames
from camd.mp4.movies.cut_movie import CutBuilder, FileCut
from camd.mp4.movies.recorded_tracks import read_recorded

NAMES = ("h264-aac", "h264-late-audio", "h265-opus", "h265-open", "mjpeg")
FORGOTTEN = b"mmco: unref short failure"  # a frame to forget that the decoder has not seen
BUNDLED = str(ffmpeg.PROGRAMS[1].values[0])
PROGRAMS = [str(param.values[0]) for param in ffmpeg.PROGRAMS if param.values[0]]

_cuts = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_millis = st.integers(-200, 6300)


@pytest.fixture(scope="module", params=NAMES)
def footage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """Six seconds in three files, of which the last one grows."""
    return footage_of(request.param, tmp_path_factory.mktemp(request.param))


def footage_of(name: str, folder: Path) -> Footage:
    """Record six seconds of an encoding."""
    stream = ffmpeg.encode(BUNDLED, name)
    whole = folder / "stream.mp4"
    whole.write_bytes(stream)
    segments = record(folder, stream, growing=True)
    return Footage(folder, tuple(segments), shown(BUNDLED, whole))


def numbers_shown(
    footage: Footage, data: bytes, program: str = BUNDLED, words: bytes = b""
) -> list[int]:
    """Return the numbers of the frames that a movie shows."""
    path = footage.folder / "cut.mp4"
    path.write_bytes(data)
    return [footage.frames.index(each) for each in shown(program, path, words=words)]


@_cuts
@given(st.tuples(_millis, _millis).filter(lambda pair: pair[0] < pair[1]))
def test_the_frames_shown_are_those_asked_for(footage: Footage, pair: tuple[int, int]) -> None:
    """Whatever the range: across rotations, with B-frames and sound, from files that grow."""
    begin, end = (Fraction(each, 1000) for each in pair)
    movies = cut(footage, later_by(NOON, begin), later_by(NOON, end))
    expected = between(Fraction(0), begin, end, len(footage.frames))
    if not expected:
        assert movies == []
        return
    ((movie, data),) = movies
    assert numbers_shown(footage, data) == list(expected)
    assert movie.frames == len(expected)
    assert movie.duration == Fraction(len(expected), RATE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_cuts_around_a_rotation_of_open_groups(program: str, tmp_path: Path) -> None:
    """Leading pictures of a file need the one before: a cut may begin and end at each of them."""
    footage = footage_of("h265-open", tmp_path)
    seam = 90  # the second file's key frame; two frames before it are shown come behind it
    assert footage.segments[1].leading_frames == 2
    for first in range(seam - 4, seam + 2):
        ((_, data),) = cut(footage, *at(first, first + 20))
        assert numbers_shown(footage, data, program) == list(range(first, first + 20))
        ((_, data),) = cut(footage, *at(first - 20, first))
        assert numbers_shown(footage, data, program) == list(range(first - 20, first))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("name", "seam"), [("h264-open", 90), ("h264-refresh", 60)])
def test_cuts_around_a_rotation_where_a_decoder_cannot_begin_anew(
    name: str, seam: int, program: str, tmp_path: Path
) -> None:
    """The first frames of a file need the one before: a cut may begin and end at each of them, and
    has no frame more where it ends shortly before the rotation."""
    footage = footage_of(name, tmp_path)
    assert footage.segments[1].leading_frames
    ranges = [(first, first + 2) for first in (*range(seam - 4, seam + 5), seam + 17, seam + 18)]
    ranges += [(seam - 20, end) for end in range(seam - 3, seam + 3)]
    for first, end in ranges:
        ((movie, data),) = cut(footage, *at(first, end))
        assert numbers_shown(footage, data, program, FORGOTTEN) == list(range(first, end))
        assert movie.frames == end - first


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["h264-open", "h264-refresh"])
def test_a_cut_behind_a_key_frame_that_needs_what_was_before(
    name: str, program: str, tmp_path: Path
) -> None:
    """A decoder that began there would lack frames, or show them damaged: a cut begins earlier.
    Where that is a key frame of an open group, too, FFmpeg misses frames that are to be forgotten;
    behind any other one it reports nothing. In sealed files and in growing ones."""
    stream = ffmpeg.encode(BUNDLED, name)
    whole = tmp_path / "stream.mp4"
    whole.write_bytes(stream)
    segments = record(tmp_path, stream, seconds=10, growing=program == BUNDLED)
    footage = Footage(tmp_path, tuple(segments), shown(BUNDLED, whole))
    for key_frame, words in ((30, b""), (90, FORGOTTEN)):
        for first in (*range(key_frame - 3, key_frame + 6), key_frame + 20):
            for count in (1, 5):
                ((movie, data),) = cut(footage, *at(first, first + count))
                expected = list(range(first, first + count))
                assert numbers_shown(footage, data, program, words) == expected
                assert movie.frames == count


@pytest.mark.parametrize("name", ["h264-aac", "h264-open", "h265-open"])
def test_a_file_that_ends_between_pictures_is_exported_to_its_end(
    name: str, tmp_path: Path
) -> None:
    """A stop cuts anywhere between pictures that are shown in another order than they are decoded:
    up to the end of the file each is shown, and the last one lasts as long as any other."""
    stream = ffmpeg.encode_frames(BUNDLED, name, sound=False)
    whole = tmp_path / "stream.mp4"
    whole.write_bytes(stream)
    frames = shown(BUNDLED, whole)
    early = 0
    for count in range(29, 41):
        segment, places = record_frames(tmp_path, stream, count)
        assert segment.frames == count
        if places[-1] >= count:
            end = Fraction(places[-1] + 1, RATE)
            assert abs(segment.end - later_by(NOON, end)) <= timedelta(microseconds=1)
        early += places[-1] >= count
        footage = Footage(tmp_path, (segment,), frames)
        ((movie, data),) = cut(footage, NOON, segment.end)
        assert movie.frames == count
        assert numbers_shown(footage, data) == places
        assert cut(footage, segment.end, segment.end + timedelta(seconds=1)) == []
    assert early


def at(first: int, end: int) -> tuple[object, object]:
    """Return the instants of two frames."""
    return later_by(NOON, Fraction(first, RATE)), later_by(NOON, Fraction(end, RATE))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_closed_up(name: str, tmp_path: Path) -> None:
    """Without the middle one of three files, its frames are left out, and no other; those that
    cannot be decoded without it, too."""
    footage = footage_of(name, tmp_path)
    first, middle, last = footage.segments
    some = attrs.evolve(footage, segments=(first, last))
    ((movie, data),) = cut(some, *at(10, 170))
    behind = first.frames + middle.frames
    expected = [*range(10, first.frames), *range(behind, 170)]
    if name == "h265-open":  # in the order in which they are shown, the files end otherwise
        ends = [round((each.start - NOON).total_seconds() * RATE) for each in (middle, last)]
        leading = last.leading_frames or 0
        expected = [*range(10, ends[0] - 2), *range(ends[1], 170)]
        assert leading == 2
    assert numbers_shown(some, data) == expected
    assert movie.frames == len(expected)
    late = last.leading_frames or 0  # as long the picture before the gap stays
    assert 0 <= movie.duration * RATE - len(expected) <= late


def test_a_new_movie_begins_where_the_stream_changes(tmp_path: Path) -> None:
    """Another codec, and other parameter sets, are another part; the same ones are not."""
    a = footage_of("h264-aac", tmp_path)
    stream = ffmpeg.encode(BUNDLED, "mjpeg")
    other = tmp_path / "other"
    other.mkdir()
    later = record(other, stream, first=6.0)
    for each in later:
        (other / each.filename).rename(tmp_path / each.filename)
    later = [attrs.evolve(each, number=each.number + 3) for each in later]
    (other / "stream.mp4").write_bytes(stream)
    both = Footage(
        tmp_path, (*a.segments, *later), (*a.frames, *shown(BUNDLED, other / "stream.mp4"))
    )
    movies = cut(both, *at(150, 210))
    assert [movie.frames for movie, _ in movies] == [30, 30]
    numbers = [numbers_shown(both, data) for _, data in movies]
    assert numbers == [list(range(150, 180)), list(range(180, 210))]


def test_a_clock_that_was_set_back_begins_a_new_movie(tmp_path: Path) -> None:
    """Two files of a session have the same times: both are there, each to the frame."""
    footage = footage_of("h264-aac", tmp_path)
    first, second, _ = footage.segments
    back = attrs.evolve(second, start=first.start, end=first.end)
    some = attrs.evolve(footage, segments=(first, back))
    movies = cut(some, *at(10, 40))
    assert [numbers_shown(some, data) for _, data in movies] == [
        list(range(10, 40)),
        list(range(70, 100)),
    ]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kept", [(0, 1, 2), (0, 2)])
def test_picture_and_sound_are_cut_at_the_same_instant(
    program: str, kept: tuple[int, ...], tmp_path: Path
) -> None:
    """Flashes and beeps stay together, across rotations and a gap, and both begin at zero."""
    made = ffmpeg.make_flash_beep(tmp_path / "marks.mp4", seconds=6, b_frames=2)
    stream = ffmpeg.as_stream(made)
    files = record(tmp_path, stream)
    footage = Footage(tmp_path, tuple(files[number] for number in kept), ())
    for begin, end in ((0.1, 5.9), (0.73, 5.31), (1.17, 4.9)):
        seconds = (Fraction(each).limit_denominator(1000) for each in (begin, end))
        ((_, data),) = cut(footage, *(later_by(NOON, each) for each in seconds))
        path = tmp_path / "cut.mp4"
        path.write_bytes(data)
        marks = ffmpeg.measure(program, path)
        assert len(marks.lags) >= (3 if len(kept) == 2 else 4)
        # Before a gap, the sound of the last frames is in the file that is missing.
        silent = marks.uneven if kept == (0, 2) else 0.0
        assert all(abs(lag) < silent + 0.025 for lag in marks.lags), marks
        assert marks.uneven < (0.15 if kept == (0, 2) else 0.03)


# --- damage


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    growing=st.booleans(),
    changes=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 31), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_damaged_header_is_an_error_or_a_cut(
    growing: bool, changes: list[tuple[int, int, int]]
) -> None:
    """Whatever the bytes of the headers say, nothing but MediaError is raised, and no sample lies
    outside of the file."""
    plain, heads = headers(growing)
    data = bytearray(plain)
    for place, offset, value in changes:
        position = heads[place % len(heads)] + offset - 4
        data[position % len(data)] = value

    def read(offset: int, size: int) -> bytes:
        assert size < 100 * 1024 * 1024
        return bytes(data[offset : offset + size])

    try:
        found = read_recorded(read, len(data), Fraction(1), Fraction(2))
        frames = choose_frames(found.video.samples, 15360, 30720)
        if frames is None:
            return
        builder = CutBuilder(FileCut(found, frames))
        builder.add(FileCut(found, frames))
        movie = builder.finish(0)
    except MediaError:
        return
    assert all(0 <= each.begin < each.end <= len(data) for each in movie.ranges)


@functools.cache
def headers(growing: bool) -> tuple[bytes, list[int]]:
    """Return a file, and where its boxes begin with their kinds."""
    index, grown = ffmpeg.grow(*ffmpeg.events(ffmpeg.encode(BUNDLED, "h264-aac", 3)))
    data = grown if growing else ffmpeg.seal(index, grown)
    return data, [found.start() for found in re.finditer(b"|".join(KINDS), data)]


KINDS = (
    *(b"moov", b"mvhd", b"trak", b"tkhd", b"edts", b"elst", b"mdia", b"mdhd", b"stbl", b"stsd"),
    *(b"stts", b"ctts", b"stsc", b"stsz", b"co64", b"stss", b"moof", b"traf", b"tfhd", b"tfdt"),
    *(b"trun", b"avcC", b"esds", b"trex"),
)
