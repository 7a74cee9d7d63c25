"""Runs inside the machine whose power is cut: starts and stops recordings, and reports.

power_cuts_agent.py watch CAMERA..            observe until the end
power_cuts_agent.py churn SEED CAMERA..       stop and start recordings repeatedly
power_cuts_agent.py start|stop CAMERA..       once
power_cuts_agent.py look CAMERA=SESSION..     wait until these record, then print everything
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio
from power_cuts_observer import ADDRESS, RECORDINGS, Observer, boot_id, file_line, until_lost, watch

from camd.client import Client, RemoteError, connect

SETTLE_SECONDS = 300.0


async def start_one(client: Client, observer: Observer, camera: str) -> None:
    """Start a recording; report before and after."""
    observer.tell("starting", drain=True, c=camera)
    started = await client.call("start_recording", device=camera)
    observer.tell("started", drain=True, c=camera, id=started["session_id"])


async def stop_one(client: Client, observer: Observer, camera: str) -> None:
    """Stop a recording; report before, and the receipt after."""
    status = await client.call("get_recording_status", device=camera)
    if status is None:
        return
    observer.tell("stopping", drain=True, c=camera, id=status["session_id"])
    stopped = await client.call("stop_recording", device=camera)
    receipt = stopped["receipt"]
    facts = {
        "files": [file_line(file) for file in receipt["files"]],
        "captured": receipt["frames_captured"],
        "written": receipt["frames_written"],
        "lost": sum(gap["frames"] for gap in receipt["gaps"] if gap["exact"]),
        "durable": receipt["durable"],
    }
    observer.tell("receipt", drain=True, c=camera, id=stopped["session_id"], **facts)


async def each(cameras: list[str], work: Callable[..., Any]) -> None:
    """Run `work` for all cameras at the same time."""
    observer = Observer()
    async with connect(ADDRESS, reconnect=False) as client, trio.open_nursery() as nursery:
        for camera in cameras:
            nursery.start_soon(work, client, observer, camera)


async def churn(seed: int, cameras: list[str]) -> None:
    """Stop and start all cameras at random until the power is cut."""
    rng = random.Random(seed)

    async def go_on(client: Client, observer: Observer, camera: str) -> None:
        while True:
            await trio.sleep(rng.uniform(0.5, 4.0))
            with suppress(RemoteError):
                await stop_one(client, observer, camera)
                await start_one(client, observer, camera)

    await each(cameras, go_on)


async def look(expected: dict[str, str]) -> None:
    """Print camd's whole state as JSON, once the expected sessions record or time is up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    found: dict[str, Any] = {}
    while time.monotonic() < deadline and not all_queried(found, expected):
        await trio.sleep(0.5)
        await until_lost(lambda client: monitor(client, expected, found))
    print(json.dumps(found | surroundings()))


def all_queried(found: dict[str, Any], expected: dict[str, str]) -> bool:
    """Tell whether recovery is over and all expected sessions record."""
    if not found:
        return False
    statuses = found["status"]
    there = all(statuses[camera] for camera, session in expected.items() if session)
    recording = all(s["status"] == "RECORDING" for s in statuses.values() if s)
    return there and recording and all(f["status"] != "interrupted" for f in found["files"])


async def monitor(client: Client, cameras: dict[str, str], found: dict[str, Any]) -> None:
    """Read camd's state in an order in which later answers contain what was added meanwhile."""
    folder = old_files()
    files = await listing(client)
    status = {c: await client.call("get_recording_status", device=c) for c in cameras}
    last = {file["session_id"]: file["filename"] for file in files}
    gaps = []
    for filename in last.values():
        gaps += (await client.call("get_recording_info", filename=filename))["gaps"]
    found |= {"files": files, "gaps": gaps, "status": status, "old": folder}


async def listing(client: Client) -> list[dict[str, Any]]:
    """List all recordings, newest first; new ones shift the pages."""
    files: dict[str, dict[str, Any]] = {}
    offset, total = 0, 1
    while offset < total:
        page = await client.call("list_recordings", limit=1000, offset=offset)
        files |= {file["filename"]: file for file in page["files"]}
        offset, total = offset + 1000, page["total"]
    return list(files.values())


def old_files() -> list[str]:
    """Return the files that were last written before this boot."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return [e.name for e in os.scandir(RECORDINGS) if e.stat().st_mtime < booted]


def surroundings() -> dict[str, Any]:
    """Read the folder, the journal of this boot and the boot's id."""
    folder = {e.name: e.stat().st_size for e in os.scandir(RECORDINGS) if e.is_file()}
    command = "journalctl -b -u camd -o cat --no-pager"
    log = subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
    return {"boot": boot_id(), "folder": folder, "log": log.splitlines()}


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
