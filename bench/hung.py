"""How fast status calls are answered while the disk hangs, and while a camera hangs.

    python bench/hung.py [--calls 300] [--cameras 8]

All cameras record, on one daemon. First everything works. Then every operation on the recordings
volume waits, statvfs and the journal included (threads of the daemon hang as they do on a dead
disk). Then the disk works again, and one camera's FFmpeg process is stopped (SIGSTOP), which looks
to the daemon like a driver that hangs. Each time the same calls are made, one after the other, over
one WebSocket, and over HTTP with a connection for each. 99 of 100 answers should take less than
50 ms (single ones wait longer where the machine is busy with other things); the exit status is 1
when they do not.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from running import Camd, child_processes, running

MOST_MS = 50.0
METHODS = (
    *("ping", "get_camera_list", "get_status", "get_system_status", "get_storage_info"),
    "get_metrics",
)
PAGES = ("/health/system", "/health/cameras", "/health/storage", "/api/cameras", "/metrics")
NOTICE_SECONDS = 30.0  # by then the daemon knows that the disk hangs

# Every operation waits as long as there is the file FLAG.
HANGING_DISK = """
import os, time
from camd.storage import disk
def hanging(function):
    def wait(*arguments, **options):
        while os.path.exists(FLAG):
            time.sleep(0.05)
        return function(*arguments, **options)
    return wait
for kind in (disk.PosixFile, disk.PosixDisk):
    for name, function in list(vars(kind).items()):
        if not name.startswith("_") and callable(function):
            setattr(kind, name, hanging(function))
"""


def time_of(call: Callable[[], object]) -> float:
    """Return how long a call takes, in milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def get(camd: Camd, path: str) -> None:
    """Make an HTTP request over a connection of its own."""
    host = camd.url.removeprefix("ws://").removesuffix("/ws")
    key = (camd.folder / "state" / "admin.key").read_text(encoding="ascii").strip()
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    connection.getresponse().read()
    connection.close()


def measure(camd: Camd, title: str, calls: int) -> float:
    """Print one row for each call; return the largest p99."""
    print(f"\n{title}\n{'':<20} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    longest = 0.0
    for name in METHODS + PAGES:
        ask = get if name.startswith("/") else Camd.call
        times = [time_of(lambda ask=ask, name=name: ask(camd, name)) for _ in range(calls)]
        cuts = quantiles(times, n=100)
        print(f"{name:<20} {cuts[49]:>8.2f} {cuts[98]:>8.2f} {max(times):>8.2f}", flush=True)
        longest = max(longest, cuts[98])
    return longest


@contextmanager
def hung_disk(camd: Camd, flag: Path) -> Iterator[None]:
    """Let the disk hang while the block runs."""
    flag.touch()
    deadline = time.monotonic() + NOTICE_SECONDS
    try:
        while camd.call("get_storage_info")["threshold_status"] != "unresponsive":
            assert time.monotonic() < deadline, "the daemon does not notice that the disk hangs"
            time.sleep(0.5)
        yield
    finally:
        flag.unlink()


@contextmanager
def hung_camera(camd: Camd) -> Iterator[None]:
    """Stop one of the FFmpeg processes while the block runs."""
    process = child_processes(camd.pid)[0]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--cameras", type=int, default=8)
    options = parser.parse_args()
    table = '[[camera]]\nsource = "test:?size=160x120&rate=10"\n'
    with tempfile.TemporaryDirectory() as folder:
        flag = Path(folder) / "hang"
        before = f"FLAG = {str(flag)!r}\n{HANGING_DISK}"
        settings = {"discovery__v4l2": "false", "ffmpeg__stall_timeout": "60s"}
        space = {"storage__warn_percent": "94", "storage__block_percent": "95"}
        with running(table * options.cameras, before=before, **settings, **space) as camd:
            for number in range(options.cameras):
                camd.call("start_recording", device=f"camera{number}")
            measure(camd, "all well", options.calls)
            with hung_disk(camd, flag):
                longest = measure(camd, "the disk hangs", options.calls)
            with hung_camera(camd):
                longest = max(longest, measure(camd, "a camera hangs", options.calls))
    print(f"\nlargest p99: {longest:.1f} ms (aim: {MOST_MS:.0f})")
    sys.exit(longest > MOST_MS)


if __name__ == "__main__":
    main()
