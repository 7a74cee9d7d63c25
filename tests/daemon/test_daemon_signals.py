"""Signals, and what the service manager sees: stop, stop now, reload, ready, alive."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from live_viewer import closed_with, watching
from running_daemon import (
    Daemon,
    NewDaemon,
    frames_in,
    listening,
    receipt_hash,
    record_with_frozen_ffmpeg,
    small_camera,
)

from camd.client import RemoteError, connect

ACTIVATE = shutil.which("systemd-socket-activate") or "/usr/bin/systemd-socket-activate"


async def test_a_signal_stops_the_daemon_and_seals_what_it_records(new_daemon: NewDaemon) -> None:
    """SIGTERM or SIGINT: exit status 0, no child process, every file sealed, with the hash that the
    next start reports."""
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for number in (signal.SIGTERM, signal.SIGINT):
                nursery.start_soon(stops_and_seals, new_daemon(), number)


async def stops_and_seals(daemon: Daemon, number: signal.Signals) -> None:
    """Record with two cameras, send the signal, and compare the files with the listing."""
    daemon.configure(cameras=[small_camera(), small_camera()])
    await daemon.start()
    async with daemon.client() as client, listening(client) as notified:
        for camera in ("camera0", "camera1"):
            await client.call("start_recording", device=camera)
        await notified.recording("ROTATED")
        daemon.signal(number)
        assert await daemon.wait_end() == 0
        stopped = [params for _, params in notified.items if params.get("status") == "STOPPED"]
        assert {params["reason"] for params in stopped} <= {"shutdown"}
    assert daemon.processes() == []
    assert "Traceback" not in daemon.log
    await daemon.start()
    async with daemon.client() as client:
        listed = (await client.call("list_recordings"))["files"]
        assert {file["filename"] for file in listed} == {
            path.name for path in daemon.recordings.glob("*.mp4")
        }
        for file in listed:
            assert file["status"] == "completed"
            info = await client.call("get_recording_info", filename=file["filename"])
            path = daemon.recordings / file["filename"]
            assert info["sha256"] == receipt_hash(path)
            assert await frames_in(path) == file["frames"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_a_stop_that_takes_long(
    daemon: Daemon, number: signal.Signals
) -> None:
    """With an FFmpeg that does not react, a second signal ends the daemon at once; no process is
    left, and every file plays."""
    with trio.fail_after(300):
        await record_with_frozen_ffmpeg(daemon)
        daemon.signal(number)
        await daemon.wait_notice("STOPPING=1")
        daemon.signal(number)
        assert await daemon.wait_end() == 1
        assert await trio.to_thread.run_sync(daemon.wait_no_processes) == []
    assert "Traceback" not in daemon.log
    for path in daemon.recordings.glob("*.mp4"):
        assert await frames_in(path) > 0


async def test_an_ffmpeg_that_does_not_react_does_not_prevent_the_stop(daemon: Daemon) -> None:
    """A frozen FFmpeg is killed in time; the session is sealed and the exit status is 0."""
    with trio.fail_after(300):
        await record_with_frozen_ffmpeg(daemon)
        await daemon.stop()
        assert daemon.processes() == []
    for path in daemon.recordings.glob("*.mp4"):
        assert await frames_in(path) > 0


async def test_a_reload_changes_rotation_and_thresholds_of_what_runs(
    new_daemon: NewDaemon,
) -> None:
    """By SIGHUP and by call: same session, same FFmpeg process, shorter files, other thresholds."""
    daemon = new_daemon()
    daemon.configure({"recording": {"rotation": "1h"}}, [small_camera()])
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            processes = daemon.processes()
            daemon.configure({"recording": {"rotation": "1s"}}, [small_camera()])
            daemon.signal(signal.SIGHUP)
            await notified.recording("ROTATED", 2)
            new = {
                "recording": {"rotation": "1h"},
                "storage": {"warn_percent": 81.0, "block_percent": 94.5},
                "server": {"max_connections": 7},
            }
            daemon.configure(new, [small_camera(), small_camera(id="late")])
            changes = await client.call("reload_config")
            assert set(changes["applied"]) == {
                *("recording.rotation", "storage.warn_percent", "storage.block_percent"),
                "camera.late",
            }
            assert changes["restart_needed"] == ["server.max_connections"]
            space = await client.call("get_storage_info")
            assert (space["warn_threshold"], space["block_threshold"]) == (81.0, 94.5)
            late = await client.call("start_recording", device="late")
            assert late["status"] == "STARTED"
            status = await client.call("get_recording_status", device="camera0")
            assert status["session_id"] == started["session_id"]
            assert status["gaps"] == []
            assert set(processes) < set(daemon.processes())
        await daemon.stop()


async def test_a_reload_removes_and_changes_cameras_that_do_not_record(
    new_daemon: NewDaemon,
) -> None:
    """The viewers of a removed one are told, its recordings stay; one that records stays, too."""
    daemon = new_daemon()
    front, back = small_camera(id="front"), small_camera(id="back")
    larger = {**front, "source": "test:?size=320x240&rate=30"}
    daemon.configure({}, [front, back])
    with trio.fail_after(300):
        await daemon.start()
        async with (
            daemon.client() as client,
            listening(client) as notified,
            watching(daemon, "back") as viewer,
        ):
            for name in ("back", "front"):
                await client.call("start_recording", device=name)
            await client.call("stop_recording", device="back")
            await viewer.until_binaries(3)
            daemon.configure({}, [larger])
            changes = await client.call("reload_config")
            assert changes["applied"] == ["camera.back"]
            assert changes["restart_needed"] == ["camera.front"]
            told = await notified.wait(
                lambda _, params: params.get("message") == "The camera was removed"
            )
            assert (told["camera_id"], told["status"]) == ("back", "DISCONNECTED")
            assert (await viewer.until_told("ended"))["cause"] == "camera_removed"
            assert await closed_with(viewer) == (1000, "camera_removed")
            listed = await client.call("get_camera_list")
            assert [each["camera_id"] for each in listed["cameras"]] == ["front"]
            kept = await client.call("list_recordings", camera="back")
            assert kept["total"] >= 1
            receipt = (await client.call("stop_recording", device="front"))["receipt"]
            assert receipt["gaps"] == []
            changes = await client.call("reload_config")
            assert changes["applied"] == ["camera.front"]
            assert changes["restart_needed"] == []
            started = await client.call("start_recording", device="front")
            await client.call("stop_recording", device="front")
            info = await client.call("get_recording_info", filename=started["filename"])
            assert info["resolution"] == "320x240"
            with pytest.raises(RemoteError, match="Camera not found"):
                await client.call("start_recording", device="back")
        await daemon.stop()


async def test_a_broken_file_is_refused_with_its_mistakes_and_changes_nothing(
    daemon: Daemon,
) -> None:
    """The answer and the log have every mistake; the old configuration stays."""
    with trio.fail_after(300):
        async with daemon.client() as client:
            before = await client.call("get_storage_info")
            daemon.configure(
                {"recording": {"rotation": "soon"}, "storage": {"warn_percnt": 7}},
                [small_camera()],
            )
            with pytest.raises(RemoteError) as refused:
                await client.call("reload_config")
            assert refused.value.code == -32602
            paths = {error["path"] for error in refused.value.data["errors"]}
            assert paths == {"recording.rotation", "storage.warn_percnt"}
            daemon.signal(signal.SIGHUP)
            await daemon.wait_log("configuration_refused")
            daemon.config_file.write_text("[", encoding="utf-8")
            with pytest.raises(RemoteError):
                await client.call("reload_config")
            after = await client.call("get_storage_info")
            assert after["warn_threshold"] == before["warn_threshold"]
            assert (await client.call("get_camera_list"))["total"] == 2
            answer = await client.call("start_recording", device="camera1")
            assert answer["status"] == "STARTED"
        await daemon.stop()
    assert "Traceback" not in daemon.log


# --- systemd --------------------------------------------------------------------------------

LAUNCHER = """
import os, sys
count = int(sys.argv[1])
sources = [int(text) for text in sys.argv[2 : 2 + count]]
for number, source in enumerate(sources):
    os.dup2(source, 3 + number)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(count)
