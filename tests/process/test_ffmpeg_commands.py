"""The commands that camd builds work in every FFmpeg of this machine."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from support import ffmpeg_media as ffmpeg

from camd.ffmpeg.text.args import (
    CaptureOptions,
    capture_arguments,
    probe_arguments,
    remux_arguments,
)
from camd.ffmpeg.text.encoder_table import SOFTWARE, VideoParameters, encoding_arguments
from camd.ffmpeg.text.output import (
    ProbeResult,
    parse_encoders,
    parse_line,
    parse_probe,
    parse_version,
    problem_of_exit,
)
from camd.mp4.frames.frame_fragments import FrameFragmentReader
from camd.sources import FileSource, RtspSource, SyntheticSource, V4l2Source

SMALL = SyntheticSource(320, 180, 30.0, audio=True)


@pytest.fixture(params=ffmpeg.PROGRAMS, scope="module")
def program(request):
    """One of the FFmpegs of this machine."""
    return request.param


def ask(*command: str) -> str:
    """Run a command and return its output."""
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    return done.stdout.decode() + done.stderr.decode()


def capture(program, source, *, codec="h264", **values):
    """Run a capture's command for a second and read its stream."""
    options = CaptureOptions(
        program,
        source,
        parse_version(ask(program, "-version")),
        fragment=timedelta(milliseconds=200),
        encoder=SOFTWARE[codec],
        **{"output_options": ("-t", "1.2"), **values},
    )
    done = subprocess.run(capture_arguments(options), capture_output=True, timeout=300, check=False)
    said = [parse_line(line) for line in done.stderr.decode().splitlines()]
    return done, said


@pytest.mark.parametrize(
    ("codec", "entry"), [("h264", "avc1"), ("h265", "hvc1"), ("mjpeg", "jpeg")]
)
def test_a_test_source_is_captured_with_wall_times(program, codec, entry):
    """Every codec arrives as short fragments, each with the wall time at which it was written."""
    done, said = capture(program, SMALL, codec=codec, bitrate=500_000)
    assert not [message for message in said if message.severe]
    init, fragments = ffmpeg.events(done.stdout)
    assert init.video.codec == entry
    assert init.audio is not None
    assert sum(fragment.frames for fragment in fragments) == 36
    assert max(fragment.duration_seconds for fragment in fragments) < 0.5
    written = [f.wall_micros / 1e6 + f.duration_seconds for f in fragments if f.wall_micros]
    assert len(written) >= 4
    assert written == pytest.approx(sorted(written), abs=0.2)


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_each_frame_is_a_fragment_of_its_own(program, codec):
    """Without sound it is written when the next one has come, and says when that was."""
    done, said = capture(program, SyntheticSource(320, 180, 30.0), codec=codec, bitrate=500_000)
    assert not [message for message in said if message.severe]
    reader = FrameFragmentReader()
    _, *fragments = reader.feed(done.stdout)
    assert [fragment.frames for fragment in fragments] == [1] * 36
    assert all(fragment.wall_micros for fragment in fragments)
    begins = [round(fragment.start_seconds * 30) for fragment in fragments]
    assert begins == list(range(begins[0], begins[0] + 36))
    assert reader.compared >= 32


def test_a_stream_ends_with_its_last_frame(program):
    """No list of all fragments follows: FFmpeg would keep it in memory while it captures."""
    done, _ = capture(program, SyntheticSource(320, 180, 30.0), bitrate=500_000)
    kinds, at = [], 0
    while at < len(done.stdout):
        length = int.from_bytes(done.stdout[at : at + 4], "big")
        kinds.append(done.stdout[at + 4 : at + 8])
        at += length
    assert at == len(done.stdout)
    assert kinds.count(b"moof") == 36
    assert kinds[-2:] == [b"moof", b"mdat"]


@pytest.mark.parametrize("copy", [True, False])
def test_a_file_with_sound_is_looped(program, copy, tmp_path):
    """Pictures of a shorter file are repeated with increasing times, one by one."""
    path = tmp_path / "short.mp4"
    path.write_bytes(ffmpeg.encode(program, "h264-aac", 1))
    probe = parse_probe(ask(*probe_arguments(program, FileSource(path))))
    assert (probe.video_codec, probe.width, probe.height, probe.fps) == ("h264", 320, 180, 30.0)
    assert (probe.audio_codec, probe.streams) == ("aac", 2)
    source = FileSource(path, speed=4.0)
    done, _ = capture(program, source, copy=copy, probe=probe, output_options=("-t", "2.5"))
    _, fragments = ffmpeg.events(done.stdout)
    assert max(fragment.frames for fragment in fragments) == 1
    assert sum(fragment.frames for fragment in fragments) >= 70
    assert fragments[-1].end_seconds == pytest.approx(2.5, abs=0.2)


@pytest.mark.parametrize("live", [False, True])
def test_live_pictures_keep_their_times_when_they_are_encoded(program, live):
    """Uneven pictures, slower than the nominal rate, keep their times."""
    uneven = "testsrc2=size=320x180:rate=30,settb=1/90000,setpts='(N*0.1+0.013*mod(N,3))/TB'"
    done = ffmpeg.run(
        *(program, "-f", "lavfi", "-i", uneven, "-frames:v", "12", "-fps_mode", "passthrough"),
        *encoding_arguments(SOFTWARE["h264"], VideoParameters(320, 180, 30.0, live=live)),
        *("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"),
    )
    _, fragments = ffmpeg.events(done.stdout)
    ticks = [ticks / f.timescale for f in fragments for ticks in f.video.durations]
    true = [0.113, 0.113, 0.074] * 3 + [0.113, 0.113]
    assert (ticks[:11] == pytest.approx(true, abs=0.001)) == live


