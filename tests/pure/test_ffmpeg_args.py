"""FFmpeg's arguments, and the parsing of its output."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from camd.ffmpeg.text.args import (
    CaptureOptions,
    SoundInput,
    StreamAccess,
    capture_arguments,
    probe_arguments,
    remux_arguments,
)
from camd.ffmpeg.text.encoder_table import SOFTWARE
from camd.ffmpeg.text.output import (
    FFmpegLine,
    ProbeResult,
    parse_encoders,
    parse_inputs,
    parse_line,
    parse_probe,
    parse_version,
    problem_of_exit,
)
from camd.ffmpeg.text.redact import redact
from camd.model import GapCause
from camd.sources import FileSource, RtspSource, SyntheticSource, V4l2Source

URL = "rtsp://user:p@ss@host:554/live?x=1"


def command(source, *, codec="h264", **values):
    """Build a capture's command as one text with spaces."""
    options = CaptureOptions("ffmpeg", source, encoder=SOFTWARE[codec], **values)
    return " ".join(capture_arguments(options))


def chosen(input_format):
    """Return the values that a device is asked for."""
    return {"input_format": input_format, "width": 640, "height": 480, "fps": 30.0}


def test_every_command_writes_fragments_with_wall_times_to_its_stdout():
    """The options that the reader of the stream needs are always there."""
    said = command(SyntheticSource())
    assert said.startswith("ffmpeg -hide_banner -nostdin -nostats -loglevel level+info ")
    assert "-movflags frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer " in said
    assert said.endswith("-flush_packets 1 -write_prft wallclock -f mp4 pipe:1")
    assert "-fps_mode passthrough -max_error_rate 1" in said


@pytest.mark.parametrize(
    ("said", "length"),
    [
        (command(SyntheticSource()), "-frag_duration 1 "),
        (command(SyntheticSource(audio=True)), "-frag_duration 22000 "),
        (command(SyntheticSource(audio=True), codec="mjpeg"), "-frag_duration 22000 "),
        (command(SyntheticSource(audio=True), fps=50.0), "-frag_duration 1 "),
        (command(SyntheticSource(audio=True), version=(5, 0)), "-frag_duration 500000 "),
        (
            command(SyntheticSource(audio=True), codec="mjpeg", version=(5, 0)),
            "-frag_duration 500000 -min_frag_duration 500000 ",
        ),
        (command(FileSource(Path("x")), copy=True), "-frag_duration 1 "),
        (command(RtspSource(URL)), "-frag_duration 1 "),
        (command(RtspSource(URL), probe=ProbeResult("h264")), "-frag_duration 1 "),
        (command(RtspSource(URL), probe=ProbeResult("h264", audio_codec="aac")), "1 "),
        (command(RtspSource(URL), copy=True), "-frag_duration 1 "),
        (
            command(
                RtspSource(URL), copy=True, probe=ProbeResult("h264", fps=25.0, audio_codec="aac")
            ),
            "-frag_duration 22000 ",
        ),
        (command(RtspSource(URL), copy=True, version=(4, 4)), "500000 "),
        (command(RtspSource(URL), with_sound=False), "-frag_duration 1 "),
        (command(V4l2Source(Path("/dev/v"))), "-frag_duration 1 "),
        (command(V4l2Source(Path("/dev/v")), sound=SoundInput("alsa", "hw:1")), "1 "),
        (
            command(V4l2Source(Path("/dev/v")), sound=SoundInput("alsa", "hw:1"), fps=25.0),
            "-frag_duration 22000 ",
        ),
    ],
)
def test_each_picture_is_a_fragment(said, length):
    """A little sound is gathered where no picture comes so soon; old FFmpegs write half seconds."""
    assert f"{length}-flush_packets 1" in said


SOUND = ProbeResult("h264", audio_codec="aac")
MICROPHONE = {"sound": SoundInput("alsa", "hw:1")}


