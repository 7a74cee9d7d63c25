"""What events cost: publishing one, keeping ten thousand, reading them at a start, replaying them.

    python bench/events.py

Publishes what a recording camera publishes, into a log in a temporary folder.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import trio

from camd.clock import SYSTEM_CLOCK
from camd.events.event_log import EventLog, open_event_log

EVENTS = 10_000
PARAMS = {
    "device": "/dev/video0",
    "device_path": "/dev/video0",
    "camera_id": "camera0",
    "status": "PROGRESS",
    "filename": "camera0_2026-01-15_14-30-00.mp4",
    "duration": 12.5,
    "session_id": "0b6d3f0e-6f9c-4f4c-9a51-0d8c0b8f6a51",
    "recording_id": "0b6d3f0e-6f9c-4f4c-9a51-0d8c0b8f6a51",
    "start_time": "2026-01-15T14:30:00Z",
    "file_size": 12_345_678,
    "bytes_written": 12_345_678,
    "frames_written": 375,
    "reason": "",
}


def memory() -> float:
    """Return the largest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def size_of(folder: Path) -> int:
    """Return the bytes of the event files."""
    return sum(path.stat().st_size for path in folder.rglob("*.log"))


def publish(log: EventLog) -> None:
    """Publish one event."""
    log.publish(
        "recording_status_update",
        {**PARAMS, "recording": PARAMS},
        coalesce_key="progress",
        about=("camera camera0",),
        topics=("recording", "recording_status_update", "recording.progress"),
    )


async def main() -> None:
    """Measure, and print a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_event_log(Path(folder), clock=SYSTEM_CLOCK) as log:
            before, spent = memory(), []
            for number in range(EVENTS):
                began = time.perf_counter()
                publish(log)
                spent.append(time.perf_counter() - began)
                if number % 100 == 0:
                    await trio.sleep(0.005)  # the writer's turn
            spent.sort()
            print(f"publish       p50 {spent[EVENTS // 2] * 1e6:.0f} us")
            print(f"publish       p99 {spent[EVENTS * 99 // 100] * 1e6:.0f} us")
            print(f"memory        {memory() - before:.1f} MiB for {len(log.history)} events")
        print(f"on disk       {size_of(Path(folder)) / 2**20:.1f} MiB")
        began = time.perf_counter()
        async with open_event_log(Path(folder), clock=SYSTEM_CLOCK) as log:
            print(f"start         {(time.perf_counter() - began) * 1e3:.0f} ms")
            began, after, more = time.perf_counter(), 0, True
            while more:
                page = log.history.page(after, limit=16)
                after, more = page.last, page.more
            print(f"replay        {(time.perf_counter() - began) * 1e3:.0f} ms in pages of 16")
            began = time.perf_counter()
            log.history.missed(0)
            print(f"count missed  {(time.perf_counter() - began) * 1e3:.1f} ms")


if __name__ == "__main__":
    trio.run(main)
