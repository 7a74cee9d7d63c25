"""The FFmpegs of this machine, what they encode, and segments cut from it."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.segment import FTYP_SIZE, SegmentIndex
from camd.mp4.segment_metadata import SegmentMetadata

PROGRAMS = [
    pytest.param(
        shutil.which("ffmpeg"),
        id="system",
        marks=pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no FFmpeg is installed"),
    ),
    pytest.param(imageio_ffmpeg.get_ffmpeg_exe(), id="bundled"),
]

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


def run(program: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run FFmpeg quietly and return what it said."""
    command = (program, "-hide_banner", "-nostdin" if not given else "-y", "-v", "error")
    return subprocess.run(
        (*command, *arguments), input=given or None, capture_output=True, timeout=60, check=False
    )


@functools.cache
def encode(program: str, name: str, seconds: float = 6) -> bytes:
    """Make a fragmented stream."""
    done = run(program, *ENCODINGS[name], "-t", str(seconds), *_FRAGMENTS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def events(stream: bytes) -> tuple[Init, list[Fragment]]:
    """Read a stream as camd does, in pieces."""
    reader = FragmentReader()
    found = [e for at in range(0, len(stream), 65536) for e in reader.feed(stream[at : at + 65536])]
    found += reader.close()
    assert isinstance(found[0], Init)
    return found[0], [event for event in found if isinstance(event, Fragment)]


def identity(number: int) -> SegmentMetadata:
    """Make up who recorded a segment."""
    return SegmentMetadata(
        *("camera0", "usb-1", "5f0c", number, 1_700_000_000_123_456 + number, 12.5, "boot"),
        synchronised=True,
        software="camd",
    )


def grow(init: Init, fragments: list[Fragment], number: int = 0) -> tuple[SegmentIndex, bytes]:
    """Lay fragments out as a growing segment."""
    index = SegmentIndex(init, fragments[0], identity(number))
    pieces = [index.header]
    for fragment in fragments:
        pieces += index.append(fragment)
    grown = b"".join(pieces)
    assert len(grown) == index.size_bytes
    return index, grown


def seal(index: SegmentIndex, grown: bytes) -> bytes:
    """Do to bytes what sealing does to a file."""
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
