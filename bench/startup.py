"""The time until the service is ready, by the number of recordings.

    python bench/startup.py [--files 100000] [--rebuild 10000] [--rounds 5] [--folder DIR]

The files are tiny, sealed and whole, each with its own camera, session and start in its identity
box. The daemon takes them into its index once; with --folder they are kept for the next time.
Then it is started with an empty folder (the baseline) and with the full one, in turns. It should
be ready within a second of the baseline. Last, the index is taken away from a folder with fewer
files (--rebuild): the daemon must be ready all the same, and makes the index anew beside normal
service. "ready" is READY=1; "listed" the answer to the first list_recordings; "durable" that to
start_recording, which means that the first frames of a camera that was off are on the disk. All
are counted from the start of the process.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import trio

sys.path.append(str(Path(__file__).parents[1] / "tests" / "daemon"))
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from running_daemon import Daemon, small_camera
from support.recordings import WHO, footage

from camd.mp4.fragments import Fragment, Init
from camd.mp4.segment import FTYP_SIZE, SegmentLayout

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
CAMERAS, FILES_PER_SESSION = 4, 100
RESUME_SECONDS = 3600


def tiny(init: Init, fragment: Fragment, number: int) -> tuple[str, bytes]:
    """Make the name and the bytes of a sealed recording."""
    camera = f"camera{number % CAMERAS}"
    start = FIRST + timedelta(seconds=number // CAMERAS * 60)
    who = attrs.evolve(
        WHO,
        camera_id=camera,
        session_id=f"{camera}-{number // CAMERAS // FILES_PER_SESSION}",
        number=number // CAMERAS % FILES_PER_SESSION,
        start_micros=int(start.timestamp() * 1_000_000),
    )
    index = SegmentLayout(init, fragment, who)
    data = index.header + b"".join(index.append(fragment))
    header = index.seal_header(len(data))
    sealed = data[:FTYP_SIZE] + header + data[FTYP_SIZE + len(header) :] + index.final_moov()
    return f"{camera}_{start:%Y-%m-%d_%H-%M-%S}.mp4", sealed


def make_files(folder: Path, count: int) -> None:
    """Fill a folder, which may have some of the files already."""
    folder.mkdir(parents=True, exist_ok=True)
    init, (fragment,) = footage(1)
    there = sum(1 for _ in folder.glob("*.mp4"))
    for number in range(there, count):
        name, data = tiny(init, fragment, number)
        (folder / name).write_bytes(data)


def made(folder: Path) -> Daemon:
    """Make a daemon over a folder, which may have recordings."""
    daemon = Daemon(folder, {"storage": {"warn_percent": 94.0, "block_percent": 95.0}})
    daemon.configure(cameras=[small_camera()])
    return daemon


@contextmanager
def cleaning(daemon: Daemon) -> Iterator[None]:
    """Kill all processes at the end."""
    try:
        yield
    finally:
        daemon.clean_up()


async def started(daemon: Daemon) -> tuple[float, float, float]:
    """Start it; return the seconds until it is ready, has listed a page, and has footage stored."""
    began = time.perf_counter()
    await daemon.start()
    ready = time.perf_counter() - began
    await daemon.call("list_recordings")
    listed = time.perf_counter() - began
    await daemon.call("start_recording", device="camera0")
    durable = time.perf_counter() - began
    await daemon.call("stop_recording", device="camera0")
    return ready, listed, durable


async def wait_known(daemon: Daemon, count: int) -> tuple[float, float]:
    """Wait until the index has so many files; return the seconds, and the slowest ping."""
    began, slowest = time.perf_counter(), 0.0
    async with daemon.client() as client:
        with trio.fail_after(RESUME_SECONDS):
            while (await client.call("list_recordings", limit=1))["total"] < count:
                await trio.sleep(0.1)
                before = time.perf_counter()
                await client.call("ping")
                slowest = max(slowest, time.perf_counter() - before)
    return time.perf_counter() - began, slowest


async def known(daemon: Daemon, count: int) -> None:
    """Let the daemon add all files to its index, once."""
    with cleaning(daemon):
        ready, *_ = await started(daemon)
        seconds, _ = await wait_known(daemon, count)
        print(f"{count:,} files, new or not: ready after {ready:.2f} s, all known after", end="")
        print(f" {ready + seconds:.1f} s", flush=True)
        await daemon.stop()


async def compare(full: Daemon, empty: Daemon, rounds: int) -> None:
    """Start both in turns; print medians and the worst."""
    times: dict[str, list[tuple[float, float, float]]] = {"empty": [], "full": []}
    for _ in range(rounds):
        for name, daemon in (("empty", empty), ("full", full)):
            with cleaning(daemon):
                times[name].append(await started(daemon))
                await daemon.stop()
    heads = (f"{name:>8} {'worst':>8}" for name in ("ready", "listed", "durable"))
    print(f"{'seconds':28} {' '.join(heads)}")
    medians = {}
    for name, found in times.items():
        medians[name] = statistics.median(ready for ready, *_ in found)
        cells = (
            f"{statistics.median(each):8.2f} {max(each):8.2f}" for each in zip(*found, strict=True)
        )
        print(f"{name + ' folder':28} {' '.join(cells)}")
    more = medians["full"] - medians["empty"]
    print(f"{'full beyond empty':28} {more:8.2f}   aim: below 1", flush=True)


async def rebuilt(daemon: Daemon, count: int, what: str, spoil: Callable[[Path], None]) -> None:
    """Remove the index, or all but the recordings, and start."""
    spoil(daemon.recordings / ".camd")
    with cleaning(daemon):
        ready, listed, _ = await started(daemon)
        seconds, slowest = await wait_known(daemon, count)
        await daemon.stop()
    print(f"{what:28} {ready:8.2f} {'':8} {listed:8.2f} {'':8}   known again after", end="")
    print(f" {listed + seconds:.1f} s, slowest ping {slowest * 1000:.0f} ms", flush=True)


def without_index(folder: Path) -> None:
    """Remove the database."""
    for path in folder.glob("index.sqlite*"):
        path.unlink()


def without_anything(folder: Path) -> None:
    """Remove all that is not a recording."""
    shutil.rmtree(folder)


async def run(options: argparse.Namespace, folder: Path) -> None:
    """Run all measurements."""
    full, fewer, empty = (made(folder / name) for name in ("full", "fewer", "empty"))
    for daemon, count in ((full, options.files), (fewer, options.rebuild)):
        make_files(daemon.recordings, count)
        await known(daemon, count)
    await compare(full, empty, options.rounds)
    for what, spoil in (("no index", without_index), ("recordings alone", without_anything)):
        await rebuilt(fewer, options.rebuild, f"{options.rebuild:,} files, {what}", spoil)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rebuild", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no daemon behind
    with tempfile.TemporaryDirectory() as name:
        trio.run(run, options, options.folder or Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
