"""A volume that really fills up while a session records to it, and what is there afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from kill_rules import FileState, inspect_file
from running_daemon import (
    Daemon,
    NewDaemon,
    Notifications,
    check_receipt,
    hash_of,
    listening,
    packets,
    small_camera,
)
from small_volume import VOLUME_BYTES, fill, fill_completely

from camd.client import Client


@attrs.frozen
class Way:
    """How the volume fills up: speed of the clip, bytes left, and the error that comes first."""

    speed: int
    left_bytes: int
    reason: str


CRITICAL = Way(5, VOLUME_BYTES // 25, "storage: critical")
# Many writes between two samples of the space monitor, so that a write fails first.
NO_SPACE_LEFT = Way(20, 0, "storage: No space left on device")


@pytest.mark.root
@pytest.mark.parametrize("way", [CRITICAL, NO_SPACE_LEFT], ids=["critical", "enospc"])
async def test_a_session_waits_for_space_and_every_frame_is_accounted_for(
    new_daemon: NewDaemon, volume: Path, clip: tuple[Path, list[str]], way: Way
) -> None:
    """The session pauses with its file sealed, and continues when there is space; files and ledger
    entries together are the whole clip (I3, I4)."""
    source, known = clip
    daemon = new_daemon()
    daemon.thresholds = {}
    daemon.recordings.symlink_to(volume)
    clip_camera = {"source": f"file:{source}?speed={way.speed}", "codec": "copy"}
    daemon.configure({"recording": {"rotation": "20s", "fragment": "100ms"}}, [clip_camera])
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED")
            filler = take_space(volume, way.left_bytes)
            await paused(client, notified, way)
            await check_files_while_paused(daemon, client, started["session_id"])
            filler.unlink()
            await goes_on(client, notified, started["session_id"])
            stopped = await client.call("stop_recording", device="camera0")
            receipt = stopped["receipt"]
            assert stopped["session_id"] == started["session_id"]
            await check_receipt(daemon, receipt)
        await daemon.stop()
        await (
            daemon.start()
        )  # the index may have failed on the full volume, too; it is complete by now
        async with daemon.client() as client:
            await check_listing(daemon, client, receipt)
        await daemon.stop()
    # Until the level is known, camd may try again: each attempt that fails has an entry.
    assert {(gap["cause"], gap["exact"]) for gap in receipt["gaps"]} == {("storage_full", True)}
    assert all(gap["frames"] > 0 for gap in receipt["gaps"])
    played = [await trio.to_thread.run_sync(packets, path) for path in paths(daemon, receipt)]
    check_against_the_clip(known, receipt, played)
    assert "Traceback" not in daemon.log


def take_space(volume: Path, left_bytes: int) -> Path:
    """Fill the space with another file."""
    return fill(volume, left_bytes=left_bytes) if left_bytes else fill_completely(volume)


def paths(daemon: Daemon, receipt: dict[str, Any]) -> list[Path]:
    """Return a receipt's files, in order."""
    return [daemon.recordings / file["filename"] for file in receipt["files"]]


async def paused(client: Client, notified: Notifications, way: Way) -> None:
    """Wait for the notification that the session is paused, with its reason."""
    problem = await notified.recording("ERROR")
    assert problem["reason"] == way.reason
    space = await notified.wait(
        lambda method, params: (
            method == "storage_status_update" and params["threshold_status"] == "critical"
        )
    )
    assert space["code"] == -1010
    while True:  # until an attempt that began before the level was known has failed as well
        status = await client.call("get_recording_status", device="camera0")
        if status["status"] == "WAITING":
            break
        await trio.sleep(0.05)
    assert status["reason"] in (way.reason, CRITICAL.reason)


async def check_files_while_paused(daemon: Daemon, client: Client, session_id: str) -> None:
    """Check that on the full volume every file is sealed, plays, and is listed as it is."""
    status = await client.call("get_recording_status", device="camera0")
    assert status["session_id"] == session_id
    files = sorted(daemon.recordings.glob("*.mp4"))
    assert [file["filename"] for file in status["files"]] == [path.name for path in files]
    for path, file in zip(files, status["files"], strict=True):
        one = inspect_file(path.read_bytes())
        assert (one.left, file["status"]) == (FileState.SEALED, "completed")
        assert len(await trio.to_thread.run_sync(packets, path)) == one.frames == file["frames"]
    assert sum(file["frames"] for file in status["files"]) == status["frames_written"]
    assert status["frames_captured"] > status["frames_written"]


async def goes_on(client: Client, notified: Notifications, session_id: str) -> None:
    """Wait until the session records again and the gap has ended."""
    gap = await notified.recording("GAP")
    assert (gap["reason"], gap["session_id"]) == ("storage_full", session_id)
    behind = len(notified.statuses("camera0"))
    await notified.wait(lambda *_: "ROTATED" in notified.statuses("camera0")[behind:])
    status = await client.call("get_recording_status", device="camera0")
    assert (status["status"], status["session_id"]) == ("RECORDING", session_id)


async def check_listing(daemon: Daemon, client: Client, receipt: dict[str, Any]) -> None:
    """Check that the index agrees with the receipt."""
    listed = (await client.call("list_recordings", limit=1000))["files"]
    assert {file["filename"] for file in listed} == {path.name for path in paths(daemon, receipt)}
    for file in receipt["files"]:
        assert await hash_of(client, file["filename"]) == file["sha256"]
        info = await client.call("get_recording_info", filename=file["filename"])
        assert (info["status"], info["frames"]) == ("completed", file["frames"])
        assert info["gaps"] == receipt["gaps"]


def check_against_the_clip(
    known: Sequence[str], receipt: dict[str, Any], played: Sequence[Sequence[str]]
) -> None:
    """Check that files have the packets of the clip in order, and that gaps cover the rest."""
    gaps, at = list(receipt["gaps"]), 0
    for found in played:
        while gaps and found[0] != known[at % len(known)]:
            at += gaps.pop(0)["frames"]
        assert list(found) == [known[n % len(known)] for n in range(at, at + len(found))]
        at += len(found)
    assert (at, gaps) == (receipt["frames_captured"], [])


@pytest.mark.root
async def test_the_first_start_on_a_full_volume_waits_for_space(
    new_daemon: NewDaemon, volume: Path
) -> None:
    """The service starts all the same, since nobody would start it again; then it makes its key."""
    daemon = new_daemon()
    daemon.thresholds = {}
    daemon.folder.mkdir(parents=True, exist_ok=True)
    state = volume / "state"
    recordings = str(volume / "recordings")
    daemon.configure(
        {"storage": {"state_dir": str(state), "recordings_dir": recordings}}, [small_camera()]
    )
    filler = fill_completely(volume)
    with trio.fail_after(300):
        await daemon.start()
        assert "admin_key_not_written" in daemon.log
        filler.unlink()
        await daemon.wait_log("admin_key_written")
        await daemon.wait_log('"now": "ok"')
        key = (state / "admin.key").read_text(encoding="ascii").strip()
        async with daemon.client(key) as client:
            await client.call("start_recording", device="camera0")
            stopped = await client.call("stop_recording", device="camera0")
        assert stopped["receipt"]["durable"]
        await daemon.stop()
