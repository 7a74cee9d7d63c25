"""Parameter sets and headers of real encoders' streams are parsed, and can be rebuilt."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from support import ffmpeg_media as ffmpeg

from camd.mp4.boxes import children
from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.parameter_sets import (
    NalError,
    ParameterSetKind,
    VideoCodec,
    kind_of,
    read_sequence,
    reader_of_bytes,
    set_identity,
    sets_within,
)
from camd.mp4.h26x.sample_entry import (
    VideoHeader,
    contradiction,
    header_problem,
    header_with,
    init_with,
    video_header,
)

_REPEAT = ("-x264-params", "repeat-headers=1")
_REPEAT5 = "repeat-headers=1:log-level=error"
STREAMS = {
    "baseline": ("libx264", "320x180", "yuv420p", "-profile:v", "baseline", *_REPEAT),
    "main-cropped": ("libx264", "318x178", "yuv420p", "-profile:v", "main", *_REPEAT),
    "high-1080": ("libx264", "1920x1080", "yuv420p", "-profile:v", "high", *_REPEAT),
    "interlaced": (
        *("libx264", "720x564", "yuv420p", "-flags", "+ilme+ildct"),
        *("-x264-params", "repeat-headers=1:interlaced=1"),
    ),
    "high10-422": ("libx264", "322x182", "yuv422p10le", *_REPEAT),
    "high-444": ("libx264", "321x181", "yuv444p", *_REPEAT),
    "scaling": ("libx264", "320x180", "yuv420p", "-x264-params", "repeat-headers=1:cqm=jvt"),
    "hevc": ("libx265", "320x180", "yuv420p", "-tag:v", "hev1", "-x265-params", _REPEAT5),
    "hevc-cropped": ("libx265", "314x178", "yuv420p", "-tag:v", "hev1", "-x265-params", _REPEAT5),
    "hevc-large": ("libx265", "640x480", "yuv420p", "-tag:v", "hev1", "-x265-params", _REPEAT5),
    "hevc-header": ("libx265", "320x180", "yuv420p", "-tag:v", "hvc1", "-x265-params", _REPEAT5),
    "hevc-444": ("libx265", "321x181", "yuv444p", "-tag:v", "hev1", "-x265-params", _REPEAT5),
    "hevc-layers": (
        *("libx265", "320x180", "yuv420p", "-tag:v", "hev1"),
        *("-x265-params", f"{_REPEAT5}:temporal-layers=2"),
    ),
}


def parameter_sets(sample: bytes, nal_length: int, codec: VideoCodec) -> tuple[bytes, ...]:
    """Read the parameter sets of a sample in memory."""
    return sets_within(reader_of_bytes(sample), 0, len(sample), nal_length, codec)


@pytest.fixture(scope="module")
def encoded():
    """Make streams once each; the bundled FFmpeg encodes."""
    made: dict[str, tuple[Init, list[Fragment]]] = {}

    def get(name: str) -> tuple[Init, list[Fragment]]:
        if name not in made:
            encoder, size, pixels, *more = STREAMS[name]
            done = ffmpeg.run(
                *(
                    ffmpeg.PROGRAMS[1].values[0],
                    "-f",
                    "lavfi",
                    "-i",
                    f"testsrc=size={size}:rate=10",
                ),
                *("-c:v", encoder, "-preset", "ultrafast", "-pix_fmt", pixels, *more),
                *("-g", "4", "-t", "1", "-threads", "1"),
                *("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"),
            )
            assert done.returncode == 0, done.stderr
            made[name] = ffmpeg.events(done.stdout)
        return made[name]

    return get


def first_sample(fragment: Fragment) -> bytes:
    """Cut a fragment's first video sample out of its mdat."""
    assert fragment.video is not None
    at = fragment.video.chunks[0].offset - len(fragment.moof)
    return fragment.mdat[at : at + fragment.video.sizes[0]]


def header_of(init: Init) -> VideoHeader:
    """Read the header of a stream that has one."""
    header = video_header(init)
    assert header is not None
    return header


