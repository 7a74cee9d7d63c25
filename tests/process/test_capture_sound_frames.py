"""Beside sound, too, FFmpeg writes each picture as a fragment, and the times are the source's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import imageio_ffmpeg
import pytest
from support import ffmpeg_media as ffmpeg
from support.media_streams import joined

from camd.ffmpeg.text.args import CaptureOptions, capture_arguments, probe_arguments
from camd.ffmpeg.text.encoder_table import SOFTWARE, EncoderSpec
from camd.ffmpeg.text.output import parse_probe, parse_version
from camd.mp4.fragments import Fragment, Init
from camd.mp4.frames.frame_fragments import FrameFragmentReader
from camd.mp4.restamp import with_moved_samples_put_back
from camd.sources import FileSource, Source, SyntheticSource

BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
TONE = "sine=frequency=440:sample_rate=48000"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p")
MOTION_JPEG = ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
PAUSES = ("-af", "aselect='not(between(t,2,3)+between(t,4,4.1))'")
LATE_HEADER = EncoderSpec(
    "libx264",
    "h264",
    (*SOFTWARE["h264"].options, "-flags:v", "-global_header"),
    needs_bitrate=False,
    late_header=True,
)


# Twenty pictures at 30 a second, then twenty at 15.
SLOWER = "if(lt(mod(N,40),20),mod(N,40),mod(N,40)*2-20)/30"


@attrs.frozen
class Clip:
    """How a clip with sound is made: its name, when pictures come, its codecs, when sound is."""

    name: str
    pictures: str = "setpts=N/30/TB"
    video: tuple[str, ...] = H264
    sound: tuple[str, ...] = ("-c:a", "aac")
    late: float = 0.0
    seconds: float = 5.0  # of sound

    def make(self, folder: Path) -> Path:
        """Make it once: five seconds."""
        path = folder / self.name
        if path.exists():
            return path
        picture = f"testsrc2=size=320x180:rate=30,settb=1/90000,{self.pictures}"
        done = ffmpeg.run(
            *(BUNDLED, "-f", "lavfi", "-i", picture),
            *("-itsoffset", f"{self.late}", "-f", "lavfi", "-t", f"{self.seconds}", "-i", TONE),
            *("-t", "5", "-fps_mode", "passthrough", "-enc_time_base:v", "1/90000"),
            *(*self.video, *self.sound, str(path)),
        )
        assert done.returncode == 0, done.stderr
        return path


CLIPS = {
    "b-frames": Clip("clip.mp4"),
    "matroska": Clip("clip.mkv"),
    "dropped frames": Clip("clip.mp4", "setpts=N/30/TB,select='mod(n,7)*not(between(n,40,55))'"),
    "jittering": Clip("clip.mp4", "setpts='(N/30+0.004*mod(N,2)+0.001*mod(N,5))/TB'"),
    "rate changes": Clip("clip.mp4", f"setpts='(floor(N/40)*2+{SLOWER})/TB'"),
    "one a second": Clip("clip.mp4", "setpts=N/TB"),
    "sound begins late": Clip("clip.mp4", late=2.2),
    "sound ends early": Clip("clip.mp4", seconds=1.7),
    "motion jpeg": Clip("clip.avi", video=MOTION_JPEG, sound=("-c:a", "pcm_s16le")),
    "sound pauses": Clip("clip.mkv", sound=(*PAUSES, "-c:a", "aac")),
    "telephone": Clip("clip.mkv", sound=("-ar", "8000", "-ac", "1", "-c:a", "pcm_mulaw")),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make each clip once."""
    folder = tmp_path_factory.mktemp("clips")

    def made(kind: str) -> Path:
        (folder / kind).mkdir(exist_ok=True)
        return CLIPS[kind].make(folder / kind)

    return made


