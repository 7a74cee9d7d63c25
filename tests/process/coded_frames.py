"""Clips whose frames carry their number as a bar code, and how a picture's number is read."""

from __future__ import annotations

from pathlib import Path

from support import ffmpeg_media as ffmpeg

FPS = 30
BITS = 16
WIDTH, HEIGHT = 256, 64

_CODE = f"geq=lum='16+219*mod(trunc(N/pow(2,trunc(X/{WIDTH // BITS}))),2)':cb=128:cr=128"
ENCODERS = {
    "h264": ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", str(FPS)),
    "open": (
        *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", str(FPS)),
        *("-x264-params", "open-gop=1:scenecut=0"),
    ),
    "h265": (
        *("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-g", str(FPS)),
        *("-x265-params", "log-level=error:open-gop=0"),
    ),
    "mjpeg": ("-c:v", "mjpeg", "-q:v", "2"),
}


def make_coded_clip(
    program: str, path: Path, codec: str, seconds: int, missing: tuple[int, int] = (-1, -1)
) -> None:
    """Encode a clip; its first frame has the number 0. `missing`: the first and the last number of
    frames that it lacks.
    """
    some = f"select='not(between(n,{missing[0]},{missing[1]}))'"
    done = ffmpeg.run(
        *(program, "-f", "lavfi", "-i", f"color=size={WIDTH}x{HEIGHT}:rate={FPS},{_CODE},{some}"),
        *(
            "-fps_mode",
            "passthrough",
            "-t",
            str(seconds),
            "-pix_fmt",
            "yuv420p",
            *ENCODERS[codec],
            "-y",
            str(path),
        ),
    )
    assert done.returncode == 0, done.stderr


def number_in(program: str, picture: bytes) -> int:
    """Read the number in a picture."""
    done = ffmpeg.run(
        *(program, "-f", "image2pipe", "-i", "pipe:0", "-vf", f"scale={WIDTH}:{HEIGHT}"),
        *("-pix_fmt", "gray", "-f", "rawvideo", "-"),
        given=picture,
    )
    assert len(done.stdout) == WIDTH * HEIGHT, done.stderr
    row = done.stdout[WIDTH * (HEIGHT // 2) :]
    bar = WIDTH // BITS
    return sum((row[bit * bar + bar // 2] > 128) << bit for bit in range(BITS))
