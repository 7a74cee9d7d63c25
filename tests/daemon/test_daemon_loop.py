"""The event loop never waits for a disk, the index, a resolver or a fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import loop_watch
import pytest
import trio
from running_daemon import Daemon, NewDaemon, listening, small_camera

from camd.client import RemoteError, connect

LOOKS = (
    *("get_camera_list", "get_devices", "get_sessions", "get_gaps", "list_recordings"),
    *("get_storage_info", "get_status", "get_server_info", "get_retention_policy"),
    *("get_system_status", "rpc.discover"),
)
OF_ONE = ("get_camera_status", "get_camera_capabilities", "get_recording_status")


async def test_no_file_system_call_is_made_on_the_event_loop(
    new_daemon: NewDaemon, clip: tuple[Path, list[str]]
) -> None:
    """Not at start, recording, rotation, listing, download, reload, removal and stop."""
    daemon, report = new_daemon(), new_daemon().folder / "report"
    path = daemon.folder / "camd.sock"
    cameras = [
        small_camera(),
        small_camera(always_on=True),
        {"source": f"file:{clip[0]}?loop=true", "id": "clip"},
        {"source": f"file:{daemon.folder}/missing.mp4", "id": "missing"},
    ]
    settings = {
        "server": {
            "listen": ["127.0.0.1:0", f"unix:{path}"],
            "health_listen": "localhost:0",
        },
        "discovery": {"v4l2": True},
        "scrub": {"enabled": True},
        "recording": {"resume_sessions": True},
    }
    daemon.configure(settings, cameras)
    with trio.fail_after(100):
        for _ in range(2):  # the second one finds files, an index and a session to resume
            await daemon.start(
                [sys.executable, loop_watch.__file__, str(report), *daemon.run_command[3:]]
            )
            await use(daemon, path)
            await daemon.stop()
    assert report.read_text(encoding="utf-8") == ""


async def use(daemon: Daemon, path: Path) -> None:
    """Use the daemon as clients, scripts and the service manager do."""
    async with daemon.client() as client, listening(client) as notified:
        for camera in ("camera0", "clip"):
            await client.call("start_recording", device=camera, key="again")
        await notified.recording("ROTATED", 2)
        for method in LOOKS:
            await client.call(method)
        for method in OF_ONE:
            await client.call(method, device="clip")
        for name in ("/dev/null", "/dev/no-such-link", "/dev/../etc/passwd", "nobody"):
            with pytest.raises(RemoteError):
                await client.call("start_recording", device=name)
        with pytest.raises(RemoteError):
            await client.call("start_recording", device="missing")
        receipt = (await client.call("stop_recording", device="clip"))["receipt"]
        name = receipt["files"][0]["filename"]
        await client.call("get_recording_info", filename=name)
        await client.call("pin_recording", filename=name)
        await client.call("unpin_recording", filename=name)
        for headers in ({}, {"Range": "bytes=10-99"}):
            answer = await daemon.get(f"/files/recordings/{name}", headers=headers)
            assert answer.status in (200, 206)
        await client.call("delete_recording", filename=name)
        assert (await daemon.get("/files/recordings/../camd.toml")).status == 404
        assert (await daemon.get("/health/system")).status == 200
        await client.call("set_retention_policy", enabled=True, policy_type="age", max_age_days=300)
        await client.call("preview_cleanup")
        await client.call("cleanup_old_files")
        await client.call("reload_config")
        daemon.signal(signal.SIGHUP)
        await daemon.wait_log("reloaded")
    async with connect(f"unix:{path}", reconnect=False) as client:
        assert await client.call("ping") == "pong"


ON_THE_LOOP = """
import encodings.idna, os, socket, sqlite3, sys, trio
import loop_watch
report = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
loop_watch.watch(report)
os.stat("/")  # before the loop: of no interest

async def main():
    os.stat("/")
    os.path.exists("/")
    os.path.realpath("/tmp")
    open(os.devnull).close()
    os.listdir("/")
    socket.getaddrinfo("localhost", 80)
    socket.getaddrinfo("127.0.0.1", 80, 0, 0, 0, socket.AI_NUMERICHOST)
    await trio.to_thread.run_sync(os.stat, "/")
    sqlite3.connect(":memory:").execute("SELECT 1")

trio.run(main)
"""


def test_the_watch_reports_calls_on_the_loop_and_no_others(tmp_path: Path) -> None:
    """Audited and wrapped calls, queries and names, in the order in which they were made."""
    report = tmp_path / "report"
    folder = str(Path(loop_watch.__file__).parent)
    subprocess.run(
        [sys.executable, "-c", ON_THE_LOOP, str(report)],
        env=os.environ | {"PYTHONPATH": folder},
        check=True,
    )
    seen = [line.split()[0] for line in report.read_text(encoding="utf-8").splitlines()]
    wanted = ["os.stat", "os.stat", "os.lstat", "open", "os.listdir", "getaddrinfo"]
    found = [name for name in seen if name in (*wanted, "sqlite3.connect", "sqlite3")]
    assert found == [*wanted, "sqlite3.connect", "sqlite3"]
