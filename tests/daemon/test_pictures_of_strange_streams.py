"""Stills and strips of recordings whose key frames begin nothing anew, whose pixels are not square,
or whose pictures are turned."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from running_daemon import FFMPEG, Daemon, NewDaemon, small_camera
from stored_footage import FootageFolder

from camd.snapshots.rules.pictures import picture_size

START = datetime(2026, 5, 4, 12, tzinfo=UTC)
RATE, GROUP, SECONDS = 10, 10, 6
BRIGHTER = 3  # each picture than the one before, of 219
OPEN = {
    "h264": "-c:v libx264 -x264-params open-gop=1:b-pyramid=normal:scenecut=0:b-adapt=0",
    "h265": "-c:v libx265 -tag:v hvc1 -x265-params log-level=error:open-gop=1:scenecut=0",
}
WIDE = ("-vf", "setsar=2/1")
NARROW = ("-vf", "setsar=1/2")


def encode(path: Path, *options: str, size: str = "64x48") -> Path:
    """Make a clip of flat pictures, each brighter than the one before."""
    picture = f"color=size={size}:rate={RATE},geq=lum='16+{BRIGHTER}*N':cb=128:cr=128"
    run("-f", "lavfi", "-i", picture, "-t", str(SECONDS), "-pix_fmt", "yuv420p", *options, path)
    return path


def run(*arguments: object, given: bytes | None = None) -> bytes:
    """Run FFmpeg, and return its output."""
    command = [FFMPEG, "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=300).stdout


def numbers_in(picture: bytes, count: int = 1) -> list[int]:
    """Read the numbers of the pictures that stand side by side in a JPEG."""
    shown = ("-vf", f"scale={count}:1:flags=area:out_range=full", "-pix_fmt", "gray")
    rows = run("-f", "mjpeg", "-i", "pipe:0", *shown, "-f", "rawvideo", "-", given=picture)
    return [round(value * 219 / 255 / BRIGHTER) for value in rows]


async def serve(new_daemon: NewDaemon, clip: Path) -> Daemon:
    """Run a daemon that finds the clip among its recordings."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    FootageFolder(daemon.recordings).put(START, clip, SECONDS)
    await daemon.start()
    return daemon


def time(seconds: float) -> str:
    """Write an instant so many seconds after the first picture."""
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


async def strip(daemon: Daemon, count: int, width: int) -> tuple[bytes, list[float]]:
    """Return a strip of the clip, and the times of its tiles in seconds."""
    asked = f"from={time(0)}&to={time(SECONDS)}&count={count}&width={width}"
    answer = await daemon.get(f"/play/camera0/strip.jpg?{asked}")
    assert answer.status == 200, answer.body
    times = map(datetime.fromisoformat, answer.headers["x-tile-times"].split(","))
    return answer.body, [(each - START).total_seconds() for each in times]


@pytest.mark.parametrize("codec", OPEN)
async def test_pictures_of_open_groups(new_daemon: NewDaemon, tmp_path: Path, codec: str) -> None:
    """A strip has each key frame in its place, and every picture can be had, those as well that
    are shown before their key frame."""
    options = (*OPEN[codec].split(), "-g", str(GROUP), "-bf", "3", "-preset", "veryfast")
    daemon = await serve(new_daemon, encode(tmp_path / "clip.mp4", *options))
    with trio.fail_after(300):
        picture, times = await strip(daemon, SECONDS, 32)
        numbers = numbers_in(picture, len(times))
        assert len(numbers) == SECONDS
        for number, at in zip(numbers, times, strict=True):
            assert number == pytest.approx(at * RATE, abs=1), (numbers, times)
        for number in range(GROUP - 4, 2 * GROUP + 4):
            still = await daemon.get(f"/still/camera0.jpg?at={time((number + 0.5) / RATE)}")
            assert still.status == 200, (number, json.loads(still.body))
            assert numbers_in(still.body) == [number]


@pytest.mark.parametrize(
    ("size", "options", "turned", "shown"),
    [
        ("64x96", WIDE, False, (128, 96)),
        ("64x48", NARROW, False, (64, 96)),
        ("64x48", (), True, (48, 64)),
        ("64x96", WIDE, True, (96, 128)),
    ],
    ids=["wide", "narrow", "turned", "wide-turned"],
)
async def test_pictures_have_the_shape_in_which_players_show_them(
    new_daemon: NewDaemon,
    tmp_path: Path,
    size: str,
    options: tuple[str, ...],
    turned: bool,
    shown: tuple[int, int],
) -> None:
    """Browsers ignore what a JPEG says of its pixels: they are square in stills and strips, which
    have no border either."""
    clip = encode(tmp_path / "clip.mp4", *options, "-c:v", "libx264", "-g", str(GROUP), size=size)
    if turned:
        clip = turn(clip, tmp_path / "turned.mp4")
    daemon = await serve(new_daemon, clip)
    still = await daemon.get(f"/still/camera0.jpg?at={time(5.95)}")
    assert (still.status, picture_size(still.body)) == (200, shown)
    small = await daemon.get(f"/still/camera0.jpg?at={time(5.95)}&width=32")
    assert picture_size(small.body) == (32, round(32 * shown[1] / shown[0]))
    picture, times = await strip(daemon, 1, 48)
    down = round(48 * shown[1] / shown[0])
    assert picture_size(picture) == (48 * len(times), down - down % 2)
    assert len(times) == 1
    edges = run(
        *("-f", "mjpeg", "-i", "pipe:0", "-vf", "scale=out_range=full,format=gray"),
        *("-f", "rawvideo", "-"),
        given=picture,
    )
    assert max(edges) - min(edges) < 8


def turn(clip: Path, path: Path) -> Path:
    """Copy a clip, and let its track header say that pictures are turned by a quarter."""
    run("-i", clip, "-c", "copy", path)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    for number, value in enumerate((0, one, 0, -one, 0)):
        data[at + 4 * number : at + 4 * number + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path
