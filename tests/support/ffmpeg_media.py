"""Media that a real FFmpeg encodes, and what it reads from files."""

from __future__ import annotations

import functools
import shutil
import subprocess
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import imageio_ffmpeg
import pytest

from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.segment import FTYP_SIZE, SegmentLayout
from camd.mp4.segment_metadata import SegmentMetadata

PROGRAMS = [
    pytest.param(
        shutil.which("ffmpeg"),
        id="system",
        marks=pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no FFmpeg is installed"),
    ),
    pytest.param(imageio_ffmpeg.get_ffmpeg_exe(), id="bundled"),
]

# Plays a recording without rounding its times to a frame rate: where they are those of arrival, two
# frames may be near each other, which FFmpeg says are out of order then.
DECODED = ("-fps_mode", "passthrough", "-enc_time_base:v", "1/90000", "-f", "null", "-")

_PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30")
_TONE = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
_FRAGMENTS = (
    *("-movflags", "frag_keyframe+empty_moov+default_base_moof+frag_discont"),
    *("-use_editlist", "0", "-avoid_negative_ts", "make_non_negative", "-frag_duration", "500000"),
    *("-flush_packets", "1", "-write_prft", "wallclock", "-f", "mp4", "pipe:1"),
)
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p")
_H265 = ("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-bf", "2", "-g", "30")

ENCODINGS = {
    "h264-aac": (*_PICTURE, *_TONE, *_H264, "-c:a", "aac"),
    "h264-late-audio": (*_PICTURE, "-itsoffset", "1.3", *_TONE, *_H264, "-c:a", "aac"),
    "mjpeg": (*_PICTURE, "-c:v", "mjpeg", "-min_frag_duration", "500000"),
    "h265-opus": (
        *(*_PICTURE, *_TONE, *_H265, "-x265-params", "log-level=error:open-gop=0"),
        *("-c:a", "libopus"),
    ),
    "h265-open": (*_PICTURE, *_TONE, *_H265, "-x265-params", "log-level=error", "-c:a", "aac"),
}

