"""The machine whose power is cut: driven by a lab's command, with camd as a service in it.

The command understands `start [--fresh] [--volatile]`, `ssh [-n] COMMAND..`, `push SRC.. DST`,
`pull SRC.. DST`, `powercut` and `console` (which prints what the serial console said so far, over
all boots). The machine has /srv/data on a disk of its own, systemd, Python 3.11 and FFmpeg.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]
GUEST = "env PYTHONPATH=/opt/camd/lib python3 /opt/camd/power_cuts_guest.py"
LIVE = "/run/camd-witness"
RECORDINGS = "/srv/data/recordings"
FRAGMENT_SECONDS, FRAME_RATE = 0.5, 6

CAMD_UNIT = """\
[Unit]
RequiresMountsFor=/srv/data

[Service]
Type=notify
NotifyAccess=main
Environment=PYTHONPATH=/opt/camd/lib
ExecStart=/usr/bin/python3 -m camd run --config /opt/camd/camd.toml
Restart=on-failure
KillMode=mixed
TimeoutStartSec=900

[Install]
WantedBy=multi-user.target
"""
WATCH_UNIT = """\
[Unit]
RequiresMountsFor=/srv/data

[Service]
ExecStart={guest} watch {cameras}
Nice=-5
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
CONFIG = """\
[server]
listen = "unix:/run/camd.sock"
health_listen = ""
requests_per_minute = 100000
[storage]
recordings_dir = "{recordings}"
state_dir = "/var/lib/camd"
durability = "{durability}"
[recording]
rotation = "{rotation}s"
fragment = "{fragment:.0f}ms"
[ffmpeg]
start_timeout = "300s"
stall_timeout = "120s"
[discovery]
v4l2 = false
"""
CAMERA = """\
[[camera]]
id = "{camera}"
source = "test:?size=160x120&rate={rate}"
codec = "mjpeg"
"""


class LabError(Exception):
    """The lab's command failed; the text says how."""


@attrs.define(eq=False)
class Machine:
    """One machine of a lab."""

    command: Sequence[str]
    cameras: Sequence[str]
    volatile: bool = False
    _read: int = attrs.field(default=0, init=False)  # characters of the console

    def run(self, *arguments: str, seconds: float = 1200) -> str:
        """Run one of the lab's verbs and return what it prints. Raises LabError."""
        command = [*self.command, *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise LabError(f"{' '.join(command)[:200]}: status {done.returncode}: {said[-1000:]}")
        return done.stdout.decode(errors="replace")

    def start(self, *, fresh: bool = False) -> None:
        """Boot it."""
        options = ["--fresh"] * fresh + ["--volatile"] * self.volatile
        self.run("start", *options)

    def cut(self) -> list[str]:
        """Cut the power; return what the console said since the last time."""
        self.run("powercut")
        return self.console()

    def console(self) -> list[str]:
        """Return what the console said since the last time, line by line."""
        text = self.run("console")
        new, self._read = text[self._read :], len(text)
        return new.splitlines()

    def ssh(self, command: str) -> str:
        """Run a command in it."""
        return self.run("ssh", "-n", command)

    def guest(self, *words: str) -> str:
        """Run the guest's part of the test."""
        return self.ssh(" ".join([GUEST, *words]))

    def look(self, expected: dict[str, str]) -> dict[str, Any]:
        """Wait until `expected` sessions (by camera) record again; return all there is to see."""
        words = [f"{camera}={expected.get(camera, '')}" for camera in self.cameras]
        answer: dict[str, Any] = json.loads(self.guest("look", *words))
        return answer

    def pull(self, names: Sequence[str], folder: Path) -> None:
        """Copy recordings out."""
        if names:
            self.run("pull", *(f"{RECORDINGS}/{name}" for name in names), str(folder))

    def install(self, rotation: int, durability: str) -> None:
        """Put camd, its dependencies and the guest's part into it, and start the services."""
        version, machine = self.ssh(
            "python3 -c 'import platform as p; print(p.python_version()); print(p.machine())'"
        ).split()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            collect(folder / "camd", version.rpartition(".")[0], machine)
            self._write_files(folder / "camd", rotation, durability)
            with tarfile.open(folder / "camd.tar", "w") as archive:
                archive.add(folder / "camd", "camd")
            self.run("push", str(folder / "camd.tar"), "/opt/")
        # A slow machine may take longer to find its disk than systemd waits for it.
        self.ssh(
            "sed -i 's/x-systemd.device-timeout=[0-9]*s/x-systemd.device-timeout=600s/' /etc/fstab"
        )
        self.ssh(
            "cd /opt && tar --no-same-owner -xf camd.tar && cp camd/*.service /etc/systemd/system/"
            " && systemctl daemon-reload && systemctl enable -q --now camd camd-watch && sync"
        )

    def _write_files(self, folder: Path, rotation: int, durability: str) -> None:
        for name in ("power_cuts_guest.py", "power_cuts_witness.py"):
            (folder / name).write_bytes(Path(__file__).with_name(name).read_bytes())
        config = CONFIG.format(
            recordings=RECORDINGS,
            rotation=rotation,
            durability=durability,
            fragment=FRAGMENT_SECONDS * 1000,
        )
        for camera in self.cameras:
            config += CAMERA.format(camera=camera, rate=FRAME_RATE)
        (folder / "camd.toml").write_text(config)
        (folder / "camd.service").write_text(CAMD_UNIT)
        watch = WATCH_UNIT.format(guest=f"/usr/bin/{GUEST}", cameras=" ".join(self.cameras))
        (folder / "camd-watch.service").write_text(watch)


def collect(folder: Path, python: str, machine: str) -> None:
    """Install camd and what it needs into `folder`/lib, for the machine's Python."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wheels = folder.with_name("wheels")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT], check=True)
    platform = f"manylinux2014_{machine}"
    options = ["--only-binary=:all:", "--python-version", python, "--platform", platform]
    target = ["--target", folder / "lib"]
    subprocess.run([*pip, "install", *options, *target, *wheels.glob("*.whl")], check=True)


class Live:
    """What the machine's witness says, as it says it: for cutting at a certain moment.

    What has arrived here is on the console as well, and that is where it is judged from.
    """

    def __init__(self, machine: Machine) -> None:
        command = [*machine.command, "ssh", "-n", f"tail -n 0 -F {LIVE}"]
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

    def wait(self, *kinds: str, seconds: float) -> str | None:
        """Wait for the next fact of one of these kinds; None when the time is up."""
        while not self._lines.empty():
            self._lines.get()
        wanted = tuple(f'"k":"{kind}"' for kind in kinds)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if not line or any(word in line for word in wanted):
                return line or None
        return None

    def close(self) -> None:
        """Stop following."""
        self._process.terminate()
        self._process.wait()
