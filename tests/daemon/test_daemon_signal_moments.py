"""Signals at every moment of the daemon: before it serves, in a reload, in the stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from running_daemon import (
    Daemon,
    NewDaemon,
    frames_in,
    listening,
    record_with_frozen_ffmpeg,
    recovery_over,
    small_camera,
)

from camd.client import RemoteError

MAIN = "from camd.__main__ import main; main()"

# A disk that hangs when the configuration is read for the second time.
HANGING_RELOAD = """
import threading
import camd.config.load as load
read, times = load.read_small_file, []
def hang(path, most):
    times.append(path)
    return read(path, most) if len(times) == 1 else threading.Event().wait()
load.read_small_file = hang
"""

HANGING_STATE = """
import threading
import camd.runtime.folders.state_folder as state_folder
def hang(folder):
    open(folder.parent / "hanging", "w").close()
    threading.Event().wait()
state_folder._lock_state = hang
"""

STUCK_LOOP = """
import time
import camd.service_signals
import camd.camera.cameras as cameras
camd.service_signals.STOP_SECONDS = 1
async def close(self):
    time.sleep(1000)
cameras.Cameras.close = close
"""


def patched_run(daemon: Daemon, patch: str) -> list[str]:
    """Return the command that runs the daemon after the code `patch`, in one process."""
    return [sys.executable, "-c", patch + MAIN, *daemon.run_command[3:]]


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


async def wait_first_line(daemon: Daemon) -> None:
    """Wait until the program's own first lines have run."""
    while not catches(daemon.pid, signal.SIGHUP):
        assert daemon.alive, daemon.log
        await trio.sleep(0.001)


def test_the_first_lines_import_next_to_nothing() -> None:
    """Imports that take long come after the handlers are installed."""
    code = "import sys; import camd.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "camd.early_signals" in loaded
    assert not loaded & {"trio", "click", "attrs", "structlog", "camd.cli", "camd.daemon"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["first line", "starting", "camera_state"])
async def test_a_stop_before_ready_ends_with_status_0(
    new_daemon: NewDaemon, number: signal.Signals, moment: str
) -> None:
    """Exit status 0, no traceback, no child process, whatever has been started by then."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera(always_on=True)])
    with trio.fail_after(100):
        daemon.launch()
        await wait_first_line(daemon)
        if moment != "first line":
            await daemon.wait_log(moment)
        daemon.signal(number)
        assert await daemon.wait_end() == 0, daemon.log
    assert "Traceback" not in daemon.log
    assert await trio.to_thread.run_sync(daemon.wait_no_processes) == []


async def test_a_stop_ends_a_start_that_a_disk_holds_up(new_daemon: NewDaemon) -> None:
    """Nothing records yet, so the stop waits for nothing."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(100):
        daemon.launch(patched_run(daemon, HANGING_STATE))
        while not (daemon.folder / "hanging").exists():  # noqa: ASYNC110 - of another process
            await trio.sleep(0.01)
        daemon.signal(signal.SIGTERM)
        assert await daemon.wait_end() == 0, daemon.log