@pytest.mark.parametrize(
    ("said", "duration"),
    [
        (command(SyntheticSource()), ""),
        (command(SyntheticSource(audio=True)), "NEXT_DTS-DTS"),
        (command(SyntheticSource(audio=True), version=(5, 0)), ""),
        (command(V4l2Source(Path("/dev/v"))), ""),
        (command(V4l2Source(Path("/dev/v")), copy=True, **chosen("mjpeg"), **MICROPHONE), "NEXT"),
        (command(FileSource(Path("x"), loop=False), copy=True, probe=SOUND), "NEXT_DTS-DTS"),
        (command(FileSource(Path("x")), copy=True, probe=SOUND), ""),
        (command(FileSource(Path("x")), probe=SOUND), "NEXT_DTS-DTS"),
        (command(RtspSource(URL), probe=SOUND), "NEXT_DTS-DTS"),
        (command(RtspSource(URL), copy=True, probe=SOUND), ":duration=1 "),
        (command(RtspSource(URL), copy=True), ":duration=1 "),
        (command(RtspSource(URL), copy=True, version=(4, 4)), ""),
    ],
)
def test_pictures_beside_sound_say_how_long_they_last(said, duration):
    """FFmpeg would guess it when sound ends a fragment; those of a stream say that they do not."""
    assert (":duration=" in said) == bool(duration)
    assert duration in said


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        (command(SyntheticSource(audio=True)), ["-map 1:a:0", "-c:a aac", "sine="]),
        (command(SyntheticSource(), fps=12.5, width=640, height=360), ["size=640x360:rate=12.5"]),
        (
            command(SyntheticSource(), version=(9, 0)),
            ["-re -readrate_initial_burst 0.001 -f lavfi"],
        ),
        (command(FileSource(Path("a b.mp4"))), ["-re -stream_loop -1 -i file:a b.mp4"]),
        (command(FileSource(Path("x"), speed=2.0, loop=False)), ["-readrate 2 -i file:x"]),
        (command(FileSource(Path("x")), width=8, height=6, fps=5), ["-vf fps=5,scale=8:6"]),
        (
            command(FileSource(Path("x")), probe=ProbeResult("mjpeg", 321, 180)),
            ["-vf crop=trunc(iw/2)*2:trunc(ih/2)*2 -c:v libx264"],
        ),
        (
            command(RtspSource(URL), copy=True, probe=ProbeResult("h264", audio_codec="flac")),
            ["-c:a copy -strict experimental"],
        ),
        (command(RtspSource(URL)), ["-rtsp_transport tcp -timeout 20000000", "-map 0:a:0?"]),
        (command(RtspSource(URL), version=(4, 4)), ["-stimeout", "-vsync passthrough"]),
        (
            command(RtspSource(URL), copy=True, probe=ProbeResult("hevc", audio_codec="aac")),
            ["-c:v copy -tag:v hev1", "-c:a copy"],
        ),
        (
            command(RtspSource(URL), copy=True, probe=ProbeResult("h264", audio_codec="pcm_alaw")),
            ["-c:v copy", "-c:a aac"],
        ),
        (
            command(V4l2Source(Path("/dev/v")), **chosen("h264")),
            ["-input_format h264 -video_size 640x480 -framerate 30 -i /dev/v"],
        ),
        (
            command(V4l2Source(Path("/dev/v")), copy=True, **chosen("mjpeg")),
            ["-c:v copy", "-frag_duration 1 "],
        ),
        (
            command(V4l2Source(Path("/dev/v")), sound=SoundInput("alsa", "hw:1"), wall_ahead=1e9),
            ["-itsoffset -1000000000.000000 -isync 0 -f alsa -i hw:1", "1:a:0", "-c:a aac"],
        ),
        (
            command(V4l2Source(Path("/dev/v")), width=640, height=480, fps=30),
            ["-video_size 640x480 -framerate 30 -i /dev/v"],
        ),
        (command(V4l2Source(Path("/dev/v"))), ["-enc_time_base:v 1/90000"]),
        (command(V4l2Source(), node=Path("/dev/v7")), ["-f v4l2 -thread_queue_size 64 -i /dev/v7"]),
        (command(SyntheticSource(), codec="h265"), ["libx265 -tag:v hvc1", "open-gop=0"]),
        (command(SyntheticSource(), codec="mjpeg"), ["-c:v mjpeg", "-frag_duration 1 "]),
        (command(SyntheticSource(), bitrate=4_000_000), ["-b:v 4000000", "-force_key_frames"]),
        (
            command(SyntheticSource(), input_options=("-a", "1"), output_options=("-b", "2")),
            ["-stats_period 0.05 -a 1 -re", "wallclock -b 2 -f mp4"],
        ),
    ],
)
def test_settings_become_arguments(said, parts):
    """Each source and value has its FFmpeg option."""
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("options", "kept", "left_out"),
    [
        (("-rtsp_transport", "udp"), "-timeout 20000000", "-rtsp_transport tcp"),
        (("-stimeout", "5"), "-rtsp_transport tcp", "-timeout 20000000"),
        (("-fpsprobesize", "9"), "-analyzeduration 100000", "-fpsprobesize 0"),
        (("-analyzeduration", "1"), "-fpsprobesize 0", "-analyzeduration 100000"),
        (("-tls_verify", "0"), "-timeout 20000000", "-tls_verify 1"),
    ],
)
def test_a_users_option_replaces_ours(options, kept, left_out):
    """Of options with one meaning only the user's is used, for the capture and the probe."""
    access = StreamAccess(tls_verify=True, analysis=timedelta(milliseconds=100))
    source = RtspSource(URL.replace("rtsp:", "rtsps:"))
    probe = probe_arguments("ffmpeg", source, options=options, access=access)
    capture = command(source, copy=True, access=access, input_options=options)
    for said in (capture, " ".join(probe)):
        assert " ".join(options) in said
        assert kept in said
        assert left_out not in said


