"""How a command ends when its output cannot be written, and when it is interrupted."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CAMD = [sys.executable, "-m", "camd"]
CLOSED = "import os, sys; [os.close(int(fd)) for fd in sys.argv.pop(1).split(',')]; "
RUN = "sys.argv[0] = 'camd'; from camd.__main__ import main; main()"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a valid configuration."""
    file = tmp_path / "camd.toml"
    file.write_text('[[camera]]\nid = "gate"\nsource = "test:"\n', encoding="utf-8")
    return file


def run(*command: str, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    popen.setdefault("stdout", subprocess.PIPE)
    popen.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, text=True, check=False, timeout=100, **popen
    )


COMMANDS = [
    ["--help"],
    ["--version"],
    ["check"],
    ["check", "--json"],
    ["keys", "list", "--json"],
    ["verify"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_standard_output_fails_the_command_in_one_sentence(
    config: Path, command: list[str]
) -> None:
    """Lost output is reported, without a traceback."""
    (config.parent / "recordings").mkdir()
    with Path("/dev/full").open("w", encoding="ascii") as full:
        done = run(*CAMD, *command, stdout=full, env=os.environ | {"CAMD_CONFIG": str(config)})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == f"camd: standard output cannot be written: {os.strerror(errno.ENOSPC)}"


def test_a_closed_pipe_ends_a_command_silently(config: Path) -> None:
    """As in `camd … | head`: no message, and exit status 1."""
    read, write = os.pipe()
    os.close(read)
    done = run(*CAMD, "check", "--config", str(config), stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_closed_standard_output_is_reported(config: Path) -> None:
    """The text does not go to a file that is opened later."""
    done = run(sys.executable, "-c", CLOSED + RUN, "0,1", "check", "--config", str(config))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith(os.strerror(errno.EBADF))


@pytest.mark.parametrize("closed", ["2", "1,2", "0,1,2"])
def test_a_closed_stderr_does_not_change_the_exit_status(config: Path, closed: str) -> None:
    """Messages are lost; the exit status is the same."""
    config.write_text("[storage]\nwarn_percent = 99\n", encoding="utf-8")
    done = run(sys.executable, "-c", CLOSED + RUN, closed, "check", "--config", str(config))
    assert done.returncode == 78
    with Path("/dev/full").open("w", encoding="ascii") as full:
        assert run(*CAMD, "check", "--config", str(config), stderr=full).returncode == 78


# Code that an import, a disk or a network delays when Ctrl-C comes.
INTERRUPTED = """
import os, signal, sys, time
def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1000)
    raise AssertionError("not interrupted")
"""
IMPORTED = """
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "{}": interrupt()
sys.meta_path.insert(0, Finder())
"""
MOMENTS = {
    "imports": IMPORTED.format("camd.cli.exit"),
    "imports of a command": IMPORTED.format("camd.cli.check"),
    "reading": "import camd.config.load as load\nload.read_small_file = interrupt\n",
    "checking": "import camd.cli.check as c\nc.inspect_access = interrupt\n",
    "in a thread": "import camd.cli.check as c, threading\n"
    "def hang(config):\n"
    "    os.kill(os.getpid(), signal.SIGINT)\n"
    "    threading.Event().wait()\n"
    "c.inspect_folders = hang\n",
    "printing": "import camd.cli.check as c\nc.console = interrupt\n",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_a_command_at_any_moment(config: Path, moment: str) -> None:
    """130 and no traceback, and at once."""
    code = f"{INTERRUPTED}{MOMENTS[moment]}{RUN}"
    done = run(sys.executable, "-c", code, "check", "--config", str(config))
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_an_unexpected_exception_has_a_traceback(config: Path) -> None:
    """Only expected errors are turned into messages."""
    code = "import sys, camd.cli.check as c\nc.inspect = lambda config: 1 / 0\n" + RUN
    done = run(sys.executable, "-c", code, "check", "--config", str(config))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
