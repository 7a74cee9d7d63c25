"""The time from a start to the first durable frame, and from a stop to the receipt.

    python bench/latency.py [--rounds 10]

The stop of a 30-minute segment (54000 frames) should take less than 100 ms plus the sync; the
segment is made by reading a clip 100 times as fast as real time. The sync itself is measured
beside it: one write of a megabyte and fdatasync(2) on the same volume.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from running import Camd, make_clip, running

FAST = 100


def starts(camd: Camd, rounds: int) -> list[float]:
    """Seconds from the request to the answer, when the first frame is durable."""
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        camd.call("start_recording", device="cold")
        seconds.append(time.perf_counter() - before)
        assert camd.call("get_recording_status", device="cold")["durable"]
        camd.call("stop_recording", device="cold")
    return seconds


def warm_starts(camd: Camd, rounds: int) -> list[float]:
    """The same with a camera that captures already."""
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        camd.call("start_recording", device="warm")
        seconds.append(time.perf_counter() - before)
        camd.call("stop_recording", device="warm")
    return seconds


def stops(camd: Camd, rounds: int) -> tuple[list[float], list[int]]:
    """Seconds from the request to the receipt of half an hour of footage; frames in the file."""
    seconds, frames = [], []
    for _ in range(rounds):
        camd.call("start_recording", device="long")
        while camd.call("get_recording_status", device="long")["frames_written"] < 54_000:
            time.sleep(0.1)
        before = time.perf_counter()
        answer = camd.call("stop_recording", device="long")
        seconds.append(time.perf_counter() - before)
        frames.append(answer["receipt"]["files"][0]["frames"])
    return seconds, frames


def syncs(folder: Path, rounds: int) -> list[float]:
    """Seconds that a megabyte takes to become durable."""
    seconds = []
    fd = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY)
    for _ in range(rounds):
        os.write(fd, os.urandom(1 << 20))
        before = time.perf_counter()
        os.fdatasync(fd)
        seconds.append(time.perf_counter() - before)
    os.close(fd)
    return seconds


def show(what: str, seconds: list[float], aim: str = "") -> None:
    """Print a row: median and worst, in milliseconds."""
    middle, worst = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"{what:56} {middle:8.1f} {worst:8.1f}   {aim}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, size="640x360", rate=30, bitrate="500k", seconds=60)
        cameras = f"""
            [[camera]]
            id = "cold"
            source = "file:{clip}"
            [[camera]]
            id = "warm"
            source = "file:{clip}"
            always_on = true
            [[camera]]
            id = "long"
            source = "file:{clip}?speed={FAST}"
        """
        with running(cameras, recording__rotation="24h") as camd:
            time.sleep(3)
            print(f"{'milliseconds':56} {'median':>8} {'worst':>8}   aim")
            show("sync of 1 MiB on this volume", syncs(camd.folder, options.rounds))
            show("start to first durable frame, camera off", starts(camd, options.rounds))
            show("start to first durable frame, always on", warm_starts(camd, options.rounds))
            seconds, frames = stops(camd, max(2, options.rounds // 4))
            show(f"stop to receipt, {min(frames)} frames in the segment", seconds, "100 + sync")


if __name__ == "__main__":
    main()
