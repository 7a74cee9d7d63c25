"""How long a snapshot takes, and whether it shows the frame that it says.

    python bench/stills.py [--rounds 30] [--first]

Three 1080p30 cameras that capture already (H.264, H.265, MJPEG; copied, a key frame every second).
`take_snapshot` includes the decode, the file, its sync and the index; `/still` only the picture.
Each picture carries its frame's number as a bar code: numbers are compared with the time stamps in
the answers, and the spread is what remains (arrivals of a file that is played vary by some frames).
Beside it: one write and sync of 300 kB on the same volume, and the start of an FFmpeg alone. With
`--first`, which needs root, all of it runs before other programs of a busy machine (SCHED_RR).
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

from running import Camd, find_ffmpeg, running

RATE, SECONDS, BITS, BAR = 30, 20, 10, 32
FRAMES = RATE * SECONDS
CODECS = {
    "h264": "-c:v libx264 -preset ultrafast -bf 0 -b:v 8M",
    "h265": "-c:v libx265 -preset ultrafast -tag:v hvc1 -b:v 8M"
    " -x265-params log-level=error:open-gop=0:bframes=0",
    "mjpeg": "-c:v mjpeg -q:v 5",
}
AIMS = {"": "150", "max_age_ms=1000": "50"}


def make_clip(path: Path, options: str) -> None:
    """Encode a clip whose upper left corner holds each frame's number in bars."""
    bars = f"geq=lum='16+219*mod(trunc(N/pow(2,trunc(X/{BAR}))),2)':cb=128:cr=128"
    graph = (
        f"testsrc2=size=1920x1080:rate={RATE},noise=alls=4:allf=t[a];"
        f"color=size={BITS * BAR}x{BAR}:rate={RATE},format=yuv420p,{bars}[b];"
        "[a][b]overlay=0:0:shortest=1"
    )
    command = [find_ffmpeg(), "-v", "error", "-filter_complex", graph, "-t", str(SECONDS)]
    command += [*options.split(), "-g", str(RATE), "-pix_fmt", "yuv420p", "-y", str(path)]
    subprocess.run(command, check=True)


def number_in(program: str, picture: bytes) -> int:
    """Read the number in a picture."""
    command = [program, "-v", "error", "-f", "image2pipe", "-i", "pipe:0"]
    command += ["-vf", f"crop={BITS * BAR}:{BAR}:0:0", "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    data = subprocess.run(command, input=picture, capture_output=True, check=True).stdout
    row = data[BITS * BAR * (BAR // 2) :]
    return sum((row[bit * BAR + BAR // 2] > 128) << bit for bit in range(BITS))


def spread(program: str, seen: list[tuple[float, bytes]]) -> float:
    """Return by how many frames numbers and time stamps disagree, from first to last."""
    shifts = []
    for moment, picture in seen:
        shift = (number_in(program, picture) - moment * RATE) % FRAMES
        shifts.append(shift)
    shifts = [(shift - shifts[0] + FRAMES / 2) % FRAMES for shift in shifts]
    return max(shifts) - min(shifts)


def take(camd: Camd, camera: str, query: str) -> tuple[float, float, int, bytes]:
    """Take and store a snapshot: seconds, time of the frame, its age, the picture."""
    params = {name: int(value) for name, _, value in [query.partition("=")] if name}
    before = time.perf_counter()
    answer = camd.call("take_snapshot", device=camera, **params)
    seconds = time.perf_counter() - before
    moment = datetime.fromisoformat(answer["timestamp"]).timestamp()
    return seconds, moment, answer["frame_age_ms"], Path(answer["file_path"]).read_bytes()


def still(camd: Camd, camera: str, query: str) -> tuple[float, float, int, bytes]:
    """The same by HTTP, without a file."""
    address = camd.url.replace("ws://", "http://").removesuffix("/ws")
    key = (camd.folder / "state" / "admin.key").read_text().strip()
    request = urllib.request.Request(
        f"{address}/still/{camera}.jpg?{query}", headers={"X-API-Key": key}
    )
    before = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        picture, headers = answer.read(), answer.headers
    seconds = time.perf_counter() - before
    moment = datetime.fromisoformat(headers["X-Frame-Time"]).timestamp()
    return seconds, moment, int(headers["X-Frame-Age-Ms"]), picture


def baselines(folder: Path, program: str, rounds: int) -> None:
    """Print what the volume and the start of a process take alone."""
    sync, start = [], []
    for number in range(rounds):
        before = time.perf_counter()
        fd = os.open(folder / f"probe{number}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, os.urandom(300_000))
        os.fdatasync(fd)
        os.close(fd)
        sync.append(time.perf_counter() - before)
        before = time.perf_counter()
        subprocess.run([program, "-version"], capture_output=True, check=True)
        start.append(time.perf_counter() - before)
    show("write and sync of 300 kB", sync)
    show("ffmpeg -version", start)


def show(what: str, seconds: list[float], rest: str = "") -> None:
    """Print a row: median, 95 % and worst, in milliseconds."""
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    values = statistics.median(ordered), late, ordered[-1]
    print(f"{what:44}" + "".join(f"{1000 * value:8.1f}" for value in values) + f"   {rest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    program = find_ffmpeg()
    with tempfile.TemporaryDirectory() as name:
        cameras = ""
        for codec, encoding in CODECS.items():
            path = Path(name) / f"{codec}.mp4"
            make_clip(path, encoding)
            cameras += f'[[camera]]\nid = "{codec}"\nsource = "file:{path}"\n'
            cameras += 'codec = "copy"\nalways_on = true\n'
        if options.first:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        with running(cameras) as camd:
            time.sleep(4)
            print(f"{'milliseconds':44}{'p50':>8}{'p95':>8}{'worst':>8}   aim, age, spread")
            baselines(Path(name), program, options.rounds)
            for codec in CODECS:
                take(camd, codec, "")
                time.sleep(1)
                for what, make in (("take_snapshot", take), ("/still", still)):
                    for query, aim in AIMS.items():
                        found = []
                        for _ in range(options.rounds):
                            time.sleep(random.uniform(0.3, 0.8))
                            found.append(make(camd, codec, query))
                        frames = spread(program, [(moment, data) for _, moment, _, data in found])
                        age = statistics.median(age for _, _, age, _ in found)
                        rest = f"< {aim}   {age:.0f} ms old, {frames:.1f} frames"
                        show(f"{codec}: {what} {query}", [each[0] for each in found], rest)


if __name__ == "__main__":
    main()
