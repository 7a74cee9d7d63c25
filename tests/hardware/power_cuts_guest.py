"""What runs inside the machine whose power is cut: it records on command, and bears witness.

Everything that camd promises goes to the serial console at once, with the machine's own clock:
what is on the other side of the console survives the cut. Needs root, Linux, and camd.

    power_cuts_guest.py watch CAMERA..            until the end
    power_cuts_guest.py churn SEED CAMERA..       stop and start them, again and again
    power_cuts_guest.py start|stop CAMERA..       once
    power_cuts_guest.py look CAMERA=SESSION..     wait until these record, then tell everything
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import trio

from camd.client import CannotConnectError, Client, ConnectionLostError, RemoteError, open_client

MARK = "@camd "
ADDRESS = "unix:/run/camd.sock"
RECORDINGS = Path("/srv/data/recordings")
LIVE = Path("/run/camd-witness")  # the same lines, for whoever follows them over the network
TRACING = Path("/sys/kernel/tracing/instances/power-cuts")
BEAT_SECONDS = 0.05
POLL_SECONDS = 0.2
SETTLE_SECONDS = 120.0
IN_CREATE = 0x100
SYNC = re.compile(r"-(\d+) .* ([\d.]+): ext4_sync_file_(enter|exit): dev (\d+,\d+) ")


class Witness:
    """Writes marked lines of JSON to the console, each with a wall time."""

    def __init__(self) -> None:
        self._console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY)
        self._live = os.open(LIVE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def tell(self, kind: str, *, drain: bool = False, **facts: object) -> None:
        """Tell a fact; with `drain`, return when it has left the machine."""
        facts = {"k": kind, "t": round(time.time(), 3), **facts}
        line = (MARK + json.dumps(facts, separators=(",", ":")) + "\n").encode()
        os.write(self._console, b"\n" + line if kind == "life" else line)
        if kind != "beat":
            os.write(self._live, line)
        if drain:
            termios.tcdrain(self._console)


# --- signs of life, and how long the disk takes ------------------------------------------


def beat(witness: Witness, pending: dict[str, float]) -> None:
    """Say that the machine lives, and how long the oldest sync has been waiting (ms)."""
    while True:
        begun = min(pending.copy().values(), default=None)
        waiting = {} if begun is None else {"p": round((time.monotonic() - begun) * 1000)}
        witness.tell("beat", **waiting)
        time.sleep(BEAT_SECONDS)


def follow_syncs(witness: Witness, pending: dict[str, float]) -> None:
    """Measure every fsync of the data disk as the kernel sees it; tell each record."""
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
                witness.tell("sync", ms=round(worst * 1000))


async def follow_folder(witness: Witness) -> None:
    """Tell of every file that appears among the recordings, at once (inotify(7))."""
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
                witness.tell("created", f=name)


# --- what camd says ----------------------------------------------------------------------


async def watch_camera(client: Client, witness: Witness, camera: str) -> None:
    """Tell a camera's status several times a second, and each file's receipt once."""
    told: set[str] = set()
    while True:
        status = await client.call("get_recording_status", device=camera)
        if status is not None:
            witness.tell("status", **status_line(status))
            for file in status["files"]:
                if file["status"] == "completed" and file["filename"] not in told:
                    info = await client.call("get_recording_info", filename=file["filename"])
                    if info["sha256"]:
                        told.add(file["filename"])
                        witness.tell("sealed", c=camera, id=status["session_id"], **file_line(info))
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


async def watch_news(client: Client, witness: Witness) -> None:
    """Tell what camd announces about recordings."""
    async for method, news in client.notifications():
        if method == "recording_status_update" and news["status"] != "PROGRESS":
            facts = {"c": news["camera_id"], "id": news["session_id"], "w": news["status"]}
            witness.tell("news", **facts, f=news["filename"], r=news["reason"])


async def watch(cameras: list[str]) -> None:
    """Bear witness until the power goes, whatever becomes of camd."""
    witness, pending = Witness(), dict[str, float]()
    witness.tell("life", boot=boot_id())
    threading.Thread(target=beat, args=(witness, pending), daemon=True).start()
    threading.Thread(target=follow_syncs, args=(witness, pending), daemon=True).start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_folder, witness)
        while True:
            await until_lost(lambda client: watch_all(client, witness, cameras))
            await trio.sleep(0.3)


async def until_lost(work: Callable[[Client], Any]) -> None:
    """Work with a connection as long as there is one."""
    try:
        async with open_client(ADDRESS) as client:
            await work(client)
    except* (CannotConnectError, ConnectionLostError):
        pass


async def watch_all(client: Client, witness: Witness, cameras: list[str]) -> None:
    """Watch all cameras over one connection."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_news, client, witness)
        for camera in cameras:
            nursery.start_soon(watch_camera, client, witness, camera)