def test_a_stream_of_rare_pictures_is_looked_at_for_the_first_one():
    """Not for seven of them; the user's own option replaces it."""
    source, access = RtspSource(URL), StreamAccess(rare=True)
    assert "-probesize 32" in command(source, copy=True, access=access)
    assert "-probesize" not in command(source, copy=True, access=StreamAccess())
    said = command(source, copy=True, access=access, input_options=("-probesize", "9000"))
    assert "-probesize 9000" in said
    assert "-probesize 32" not in said


def test_a_file_is_read_as_fast_as_the_user_says():
    """A user's option about the pace replaces all of ours."""
    said = command(FileSource(Path("x")), version=(9, 0), input_options=("-readrate", "3"))
    assert "-readrate 3 -stream_loop -1 -i" in said
    assert "-readrate_initial_burst" not in said


def test_audio_can_be_switched_off():
    """Without sound only the video is mapped."""
    assert ":a:0" not in command(FileSource(Path("x")), with_sound=False)


def test_other_commands_name_their_files_plainly():
    """A file's name is never taken for a protocol or an option."""
    assert remux_arguments("ffmpeg", Path("a:b.mp4"), Path("-c.mkv"))[-1] == "file:-c.mkv"
    assert probe_arguments("ffmpeg", FileSource(Path("x")))[-1] == "file:x"
    assert probe_arguments("ffmpeg", RtspSource(URL))[-1] == URL
    assert (
        probe_arguments("ffmpeg", V4l2Source(Path("/dev/v")))[-3:] == ("v4l2", "-i", "/dev/v")[-3:]
    )


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"[error] {URL}: refused", "[error] rtsp://***@host:554/live?x=1: refused"),
        ("two http://a:b@c/d and rtsps://e@f", "two http://***@c/d and rtsps://***@f"),
        ("mail me@example.org at http://x/y@z", "mail me@example.org at http://x/y@z"),
    ],
)
def test_credentials_leave_any_text(text, clean):
    """The part of a URL before the @ is removed, the rest is kept."""
    assert redact(text) == clean


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[error] x: No such file\n", FFmpegLine("error", "x: No such file")),
        ("[tcp @ 0x5e] [warning] slow", FFmpegLine("warning", "slow")),
        ("[vist#0:0/mjpeg @ 0x5a] [dec:mjpeg @ 0x5b] [error] bad", FFmpegLine("error", "bad")),
        ("To ignore this, add a '?'", FFmpegLine("info", "To ignore this, add a '?'")),
        ("", FFmpegLine("info", "")),
    ],
)
def test_log_lines_carry_their_level(line, message):
    """The level and the text are parsed, addresses of objects removed."""
    assert parse_line(line) == message


