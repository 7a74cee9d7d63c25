"""The CPU time of camd and its FFmpeg processes, compared with bare FFmpeg, and the memory.

    python bench/recording.py [--seconds 30] [--cameras 1,4,16] [--compare] [--sound]

Every camera is the same 1080p H.264 clip of 8 Mbit/s, read in real time and copied. Beside it, in
the same run, as many `ffmpeg -c copy -f segment` read the same clip. The daemon's share of a core
for each camera should stay below 1 %. With `--compare` also what the daemon takes when each
pipe is waited for by itself, instead of all being read in rounds. With `--sound` the clip has AAC
sound beside the pictures, which is copied as well.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from running import child_processes, cpu_seconds, find_ffmpeg, make_clip, running

NO_ROUNDS = "from camd.runtime import pipe_poller; pipe_poller.FILLED_SHARE = 0.0"


def bare(clip: Path, count: int, seconds: float) -> float:
    """CPU seconds that `count` bare FFmpegs take in `seconds`."""
    with tempfile.TemporaryDirectory() as folder:
        command = f"{find_ffmpeg()} -v error -nostdin -re -stream_loop -1 -i {clip} -c copy"
        copies = [
            subprocess.Popen(
                [*command.split(), *f"-f segment -segment_time 1800 {folder}/{n}-%d.mp4".split()]
            )
            for n in range(count)
        ]
        time.sleep(3)
        before = sum(cpu_seconds(copy.pid) for copy in copies)
        time.sleep(seconds)
        used = sum(cpu_seconds(copy.pid) for copy in copies) - before
        for copy in copies:
            copy.terminate()
        for copy in copies:
            copy.wait()
    return used


def recorded(
    clip: Path, count: int, seconds: float, before: str = ""
) -> tuple[float, float, int, int]:
    """CPU seconds of the daemon and of its FFmpegs; private KiB idle and while recording."""
    cameras = "".join(f'[[camera]]\nsource = "file:{clip}"\n' for _ in range(count))
    with running(cameras, before=before) as camd:
        idle = camd.memory_kib()
        for number in range(count):
            camd.call("start_recording", device=f"camera{number}")
        time.sleep(5)
        pids = child_processes(camd.pid)
        before = cpu_seconds(camd.pid), sum(map(cpu_seconds, pids))
        time.sleep(seconds)
        after = cpu_seconds(camd.pid), sum(map(cpu_seconds, pids))
        busy = camd.memory_kib()
        for number in range(count):
            receipt = camd.call("stop_recording", device=f"camera{number}")["receipt"]
            assert not receipt["gaps"], receipt["gaps"]
            assert receipt["frames_captured"] == receipt["frames_written"] > 0
    return after[0] - before[0], after[1] - before[1], idle, busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--cameras", default="1,4,16")
    parser.add_argument("--compare", action="store_true", help="with reading without rounds")
    parser.add_argument("--sound", action="store_true", help="with sound beside the pictures")
    options = parser.parse_args()
    print("cameras  daemon    FFmpeg    bare FFmpeg  both / bare  daemon     memory    CPU")
    print("         % of a core each    each         ratio        per camera each      s/min")
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        shape = {"size": "1920x1080", "rate": 30, "bitrate": "8M"}
        make_clip(clip, **shape, seconds=20, sound=options.sound)
        for count in map(int, options.cameras.split(",")):
            daemon, ffmpeg, idle, busy = recorded(clip, count, options.seconds)
            other = bare(clip, count, options.seconds)
            percent = 100 / options.seconds
            print(
                f"{count:7}  {daemon * percent:7.2f}%  {ffmpeg * percent / count:7.2f}%"
                f"  {other * percent / count:10.2f}%  {(daemon + ffmpeg) / max(other, 0.01):11.2f}"
                f"  {daemon * percent / count:8.2f}%  {(busy - idle) / 1024 / count:6.1f} MiB"
                f"  {daemon * 60 / options.seconds / count:5.2f}",
                flush=True,
            )
            if options.compare:
                alone, *_ = recorded(clip, count, options.seconds, NO_ROUNDS)
                print(
                    f"{'':9}each pipe waited for by itself:{'':15}"
                    f"  {alone * percent / count:8.2f}%  {'':10}"
                    f"  {alone * 60 / options.seconds / count:5.2f}",
                    flush=True,
                )
    print("aims:                                                   < 1 %      < 4 MB")


if __name__ == "__main__":
    main()