# --- commands ----------------------------------------------------------------------------


async def start_one(client: Client, witness: Witness, camera: str) -> None:
    """Start a recording, with a word before and after."""
    witness.tell("starting", drain=True, c=camera)
    started = await client.call("start_recording", device=camera)
    witness.tell("started", drain=True, c=camera, id=started["session_id"])


async def stop_one(client: Client, witness: Witness, camera: str) -> None:
    """Stop a recording, with a word before, and the receipt after."""
    status = await client.call("get_recording_status", device=camera)
    if status is None:
        return
    witness.tell("stopping", drain=True, c=camera, id=status["session_id"])
    stopped = await client.call("stop_recording", device=camera)
    receipt = stopped["receipt"]
    facts = {
        "files": [file_line(file) for file in receipt["files"]],
        "captured": receipt["frames_captured"],
        "written": receipt["frames_written"],
        "lost": sum(gap["frames"] for gap in receipt["gaps"] if gap["exact"]),
        "durable": receipt["durable"],
    }
    witness.tell("receipt", drain=True, c=camera, id=stopped["session_id"], **facts)


async def each(cameras: list[str], work: Callable[..., Any]) -> None:
    """Do something with all cameras at the same time."""
    witness = Witness()
    async with open_client(ADDRESS) as client, trio.open_nursery() as nursery:
        for camera in cameras:
            nursery.start_soon(work, client, witness, camera)


async def churn(seed: int, cameras: list[str]) -> None:
    """Stop and start all cameras at random until the power goes."""
    dice = random.Random(seed)

    async def go_on(client: Client, witness: Witness, camera: str) -> None:
        while True:
            await trio.sleep(dice.uniform(0.5, 4.0))
            with suppress(RemoteError):
                await stop_one(client, witness, camera)
                await start_one(client, witness, camera)

    await each(cameras, go_on)


async def look(expected: dict[str, str]) -> None:
    """Print all that camd knows, as JSON, once the expected sessions go on or time is up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    found: dict[str, Any] = {}
    while time.monotonic() < deadline and not settled(found, expected):
        await trio.sleep(0.5)
        await until_lost(lambda client: survey(client, expected, found))
    print(json.dumps(found | surroundings()))


def settled(found: dict[str, Any], expected: dict[str, str]) -> bool:
    """Whether recovery is over and everything that should record does."""
    if not found:
        return False
    statuses = found["status"]
    there = all(statuses[camera] for camera, session in expected.items() if session)
    recording = all(s["status"] == "RECORDING" for s in statuses.values() if s)
    return there and recording and all(f["status"] != "interrupted" for f in found["files"])


async def survey(client: Client, cameras: dict[str, str], found: dict[str, Any]) -> None:
    """Ask camd for everything, in this order: what grows meanwhile is in the later answers."""
    folder = old_files()
    files = await listing(client)
    status = {c: await client.call("get_recording_status", device=c) for c in cameras}
    last = {file["session_id"]: file["filename"] for file in files}
    gaps = []
    for filename in last.values():
        gaps += (await client.call("get_recording_info", filename=filename))["gaps"]
    found |= {"files": files, "gaps": gaps, "status": status, "old": folder}


async def listing(client: Client) -> list[dict[str, Any]]:
    """List all recordings, newest first; those that appear meanwhile shift the pages."""
    files: dict[str, dict[str, Any]] = {}
    offset, total = 0, 1
    while offset < total:
        page = await client.call("list_recordings", limit=1000, offset=offset)
        files |= {file["filename"]: file for file in page["files"]}
        offset, total = offset + 1000, page["total"]
    return list(files.values())


def old_files() -> list[str]:
    """Name what was last written before this boot."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return [e.name for e in os.scandir(RECORDINGS) if e.stat().st_mtime < booted]


def surroundings() -> dict[str, Any]:
    """Look at the folder, the journal of this boot and the boot's id."""
    folder = {e.name: e.stat().st_size for e in os.scandir(RECORDINGS) if e.is_file()}
    command = "journalctl -b -u camd -o cat --no-pager"
    log = subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
    return {"boot": boot_id(), "folder": folder, "log": log.splitlines()}


def boot_id() -> str:
    """Return what tells this boot from all others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def main(verb: str, *words: str) -> None:
    match verb:
        case "watch":
            trio.run(watch, list(words))
        case "churn":
            trio.run(churn, int(words[0]), list(words[1:]))
        case "start":
            trio.run(each, list(words), start_one)
        case "stop":
            trio.run(each, list(words), stop_one)
        case "look":
            trio.run(look, dict(word.split("=") for word in words))


if __name__ == "__main__":
    main(*sys.argv[1:])