@pytest.mark.parametrize(
    ("lines", "code", "cause"),
    [
        (["ioctl(VIDIOC_DQBUF): No such device"], 0, "lost"),
        (["ioctl(VIDIOC_DQBUF): Input/output error"], 0, "io_error"),
        (["ioctl(VIDIOC_STREAMON): No space left on device"], 1, "no_bandwidth"),
        (["ioctl(VIDIOC_STREAMON): Device or resource busy", "x: Input/output error"], 1, "busy"),
        (["cannot open audio device hw:1 (Device or resource busy)"], 1, "audio_unavailable"),
        (["ALSA read error: No such device"], 0, "lost"),
        (["Cannot open video device /dev/v: Permission denied"], 1, "no_permission"),
        (["/dev/v: No such file or directory"], 1, "not_found"),
        (["Cannot find a proper format for codec 'none'"], 1, "unsupported_format"),
        (["ioctl(VIDIOC_QUERYCAP): Inappropriate ioctl for device"], 231, "unsupported_format"),
        (["Connection to tcp://h:9 failed: Connection refused"], 145, "connection_refused"),
        (
            ["Failed to resolve hostname h: Name or service not known", "x: Input/output error"],
            1,
            "unreachable",
        ),
        (["method DESCRIBE failed: 401 Unauthorized"], 1, "unauthorised"),
        (
            ["method DESCRIBE failed: 404 Not Found", "x: Server returned 404 Not Found"],
            1,
            "not_found",
        ),
        (["x: Connection timed out"], 1, "timed_out"),
        (["Unrecognized option 'nosuch'.", "Error splitting the argument list"], 8, "bad_option"),
        (["Option nosuch not found."], 1, "bad_option"),
        (["Unknown encoder 'libx264'"], 1, "no_encoder"),
        (["Stream map '0:v:0' matches no streams."], 234, "no_video"),
        (["moov atom not found"], 183, "unreadable"),
        ([], 0, "ended"),
        ([], -9, "killed"),
        ([], 3, "unknown"),
        ([], None, "ffmpeg_missing"),
        (["something new about rtsp://a:b@c"], 1, "unknown"),
    ],
)
def test_error_lines_become_a_problem(lines, code, cause):
    """The messages of all versions give the same kind; no text names a device or a secret."""
    problem = problem_of_exit([FFmpegLine("error", line) for line in lines], code)
    assert problem.kind == cause
    assert problem.message
    assert problem.suggestion
    assert "/dev" not in problem.message
    assert "a:b@" not in problem.message


def test_an_unplugged_camera_has_the_ledger_cause_lost():
    """The ledger's cause of an unplugged camera is the camera, of a wrong option the encoder."""
    assert (
        problem_of_exit([FFmpegLine("error", "No such device")], 0).ledger_cause
        is GapCause.CAMERA_LOST
    )
    assert (
        problem_of_exit([FFmpegLine("fatal", "Unknown encoder 'x'")], 1).ledger_cause
        is GapCause.ENCODER_EXIT
    )


def test_a_source_is_described():
    """Codecs, size, rate, pixel format and duration are read from FFmpeg's description."""
    text = """Input #0, mov,mp4, from 'x':
  Duration: 01:00:06.07, start: 0.000000, bitrate: 381 kb/s
  Stream #0:0[0x1](und): Video: hevc (Main) (hvc1 / 0x31637668), yuv420p(tv, progressive), \
320x180 [SAR 1:1 DAR 16:9], 291 kb/s, 29.97 fps, 30 tbr, 15360 tbn (default)
  Stream #0:1[0x2](und): Audio: opus (Opus / 0x7375704F), 48000 Hz, mono, fltp (default)
At least one output file must be specified
"""
    assert parse_probe(text) == ProbeResult("hevc", 320, 180, 29.97, "yuv420p", "opus", 3606.07, 2)
    raw = "Stream #0:0: Video: rawvideo (YUY2 / 0x32595559), yuyv422, 640x480, 30 fps, 1000k tbn"
    assert parse_probe(raw) == ProbeResult("rawvideo", 640, 480, 30.0, "yuyv422", streams=1)
    assert parse_probe("nothing") == ProbeResult()


def test_versions_and_encoders_are_read():
    """Released, repository and unknown builds; names without the legend."""
    assert parse_version("ffmpeg version 5.1.9-0+deb12u1 Copyright") == (5, 1)
    assert parse_version("ffmpeg version n9.0.2-17-g2a571b6068") == (9, 0)
    assert parse_version("ffmpeg version N-1-gabc\nlibavutil      59. 39.100") == (7, 0)
    assert parse_version("") == (0, 0)
    listing = "Encoders:\n V..... = Video\n ------\n V....D libx264   H.264\n A....D aac   AAC\n"
    assert parse_encoders(listing) == {"libx264", "aac"}


def test_inputs_are_read():
    """Devices that only play are not inputs; one may have two names."""
    listing = "Devices:\n D. = Demuxing supported\n .E = Muxing supported\n --\n DE alsa  ALSA\n"
    listing += "  E sdl,sdl2  SDL2\n D  lavfi  x\n DE video4linux2,v4l2 Video4Linux2\n"
    assert parse_inputs(listing) == {"alsa", "lavfi", "video4linux2", "v4l2"}


def test_only_a_stream_that_is_encoded_is_watched_for_its_rate():
    """Copying needs no frame rate, and guessing it takes a second at every start."""
    quick = "-fpsprobesize 0 -rtsp_transport tcp"
    assert quick in command(RtspSource(URL), copy=True, probe=ProbeResult("h264"))
    assert quick in " ".join(probe_arguments("ffmpeg", RtspSource(URL)))
    assert "-fpsprobesize" not in command(RtspSource(URL))
    assert "-fpsprobesize" not in command(FileSource(Path("x")), copy=True)
