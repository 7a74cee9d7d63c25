"""`systemctl reload`: the commands of the unit, run as systemd does, and what camd notifies."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import pytest
import trio
from running_daemon import Daemon

UNIT = Path(__file__).parents[2] / "systemd" / "camd.service"
PROGRAM, FILE = "/usr/bin/camd", "/etc/camd/camd.toml"  # in the unit
MISTAKES = {"storage": {"warn_percent": 300.0, "warn_percnt": 7}}


@pytest.fixture
def reload_commands(daemon: Daemon) -> list[list[str]]:
    """Return the commands of the unit, for this daemon."""
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    texts = [line.removeprefix("ExecReload=") for line in lines if line.startswith("ExecReload=")]
    own = {
        "$MAINPID": [str(daemon.pid)],
        FILE: [str(daemon.config_file)],
        PROGRAM: daemon.command(),
    }
    return [
        [part for word in shlex.split(text) for part in own.get(word, [word])] for text in texts
    ]


async def reload(
    daemon: Daemon, commands: list[list[str]]
) -> subprocess.CompletedProcess[str] | None:
    """Run the commands one after the other, as systemd does; return the first that fails."""
    for command in commands:
        done = await trio.run_process(
            command,
            env=daemon.environment(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode:
            return subprocess.CompletedProcess(
                command, done.returncode, done.stdout.decode(), done.stderr.decode()
            )
    return None


async def warn_percent(daemon: Daemon) -> float:
    """Return a value of the configuration that is in force."""
    return float((await daemon.call("get_storage_info"))["warn_threshold"])


async def test_a_configuration_with_mistakes_fails_the_reload(
    daemon: Daemon, reload_commands: list[list[str]]
) -> None:
    """It names each mistake; the service goes on with the old one, and takes the corrected one."""
    with trio.fail_after(60):
        before = await warn_percent(daemon)
        daemon.configure(MISTAKES)
        failed = await reload(daemon, reload_commands)
        assert failed is not None
        assert (failed.args, failed.returncode) == (reload_commands[0], 78)
        assert "the configuration has 2 mistakes:" in failed.stderr
        assert "storage.warn_percent: " in failed.stderr
        assert "storage.warn_percnt: " in failed.stderr
        assert "Traceback" not in failed.stderr
        assert await warn_percent(daemon) == before
        assert "configuration_refused" not in daemon.log  # it was not even signalled

        daemon.configure({"storage": {"warn_percent": 71.0}})
        assert await reload(daemon, reload_commands) is None
        await daemon.wait_log("reloaded")
        assert await warn_percent(daemon) == 71.0
        await daemon.stop()


async def test_a_signal_with_a_wrong_configuration_is_answered_with_ready(daemon: Daemon) -> None:
    """systemd would wait for READY until its timeout, and end the service that records."""
    with trio.fail_after(60):
        before = await warn_percent(daemon)
        daemon.configure(MISTAKES)
        daemon.signal(signal.SIGHUP)
        told = await daemon.wait_notice("RELOADING=1")
        assert int(told.partition("MONOTONIC_USEC=")[2]) > 0
        await daemon.wait_notice("READY=1")
        await daemon.wait_log("configuration_refused")
        assert await warn_percent(daemon) == before
        await daemon.stop()
