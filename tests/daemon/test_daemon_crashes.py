"""FFmpeg or the daemon is killed at any moment: footage is kept and the service continues."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio
from running_daemon import (
    FRAGMENT_FRAMES,
    Daemon,
    NewDaemon,
    check_receipt,
    hash_of,
    listening,
    packets,
    receipt_hash,
    recovery_over,
    small_camera,
)

from camd.client import Client, ConnectionLostError

CAMERAS = ("camera0", "camera1")
STARTING_SECONDS = (0.0, 1.5)  # after asking: mostly before the first file is there
RECORDING_SECONDS = (0.0, 2.5)  # after both record: around cuts, syncs and writes


async def test_a_session_continues_after_ffmpeg_is_killed(daemon: Daemon) -> None:
    """FFmpeg is started again; same session, and the gap is in the ledger."""
    with trio.fail_after(100):
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED")
            (pid,) = daemon.processes()
            os.kill(pid, signal.SIGKILL)
            gap = await notified.recording("GAP")
            assert gap["session_id"] == started["session_id"]
            await notified.recording("ROTATED", 3)
            running = await client.call("get_recording_status", device="camera0")
            assert running["session_id"] == started["session_id"]
            assert running["status"] == "RECORDING"
            (other,) = daemon.processes()
            assert other != pid
            stopped = await client.call("stop_recording", device="camera0")
    assert stopped["session_id"] == started["session_id"]
    receipt = stopped["receipt"]
    await check_receipt(daemon, receipt)
    (entry,) = receipt["gaps"]
    assert entry["cause"] == "encoder_exit"
    assert entry["session_id"] == started["session_id"]
    assert entry["duration"] > 0
    before = max(f["end_time"] for f in receipt["files"] if f["end_time"] <= entry["from"])
    after = min(f["start_time"] for f in receipt["files"] if f["start_time"] >= entry["to"])
    assert (entry["from"], entry["to"]) == (before, after)
    assert "ERROR" not in notified.statuses("camera0")


@attrs.define
class Tally:
    """Counts what the kills interrupted, so that a test that proved nothing fails."""

    kills: int = 0
    interrupted: int = 0
    frames: dict[Path, int] = attrs.field(factory=dict)  # of every file that was left


async def test_a_killed_daemon_costs_at_most_the_fragment_in_flight(
    new_daemon: NewDaemon, clip: tuple[Path, list[str]]
) -> None:
    """SIGKILL at twenty random moments: no process is left, every file plays, all written frames
    are there, and the next start seals interrupted files and records again."""
    source, known = clip
    tally = Tally()

    async def kill_repeatedly(seed: int, rounds: int) -> None:
        daemon = new_daemon()
        copied = {"source": f"file:{source}?loop=false", "codec": "copy"}
        daemon.configure(cameras=[small_camera(), copied])
        rng = random.Random(seed)
        for number in range(rounds):
            await daemon.start()
            await kill_and_check(daemon, rng, number % 4 == 0, known, tally)
        await recover(daemon, tally)

    with trio.fail_after(220):
        async with trio.open_nursery() as nursery:
            for seed in range(4):
                nursery.start_soon(kill_repeatedly, seed, 5)
    assert tally.kills == 20
    assert tally.interrupted >= 20
    assert sum(tally.frames.values()) > 600


async def kill_and_check(
    daemon: Daemon, rng: random.Random, early: bool, known: list[str], tally: Tally
) -> None:
    """Start recordings, kill the daemon at a random moment, and check the files."""
    old = files_of(daemon)
    status: dict[str, Any] = {}
    async with daemon.client() as client, trio.open_nursery() as starters:
        await listed_as_they_are(client, daemon)
        async with trio.open_nursery() as nursery:
            for camera in CAMERAS:
                (starters if early else nursery).start_soon(ask_to_start, client, camera)
        await trio.sleep(rng.uniform(*(STARTING_SECONDS if early else RECORDING_SECONDS)))
        for camera in CAMERAS:
            status[camera] = await client.call("get_recording_status", device=camera)
        daemon.signal(signal.SIGKILL)
        assert await daemon.wait_end() == -signal.SIGKILL
    assert await trio.to_thread.run_sync(daemon.wait_no_processes) == []
    tally.kills += 1
    for camera in CAMERAS:
        new = sorted(files_of(daemon, f"{camera}_") - old)
        held = [await trio.to_thread.run_sync(packets, path) for path in new]
        found = [packet for some in held for packet in some]
        tally.interrupted += bool(new)
        tally.frames |= {path: len(some) for path, some in zip(new, held, strict=True)}
        before = status[camera] or {"frames_written": 0, "frames_captured": 0}
        assert len(found) >= before["frames_written"]
        assert before["frames_captured"] - before["frames_written"] <= FRAGMENT_FRAMES
        if camera == "camera1":
            assert found == known[: len(found)]


async def ask_to_start(client: Client, camera: str) -> None:
    """Start a recording; the daemon may be killed before it answers."""
    with suppress(ConnectionLostError):
        await client.call("start_recording", device=camera)


async def listed_as_they_are(client: Client, daemon: Daemon) -> None:
    """Wait for the end of the recovery; then every file is listed, sealed, as it is on disk."""
    await recovery_over(client)
    listed = (await client.call("list_recordings", limit=1000))["files"]
    sizes = {file["filename"]: file["file_size"] for file in listed}
    assert sizes == {path.name: path.stat().st_size for path in files_of(daemon)}
    for file in listed:
        assert file["status"] == "completed"
        assert file["session_id"]


def files_of(daemon: Daemon, camera: str = "") -> set[Path]:
    """Return the recorded files. A kill between the creation of a file and its first write leaves
    an empty file that was never reported."""
    found = daemon.recordings.glob(f"{camera}*.mp4")
    return {path for path in found if path.stat().st_size}


async def recover(daemon: Daemon, tally: Tally) -> None:
    """Start once more: all frames are served, and recording works."""
    await daemon.start()
    async with daemon.client() as client, listening(client) as notified:
        await listed_as_they_are(client, daemon)
        for file in (await client.call("list_recordings", limit=1000))["files"]:
            path = daemon.recordings / file["filename"]
            assert tally.frames[path] == file["frames"]
            assert (await daemon.get(file["download_url"])).body == path.read_bytes()
            assert file["status"] == "completed"
            assert await hash_of(client, file["filename"]) == receipt_hash(path)
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED")
        receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
    await check_receipt(daemon, receipt)
    await daemon.stop()
