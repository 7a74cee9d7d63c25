"""What dies may die at any moment: FFmpeg, or the daemon itself. Footage and service remain."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio
from conftest import NewDaemon
from daemon_stage import (
    FRAGMENT_FRAMES,
    Daemon,
    check_receipt,
    listening,
    packets,
    small_camera,
)

from camd.client import Client, ConnectionLostError

CAMERAS = ("camera0", "camera1")
KILL_SECONDS = (0.3, 2.6)  # the first file is there after about 0.8 s, and cut after 1.8 s


async def test_a_session_survives_the_death_of_ffmpeg(daemon: Daemon) -> None:
    """Killed in a session, FFmpeg is started again; same session, and the gap is accounted for."""
    with trio.fail_after(40):
        async with daemon.client() as client, listening(client) as news:
            started = await client.call("start_recording", device="camera0")
            await news.recording("ROTATED")
            (child,) = daemon.children()
            os.kill(child, signal.SIGKILL)
            gap = await news.recording("GAP")
            assert gap["session_id"] == started["session_id"]
            await news.recording("ROTATED", 3)
            running = await client.call("get_recording_status", device="camera0")
            assert running["session_id"] == started["session_id"]
            assert running["status"] == "RECORDING"
            (other,) = daemon.children()
            assert other != child
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
    assert "ERROR" not in news.statuses("camera0")


@attrs.define
class Tally:
    """What the kills met, so that a run that proved nothing shows."""

    kills: int = 0
    interrupted: int = 0
    frames: int = 0


async def test_a_killed_daemon_costs_at_most_the_fragment_in_flight(
    new_daemon: NewDaemon, clip: tuple[Path, list[str]]
) -> None:
    """SIGKILL at twenty random moments: no child is left, every file plays, what was written is
    there without a hole, and the next start lists the interrupted files and records again."""
    source, known = clip
    tally = Tally()

    async def torment(seed: int, rounds: int) -> None:
        daemon = new_daemon()
        copied = {"source": f"file:{source}?loop=false", "codec": "copy"}
        daemon.configure(cameras=[small_camera(), copied])
        moments = random.Random(seed)
        for _ in range(rounds):
            await survive_kill(daemon, moments.uniform(*KILL_SECONDS), known, tally)
        await recover(daemon)

    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            for seed in (1, 2):
                nursery.start_soon(torment, seed, 10)
    assert tally.kills == 20
    assert tally.interrupted >= 15
    assert tally.frames > 400


async def survive_kill(daemon: Daemon, seconds: float, known: list[str], tally: Tally) -> None:
    """Start daemon and recordings, kill it `seconds` later, and look at what is there."""
    await daemon.start()
    old = {path.name for path in daemon.recordings.glob("*.mp4")}
    status: dict[str, Any] = {}
    async with daemon.client() as client, trio.open_nursery() as nursery:
        listed = await client.call("list_recordings", limit=1000)
        states = {file["filename"]: file["status"] for file in listed["files"]}
        assert set(states) <= old
        assert set(states.values()) <= {"completed", "interrupted"}
        for camera in CAMERAS:
            nursery.start_soon(ask_to_start, client, camera)
        await trio.sleep(seconds)  # the moment is the experiment
        for camera in CAMERAS:
            status[camera] = await client.call("get_recording_status", device=camera)
        daemon.signal(signal.SIGKILL)
        assert await daemon.wait_end() == -signal.SIGKILL
    assert await trio.to_thread.run_sync(daemon.wait_no_children, 1.0) == []
    tally.kills += 1
    for camera in CAMERAS:
        new = sorted(set(daemon.recordings.glob(f"{camera}_*.mp4")) - {daemon.recordings / name for name in old})
        found = [p for path in new for p in await trio.to_thread.run_sync(packets, path)]
        tally.interrupted += bool(new)
        tally.frames += len(found)
        before = status[camera] or {"frames_written": 0, "frames_captured": 0}
        assert len(found) >= before["frames_written"]
        assert before["frames_captured"] - before["frames_written"] <= FRAGMENT_FRAMES
        if camera == "camera1":
            assert found == known[: len(found)]


async def ask_to_start(client: Client, camera: str) -> None:
    """Start a recording; the daemon may die before it answers."""
    with suppress(ConnectionLostError):
        await client.call("start_recording", device=camera)


async def recover(daemon: Daemon) -> None:
    """After all that, the same folder is served, and recorded into."""
    await daemon.start()
    async with daemon.client() as client, listening(client) as news:
        listed = await client.call("list_recordings", limit=1000)
        on_disk = {path.name for path in daemon.recordings.glob("*.mp4")}
        assert {file["filename"] for file in listed["files"]} <= on_disk
        for file in listed["files"]:
            info = await client.call("get_recording_info", filename=file["filename"])
            body = await daemon.get(file["download_url"])
            assert body.body == (daemon.recordings / file["filename"]).read_bytes()
            assert info["status"] in ("completed", "interrupted")
        await client.call("start_recording", device="camera0")
        await news.recording("ROTATED")
        receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
    await check_receipt(daemon, receipt)
    await daemon.stop()
