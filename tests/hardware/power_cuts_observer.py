"""Reports inside the machine whose power is cut: run by power_cuts_agent.py.

Everything that camd guarantees is written to the serial console at once, with the machine's clock:
what the console has received survives the cut. Needs root, Linux, and camd.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import struct
import termios
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import trio

from camd.client import CannotConnectError, Client, ConnectionLostError, connect

MARK = "@camd "
ADDRESS = "unix:/run/camd.sock"
RECORDINGS = Path("/srv/data/recordings")
LIVE = Path("/run/camd-observer")  # the same lines, to be read over the network
TRACING = Path("/sys/kernel/tracing/instances/power-cuts")
BEAT_SECONDS = 0.1
POLL_SECONDS = 0.4
IN_CREATE = 0x100
SYNC = re.compile(r"-(\d+) .* ([\d.]+): ext4_sync_file_(enter|exit): dev (\d+,\d+) ")


class Observer:
    """Writes marked lines of JSON to the console, each with a wall time."""

    def __init__(self) -> None:
        self._console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY)
        self._live = os.open(LIVE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def tell(self, kind: str, *, drain: bool = False, **facts: object) -> None:
        """Write a fact; with `drain`, return when it has left the machine."""
        facts = {"k": kind, "t": round(time.time(), 3), **facts}
        line = (MARK + json.dumps(facts, separators=(",", ":")) + "\n").encode()
        os.write(self._console, b"\n" + line if kind == "boot" else line)
        if kind != "beat":
            os.write(self._live, line)
        if drain:
            termios.tcdrain(self._console)


# --- heartbeats, and how long the disk takes ------------------------------------------


def beat(observer: Observer, pending: dict[str, float]) -> None:
    """Report that the machine runs, and how long the oldest sync has been waiting (ms)."""
    while True:
        begun = min(pending.copy().values(), default=None)
        waiting = {} if begun is None else {"p": round((time.monotonic() - begun) * 1000)}
        observer.tell("beat", **waiting)
        time.sleep(BEAT_SECONDS)


def follow_syncs(observer: Observer, pending: dict[str, float]) -> None:
    """Measure every fsync of the data disk in the kernel; report each new maximum."""
    facts = RECORDINGS.parent.stat()
    device = f"{os.major(facts.st_dev)},{os.minor(facts.st_dev)}"
    TRACING.mkdir(exist_ok=True)
    (TRACING / "trace_clock").write_text("mono")
    for name in ("ext4_sync_file_enter", "ext4_sync_file_exit"):
        (TRACING / "events/ext4" / name / "enable").write_text("1")
    worst = 0.0
    with (TRACING / "trace_pipe").open() as lines:
        for line in lines:
            found = SYNC.search(line)
            if found is None or found[4] != device:
                continue
            thread, moment = found[1], float(found[2])
            if found[3] == "enter":
                pending[thread] = moment
            elif (begun := pending.pop(thread, None)) is not None and moment - begun > worst:
                worst = moment - begun
                observer.tell("sync", ms=round(worst * 1000))


async def follow_folder(observer: Observer) -> None:
    """Report every file that appears in the recordings folder, at once (inotify(7))."""
    while not RECORDINGS.is_dir():  # noqa: ASYNC110, ASYNC240 - camd makes it, and tells nobody
        await trio.sleep(0.1)
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK)
    if queue < 0 or libc.inotify_add_watch(queue, os.fsencode(RECORDINGS), IN_CREATE) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    while True:
        await trio.lowlevel.wait_readable(queue)
        data, at = os.read(queue, 65536), 0
        while at < len(data):
            (size,) = struct.unpack_from("12xI", data, at)
            name = data[at + 16 : at + 16 + size].rstrip(b"\0").decode()
            at += 16 + size
            if name.endswith(".mp4"):
                observer.tell("created", f=name)


# --- what camd says ----------------------------------------------------------------------


async def watch_camera(client: Client, observer: Observer, camera: str) -> None:
    """Report a camera's status several times a second, and each file's receipt once."""
    told: set[str] = set()
    while True:
        status = await client.call("get_recording_status", device=camera)
        if status is not None:
            observer.tell("status", **status_line(status))
            for file in status["files"]:
                if file["status"] == "completed" and file["filename"] not in told:
                    info = await client.call("get_recording_info", filename=file["filename"])
                    if info["sha256"]:
                        told.add(file["filename"])
                        observer.tell(
                            "sealed", c=camera, id=status["session_id"], **file_line(info)
                        )
        await trio.sleep(POLL_SECONDS)


def status_line(status: dict[str, Any]) -> dict[str, object]:
    """Shorten a status for the console."""
    ends = [unix(file["end_time"]) for file in status["files"][-1:]]
    return {
        "c": status["camera_id"],
        "id": status["session_id"],
        "s": status["status"],
        "d": status["durable"],
        "n": status["frames_written"],
        "f": status["current_file"],
        "e": max(ends, default=0.0),
    }


def file_line(file: dict[str, Any]) -> dict[str, object]:
    """Shorten what is said of a file, in a receipt or in a listing."""
    size = file["size"] if "size" in file else file["file_size"]
    return {"f": file["filename"], "size": size, "sha": file["sha256"], "n": file["frames"]}


def unix(text: str) -> float:
    """Turn a time on the wire into seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


async def watch_notifications(client: Client, observer: Observer) -> None:
    """Report camd's notifications about recordings."""
    async for method, notification in client.notifications():
        if method == "recording_status_update" and notification["status"] != "PROGRESS":
            facts = {
                "c": notification["camera_id"],
                "id": notification["session_id"],
                "w": notification["status"],
            }
            observer.tell("event", **facts, f=notification["filename"], r=notification["reason"])


async def watch(cameras: list[str]) -> None:
    """Report until the power is cut; reconnect to camd."""
    observer, pending = Observer(), dict[str, float]()
    observer.tell("boot", boot=boot_id())
    threading.Thread(target=beat, args=(observer, pending), daemon=True).start()
    threading.Thread(target=follow_syncs, args=(observer, pending), daemon=True).start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_folder, observer)
        while True:
            await until_lost(lambda client: watch_all(client, observer, cameras))
            await trio.sleep(0.3)


async def until_lost(work: Callable[[Client], Any]) -> None:
    """Run `work` with a connection until it is lost."""
    try:
        async with connect(ADDRESS, reconnect=False) as client:
            await work(client)
    except* (CannotConnectError, ConnectionLostError):
        pass


async def watch_all(client: Client, observer: Observer, cameras: list[str]) -> None:
    """Watch all cameras over one connection."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_notifications, client, observer)
        for camera in cameras:
            nursery.start_soon(watch_camera, client, observer, camera)


def boot_id() -> str:
    """Return the id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
