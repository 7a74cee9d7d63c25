"""Removed files stay removed and pinned files stay, through commands, restarts and kills."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from running_daemon import Daemon, NewDaemon, fast_camera, listening

from camd.client import Client, ConnectionLostError


@pytest.fixture
async def rotating(new_daemon: NewDaemon, clip: tuple[Path, list[str]]) -> Daemon:
    """Run a daemon that soon has many files."""
    made = new_daemon()
    made.configure(cameras=[fast_camera(clip[0])])
    await made.start()
    return made


async def recorded(daemon: Daemon, files: int) -> list[str]:
    """Record until there are so many files; return their names, oldest first."""
    async with daemon.client() as client, listening(client) as notified:
        await client.call("start_recording", device="camera0")
        await notified.recording("ROTATED", files - 1)
        receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
    return [file["filename"] for file in receipt["files"]]


async def listed(daemon: Daemon) -> list[str]:
    """Return the listed names, oldest first; check that these files exist."""
    page = await daemon.call("list_recordings", limit=1000)
    names = [file["filename"] for file in reversed(page["files"])]
    assert sorted(names) == sorted(path.name for path in daemon.recordings.glob("*.mp4"))
    return names


async def searched(daemon: Daemon, runs: int) -> None:
    """Wait until so many runs of the daemon have searched the folder."""
    while daemon.log.count("recovery_over") < runs:  # noqa: ASYNC110 - another process writes it
        await trio.sleep(0.05)


async def parsed(daemon: Daemon, *arguments: str) -> Any:
    """Run a command with --json, and parse its output."""
    done = await daemon.camd(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_commands_remove_pin_and_clean_up(rotating: Daemon) -> None:
    """From rm to a forced cleanup, as a user types them; a restart changes nothing."""
    daemon = rotating
    with trio.fail_after(220):
        names = await recorded(daemon, 4)
        assert (await daemon.camd("rm", "--yes", names[0])).returncode == 0
        assert await listed(daemon) == names[1:]
        assert (await daemon.camd("pin", names[1], "--reason", "evidence")).returncode == 0
        refused = await daemon.camd("rm", "--yes", names[1])
        assert refused.returncode == 4
        assert "pinned (-1012)" in refused.stderr

        assert (await daemon.camd("retention", "set", "size", "--gb", "0.000001")).returncode == 0
        preview = await parsed(daemon, "cleanup", "--preview")
        assert [file["filename"] for file in preview["files"]] == names[2:]
        assert [file["filename"] for file in preview["kept"]] == [names[1]]
        stopped_by_limit = await parsed(daemon, "cleanup")
        assert (stopped_by_limit["stopped_by_limit"], stopped_by_limit["files_deleted"]) == (
            True,
            0,
        )

        async with daemon.client() as client, listening(client) as notified:
            forced = await parsed(daemon, "cleanup", "--force")
            assert forced["files_deleted"] == len(names) - 2
            await notified.wait(lambda method, _: method == "retention_update")
        assert await listed(daemon) == [names[1]]

        await daemon.stop()
        (daemon.recordings / ".camd" / "index.sqlite").unlink()
        await daemon.start()
        await searched(daemon, 2)
        assert await listed(daemon) == [names[1]]
        policy = await parsed(daemon, "retention")
        assert (policy["policy_type"], policy["max_size_gb"]) == ("size", 0.000001)
        assert (await parsed(daemon, "info", names[1]))["pin"]["reason"] == "evidence"


async def test_a_kill_during_a_removal_leaves_no_partial_state(rotating: Daemon) -> None:
    """After SIGKILL while files are removed, the listing agrees with the folder, and all confirmed
    removals are done."""
    daemon = rotating
    answered: list[str] = []

    async def remove(client: Client, name: str) -> None:
        with suppress(ConnectionLostError):
            await client.call("delete_recording", filename=name)
            answered.append(name)
            if len(answered) == 2:
                daemon.signal(signal.SIGKILL)  # the others are in the middle of it

    with trio.fail_after(220):
        names = await recorded(daemon, 6)
        async with daemon.client() as client, trio.open_nursery() as nursery:
            for name in names[:-1]:
                nursery.start_soon(remove, client, name)
        assert await daemon.wait_end() == -signal.SIGKILL
        await daemon.start()
        await searched(daemon, 2)
        left = await listed(daemon)
        assert set(left).isdisjoint(answered)
        assert names[-1] in left
        assert set(left) <= set(names)
