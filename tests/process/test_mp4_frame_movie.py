"""The frame that a movie of one frame shows, live and from files, as real FFmpegs decode it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
from support import ffmpeg_media as ffmpeg

from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, Init
from camd.mp4.frame_search import SamplesToFrame, find_frame_at, growing_frames
from camd.mp4.init import read_init
from camd.mp4.inspect import StoredSamples, read_segment_head, sealed_moov_offset, stored_samples
from camd.mp4.movies.decode_begin import recovery_of
from camd.mp4.movies.frame_movie import frame_movie, presentation_times
from camd.mp4.segment import HASHED_FROM

_ONE_FRAME = ("-probesize", "32", "-analyzeduration", "0", "-threads", "1", "-f", "mov")


@pytest.fixture(params=ffmpeg.PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """One of the FFmpegs of this machine."""
    path: str = request.param
    return path


def hashes(program: str, stream: bytes, *options: str) -> list[bytes]:
    """Decode video, and hash each frame in the order in which frames are shown."""
    done = ffmpeg.run(
        *(program, *options, "-i", "pipe:0", "-map", "0:v:0", "-f", "framemd5", "-"), given=stream
    )
    lines = [line.split(b",") for line in done.stdout.splitlines() if not line.startswith(b"#")]
    return [line[-1].strip() for line in sorted(lines, key=lambda line: int(line[2]))]


def shown(program: str, movie: bytes) -> list[bytes]:
    """Hash what a waiting decoder would make of a movie."""
    return hashes(program, movie, *_ONE_FRAME)


def samples_in(
    fragments: Sequence[Fragment],
) -> tuple[list[bytes], list[int], list[int], list[int]]:
    """Take all video samples of a stream, with durations, offsets, and which are key frames."""
    samples: list[bytes] = []
    durations: list[int] = []
    composition: list[int] = []
    sync: list[int] = []
    for fragment in fragments:
        run = fragment.video
        if run is None:
            continue
        samples += [fragment.mdat[at : at + size] for at, size in fragment.video_samples()]
        durations += run.durations
        composition += run.composition or [0] * run.count
        sync += run.sync
    return samples, durations, composition, sync


@pytest.mark.parametrize("name", ffmpeg.ENCODINGS)
def test_exactly_the_last_sample_is_shown(program: str, name: str) -> None:
    """One frame and no other, the same as in a decode of everything; B-frames included."""
    stream = ffmpeg.encode(program, name, 3)
    init, fragments = ffmpeg.events(stream)
    samples, durations, composition, sync = samples_in(fragments)
    times = presentation_times(durations, composition)
    order = sorted(range(len(times)), key=times.__getitem__)
    expected = hashes(program, stream)
    assert len(expected) == len(samples) == 90
    for last in (0, 1, 2, 13, 29, 30, 31, 59, 89):
        first = max(number for number in range(last + 1) if sync[number])
        if times[last] < times[first]:
            continue  # a leading picture needs the group before
        part = slice(first, last + 1)
        movie = frame_movie(init, samples[part], durations[part], composition[part])
        assert shown(program, movie) == [expected[order.index(last)]]


def test_a_last_frame_without_a_duration_is_shown(program: str) -> None:
    """The end of a capture has a frame of no duration: it is a frame all the same."""
    init, fragments = ffmpeg.events(ffmpeg.encode(program, "h264-aac", 3))
    samples, durations, composition, _ = samples_in(fragments)
    movie = frame_movie(init, samples[:2], [durations[0], 0], composition[:2])
    assert len(shown(program, movie)) == 1


def test_a_frame_needs_its_numbers() -> None:
    """A movie of nothing, or with too few durations, is refused."""
    init, _ = ffmpeg.events(ffmpeg.encode(ffmpeg.PROGRAMS[1].values[0], "mjpeg", 3))  # type: ignore[arg-type]
    for samples, durations in (([], []), ([b"x"], []), ([b"x", b"y"], [1])):
        with pytest.raises(ValueError, match="duration"):
            frame_movie(init, samples, durations, [])


# --- files --------------------------------------------------------------------------------


def growing_file(stream: bytes) -> bytes:
    """Write the stream as a file that grows."""
    return ffmpeg.grow(*ffmpeg.events(stream))[1]


def sealed_file(stream: bytes) -> bytes:
    """Write the stream as a sealed file."""
    return ffmpeg.seal(*ffmpeg.grow(*ffmpeg.events(stream)))


def locate(data: bytes, seconds: Fraction) -> tuple[Init, SamplesToFrame | None]:
    """Find the frame of a file that is shown at an instant, as a snapshot does."""

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    frames: StoredSamples
    moov_at = sealed_moov_offset(data[:48])
    if moov_at is None:
        init, _ = read_segment_head(data)
        frames = growing_frames(read, init, HASHED_FROM, len(data), float(seconds))
    else:
        init = read_init(data[:32], data[moov_at:])
        frames = stored_samples(init)
    return init, find_frame_at(frames, seconds, recovery_of(init, frames, read))


def movie_at(data: bytes, seconds: Fraction) -> bytes:
    """Build the movie of the frame that a file shows at an instant."""
    init, place = locate(data, seconds)
    assert place is not None
    pieces = [
        data[offset : offset + size]
        for offset, size in zip(place.offsets, place.sizes, strict=True)
    ]
    return frame_movie(init, pieces, place.durations, place.composition)


@pytest.mark.parametrize("name", [*ffmpeg.ENCODINGS, "h264-open"])
@pytest.mark.parametrize("write", [sealed_file, growing_file])
def test_the_frame_of_an_instant_is_the_one_by_number(
    program: str, name: str, write: Callable[[bytes], bytes]
) -> None:
    """At the first tick of a frame, in its middle and at its last tick, in sealed and growing
    files, whatever sound lies between."""
    stream = ffmpeg.encode(program, name, 3)
    data = write(stream)
    expected = hashes(program, stream)
    for number in (0, 1, 14, 15, 29, 30, 31, 32, 34, 44, 45, 46, 60, 88):
        for part in (Fraction(1, 1000), Fraction(1, 2), Fraction(999, 1000)):
            seconds = (number + part) / 30
            _, place = locate(data, seconds)
            assert place is not None
            assert place.shown_at == Fraction(number, 30)
        assert shown(program, movie_at(data, Fraction(2 * number + 1, 60))) == [expected[number]]


@pytest.mark.parametrize("name", ["h264-open", "h264-refresh"])
@pytest.mark.parametrize("write", [sealed_file, growing_file])
def test_a_frame_behind_a_key_frame_that_needs_what_was_before(
    program: str, name: str, write: Callable[[bytes], bytes]
) -> None:
    """Open groups, with leading pictures and without, and pictures that are refreshed in parts:
    each frame around a key frame is the one by number."""
    stream = ffmpeg.encode(program, name, 4)
    data = write(stream)
    expected = hashes(program, stream)
    for key_frame in (30, 90):
        for number in (*range(key_frame - 1, key_frame + 5), key_frame + 14):
            assert shown(program, movie_at(data, Fraction(2 * number + 1, 60))) == [
                expected[number]
            ]


@pytest.mark.parametrize("write", [sealed_file, growing_file])
def test_no_frame_lies_outside(program: str, write: Callable[[bytes], bytes]) -> None:
    """Before the first frame and behind the last one there is nothing."""
    data = write(ffmpeg.encode(program, "h264-aac", 3))
    assert locate(data, Fraction(-1, 1000))[1] is None
    assert locate(data, Fraction(4))[1] is None
    assert locate(data, Fraction(3601))[1] is None


def test_few_bytes_of_a_file_are_read(program: str) -> None:
    """Of a growing file the heads of boxes are read, and some descriptions, but no media data."""
    data = growing_file(ffmpeg.encode(program, "h264-aac", 60))
    total = 0

    def read(offset: int, size: int) -> bytes:
        nonlocal total
        total += size
        return data[offset : offset + size]

    init, _ = read_segment_head(data)
    growing_frames(read, init, HASHED_FROM, len(data), 55.0)
    assert total < len(data) / 20


def test_every_cut_of_a_growing_file_is_read_or_refused(program: str) -> None:
    """Wherever the durable part ends, frames before it are found, and nothing else is raised."""
    data = growing_file(ffmpeg.encode(program, "h264-aac", 3))
    init, metadata = read_segment_head(data)
    assert metadata.number == 0
    found = 0
    for end in range(HASHED_FROM, len(data), 997):
        try:
            frames = growing_frames(
                lambda at, size, end=end: data[:end][at : at + size],
                init,
                HASHED_FROM,
                end,
                1.5,  # type: ignore[misc]
            )
        except MediaError:
            continue
        found += find_frame_at(frames, Fraction(3, 2)) is not None
        assert all(at + size <= end for at, size in zip(frames.offsets, frames.sizes, strict=True))
    assert found


def test_tables_that_do_not_agree_are_refused(program: str) -> None:
    """A damaged `moov` is an error, never a wrong frame."""
    data = sealed_file(ffmpeg.encode(program, "h264-aac", 3))
    moov_at = sealed_moov_offset(data[:48])
    assert moov_at is not None
    moov = data[moov_at:]
    for kind, value in ((b"stts", 89), (b"ctts", 1 << 30), (b"stss", 1 << 31), (b"stsz", 7)):
        at = moov.index(kind) + (12 if kind == b"stsz" else 8)
        damaged = bytearray(moov)
        if kind in (b"stss",):
            at += 4
        damaged[at : at + 4] = value.to_bytes(4, "big")
        with pytest.raises(MediaError):
            stored_samples(read_init(data[:32], bytes(damaged)))