@pytest.fixture(params=ffmpeg.PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """One of the FFmpegs of this machine."""
    path: str = request.param
    return path


def ask(command: Sequence[str]) -> str:
    """Run a command and return what it says."""
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    return done.stdout.decode() + done.stderr.decode()


def captured(
    program: str, source: Source, *, copy: bool, encoder: EncoderSpec = SOFTWARE["h264"]
) -> tuple[Init, list[Fragment]]:
    """Capture a source to its end; return its stream as the hub gets it, one by one."""
    version = parse_version(ask((program, "-version")))
    options = CaptureOptions(program, source, version, copy=copy, encoder=encoder)
    if source.is_probed:
        said = ask(probe_arguments(program, source, version))
        options = attrs.evolve(options, probe=parse_probe(said))
    else:
        options = attrs.evolve(options, output_options=("-t", "3"))
    done = subprocess.run(capture_arguments(options), capture_output=True, timeout=300, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "out of range" not in said
    reader = FrameFragmentReader()
    init, *fragments = [*reader.feed(done.stdout), *reader.close()]
    assert isinstance(init, Init)
    assert all(isinstance(each, Fragment) for each in fragments)
    found = [with_moved_samples_put_back(each) for each in fragments if isinstance(each, Fragment)]
    assert reader.compared > len(found) - 20
    assert found == fragments  # FFmpeg has moved no first sample
    return init, found


def check_pictures(fragments: list[Fragment]) -> None:
    """Check that pictures came one by one, each lasting until the next one."""
    runs = [each.video for each in fragments if each.video is not None]
    assert {run.count for run in runs} == {1}
    ends = [run.decode_time + run.duration for run in runs]
    assert ends[:-1] == [run.decode_time for run in runs[1:]]
    assert min(run.duration / run.timescale for run in runs) > 0.005


def write(path: Path, init: Init, fragments: list[Fragment]) -> Path:
    """Write a stream into a file."""
    pieces = [piece for each in fragments for piece in (each.moof, each.mdat)]
    path.write_bytes(b"".join((init.ftyp, init.moov, *pieces)))
    return path


def relative(packets: Sequence[ffmpeg.Packet]) -> list[tuple[int, int, str]]:
    """Return packets with their times since the earliest one."""
    first = min(time for time, *_ in packets)
    return [(time - first, size, digest) for time, size, digest in packets]


@pytest.mark.parametrize("kind", CLIPS)
def test_copied_pictures_beside_sound_have_the_times_of_the_source(
    program: str, kind: str, clips: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each picture is a fragment; joined for files, all packets are those of the source."""
    path = clips(kind)
    init, fragments = captured(program, FileSource(path, loop=False, speed=50), copy=True)
    check_pictures(fragments)
    assert init.audio is not None
    found = write(tmp_path / "joined.mp4", init, joined(init, fragments))
    pictures = ffmpeg.packets(program, path, "v")
    again = ffmpeg.packets(program, found, "v")
    assert [each[1:] for each in again] == [each[1:] for each in pictures]
    moved = [a[0] - b[0] for a, b in zip(relative(again), relative(pictures), strict=True)]
    assert max(map(abs, moved)) <= 40  # microseconds: a tick of another clock
    if init.audio.codec == "mp4a" and path.suffix in (".mp4", ".mkv") and kind != "telephone":
        heard, sound = ffmpeg.packets(program, found, "a"), ffmpeg.packets(program, path, "a")
        assert [each[1:] for each in heard] == [each[1:] for each in sound]
        offset = again[0][0] - pictures[0][0]
        late = [a[0] - b[0] - offset for a, b in zip(heard, sound, strict=True)]
        assert max(map(abs, late)) <= (40 if path.suffix == ".mp4" else 1000)  # its clock


@pytest.mark.parametrize(
    ("kind", "encoder"),
    [
        ("jittering", SOFTWARE["h264"]),
        ("rate changes", SOFTWARE["mjpeg"]),
        ("one a second", SOFTWARE["h264"]),
        ("sound ends early", LATE_HEADER),
    ],
    ids=lambda each: each if isinstance(each, str) else each.codec,
)
def test_encoded_pictures_beside_sound_keep_their_intervals(
    program: str, kind: str, encoder: EncoderSpec, clips: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each picture is a fragment, and lasts as long as in the source."""
    path = clips(kind)
    source = FileSource(path, loop=False, speed=50)
    init, fragments = captured(program, source, copy=False, encoder=encoder)
    check_pictures(fragments)
    found = write(tmp_path / "joined.mp4", init, joined(init, fragments))
    shown = sorted(time for time, *_ in ffmpeg.packets(program, path, "v"))
    again = [time for time, *_ in ffmpeg.packets(program, found, "v")]
    assert len(again) == len(shown)
    moved = [(a - again[0]) - (b - shown[0]) for a, b in zip(again, shown, strict=True)]
    assert max(map(abs, moved)) <= 40


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_synthetic_pictures_come_one_by_one_beside_their_sound(program: str, codec: str) -> None:
    """The sound between two pictures is in one fragment with one of them."""
    encoder = SOFTWARE[codec]
    init, fragments = captured(
        program, SyntheticSource(320, 180, 30.0, audio=True), copy=False, encoder=encoder
    )
    check_pictures(fragments)
    assert init.audio is not None
    pictures = sum(each.frames for each in fragments)
    assert pictures == 90
    assert len(fragments) < 1.1 * pictures
    packets = sum(run.count for each in fragments for run in each.runs) - pictures
    assert packets > 135