@pytest.mark.parametrize("name", STREAMS)
def test_headers_and_sets_of_a_stream_are_read(name, encoded):
    """Header and samples contain the same sets, with the encoded size."""
    init, fragments = encoded(name)
    header = header_of(init)
    width, height = map(int, STREAMS[name][1].split("x"))
    assert header.codec is (VideoCodec.H265 if "hevc" in name else VideoCodec.H264)
    assert (header.width, header.height, header.nal_length) == (width, height, 4)
    assert header.in_samples == ("hevc" in name and name != "hevc-header")
    assert header_problem(header) == ""
    assert len(fragments) == 3
    for fragment in fragments:
        found = parameter_sets(first_sample(fragment), header.nal_length, header.codec)
        if name == "hevc-header":  # FFmpeg 9 leaves them out of such samples
            found = header.sets
        assert {set_identity(nal, header.codec) for nal in found} >= {
            (ParameterSetKind.SEQUENCE, 0),
            (ParameterSetKind.PICTURE, 0),
        }
        sequences = [
            read_sequence(nal, header.codec)
            for nal in found
            if kind_of(nal[0], header.codec) is ParameterSetKind.SEQUENCE
        ]
        assert {(each.width, each.height) for each in sequences} == {(width, height)}
        assert contradiction(header, found) == ""


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("baseline", "main-cropped", "its pictures are 318x178, and its header says 320x180"),
        ("baseline", "scaling", "its samples hold another SPS 0 than its header"),
        ("hevc", "hevc-cropped", "its pictures are 314x178, and its header says 320x180"),
        ("hevc-large", "hevc", "its pictures are 320x180, and its header says 640x480"),
    ],
)
def test_samples_of_another_stream_contradict_the_header(name, other, said, encoded):
    """The reason names what a decoder would need and the header lacks."""
    header = attrs.evolve(header_of(encoded(name)[0]), in_samples=False)
    sample = first_sample(encoded(other)[1][0])
    assert contradiction(header, parameter_sets(sample, 4, header.codec)) == said


@pytest.mark.parametrize("name", STREAMS)
def test_a_rebuilt_header_is_what_the_encoder_wrote(name, encoded):
    """Rebuilding another stream's header with a sample's sets gives the encoder's bytes."""
    init, fragments = encoded(name)
    header = header_of(init)
    other = "hevc-layers" if header.codec is VideoCodec.H265 else "interlaced"
    other = {"hevc-layers": "hevc", "interlaced": "main-cropped"}.get(name, other)
    sets = parameter_sets(first_sample(fragments[0]), 4, header.codec) or header.sets
    made = init_with(encoded(other)[0], sets)
    assert (made.video.width, made.video.height) == (header.width, header.height)
    fresh = header_of(made)
    assert contradiction(fresh, sets) == ""
    assert (fresh.width, fresh.height) == (header.width, header.height)
    assert set(fresh.sets) == set(header.sets)


@pytest.mark.parametrize(("name", "other"), [("high10-422", "baseline"), ("hevc-444", "hevc")])
def test_a_file_with_a_rebuilt_header_is_decoded(name, other, encoded, tmp_path: Path):
    """FFmpeg decodes each picture of a stream after a rebuilt header, at its size."""
    _, fragments = encoded(name)
    codec = header_of(encoded(other)[0]).codec
    sets = parameter_sets(first_sample(fragments[0]), 4, codec)
    made = init_with(encoded(other)[0], sets)
    file = tmp_path / "made.mp4"
    file.write_bytes(made.ftyp + made.moov + b"".join(f.moof + f.mdat for f in fragments))
    program = ffmpeg.PROGRAMS[1].values[0]
    done = ffmpeg.run(program, "-i", str(file), "-f", "framemd5", "-")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert f"#dimensions 0: {STREAMS[name][1]}" in lines
    assert sum(not line.startswith("#") for line in lines) == 10


def test_the_same_sets_give_the_same_entry(encoded):
    """A header rebuilt with its own sets is unchanged."""
    for name in ("baseline", "high10-422", "hevc", "hevc-444", "hevc-header"):
        init, _ = encoded(name)
        header = header_of(init)
        made = init_with(init, header.sets)
        for kind in (b"avcC", b"hvcC"):
            assert _config(made.moov, kind) == _config(init.moov, kind), name


def _config(moov: bytes, kind: bytes) -> bytes:
    at = moov.find(kind)
    return b"" if at < 0 else moov[at - 4 : at - 4 + int.from_bytes(moov[at - 4 : at], "big")]


def test_a_header_without_sets_is_reported(encoded):
    """An entry without sets is reported, unless its sets are in the samples."""
    for name, in_samples, said in (
        ("baseline", False, "its header lacks SPS and PPS"),
        ("hevc", False, "its header lacks VPS and SPS and PPS"),
        ("hevc", True, ""),
    ):
        header = header_of(encoded(name)[0])
        assert header_problem(VideoHeader(header.codec, in_samples, 320, 180, 4, ())) == said


def test_bytes_without_nal_units_are_reported(encoded):
    """A sample with start codes, or one that is cut, is an error."""
    init, fragments = encoded("baseline")
    sample = first_sample(fragments[0])
    for wrong in (b"\0\0\0\1" + sample[4:], sample[:-1], sample + b"\0", sample[1:]):
        with pytest.raises(NalError):
            parameter_sets(wrong, 4, VideoCodec.H264)
    assert list(children(init.moov))
    with pytest.raises(NalError, match="without parameter sets"):
        header_with(b"\0\0\0\x56jpeg" + bytes(78), ())
