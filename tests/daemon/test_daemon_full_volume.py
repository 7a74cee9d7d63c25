"""A volume that really fills up while a session records to it, and what is there afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from conftest import NewDaemon
from daemon_stage import Daemon, News, check_receipt, hash_of, listening, packets
from kill_account import Left, remains
from small_volume import VOLUME_BYTES, fill, fill_to_the_brim

from camd.client import Client


@attrs.frozen
class Way:
    """How the space goes: the film's speed, the bytes that are left, and what is met first."""

    speed: int
    left_bytes: int
    reason: str


CRITICAL = Way(5, VOLUME_BYTES // 25, "storage: critical")
# So many writes between two samples of the guard that one of them comes first.
TO_THE_BRIM = Way(20, 0, "storage: No space left on device")


@pytest.mark.root
@pytest.mark.parametrize("way", [CRITICAL, TO_THE_BRIM], ids=["critical", "enospc"])
async def test_a_session_waits_for_room_and_every_frame_is_accounted_for(
    new_daemon: NewDaemon, volume: Path, clip: tuple[Path, list[str]], way: Way
) -> None:
    """Paused, the session is sealed and says so; with room again it goes on; what the files hold
    and what the ledger counts are, together, the film without a hole (I3, I4)."""
    source, known = clip
    daemon = new_daemon()
    daemon.thresholds = {}
    daemon.recordings.symlink_to(volume)
    film = {"source": f"file:{source}?speed={way.speed}", "codec": "copy"}
    daemon.configure({"recording": {"rotation": "20s", "fragment": "100ms"}}, [film])
    with trio.fail_after(100):
        await daemon.start()
        async with daemon.client() as client, listening(client) as news:
            started = await client.call("start_recording", device="camera0")
            await news.recording("ROTATED")
            filler = take_space(volume, way.left_bytes)
            await paused(client, news, way)
            await holds_up_while_it_waits(daemon, client, started["session_id"])
            filler.unlink()
            await goes_on(client, news, started["session_id"])
            stopped = await client.call("stop_recording", device="camera0")
            receipt = stopped["receipt"]
            assert stopped["session_id"] == started["session_id"]
            await check_receipt(daemon, receipt)
        await daemon.stop()
        await daemon.start()  # the index may have met the full volume, too: it catches up here
        async with daemon.client() as client:
            await listed_as_told(daemon, client, receipt)
        await daemon.stop()
    (gap,) = receipt["gaps"]
    assert (gap["cause"], gap["exact"]) == ("storage_full", True)
    assert gap["frames"] > 0
    played = [await trio.to_thread.run_sync(packets, path) for path in paths(daemon, receipt)]
    assert_the_film(known, receipt, played)
    assert "Traceback" not in daemon.log


def take_space(volume: Path, left_bytes: int) -> Path:
    """Let a foreign file take the space."""
    return fill(volume, left_bytes=left_bytes) if left_bytes else fill_to_the_brim(volume)


def paths(daemon: Daemon, receipt: dict[str, Any]) -> list[Path]:
    """Return a receipt's files, in order."""
    return [daemon.recordings / file["filename"] for file in receipt["files"]]


async def paused(client: Client, news: News, way: Way) -> None:
    """Wait until clients were told that the session waits, and why."""
    problem = await news.recording("ERROR")
    assert problem["reason"] == way.reason
    space = await news.wait(
        lambda method, params: (
            method == "storage_status_update" and params["threshold_status"] == "critical"
        )
    )
    assert space["code"] == -1010
    status = await client.call("get_recording_status", device="camera0")
    assert (status["status"], status["reason"]) == ("WAITING", way.reason)


async def holds_up_while_it_waits(daemon: Daemon, client: Client, session_id: str) -> None:
    """On the full volume every file is sealed, plays, and is listed as it is."""
    status = await client.call("get_recording_status", device="camera0")
    assert status["session_id"] == session_id
    files = sorted(daemon.recordings.glob("*.mp4"))
    assert [file["filename"] for file in status["files"]] == [path.name for path in files]
    for path, file in zip(files, status["files"], strict=True):
        one = remains(path.read_bytes())
        assert (one.left, file["status"]) == (Left.SEALED, "completed")
        assert len(await trio.to_thread.run_sync(packets, path)) == one.frames == file["frames"]
    assert sum(file["frames"] for file in status["files"]) == status["frames_written"]
    assert status["frames_captured"] > status["frames_written"]


async def goes_on(client: Client, news: News, session_id: str) -> None:
    """Wait until the session records again, and the hole is closed."""
    gap = await news.recording("GAP")
    assert (gap["reason"], gap["session_id"]) == ("storage_full", session_id)
    behind = len(news.statuses("camera0"))
    await news.wait(lambda *_: "ROTATED" in news.statuses("camera0")[behind:])
    status = await client.call("get_recording_status", device="camera0")
    assert (status["status"], status["session_id"]) == ("RECORDING", session_id)


async def listed_as_told(daemon: Daemon, client: Client, receipt: dict[str, Any]) -> None:
    """The index says what the receipt says."""
    listed = (await client.call("list_recordings", limit=1000))["files"]
    assert {file["filename"] for file in listed} == {path.name for path in paths(daemon, receipt)}
    for file in receipt["files"]:
        assert await hash_of(client, file["filename"]) == file["sha256"]
        info = await client.call("get_recording_info", filename=file["filename"])
        assert (info["status"], info["frames"]) == ("completed", file["frames"])
        assert info["gaps"] == receipt["gaps"]


def assert_the_film(
    known: Sequence[str], receipt: dict[str, Any], played: Sequence[Sequence[str]]
) -> None:
    """Go through the film: files hold its packets in order, and entries skip the rest."""
    (gap,) = receipt["gaps"]
    at, skipped = 0, 0
    for found in played:
        if found[0] != known[at % len(known)]:
            at, skipped = at + gap["frames"], skipped + 1
        assert list(found) == [known[n % len(known)] for n in range(at, at + len(found))]
        at += len(found)
    assert (at, skipped) == (receipt["frames_captured"], 1)
