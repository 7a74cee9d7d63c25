"""The memory of the daemon: after its start, for each camera, and after an hour of recording.

    python bench/memory.py [--cameras 1,4,16] [--seconds 20] [--speed 30] [--minutes 60]

The first rows are a daemon without cameras, and with cameras that are files (1080p30, 8 Mbit/s, a
key frame every second) and record for some seconds. The last is one camera whose file is read at
`--speed` times real time, until it has recorded `--minutes` of video in segments of five minutes;
the pictures are small, because it is their number that counts. Resident is VmRSS of proc(5);
private is what no other process shares, Private_* of smaps_rollup. FFmpeg's processes are not
counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from running import Camd, make_clip, running

ROW = "{:36} {:9.1f} {:9.1f} {:>12}"


def resident_kib(camd: Camd) -> int:
    """Read VmRSS, in KiB."""
    lines = Path(f"/proc/{camd.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def row(what: str, camd: Camd, note: str = "") -> None:
    """Print what a daemon has now, in MiB."""
    print(ROW.format(what, resident_kib(camd) / 1024, camd.memory_kib() / 1024, note), flush=True)


def recording(clip: Path, count: int, seconds: float) -> None:
    """Measure with so many cameras, of which all record."""
    cameras = "".join(f'[[camera]]\nsource = "file:{clip}"\n' for _ in range(count))
    with running(cameras) as camd:
        idle = camd.memory_kib()
        for number in range(count):
            camd.call("start_recording", device=f"camera{number}")
        time.sleep(seconds)
        each = (camd.memory_kib() - idle) / 1024 / count
        row(f"{count} cameras record", camd, f"{each:.1f} each")


def hour(clip: Path, speed: float, minutes: float) -> None:
    """Measure while one camera records an hour in quick motion."""
    camera = f'[[camera]]\nsource = "file:{clip}?speed={speed:g}"\ncodec = "copy"\n'
    with running(camera, recording__rotation="5m") as camd:
        camd.call("start_recording", device="camera0")
        frames, marks = 0, [minutes / 12, minutes / 2, minutes]
        while marks:
            time.sleep(0.5)
            status = camd.call("get_recording_status", device="camera0")
            frames = status["frames_written"]
            if frames / 30 / 60 >= marks[0]:
                row(f"1 camera, {marks.pop(0):g} minutes of 30 frames/s", camd)
        receipt = camd.call("stop_recording", device="camera0")["receipt"]
        row("after its end", camd, f"{len(receipt['files'])} files")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--speed", type=float, default=30)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    print(f"{'MiB':36} {'resident':>9} {'private':>9}")
    with tempfile.TemporaryDirectory() as folder:
        clip, small = Path(folder) / "clip.mp4", Path(folder) / "small.mp4"
        make_clip(clip, size="1920x1080", rate=30, bitrate="8M", seconds=20)
        make_clip(small, size="320x240", rate=30, bitrate="500k", seconds=60)
        with running("") as camd:
            row("no camera", camd)
        for count in map(int, options.cameras.split(",")):
            recording(clip, count, options.seconds)
        hour(small, options.speed, options.minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
