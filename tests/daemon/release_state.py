"""The state that a release leaves behind, packed for the tests of later versions.

`PYTHONPATH=tests:tests/daemon python tests/daemon/release_state.py` makes the packed state of this
version: run it once for each release, and keep those of all earlier ones.
"""

from __future__ import annotations

import json
import shutil
import signal
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import trio
from running_daemon import Daemon, hash_of

from camd import __version__

STATES = Path(__file__).parent / "release_states"
KEPT = ("recordings", "snapshots", "state")
CAMERA = {"source": "test:?size=64x48&rate=10", "id": "gate"}
SETTINGS = {"recording": {"rotation": "1s", "resume_sessions": True}}


def unpack(packed_state: Path, folder: Path) -> dict[str, Any]:
    """Unpack the state of a release into a daemon's folder; return what its camd said of it."""
    with tarfile.open(packed_state) as packed:
        packed.extractall(folder, filter="data")
    expected: dict[str, Any] = json.loads((folder / "expected.json").read_bytes())
    return expected


async def describe(daemon: Daemon) -> dict[str, Any]:
    """Ask for all that must outlive an upgrade."""
    async with daemon.client() as client:
        files = (await client.call("list_recordings", limit=1000))["files"]
        for file in files:
            await hash_of(client, file["filename"])
        infos = [await client.call("get_recording_info", filename=f["filename"]) for f in files]
        sessions = (await client.call("get_sessions", limit=1000))["sessions"]
        gaps = (await client.call("get_gaps", limit=1000))["gaps"]
        snapshots = (await client.call("list_snapshots", limit=1000))["files"]
        policy = await client.call("get_retention_policy")
    return {
        "recordings": [
            {key: info.get(key) for key in ("filename", "sha256", "frames", "session_id", "pin")}
            for info in infos
        ],
        "sessions": sorted(session["session_id"] for session in sessions),
        "gaps": [{key: gap[key] for key in ("cause", "from", "to")} for gap in gaps],
        "snapshots": [snapshot["filename"] for snapshot in snapshots],
        "retention": {key: policy.get(key) for key in ("policy_type", "max_age_days")},
    }


async def live_a_little(daemon: Daemon) -> dict[str, Any]:
    """Record through a kill, pin, remove, take a picture, set a policy; return the description."""
    daemon.configure(SETTINGS, [CAMERA])
    await daemon.start()
    await daemon.call("start_recording", device="gate")
    await trio.sleep(2.5)
    daemon.signal(signal.SIGKILL)
    await daemon.wait_end()
    await daemon.start()
    await trio.sleep(3)
    await daemon.call("take_snapshot", device="gate", filename="gate.jpg")
    receipt = (await daemon.call("stop_recording", device="gate"))["receipt"]
    names = [file["filename"] for file in receipt["files"]]
    await daemon.call("pin_recording", filename=names[0], reason="evidence")
    await daemon.call("delete_recording", filename=names[1])
    await daemon.call("set_retention_policy", policy_type="age", enabled=True, max_age_days=36500)
    described = await describe(daemon)
    await daemon.stop()
    return described


async def make(folder: Path) -> None:
    """Make the packed state of this version."""
    daemon = Daemon(folder, {"storage": {"warn_percent": 94, "block_percent": 95}})
    try:
        expected = await live_a_little(daemon)
    finally:
        daemon.clean_up()
    (folder / "expected.json").write_text(json.dumps(expected, indent=1), encoding="utf-8")
    STATES.mkdir(exist_ok=True)
    packed_state = STATES / f"camd-{__version__}.tar.xz"
    with tarfile.open(packed_state, "w:xz") as packed:
        for name in (*KEPT, "expected.json"):
            packed.add(folder / name, name, filter=_anonymous)
    print(packed_state, packed_state.stat().st_size)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out who made the packed_state, and files that stand for space or locks only."""
    if Path(member.name).name in ("reserve", "lock"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    made_in = Path(tempfile.mkdtemp(prefix="camd-release-"))
    try:
        trio.run(make, made_in)
    finally:
        shutil.rmtree(made_in)
