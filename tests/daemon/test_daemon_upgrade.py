"""Upgrades: the state of every release is taken over whole, and a newer one's is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from release_state import CAMERA, SETTINGS, STATES, describe, unpack
from running_daemon import Daemon, NewDaemon

RELEASES = sorted(STATES.glob("camd-*.tar.xz"))


def test_there_is_a_state_to_upgrade_from() -> None:
    """The tests below have something to do."""
    assert RELEASES


@pytest.mark.parametrize("packed_state", RELEASES, ids=lambda path: path.name)
@pytest.mark.parametrize("index", ["kept", "lost"])
async def test_the_state_of_a_release_is_taken_over(
    new_daemon: NewDaemon, packed_state: Path, index: str
) -> None:
    """Recordings, hashes, pins, sessions, ledger, snapshots, policy and key are what they were."""
    daemon = new_daemon()
    expected = unpack(packed_state, daemon.folder)
    if index == "lost":
        (daemon.recordings / ".camd" / "index.sqlite").unlink()
    daemon.configure(SETTINGS, [CAMERA])
    with trio.fail_after(100):
        await daemon.start()
        await daemon.wait_log("recovery_over")
        assert await describe(daemon) == expected
        await daemon.call("start_recording", device="gate")
        receipt = (await daemon.call("stop_recording", device="gate"))["receipt"]
        assert receipt["durable"]
        await daemon.stop()
        checked = await daemon.camd("verify")
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("folder", ["state", "recordings/.camd"])
async def test_a_newer_state_is_refused_and_left_alone(new_daemon: NewDaemon, folder: str) -> None:
    """The start ends with 78, so that systemd does not repeat it, and names the newer version."""
    daemon = new_daemon()
    unpack(RELEASES[-1], daemon.folder)
    marker = daemon.folder / folder / "format.json"
    marker.write_text(json.dumps({"version": 99, "written_by": "9.9.9"}), encoding="utf-8")
    daemon.configure(SETTINGS, [CAMERA])
    before = footage(daemon)
    daemon.launch()
    assert await daemon.wait_end() == 78
    assert "was last used by camd 9.9.9, in format 99" in daemon.log
    assert "Traceback" not in daemon.log
    assert footage(daemon) == before


def footage(daemon: Daemon) -> dict[str, bytes]:
    """Return everything in the folder of the recordings, but the lock."""
    files = (path for path in daemon.recordings.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.name not in ("lock", "reserve")}
