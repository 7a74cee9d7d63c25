"""Options of encoders, and the check of their trials."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from support.media_streams import FTYP, Sample, fragment, moov, trak, trex

from camd.ffmpeg.text.args import CaptureOptions, capture_arguments, trial_arguments
from camd.ffmpeg.text.encoder_table import (
    MJPEG,
    SOFTWARE,
    TABLE,
    VideoParameters,
    device_arguments,
    encoder_named,
    encoding_arguments,
    trial_mistake,
)
from camd.mp4.boxes import box
from camd.sources import SyntheticSource, V4l2Source

HEAD = FTYP + moov(trak(1, extra=box(b"avcC", bytes(8))), trex=trex(1))
HD = VideoParameters(1280, 720, 30.0)


@pytest.mark.parametrize("encoder", TABLE, ids=lambda each: each.name)
def test_every_encoder_makes_key_frames_every_second(encoder) -> None:
    """By time, and by number where the encoder may ignore it; hardware gets a bit rate."""
    said = " ".join(encoding_arguments(encoder, HD))
    assert f"-c:v {encoder.name}" in said
    assert "-force_key_frames expr:gte(t,n_forced*1)" in said
    assert ("-g 30" in said) == encoder.needs_bitrate
    assert ("-b:v 2764800" in said) == encoder.needs_bitrate
    assert ("-tag:v hvc1" in said) == (encoder.codec == "h265")
    assert "-b:v 900000" in " ".join(encoding_arguments(encoder, attrs.evolve(HD, bitrate=900_000)))


def test_encoders_are_tried_hardware_first() -> None:
    """Software encoders are tried last, and used without a trial."""
    h264 = [each.name for each in TABLE if each.codec == "h264"]
    assert h264[-2:] == ["libx264", "libopenh264"]
    assert [each.name for each in TABLE if each.codec == "h265"][-1] == "libx265"
    assert {codec: each.name for codec, each in SOFTWARE.items()} == {
        "mjpeg": "mjpeg",
        "h264": "libx264",
        "h265": "libx265",
    }


def test_a_render_node_is_named_before_the_input_and_pictures_go_up_to_it() -> None:
    """VA-API needs both, and a file's own filters come first."""
    vaapi = attrs.evolve(encoder_named("h264_vaapi"), node="/dev/dri/renderD128")
    assert device_arguments(vaapi) == ("-vaapi_device", "/dev/dri/renderD128")
    assert encoding_arguments(vaapi, HD, ("fps=5",))[:2] == ("-vf", "fps=5,format=nv12,hwupload")
    command = capture_arguments(CaptureOptions("ffmpeg", SyntheticSource(), encoder=vaapi))
    assert command.index("-vaapi_device") < command.index("-i")
    assert device_arguments(SOFTWARE["h264"]) == ()


def test_a_trial_has_the_options_of_a_capture() -> None:
    """An encoder gets the same options for its trial and for a capture."""
    for encoder in TABLE:
        options = CaptureOptions(
            "ffmpeg",
            V4l2Source(Path("/dev/video0")),
            width=640,
            height=360,
            fps=30.0,
            encoder=encoder,
        )
        capture, trial = capture_arguments(options), trial_arguments("ffmpeg", encoder, 2)
        start = capture.index("-c:v")
        coded = capture[start : capture.index("-fps_mode")]
        assert trial[trial.index("-c:v") : trial.index("-fps_mode")] == coded
        assert trial[trial.index("-movflags") :] == capture[capture.index("-movflags") :]


def test_encoders_that_camd_does_not_know_get_what_most_need() -> None:
    """The codec follows from the beginning of the configured name."""
    assert encoder_named("h264_rkmpp").codec == "h264"
    assert encoder_named("hevc_rkmpp").codec == "h265"
    assert "-g" in encoding_arguments(encoder_named("h264_rkmpp"), HD)


def test_motion_jpeg_has_a_quality_or_a_rate() -> None:
    """It needs no key frames: every frame is one."""
    assert encoding_arguments(MJPEG, HD)[-2:] == ("-q:v", "5")
    fast = encoding_arguments(MJPEG, attrs.evolve(HD, bitrate=1_000_000))
    assert "-q:v" not in fast
    assert "-force_key_frames" not in fast


# --- checking the stream of a trial


def stream(*key_frames: int, frames: int = 60, each: int = 512) -> bytes:
    """Make a stream of 30 frames a second whose key frames have these numbers."""
    samples = [Sample(50, each, sync=number in key_frames) for number in range(frames)]
    parts = [
        fragment((1, start * each, samples[start : start + 15]), sequence=start // 15 + 1)
        for start in range(0, frames, 15)
    ]
    return HEAD + b"".join(parts)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (stream(0, 30), ""),
        (stream(0, 15, 30, 45), ""),
        (stream(0, 30, frames=45), "45 of 60 frames"),
        (stream(0), "no key frame for 2.0 s"),
        (stream(0, 15), "no key frame for 1.5 s"),
        (stream(15, 45), "no key frame at the beginning"),
        (stream(), "no key frame at the beginning"),
        (b"", "no output"),
        (HEAD, "0 of 60 frames"),
    ],
)
def test_a_stream_must_be_whole_and_cuttable(made: bytes, why: str) -> None:
    """All frames, the first one a key frame, and one every second."""
    assert trial_mistake(made, "h264", 60) == why


def test_a_stream_must_be_what_was_asked_for() -> None:
    """The sample entry names the codec and carries its parameters."""
    assert trial_mistake(stream(0, 30), "h265", 60) == "wrong stream: avc1"
    assert trial_mistake(stream(0, 30).replace(b"avcC", b"free"), "h264", 60).startswith("wrong")
    assert trial_mistake(b"\x00\x00\x00\x08free" + b"no box", "h264", 60).startswith("unreadable")
