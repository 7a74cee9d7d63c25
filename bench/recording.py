"""The CPU time of camd and its FFmpeg processes, compared with bare FFmpeg, and the memory.

    python bench/recording.py [--seconds 30] [--cameras 1,4,16] [--compare] [--sound]
                              [--beside TREE]

Every camera is the same 1080p H.264 clip of 8 Mbit/s, read in real time and copied. After it, in
the same run, as many `ffmpeg -c copy -f segment` read the same clip. The daemon's share of a core
for each camera should stay below 1 %. With `--compare` also what the daemon takes when each
pipe is waited for by itself, instead of all being read in rounds. With `--sound` the clip has AAC
sound beside the pictures, which is copied as well. With `--beside`, the camd of another checkout
records as many cameras at the same time: what others do to the machine changes both alike.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
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


@attrs.frozen
class Used:
    """What a daemon and its FFmpegs took: CPU seconds, and private KiB idle and recording."""

    daemon: float
    ffmpeg: float
    idle_kib: int
    busy_kib: int


def recorded(
    clip: Path, count: int, seconds: float, *, before: str = "", trees: Sequence[Path | None]
) -> list[Used]:
    """Record `count` cameras with the camd of each tree at the same time; None: of this one."""
    cameras = "".join(f'[[camera]]\nsource = "file:{clip}"\n' for _ in range(count))
    names = [f"camera{number}" for number in range(count)]
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(running(cameras, before=before, tree=tree)) for tree in trees
        ]
        idle = [camd.memory_kib() for camd in daemons]
        for camd in daemons:
            for name in names:
                camd.call("start_recording", device=name)
        time.sleep(5)
        processes = [child_processes(camd.pid) for camd in daemons]
        begun = [
            (cpu_seconds(camd.pid), sum(map(cpu_seconds, pids)))
            for camd, pids in zip(daemons, processes, strict=True)
        ]
        time.sleep(seconds)
        used = [
            Used(
                cpu_seconds(camd.pid) - own,
                sum(map(cpu_seconds, pids)) - theirs,
                kib,
                camd.memory_kib(),
            )
            for camd, pids, (own, theirs), kib in zip(daemons, processes, begun, idle, strict=True)
        ]
        for camd in daemons:
            for name in names:
                receipt = camd.call("stop_recording", device=name)["receipt"]
                assert not receipt["gaps"], receipt["gaps"]
                assert receipt["frames_captured"] == receipt["frames_written"] > 0
    return used


def say_daemon(what: str, used: Used, percent: float, count: int) -> None:
    """Print what another daemon took for each camera."""
    print(
        f"{'':9}{what:46}  {used.daemon * percent / count:8.2f}%  {'':10}"
        f"  {used.daemon * percent * 0.6 / count:5.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--cameras", default="1,4,16")
    parser.add_argument("--compare", action="store_true", help="with reading without rounds")
    parser.add_argument("--sound", action="store_true", help="with sound beside the pictures")
    parser.add_argument("--beside", type=Path, metavar="TREE", help="another checkout")
    options = parser.parse_args()
    print("cameras  daemon    FFmpeg    bare FFmpeg  both / bare  daemon     memory    CPU")
    print("         % of a core each    each         ratio        per camera each      s/min")
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        shape = {"size": "1920x1080", "rate": 30, "bitrate": "8M"}
        make_clip(clip, **shape, seconds=20, sound=options.sound)
        for count in map(int, options.cameras.split(",")):
            trees = [None, options.beside.resolve()] if options.beside else [None]
            own, *others = recorded(clip, count, options.seconds, trees=trees)
            alone = bare(clip, count, options.seconds)
            percent = 100 / options.seconds
            print(
                f"{count:7}  {own.daemon * percent:7.2f}%  {own.ffmpeg * percent / count:7.2f}%"
                f"  {alone * percent / count:10.2f}%"
                f"  {(own.daemon + own.ffmpeg) / max(alone, 0.01):11.2f}"
                f"  {own.daemon * percent / count:8.2f}%"
                f"  {(own.busy_kib - own.idle_kib) / 1024 / count:6.1f} MiB"
                f"  {own.daemon * 60 / options.seconds / count:5.2f}",
                flush=True,
            )
            for other in others:
                ratio = own.daemon / other.daemon
                say_daemon(f"beside it (ratio {ratio:.2f}):", other, percent, count)
            if options.compare:
                (other,) = recorded(clip, count, options.seconds, before=NO_ROUNDS, trees=[None])
                say_daemon("each pipe waited for by itself:", other, percent, count)
    print("aims:                                                   < 1 %      < 4 MB")


if __name__ == "__main__":
    main()
