"""A machine of a lab: controlled by a command, with camd installed as a service.

The command understands `start [--fresh] [OPTION..]`, `ssh [-n] COMMAND..` (as root),
`push SRC.. DST`, `pull SRC.. DST`, `stop`, `powercut` and `console` (which prints the output of the
serial console so far, over all boots). The machine has systemd, Python 3.11 and FFmpeg, and needs
no network.
"""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
HERE = "/opt/camd"  # what `install` puts into the machine is here
PYTHON = f"/usr/bin/env PYTHONPATH={HERE}/lib python3"


class LabError(Exception):
    """The lab's command failed; the text says how."""


@attrs.define(eq=False)
class Machine:
    """One machine of a lab."""

    command: Sequence[str]
    start_options: Sequence[str] = ()
    _read: int = attrs.field(default=0, init=False)  # characters of the console

    def run(self, *arguments: str, seconds: float = 1200) -> str:
        """Run a command of the lab and return its output. Raises LabError."""
        command = [*self.command, *arguments]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"{' '.join(command)[:200]}: {error}") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise LabError(f"{' '.join(command)[:200]}: status {done.returncode}: {said[-1000:]}")
        return done.stdout.decode(errors="replace")

    def start(self, *, fresh: bool = False) -> None:
        """Boot the machine."""
        self.run("start", *["--fresh"] * fresh, *self.start_options)

    def cut(self) -> list[str]:
        """Cut the power; return the console's new lines."""
        self.run("powercut")
        return self.console()

    def console(self) -> list[str]:
        """Return the console's new lines."""
        text = self.run("console")
        new, self._read = text[self._read :], len(text)
        return new.splitlines()

    def ssh(self, command: str, seconds: float = 1200) -> str:
        """Run a command in the machine."""
        return self.run("ssh", "-n", command, seconds=seconds)

    def install(self, files: Mapping[str, str], *packages: str) -> None:
        """Put camd, what it needs, `packages` and `files` into HERE, and units where they belong.

        The files' names may have folders. Those that end in `.service` become known to systemd.
        """
        version, machine = self.ssh(
            "python3 -c 'import platform as p; print(p.python_version()); print(p.machine())'"
        ).split()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            collect(folder / "camd", version.rpartition(".")[0], machine, packages)
            for path, text in files.items():
                (folder / "camd" / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / "camd" / path).write_text(text)
            with tarfile.open(folder / "camd.tar", "w") as tar:
                tar.add(folder / "camd", "camd")
            self.run("push", str(folder / "camd.tar"), "/opt/")
        self.ssh(
            "cd /opt && rm -rf camd && tar --no-same-owner -xf camd.tar && chmod 755 camd &&"
            " find camd -name '*.service' -exec cp -t /etc/systemd/system/ {} + &&"
            " systemctl daemon-reload"
        )


def collect(folder: Path, python: str, machine: str, packages: Sequence[str] = ()) -> None:
    """Install camd and its dependencies into `folder`/lib, for the machine's Python."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wheels = folder.with_name("wheels")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT], check=True)
    platform = f"manylinux2014_{machine}"
    options = ["--only-binary=:all:", "--python-version", python, "--platform", platform]
    target = ["--target", folder / "lib", *wheels.glob("*.whl")]
    subprocess.run([*pip, "install", *options, *target, *packages], check=True)


def beside(*names: str) -> dict[str, str]:
    """Read scripts of this folder, to be installed in the machine."""
    return {name: Path(__file__).with_name(name).read_text() for name in names}


class Live:
    """The lines of a file in the machine, as they are written."""

    def __init__(self, machine: Machine, path: str, *, lines: int = 0) -> None:
        command = [*machine.command, "ssh", "-n", f"tail -n {lines} -F {path}"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode(errors="replace"))
        self._lines.put("")

    def next(self, seconds: float) -> str | None:
        """Wait for the next line; "" when there will be none, None when the time is up."""
        try:
            return self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def wait(self, *kinds: str, seconds: float) -> str | None:
        """Wait for the next fact of one of these kinds; None when the time is up."""
        while not self._lines.empty():
            self._lines.get()
        wanted = tuple(f'"k":"{kind}"' for kind in kinds)
        deadline = time.monotonic() + seconds
        while (line := self.next(deadline - time.monotonic())) is not None:
            if not line or any(word in line for word in wanted):
                return line or None
        return None

    def close(self) -> None:
        """Stop following."""
        self._process.terminate()
        self._process.wait()


def lab_options(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options of all scripts; `lab_command` reads `--lab` from it."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--lab", default=os.environ.get("CAMLAB_COMMAND"), help="its command")
    parser.add_argument("--json", type=Path, help="write what was seen to this file")
    parser.add_argument(
        "--timeout-factor",
        type=float,
        default=float(os.environ.get("CAMD_TEST_TIMEOUT_FACTOR", "1")),
        help="a factor for time limits, for slow processors",
    )
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; the lab's command is required."""
    options = parser.parse_args()
    if not options.lab:
        parser.error("--lab or $CAMLAB_COMMAND must say how to drive the machine")
    return options


def keep_trying(work: Callable[[], bool], seconds: float, pause: float = 0.5) -> bool:
    """Repeat something until it succeeds; False when the time is up."""
    deadline = time.monotonic() + seconds
    while not work():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