def damaged(program, path):
    """Write pictures as a bad cable delivers them; return how many are still recognisable."""
    good = ffmpeg.run(
        *(program, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "2"),
        *("-c:v", "mjpeg", "-f", "mjpeg", "pipe:1"),
    ).stdout
    pictures = [b"\xff\xd8" + rest for rest in good.split(b"\xff\xd8")[1:]]
    for number, picture in enumerate(pictures):
        match number % 5:
            case 1:
                pictures[number] = picture[: len(picture) // 3]
            case 2:
                pictures[number] = picture[:600] + bytes(400) + picture[1000:]
            case 3:
                pictures[number] = picture[:2] + bytes(300) + picture[302:]
    path.write_bytes(b"".join(pictures))
    return len(pictures)


@pytest.mark.parametrize("copy", [False, True])
def test_damaged_pictures_do_not_end_a_capture(program, tmp_path, copy):
    """Three in five are cut, overwritten or without a header: the others are all there."""
    path = tmp_path / "bad.mjpeg"
    count = damaged(program, path)
    probe = ProbeResult("mjpeg")
    source = FileSource(path, loop=False, speed=10.0)
    done, said = capture(program, source, copy=copy, probe=probe, output_options=())
    init, fragments = ffmpeg.events(done.stdout)
    assert done.returncode == 0
    assert init.video.codec == ("jpeg" if copy else "avc1")
    assert bool([message for message in said if message.severe]) != copy
    frames = sum(fragment.frames for fragment in fragments)
    assert count * 2 / 5 <= frames <= count
    assert fragments[-1].end_seconds == pytest.approx(frames / 25, rel=0.3)


def unsteady(program, path):
    """Write twenty pictures of a camera that is early once and late once."""
    jitter = "settb=1/1000000,setpts=PTS+if(eq(N\\,5)\\,-80000\\,if(eq(N\\,9)\\,37000))"
    mode = "-fps_mode" if parse_version(ask(program, "-version")) >= (5, 1) else "-vsync"
    ffmpeg.run(
        *(program, "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=10,{jitter}", "-t", "2"),
        *("-c:v", "mjpeg", "-enc_time_base", "1:90000", mode, "passthrough", "-y", str(path)),
    )


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_encoded_pictures_keep_the_times_at_which_they_were_taken(program, tmp_path, codec):
    """Two pictures within one period of the nominal rate both stay, with their times."""
    path = tmp_path / "unsteady.mkv"
    unsteady(program, path)
    source = FileSource(path, loop=False, speed=10.0)
    done, said = capture(program, source, codec=codec, output_options=())
    assert not [message for message in said if message.severe]
    _, fragments = ffmpeg.events(done.stdout)
    assert sum(fragment.frames for fragment in fragments) == 20
    clip = tmp_path / "film.mp4"
    clip.write_bytes(done.stdout)
    times = sorted(packet[0] for packet in ffmpeg.packets(program, clip, "v"))
    assert times[5] - times[4] == pytest.approx(20_000, abs=2000)
    assert times[9] - times[8] == pytest.approx(137_000, abs=2000)


def test_a_sealed_segment_becomes_matroska(program, tmp_path):
    """The remuxed file has every packet, and an existing one is not overwritten."""
    source, target = tmp_path / "a.mp4", tmp_path / "a.mkv"
    init, fragments = ffmpeg.events(ffmpeg.encode(program, "h264-aac", 1))
    source.write_bytes(ffmpeg.seal(*ffmpeg.grow(init, fragments)))
    command = remux_arguments(program, source, target)
    ask(*command)
    found = parse_probe(ask(*probe_arguments(program, FileSource(target))))
    assert (found.video_codec, found.audio_codec) == ("h264", "aac")
    original = [packet[1:] for packet in ffmpeg.packets(program, source, "a")]
    assert [packet[1:] for packet in ffmpeg.packets(program, target, "a")] == original
    before = target.read_bytes()
    ask(*command)
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("source", "settings", "cause"),
    [
        (FileSource(Path("/nonexistent/file.mp4")), {}, "not_found"),
        (FileSource(Path(__file__)), {}, "unreadable"),
        (RtspSource("rtsp://u:secret@127.0.0.1:9/x"), {}, "connection_refused"),
        (V4l2Source(Path("/nonexistent/video")), {}, "not_found"),
        (V4l2Source(Path("/dev/null")), {}, "unsupported_format"),
        (SMALL, {"output_options": ("-nosuch", "1")}, "bad_option"),
        (SMALL, {"output_options": ("-c:v", "libnope")}, "no_encoder"),
    ],
)
def test_failures_are_recognised(program, source, settings, cause):
    """The messages of each version about a failure have the same kind."""
    done, said = capture(program, source, **settings)
    assert done.returncode != 0
    problem = problem_of_exit(said, done.returncode)
    assert problem.kind == cause
    assert "secret" not in problem.message


def test_the_version_and_the_encoders_are_known(program):
    """Both programs name a version that camd supports, and the encoders it uses."""
    assert parse_version(ask(program, "-version")) >= (5, 1)
    assert {"libx264", "mjpeg", "aac"} <= parse_encoders(ask(program, "-encoders"))
