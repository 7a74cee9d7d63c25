"""A camera changes its picture size: each file has one header, and is playable alone."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import split

import pytest
import trio
from real_camera import REQUEST, check_receipt, open_real_camera
from support import ffmpeg_media as ffmpeg

from camd.sources import FileSource

FPS = 10
SIZES = ((160, 90), (320, 180), (160, 90))
CODECS = {
    "h264": "-c:v libx264 -bf 2 -x264-params repeat-headers=1",
    "h265": "-c:v libx265 -x265-params repeat-headers=1:log-level=error",
}


@pytest.fixture(params=ffmpeg.PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    """One of the FFmpegs of this machine."""
    path: str = request.param
    return path


def clip(folder: Path, codec: str) -> Path:
    """Make a transport stream of two seconds in each size, a key frame every second."""
    bundled, parts = str(ffmpeg.PROGRAMS[1].values[0]), []
    for number, (width, height) in enumerate(SIZES):
        parts.append(folder / f"part{number}.ts")
        done = ffmpeg.run(
            bundled,
            *split(f"-f lavfi -i testsrc2=size={width}x{height}:rate={FPS} -t 2"),
            *split(f"{CODECS[codec]} -preset ultrafast -g {FPS} -pix_fmt yuv420p"),
            *split(f"-output_ts_offset {2 * number}"),
            str(parts[-1]),
        )
        assert done.returncode == 0, done.stderr
    path = folder / "clip.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def shown(program: str, path: Path) -> list[str]:
    """Decode a file without an error, and return the size of each picture."""
    done = ffmpeg.run(program, "-xerror", "-i", str(path), *ffmpeg.DECODED)
    assert (done.returncode, done.stderr) == (0, b"")
    told = ffmpeg.run(program, "-v", "info", "-i", str(path), "-vf", "showinfo", "-f", "null", "-")
    return re.findall(r" s:(\d+x\d+) ", told.stderr.decode())


@pytest.mark.parametrize("codec", CODECS)
async def test_another_picture_size_begins_another_file(
    program: str, codec: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every frame is in a file of its own size, and the receipt says that size."""
    source = FileSource(clip(tmp_path_factory.mktemp("clip"), codec), loop=False, speed=8)
    with trio.fail_after(300):
        async with open_real_camera(program, tmp_path, source) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.ended()
    segments = session.segments
    assert [(each.width, each.height, each.frames) for each in segments] == [
        (width, height, 2 * FPS) for width, height in SIZES
    ]
    assert session.gaps == ()
    for segment, path in zip(segments, check_receipt(tmp_path, session), strict=True):
        assert shown(program, path) == [f"{segment.width}x{segment.height}"] * segment.frames
