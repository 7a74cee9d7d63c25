"""Checking and recovering what a real daemon recorded, beside it and after it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import trio
from running_daemon import Daemon, NewDaemon, fast_camera, listening, recovery_over

SCRUB = {"scrub": {"enabled": True, "interval": "1m"}}


async def _recorded(daemon: Daemon, rotations: int = 2) -> list[str]:
    """Record until there were so many rotations; return the names of the files."""
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED", rotations)
        stopped = await client.call("stop_recording", device="camera0")
    return [file["filename"] for file in stopped["receipt"]["files"]]


def _spoil(daemon: Daemon, name: str) -> None:
    path = daemon.recordings / name
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat", 64) + 20] ^= 1
    path.write_bytes(data)


async def _verified(daemon: Daemon) -> tuple[int, dict[str, Any]]:
    done = await daemon.camd("verify", "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_verify_finds_nothing_wrong_at_any_moment(daemon: Daemon) -> None:
    """While two cameras record and rotate, one of them to Matroska, and when they have stopped."""
    with trio.fail_after(300):
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="camera0")
            await client.call("start_recording", device="camera1", format="mkv")
            for rotation in range(1, 4):
                await notified.recording("ROTATED", rotation, camera_id="camera0")
                status, verdict = await _verified(daemon)
                assert (status, verdict["findings"]) == (0, [])
            await notified.recording("ROTATED", camera_id="camera1")  # it may have begun late
            await client.call("stop_recording", device="camera0")
            await client.call("stop_recording", device="camera1")
        status, verdict = await _verified(daemon)
        assert (status, verdict["findings"], verdict["recording"]) == (0, [], [])
        assert verdict["files"] >= 6


async def test_what_a_kill_left_is_reported_and_recovered(daemon: Daemon) -> None:
    """`verify` finds the interrupted file, recovery seals it, then `verify` finds nothing."""
    with trio.fail_after(300):
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED")
            beside = await daemon.camd("recover")
            assert (beside.returncode, "systemctl stop" in beside.stderr) == (1, True)
            daemon.signal(signal.SIGKILL)
            await daemon.wait_end()
        status, verdict = await _verified(daemon)
        assert status == 1
        assert {finding["fault"] for finding in verdict["findings"]} == {"interrupted"}
        dry = await daemon.camd("recover", "--dry-run", "--json")
        done = await daemon.camd("recover", "--reindex", "--json")
        assert (dry.returncode, done.returncode) == (1, 0)
        assert json.loads(dry.stdout)["findings"] == [
            {**finding, "detail": "would be sealed in place"}
            for finding in json.loads(done.stdout)["findings"]
        ]
        assert await _verified(daemon) == (0, (await _verified(daemon))[1])
        await daemon.start()
        async with daemon.client() as client:
            page = await client.call("list_recordings", session_id=started["session_id"])
            assert {file["status"] for file in page["files"]} == {"completed"}
            assert (await recovery_over(client))["files"] == 0


async def test_the_scrub_reports_damage_to_clients(
    new_daemon: NewDaemon, clip: tuple[Path, list[str]]
) -> None:
    """A changed bit causes an event, an error in the log, and an entry in the status; a stop during
    the scrub is in order."""
    daemon = new_daemon()
    cameras = [fast_camera(clip[0])]
    daemon.configure(cameras=cameras)
    with trio.fail_after(300):
        await daemon.start()
        names = await _recorded(daemon)
        await daemon.stop()
        _spoil(daemon, names[0])
        daemon.configure(SCRUB, cameras=cameras)
        await daemon.start()
        await daemon.wait_log("scrub_over")
        made = (await daemon.call("get_status"))["scrub"]["last_round"]
        assert (made["files_checked"], made["problem_count"]) == (len(names), 1)
        assert made["problems"][0]["filename"] == names[0]
        assert "recording_damaged" in daemon.log
        await daemon.stop()
    assert (daemon.folder / "state" / "scrub.json").exists()