# Key frames at which a decoder does not begin anew, behind which frames come that are shown before.
H264_OPEN = (
    *(*_PICTURE, *_TONE, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"),
    *("-x264-params", "open-gop=1:b-pyramid=normal:b-adapt=0:scenecut=0"),
    *("-g", "30", "-c:a", "aac"),
)

# Pictures that are refreshed in parts, which takes a second: behind a key frame all is right then.
H264_REFRESH = (
    *(*_PICTURE, *_TONE, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"),
    *("-x264-params", "intra-refresh=1:bframes=0", "-g", "30", "-c:a", "aac"),
)

# A picture every 3⅓ seconds.
H264_RARE = (
    *("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=3/10", "-c:v", "libx264", "-bf", "0"),
    *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "2"),
)


def run(program: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run FFmpeg with errors only, and return its result."""
    command = (program, "-hide_banner", "-nostdin" if not given else "-y", "-v", "error")
    return subprocess.run(
        (*command, *arguments), input=given or None, capture_output=True, timeout=300, check=False
    )


@functools.cache
def encode(program: str, name: str, seconds: float = 6) -> bytes:
    """Make a fragmented stream."""
    done = run(program, *_encoding(name), "-t", str(seconds), *_FRAGMENTS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _encoding(name: str) -> tuple[str, ...]:
    more = {"h264-open": H264_OPEN, "h264-refresh": H264_REFRESH, "h264-rare": H264_RARE}
    return more.get(name) or ENCODINGS[name]


@functools.cache
def encode_frames(program: str, name: str, seconds: float = 4, *, sound: bool = True) -> bytes:
    """Make a stream of fragments of one frame, as a capture's FFmpeg writes it."""
    place = _FRAGMENTS.index("-frag_duration")
    encoding = tuple(word for word in _encoding(name) if word != "-min_frag_duration")
    encoding = tuple(word for word in encoding if word != "500000")
    each = (*_FRAGMENTS[:place], "-frag_duration", "1", *_FRAGMENTS[place + 2 :])
    silent = () if sound else ("-an",)
    done = run(program, *encoding, *silent, "-t", str(seconds), *each)
    assert done.returncode == 0, done.stderr
    return done.stdout


def events(stream: bytes) -> tuple[Init, list[Fragment]]:
    """Read a stream as camd does, in pieces."""
    reader = FragmentReader()
    found = [e for at in range(0, len(stream), 65536) for e in reader.feed(stream[at : at + 65536])]
    found += reader.close()
    assert isinstance(found[0], Init)
    return found[0], [event for event in found if isinstance(event, Fragment)]


def as_stream(path: Path) -> bytes:
    """Copy a file into a fragmented stream, as FFmpeg does for a camera."""
    done = run(_BUNDLED, "-i", str(path), "-map", "0", "-c", "copy", *_FRAGMENTS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def identity(number: int) -> SegmentMetadata:
    """Return the metadata of a segment."""
    return SegmentMetadata(
        *("camera0", "usb-1", "5f0c", number, 1_700_000_000_123_456 + number, 12.5, "boot"),
        synchronised=True,
        software="camd",
    )


def grow(init: Init, fragments: list[Fragment], number: int = 0) -> tuple[SegmentLayout, bytes]:
    """Return the bytes of a growing segment with these fragments."""
    index = SegmentLayout(init, fragments[0], identity(number))
    pieces = [index.header]
    for fragment in fragments:
        pieces += index.append(fragment)
    grown = b"".join(pieces)
    assert len(grown) == index.size_bytes
    return index, grown


def seal(index: SegmentLayout, grown: bytes) -> bytes:
    """Seal a growing segment in memory."""
    header = index.seal_header(len(grown))
    return grown[:FTYP_SIZE] + header + grown[FTYP_SIZE + 16 :] + index.final_moov()


def cut(fragments: list[Fragment], seconds: float = 2) -> list[list[Fragment]]:
    """Divide fragments into segments of at least `seconds`, at key frames."""
    segments: list[list[Fragment]] = [[]]
    for fragment in fragments:
        lasted = sum(part.duration_seconds for part in segments[-1])
        if fragment.starts_with_sync and lasted >= seconds - 0.01:
            segments.append([])
        segments[-1].append(fragment)
    return segments


Packet = tuple[int, int, str]


def packets(program: str, path: Path, stream: str) -> tuple[Packet, ...]:
    """Time, size and hash of every packet of `path`, presentation times in microseconds."""
    return tuple(_packets(program, path)[stream])


@functools.cache
def _packets(program: str, path: Path) -> dict[str, list[Packet]]:
    """Look at the first track of each kind; the kinds are v and a."""
    done = run(
        *(program, "-i", str(path), "-map", "0:v:0", "-map", "0:a:0?", "-c", "copy", "-copyts"),
        *("-avoid_negative_ts", "disabled", "-f", "framehash", "-hash", "md5", "-"),
    )
    assert done.returncode == 0, done.stderr
    rows: dict[str, list[Packet]] = {"v": [], "a": []}
    bases: dict[str, float] = {}
    for line in done.stdout.decode().splitlines():
        if line.startswith("#tb "):
            number, _, base = line.removeprefix("#tb ").partition(": ")
            numerator, denominator = base.split("/")
            bases[number] = int(numerator) / int(denominator)
        if not line.startswith("#"):
            number, _, time, _, size, digest, *_ = (part.strip() for part in line.split(","))
            rows["va"[int(number)]].append(
                (round(int(time) * bases[number] * 1e6), int(size), digest)
            )
    return rows


# --- picture and sound at the same moment ---------------------------------------------


PERIOD = 0.5  # seconds from flash to flash, and from beep to beep
FPS = 20
RATE = 48_000
AAC = ("-c:a", "aac", "-b:a", "96k")

_BUNDLED = imageio_ffmpeg.get_ffmpeg_exe()
_LOUD = 6_000  # of 32768
_FLASH = f"color=black:size=160x90:rate={FPS},drawbox=color=white:t=fill:enable='eq(mod(n,10),5)'"
_BEEP = f"aevalsrc='if(between(mod(t,0.5),0.25,0.3),0.8*sin(2*PI*1000*t),0)':sample_rate={RATE}"
_ONE_PIXEL = "format=gray,lut='if(gt(val,128),255,0)',scale=2:2:flags=neighbor"


@attrs.frozen
class Marks:
    """When a file flashes and beeps, in seconds of its own presentation.

    `intervals` are how long each picture but the last is shown. `uneven` is the longest time by
    which a packet of sound misses the end of the one before it; players that do not look at times
    are wrong by as much.
    """

    flashes: tuple[float, ...]
    beeps: tuple[float, ...]
    intervals: tuple[float, ...]
    uneven: float

    @property
    def lags(self) -> list[float]:
        """By how much each beep is later than its flash, in seconds."""
        pairs = ((flash, beep) for flash in self.flashes for beep in self.beeps)
        return [beep - flash for flash, beep in pairs if abs(beep - flash) < PERIOD / 2]


def make_flash_beep(
    path: Path,
    *,
    seconds: float = 4,
    b_frames: int = 0,
    gop: int = FPS,
    sound: Sequence[str] = AAC,
    picture_late: float = 0.0,
    sound_late: float = 0.0,
) -> Path:
    """Make a file that flashes and beeps a quarter of a second into each half; see PERIOD.

    A track may be late by so many seconds.
    """
    done = run(
        *(_BUNDLED, "-itsoffset", f"{picture_late}", "-f", "lavfi", "-i", _FLASH),
        *("-itsoffset", f"{sound_late}", "-f", "lavfi", "-i", _BEEP, "-t", f"{seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-sc_threshold", "0", "-pix_fmt", "yuv420p"),
        *("-bf", f"{b_frames}", "-g", f"{gop}", "-keyint_min", f"{gop}", *sound, str(path)),
    )
    assert done.returncode == 0, done.stderr
    return path


def measure(program: str, path: Path) -> Marks:
    """Decode a file, and measure when it flashes and beeps."""
    pictures, sound = path.with_suffix(".pictures"), path.with_suffix(".pcm")
    done = run(
        *(program, "-y", "-copyts", "-i", str(path)),
        *("-map", "0:v:0", "-vf", _ONE_PIXEL, "-fps_mode", "passthrough"),
        *("-enc_time_base:v", "1/90000", *_HASHES, str(pictures)),
        *("-map", "0:a:0", "-ac", "1", "-ar", f"{RATE}", "-f", "s16le", str(sound)),
        *("-map", "0:a:0", "-c:a", "pcm_s16le", *_HASHES, "-"),
    )
    assert done.returncode == 0, done.stderr
    seen = list(_rows(pictures.read_text()))
    shades = [shade for _, _, shade in seen]
    black = max(set(shades), key=shades.count)
    flashes = [at for at, _, shade in seen if shade != black]
    heard = list(_rows(done.stdout.decode()))
    gaps = [abs(after[0] - at - length) for (at, length, _), after in pairwise(heard)]
    beeps = [heard[0][0] + at for at in _onsets(sound.read_bytes())]
    intervals = [after[0] - at for (at, *_), after in pairwise(seen)]
    return Marks(tuple(flashes), tuple(beeps), tuple(intervals), max(gaps))


_HASHES = ("-avoid_negative_ts", "disabled", "-f", "framehash", "-hash", "md5")


def _rows(text: str) -> Iterator[tuple[float, float, str]]:
    """Yield the time, the length and the hash of each decoded frame."""
    for line in text.splitlines():
        if line.startswith("#tb 0:"):
            numerator, denominator = map(int, line.split(":")[1].split("/"))
        elif not line.startswith("#"):
            _, _, time, length, _, digest, *_ = (part.strip() for part in line.split(","))
            yield int(time) * numerator / denominator, int(length) * numerator / denominator, digest


def _onsets(pcm: bytes) -> Iterator[float]:
    """Yield when it becomes loud after a silence, in seconds from the first sample."""
    silent_since = -RATE
    for index, value in enumerate(array("h", pcm)):
        if abs(value) > _LOUD:
            if index - silent_since > RATE // 10:
                yield index / RATE
            silent_since = index
