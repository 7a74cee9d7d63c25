"""Codecs of real encoders' streams have the names by which browsers know them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ffmpeg_media as ffmpeg
from support.media_streams import FTYP, moov, trak, trex

from camd.mp4.boxes import box, full_box
from camd.mp4.init import Init, read_init
from camd.mp4.movies.codec_string import codec_strings, mime_type

PROGRAM = ffmpeg.PROGRAMS[1].values[0]
QUIET = ("-x265-params", "log-level=error")
STREAMS = {
    "baseline": (("libx264", "-profile:v", "baseline", "-level", "3.1"), "aac", "avc1.42C01F"),
    "high": (("libx264", "-profile:v", "high", "-level", "4.0"), "aac", "avc1.640028"),
    "hevc": (("libx265", "-tag:v", "hvc1", *QUIET), "libopus", "hvc1.1.6.L60.90"),
    "hevc-10": (
        ("libx265", "-tag:v", "hev1", "-pix_fmt", "yuv420p10le", *QUIET),
        "flac",
        "hev1.2.4.L60.90",
    ),
    "mjpeg": (("mjpeg",), "aac", "mp4v.6c"),
}
SOUND = {"aac": "mp4a.40.2", "libopus": "opus", "flac": "flac"}


def init_of(name: str) -> Init:
    """Encode a moment of picture and sound; return the header."""
    video, audio, _ = STREAMS[name]
    done = ffmpeg.run(
        *(PROGRAM, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10", "-f", "lavfi"),
        *("-i", "sine=sample_rate=48000", "-t", "0.5", "-pix_fmt", "yuv420p", "-c:v", *video),
        *(
            "-c:a",
            audio,
            "-strict",
            "-2",
            "-movflags",
            "frag_keyframe+empty_moov+default_base_moof",
        ),
        *("-f", "mp4", "pipe:1"),
    )
    assert done.returncode == 0, done.stderr
    return ffmpeg.events(done.stdout)[0]


@pytest.mark.parametrize("name", STREAMS)
def test_real_streams_have_the_names_of_their_codecs(name: str) -> None:
    """Profile, level and constraints are those that the encoder was asked for."""
    _, audio, expected = STREAMS[name]
    init = init_of(name)
    assert codec_strings(init) == (expected, SOUND[audio])
    both = f'video/mp4; codecs="{expected},{SOUND[audio]}"'
    assert mime_type(init) == ("image/jpeg" if name == "mjpeg" else both)


@pytest.mark.parametrize("name", ["baseline", "high"])
def test_ffmpeg_gives_the_same_names(name: str, tmp_path: Path) -> None:
    """Those that it writes into a DASH manifest."""
    (tmp_path / "a").mkdir()
    init = init_of(name)
    video, audio, _ = STREAMS[name]
    done = ffmpeg.run(
        *(PROGRAM, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10", "-f", "lavfi"),
        *("-i", "sine=sample_rate=48000", "-t", "0.5", "-pix_fmt", "yuv420p", "-c:v", *video),
        *("-c:a", audio, "-f", "dash", str(tmp_path / "a" / "manifest.mpd")),
    )
    assert done.returncode == 0, done.stderr
    manifest = (tmp_path / "a" / "manifest.mpd").read_text()
    told = re.findall(r'codecs="([\w.]+)"', manifest)
    assert [each.lower() for each in told] == [each.lower() for each in codec_strings(init)]


def made_init(entry: bytes, extra: bytes, *, sound: bool = False) -> Init:
    """Make a header whose track has this sample entry, with a box in it."""
    handler = b"soun" if sound else b"vide"
    traks = (trak(1, entry=b"avc1"),) if sound else ()
    number = len(traks) + 1
    made = trak(number, handler, 48000, entry, extra)
    return read_init(FTYP, moov(*traks, made, trex=b"".join(map(trex, range(1, number + 1)))))


@pytest.mark.parametrize(
    ("entry", "kind", "config", "expected"),
    [
        (b"av01", b"av1C", "81 0c 0c 00", "av01.0.12M.08"),
        (b"av01", b"av1C", "81 25 ce 00", "av01.1.05H.10"),
        (b"av01", b"av1C", "81 48 e0 00", "av01.2.08H.12"),
        (b"vp09", b"vpcC", "01 00 00 00 02 1f a2 02 02 02 00 00", "vp09.02.31.10"),
        (b"hvc1", b"hvcC", "01 b1 60 00 00 00 00 00 00 00 00 00 99 00", "hvc1.B17.6.H153"),
        (b"avc1", b"avcC", "01 4d 40", "avc1"),
        (b"avc1", b"free", "00", "avc1"),
        (b"mp4v", b"esds", "00 00 00 00 03 07 00 00 40", "mp4v"),
        (b"png ", b"free", "", "png"),
    ],
)
def test_names_are_made_as_the_standards_say(
    entry: bytes, kind: bytes, config: str, expected: str
) -> None:
    """Also where the configuration is cut short, says nothing, or is not there."""
    init = made_init(entry, box(kind, bytes.fromhex(config)))
    assert codec_strings(init) == (expected,)


@pytest.mark.parametrize(
    ("specific", "expected"),
    [("12 10", "mp4a.40.2"), ("2b 92", "mp4a.40.5"), ("f9 40", "mp4a.40.42")],
)
def test_kinds_of_aac_are_told_apart(specific: str, expected: str) -> None:
    """By the decoder's own configuration, the longer form of a kind included."""
    config = bytes.fromhex(specific)
    inner = b"\x05" + bytes((len(config),)) + config
    decoder = b"\x04" + bytes((13 + len(inner),)) + b"\x40\x15" + bytes(11) + inner
    whole = b"\x03" + bytes((3 + len(decoder),)) + bytes(3) + decoder
    init = made_init(b"mp4a", full_box(b"esds", 0, 0, whole), sound=True)
    assert codec_strings(init)[1] == expected


@given(
    st.sampled_from([(b"avc1", b"avcC"), (b"hvc1", b"hvcC"), (b"av01", b"av1C")]),
    st.binary(max_size=40),
)
def test_any_configuration_gives_a_name(names: tuple[bytes, bytes], config: bytes) -> None:
    """It begins with the four characters, and needs no escape within quotes."""
    (name,) = codec_strings(made_init(names[0], box(names[1], config)))
    assert re.fullmatch(names[0].decode() + r"(\.[0-9A-Z.]+)?", name)
