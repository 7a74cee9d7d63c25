"""Files whose pictures cannot be decoded with their own header are found."""

from __future__ import annotations

import attrs
import pytest
from support import ffmpeg_media as ffmpeg

from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.sample_entry import video_header
from camd.mp4.inspect import sealed_moov_offset, why_undecodable
from camd.storage.disk import PosixDisk
from camd.storage.verify.recording_file import inspect_recording
from camd.storage.verify.rules.findings import FindingKind, compare_file

BUNDLED = ffmpeg.PROGRAMS[1].values[0]
REPEAT = ("-x264-params", "repeat-headers=1")


def stream(size: str, *more: str, seconds: float = 2) -> tuple[Init, list[Fragment]]:
    """Encode pictures of a size; a key frame and parameter sets every second."""
    done = ffmpeg.run(
        *(BUNDLED, "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=10", "-c:v", "libx264"),
        *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10", *(more or REPEAT)),
        *("-t", str(seconds), "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
        *("-f", "mp4", "pipe:1"),
    )
    assert done.returncode == 0, done.stderr
    return ffmpeg.events(done.stdout)


def sealed(init: Init, fragments: list[Fragment]) -> bytes:
    """Record a stream as camd does."""
    return ffmpeg.seal(*ffmpeg.grow(init, fragments))


def reason(data: bytes, *, every: bool = True) -> str:
    """Return why a file cannot be decoded."""
    at = sealed_moov_offset(data[:48])
    assert at is not None
    return why_undecodable(
        lambda offset, size: data[offset : offset + size], data[at:], every=every
    )


def followed_by(fragments: list[Fragment], others: list[Fragment]) -> list[Fragment]:
    """Append the fragments of another stream, as if the camera had changed its settings."""
    shift = fragments[-1].runs[0].decode_time + fragments[-1].runs[0].duration
    moved = []
    for each in others:
        (run,) = each.runs
        later = attrs.evolve(run, decode_time=run.decode_time + shift)
        moved.append(attrs.evolve(each, runs=(later,), video=later))
    return [*fragments, *moved]


@pytest.mark.parametrize("program", ffmpeg.PROGRAMS)
@pytest.mark.parametrize("name", sorted(ffmpeg.ENCODINGS))
def test_what_ffmpeg_encodes_is_decodable(program: str, name: str) -> None:
    """No stream of a real encoder is reported, whatever its codec."""
    init, fragments = ffmpeg.events(ffmpeg.encode(program, name, 2))
    assert reason(sealed(init, fragments)) == ""


def test_sets_that_repeat_the_header_are_fine() -> None:
    """Parameter sets before each key frame, and interlaced pictures, are accepted."""
    assert reason(sealed(*stream("320x180"))) == ""
    interlaced = ("-flags", "+ilme+ildct", "-x264-params", "repeat-headers=1:interlaced=1")
    assert reason(sealed(*stream("1920x1080", *interlaced))) == ""


def test_a_size_that_changes_within_a_file_is_reported() -> None:
    """The frame at which it changes is named; a fast check reads only the first key frame."""
    init, fragments = stream("320x180")
    _, others = stream("640x360")
    data = sealed(init, followed_by(fragments, others))
    assert reason(data) == (
        "cannot be decoded with its own header: its pictures are 640x360, and its header says "
        "320x180, from frame 21 on"
    )
    assert reason(data, every=False) == ""


def test_sets_that_change_within_a_file_are_reported() -> None:
    """Another profile of the same size cannot be decoded with the old header either."""
    init, fragments = stream("320x180", "-profile:v", "baseline", *REPEAT)
    _, others = stream("320x180", "-x264-params", "repeat-headers=1:cabac=1:8x8dct=1")
    said = reason(sealed(init, followed_by(fragments, others)))
    assert "its samples hold another SPS 0 than its header, from frame 21 on" in said


def test_the_header_of_another_stream_is_reported() -> None:
    """A fast check finds it as well."""
    other, _ = stream("640x360", seconds=1)
    _, fragments = stream("320x180")
    said = reason(sealed(other, fragments), every=False)
    assert said.endswith("its pictures are 320x180, and its header says 640x360, from frame 1 on")


def test_a_header_that_contradicts_itself_is_reported() -> None:
    """The sample entry says one size, its SPS another."""
    init, fragments = stream("320x180")
    header = video_header(init)
    assert header is not None
    at = init.moov.index(b"avc1") + 4 + 24
    moov = init.moov[:at] + (200).to_bytes(2, "big") + init.moov[at + 2 :]
    said = reason(sealed(attrs.evolve(init, moov=moov), fragments))
    assert said.endswith("its pictures are 320x180, and its header says 200x180")


def test_samples_without_nal_units_are_reported() -> None:
    """Some cameras deliver start codes instead of sizes."""
    init, fragments = stream("320x180")
    first = fragments[0]
    payload = bytearray(first.mdat)
    payload[8:12] = b"\0\0\0\1"
    data = sealed(init, [attrs.evolve(first, mdat=bytes(payload)), *fragments[1:]])
    assert reason(data).endswith("a sample is not a sequence of NAL units, frame 1")


def test_a_file_that_does_not_begin_with_a_key_frame_is_reported() -> None:
    """Frames before the first key frame are reported."""
    data = sealed(*stream("320x180"))
    at = data.rindex(b"stss") + 12
    assert data[at : at + 8] == b"\0\0\0\1\0\0\0\x0b"
    late = data[:at] + b"\0\0\0\3" + data[at + 4 :]
    assert reason(late) == "begins with 2 frames before its first key frame"
    none = data[: at - 4] + bytes(4) + data[at:]
    assert reason(none) == "has no key frame"


def test_verify_reports_it(tmp_path) -> None:
    """It is a finding of its own, beside others, and says that nothing is lost."""
    init, fragments = stream("320x180")
    path = tmp_path / "camera0_2026-01-15_12-00-00.mp4"
    path.write_bytes(sealed(init, followed_by(fragments, stream("640x360")[1])))
    seen = inspect_recording(PosixDisk(), path)
    complaints = compare_file(seen, None)
    assert [complaint.fault for complaint in complaints] == [
        FindingKind.UNKNOWN,
        FindingKind.UNDECODABLE,
    ]
    assert "640x360" in complaints[1].text
    assert not complaints[1].fault.harmless
    assert inspect_recording(PosixDisk(), path, fast=True).why_undecodable == ""