command = sys.argv[2 + count :]
os.execv(command[0], command)
"""


async def test_the_daemon_follows_the_protocol_of_systemd(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """It serves on inherited TCP and Unix sockets, and notifies ready, watchdog and stopping."""
    daemon = new_daemon()
    daemon.configure({"server": {"listen": "127.0.0.1:1"}}, [small_camera()])  # not used
    daemon.environ["WATCHDOG_USEC"] = "300000"
    path = tmp_path / "camd.sock"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        trio.fail_after(300),
    ):
        unix.bind(str(path))
        unix.listen()
        port = tcp.getsockname()[1]
        sources = [tcp.fileno(), unix.fileno()]
        command = [sys.executable, "-c", LAUNCHER, "2", *map(str, sources), *daemon.run_command]
        daemon.launch(command, pass_fds=sources)
        notices = []
        while notices.count("WATCHDOG=1") < 3 or not any("READY=1" in text for text in notices):
            notice = await daemon.next_notice(300)
            assert notice is not None, daemon.log
            notices.append(notice)
        ready = next(notice for notice in notices if "READY=1" in notice)
        assert f"127.0.0.1:{port}" in ready
        assert f"unix:{path}" in ready
        async with trio.open_nursery() as nursery:
            # Beside all that follows: what nobody takes fills the socket, and more is lost.
            nursery.start_soon(daemon.wait_notice, "STOPPING=1")
            async with connect(f"ws://127.0.0.1:{port}/ws", daemon.key, reconnect=False) as client:
                assert await client.call("ping") == "pong"
            async with connect(
                f"unix:{path}", reconnect=False
            ) as client:  # the peer's user is proof enough
                started: dict[str, Any] = await client.call("start_recording", device="camera0")
                assert started["status"] == "STARTED"
            daemon.signal(signal.SIGTERM)
        assert await daemon.wait_end() == 0, daemon.log
    assert path.exists()  # it is systemd's


@pytest.mark.skipif(not Path(ACTIVATE).exists(), reason="systemd-socket-activate is not installed")
async def test_the_first_connection_starts_the_daemon(
    new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """With systemd-socket-activate, the connection that starts the daemon is served."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    path = tmp_path / "camd.sock"
    passed = [f"--setenv={name}={value}" for name, value in daemon.marks().items()]
    command = [ACTIVATE, "-l", str(path), *passed, *daemon.run_command]
    with trio.fail_after(300):
        daemon.launch(command)
        while not path.exists():
            assert daemon.alive, daemon.log
            await trio.sleep(0.02)
        async with await trio.open_unix_socket(path) as first:
            # However long the start takes: a client of ours would give up after some seconds.
            await first.send_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await first.receive_some(4096)).startswith(b"HTTP/1.1 200")
        async with connect(f"unix:{path}", reconnect=False) as client:
            assert await client.call("ping") == "pong"
            await client.call("start_recording", device="camera0")
        daemon.signal(signal.SIGTERM)
        assert await daemon.wait_end() == 0, daemon.log
    assert re.search(r"SIGTERM.*stopping|stopping.*SIGTERM", daemon.log)
