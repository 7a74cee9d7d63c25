"""What a movie cut of recordings shows, as real FFmpegs decode it: the frames asked for."""

from __future__ import annotations

from fractions import Fraction

import pytest
from export_cuts import NOON, RATE, Footage, between, cut, record, shown
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ffmpeg_media as ffmpeg

from camd.export.rules.export_plan import later_by

SYSTEM, BUNDLED = (param.values[0] for param in ffmpeg.PROGRAMS)
NAMES = ("h264-aac", "h264-late-audio", "h265-opus", "h265-open", "mjpeg")


@pytest.fixture(scope="module", params=NAMES)
def footage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """Six seconds in three files, of which the last one grows."""
    folder = tmp_path_factory.mktemp(request.param)
    stream = ffmpeg.encode(BUNDLED, request.param)
    whole = folder / "stream.mp4"
    whole.write_bytes(stream)
    segments = record(folder, stream, growing=True)
    return Footage(folder, tuple(segments), shown(BUNDLED, whole))


millis = st.integers(-200, 6300)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.tuples(millis, millis).filter(lambda pair: pair[0] < pair[1]))
def test_the_frames_shown_are_those_asked_for(footage: Footage, pair: tuple[int, int]) -> None:
    """Whatever the range: across rotations, with B-frames and sound, from files that grow."""
    begin, end = (Fraction(each, 1000) for each in pair)
    movies = cut(footage, later_by(NOON, begin), later_by(NOON, end))
    expected = between(Fraction(0), begin, end, len(footage.frames))
    if not expected:
        assert movies == []
        return
    ((movie, data),) = movies
    path = footage.folder / "cut.mp4"
    path.write_bytes(data)
    frames = shown(BUNDLED, path)
    assert [footage.frames.index(each) for each in frames] == list(expected)
    assert movie.frames == len(frames)
    assert abs(movie.duration - Fraction(len(frames), RATE)) < Fraction(1, 1000)