async def test_an_early_hangup_does_not_end_the_daemon(new_daemon: NewDaemon) -> None:
    """SIGHUP before the start is complete reloads later."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(100):
        daemon.launch()
        await wait_first_line(daemon)
        daemon.signal(signal.SIGHUP)
        await daemon.wait_log("starting")
        daemon.signal(signal.SIGHUP)
        await daemon.wait_notice("READY=1")
        await daemon.wait_log("reloaded")
        await daemon.stop()


async def test_a_hangup_during_the_stop_changes_nothing(daemon: Daemon) -> None:
    """The stop continues in order: exit status 0, the file is sealed and plays."""
    with trio.fail_after(100):
        await record_with_frozen_ffmpeg(daemon)  # so that the stop takes its time
        daemon.signal(signal.SIGTERM)
        await daemon.wait_notice("STOPPING=1")
        daemon.signal(signal.SIGHUP)
        assert await daemon.wait_end() == 0, daemon.log
        await daemon.start()
        files = (await daemon.call("list_recordings"))["files"]
        assert {file["status"] for file in files} == {"completed"}
        for path in daemon.recordings.glob("*.mp4"):
            assert await frames_in(path) > 0
        async with daemon.client() as client:
            assert (await recovery_over(client))["counts"] == {}
        await daemon.stop()


async def test_a_reload_that_hangs_does_not_delay_signals(new_daemon: NewDaemon) -> None:
    """While the disk with the configuration hangs, calls are answered and SIGTERM works."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(100):
        await daemon.start(patched_run(daemon, HANGING_RELOAD))
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED")
            daemon.signal(signal.SIGHUP)
            daemon.signal(signal.SIGHUP)
            assert await client.call("ping") == "pong"
        daemon.signal(signal.SIGTERM)
        assert await daemon.wait_end() == 0, daemon.log
        await daemon.start()
        files = (await daemon.call("list_recordings"))["files"]
        assert {file["status"] for file in files} == {"completed"}
        await daemon.stop()


async def test_a_stop_is_bounded_although_the_event_loop_is_stuck(new_daemon: NewDaemon) -> None:
    """The bound counts from the first signal and needs nothing that could hang."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(100):
        await daemon.start(patched_run(daemon, STUCK_LOOP))
        daemon.signal(signal.SIGTERM)
        assert await daemon.wait_end() == 1, daemon.log


@pytest.mark.parametrize(
    ("make", "words"),
    [(os.mkfifo, "is a FIFO"), (os.mkdir, "is a directory")],
    ids=["fifo", "directory"],
)
async def test_a_configuration_that_is_no_file_is_refused(
    daemon: Daemon, make: Callable[[Path], None], words: str
) -> None:
    """The refusal says what is in its place, and the old configuration stays."""
    with trio.fail_after(100):
        daemon.config_file.unlink()
        make(daemon.config_file)
        async with daemon.client() as client:
            with pytest.raises(RemoteError) as refused:
                await client.call("reload_config")
            assert words in str(refused.value.data["errors"])
            daemon.signal(signal.SIGHUP)
            await daemon.wait_log("configuration_refused")
            assert (await client.call("get_camera_list"))["total"] == 2
        await daemon.stop()


async def test_a_second_daemon_on_the_same_state_is_refused(
    daemon: Daemon, new_daemon: NewDaemon
) -> None:
    """The error names the process and what to do; the first daemon keeps running."""
    state = daemon.folder / "state"
    other = new_daemon()
    other.configure({"storage": {"state_dir": str(state)}}, [small_camera()])
    with trio.fail_after(100):
        other.launch()
        assert await other.wait_end() == 1
        assert f"{state} is used by process {daemon.pid}; stop that one, or give" in other.log
        assert "Traceback" not in other.log
        assert not other.recordings.exists()
        assert await daemon.call("ping") == "pong"
        daemon.signal(signal.SIGKILL)
        assert await daemon.wait_end() == -signal.SIGKILL
        await other.start()  # the lock ends with its process
        await other.stop()


OVER_A_PIPE = "import os, sys; os.dup2(int(sys.argv[1]), 2); os.execv(sys.argv[2], sys.argv[2:])"


async def test_a_log_that_is_not_read_blocks_nothing(new_daemon: NewDaemon) -> None:
    """With a full pipe as stderr the daemon starts, records, reloads and stops."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    command = [sys.executable, "-c", OVER_A_PIPE, str(write), *daemon.run_command]
    with trio.fail_after(100):
        await daemon.start(command, pass_fds=[write])
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED")
            await client.call("reload_config")
        await daemon.stop()
    os.close(read)
    os.close(write)
    for path in daemon.recordings.glob("*.mp4"):
        assert await frames_in(path) > 0
