"""A camera whose frames carry their number in the picture, and what of them was recorded."""

from __future__ import annotations

import subprocess
from bisect import bisect_right
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import trio
from running_daemon import FFMPEG, Daemon, NewDaemon, listening

RATE, SECONDS, BITS, BAR = 30, 30, 10, 32

# JavaScript: the number in the picture that a video element shows.
NUMBER_IN = f"""(video) => {{
  const canvas = document.createElement("canvas");
  Object.assign(canvas, {{ width: 320, height: 180 }});
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 320, 180);
  const row = context.getImageData(0, {BAR // 2}, 320, 1).data;
  let number = 0;
  for (let bit = 0; bit < {BITS}; bit++)
    if (row[4 * (bit * {BAR} + {BAR // 2})] > 128) number |= 1 << bit;
  return number;
}}"""


def make_numbered_clip(path: Path, b_frames: int) -> None:
    """Encode a clip whose upper edge holds each frame's number, from 1 on, in bars."""
    bars = f"geq=lum='16+219*mod(trunc((N+1)/pow(2,trunc(X/{BAR}))),2)':cb=128:cr=128"
    graph = (
        f"testsrc2=size=320x180:rate={RATE}[a];"
        f"color=size={BITS * BAR}x{BAR}:rate={RATE},format=yuv420p,{bars}[b];"
        "[a][b]overlay=0:0:shortest=1"
    )
    command = [FFMPEG, "-v", "error", "-filter_complex", graph, "-t", str(SECONDS)]
    command += [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        str(b_frames),
        "-g",
        "15",
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run([*command, "-y", str(path)], check=True, timeout=60)


def frames_of(path: Path) -> list[tuple[float, int]]:
    """Decode a file: when each frame is shown, in seconds, and the number in it."""
    bars, times = path.with_suffix(".bars"), path.with_suffix(".times")
    command = [FFMPEG, "-y", "-v", "error", "-copyts", "-i", f"file:{path}"]
    crop = ["-vf", f"crop={BITS * BAR}:2:0:{BAR // 2}", "-pix_fmt", "gray"]
    exact = ["-fps_mode", "passthrough", "-enc_time_base", "1/90000"]
    command += [*crop, *exact, "-f", "rawvideo", str(bars)]
    command += [*crop, *exact, "-f", "framecrc", str(times)]
    subprocess.run(command, check=True, timeout=60)
    data, width = bars.read_bytes(), BITS * BAR
    numbers = [
        sum((data[at + bit * BAR + BAR // 2] > 128) << bit for bit in range(BITS))
        for at in range(0, len(data), 2 * width)
    ]
    lines = [line for line in times.read_text().splitlines() if not line.startswith("#")]
    bars.unlink()
    times.unlink()
    shown = [int(line.split(",")[2]) / 90_000 for line in lines]
    return list(zip(shown, numbers, strict=True))


@attrs.frozen
class Footage:
    """All frames of some files: when each was taken, in ms, and its number."""

    times: list[float]
    numbers: list[int]

    @classmethod
    def of(cls, daemon: Daemon, files: list[dict[str, Any]]) -> Footage:
        """Decode the files of receipts; where two overlap, the later one counts."""
        frames: list[tuple[float, int]] = []
        for file in files:
            start = datetime.fromisoformat(file["start_time"]).timestamp() * 1000
            some = frames_of(daemon.recordings / file["filename"])
            frames = [frame for frame in frames if frame[0] < start]
            frames += [(start + shown * 1000, number) for shown, number in some]
        return cls([time for time, _ in frames], [number for _, number in frames])

    def number_at(self, wall: float) -> int:
        """Return the number of the frame that was taken last at an instant."""
        return self.numbers[bisect_right(self.times, wall) - 1]

    def middle(self, share: float) -> float:
        """Return an instant in the middle of a frame, at a share of all frames."""
        return self.times[int(share * (len(self.times) - 1))] + 500 / RATE


async def start(new_daemon: NewDaemon, folder: Path, b_frames: int = 2) -> Daemon:
    """Run a daemon whose camera shows numbered frames, in files of two seconds."""
    clip = folder / "numbered.mp4"
    await trio.to_thread.run_sync(make_numbered_clip, clip, b_frames)
    daemon = new_daemon()
    camera = {"source": f"file:{clip}", "codec": "copy"}
    daemon.configure({"recording": {"rotation": "2s"}}, cameras=[camera])
    await daemon.start()
    return daemon


async def record(daemon: Daemon, rotations: int) -> Any:
    """Record over so many rotations; return the answer to the stop."""
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED", rotations)
        return await client.call("stop_recording", device="camera0")
