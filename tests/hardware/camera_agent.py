"""Runs inside the machine with the cameras: reports what camd says, and calls its methods.

Every change of a camera and all notifications go to LINES as JSON, with the machine's clock.
Requests are read from ASKS, a line of JSON each, and answered in LINES: methods of camd, and
`tally`, which counts the service's resources. Needs root, Linux, and camd.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from camd.client import CannotConnectError, Client, ConnectionLostError, RemoteError, connect

ADDRESS = "unix:/run/camd-lab/camd.sock"
LINES = Path("/run/camd-lines")
ASKS = Path("/run/camd-asks")
POLL_SECONDS = 0.2
SHOWN = ("device", "identity", "status", "state", "cause", "message", "suggestion", "name")
KEPT = ("recording", "recording_session", "recording_healthy")
TOLD = ("camera_id", "status", "state", "cause", "session_id", "reason", "filename")


class Teller:
    """Writes facts as lines of JSON, each with a wall time."""

    def __init__(self) -> None:
        self._lines = os.open(LINES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def tell(self, kind: str, **facts: object) -> None:
        """Write one fact."""
        facts = {"k": kind, "t": round(time.time(), 3), **facts}
        os.write(self._lines, (json.dumps(facts, separators=(",", ":")) + "\n").encode())


async def watch_cameras(client: Client, teller: Teller) -> None:
    """Report each camera's status whenever it has changed."""
    told: dict[str, dict[str, Any]] = {}
    while True:
        listed = (await client.call("get_camera_list"))["cameras"]
        for camera in listed:
            facts = {name: camera.get(name) for name in SHOWN + KEPT}
            if told.get(camera["camera_id"]) != facts:
                told[camera["camera_id"]] = facts
                teller.tell("camera", c=camera["camera_id"], **facts)
        await trio.sleep(POLL_SECONDS)


async def watch_notifications(client: Client, teller: Teller) -> None:
    """Report camd's notifications."""
    async for method, notification in client.notifications():
        if isinstance(notification, dict) and notification.get("status") != "PROGRESS":
            teller.tell("event", m=method, **{name: notification.get(name) for name in TOLD})


async def answer(client: Client, teller: Teller, ask: dict[str, Any]) -> None:
    """Call a method that was requested from outside of the machine."""
    try:
        if ask["method"] == "tally":
            result = tally()
        else:
            result = await client.call(ask["method"], **ask["params"])
    except RemoteError as error:
        facts = {"code": error.code, "message": error.message, "data": error.data}
        teller.tell("answer", n=ask["n"], error=facts)
    else:
        teller.tell("answer", n=ask["n"], result=result)


async def take_asks(client: Client, teller: Teller, asks: int, nursery: trio.Nursery) -> None:
    """Read requests, and answer each in a task of its own."""
    rest = b""
    while True:
        await trio.lowlevel.wait_readable(asks)
        *lines, rest = (rest + os.read(asks, 65536)).split(b"\n")
        for line in lines:
            nursery.start_soon(answer, client, teller, json.loads(line))


def tally() -> dict[str, Any]:
    """Count the service's resources: descriptors, threads, memory in KiB, FFmpeg processes."""
    command = "systemctl show --value -p MainPID camd"
    pid = subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout.strip()
    process = Path("/proc") / pid
    status = dict(
        line.split(":\t", 1)
        for line in (process / "status").read_text().splitlines()
        if ":\t" in line
    )
    return {
        "pid": int(pid),
        "descriptors": len(list((process / "fd").iterdir())),
        "threads": int(status["Threads"]),
        "memory": int(status["VmRSS"].split()[0]),
        "processes": len(ffmpeg_processes(pid)),
    }


def ffmpeg_processes(pid: str) -> list[str]:
    """Find the FFmpeg processes below a process, zombies included."""
    found, parents = [], {pid}
    stats: dict[str, tuple[str, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            stats[folder.name] = (name, rest.split()[1])
    while parents:
        below = {pid for pid, (_, parent) in stats.items() if parent in parents}
        found += [pid for pid in below if stats[pid][0] == "ffmpeg"]
        parents = below
    return found


async def until_lost(work: Callable[[Client], Any]) -> None:
    """Run `work` with a connection until it is lost."""
    try:
        async with connect(ADDRESS, reconnect=False) as client:
            await work(client)
    except* (CannotConnectError, ConnectionLostError):
        pass


async def serve(teller: Teller, asks: int) -> None:
    """Report and answer until the machine ends; reconnect to camd."""

    async def watch(client: Client) -> None:
        teller.tell("connected")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_notifications, client, teller)
            nursery.start_soon(watch_cameras, client, teller)
            nursery.start_soon(take_asks, client, teller, asks, nursery)

    while True:
        await until_lost(watch)
        await trio.sleep(0.3)


def main() -> None:
    teller = Teller()
    with suppress(FileExistsError):
        os.mkfifo(ASKS)
    asks = os.open(ASKS, os.O_RDWR | os.O_NONBLOCK)
    teller.tell("boot", boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    trio.run(serve, teller, asks)


if __name__ == "__main__":
    main()
