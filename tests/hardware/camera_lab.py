"""A machine with camd and cameras that can be unplugged: what the camera scripts share.

On top of what lab_machine.py asks for, the machine has a tool `uvc-camera`, a USB camera made of
software: `start NAME --serial S --modes mjpeg:WxH@FPS [--port P] [--product P]` plugs one in and
returns when its nodes are there, `do NAME unplug`, `do NAME plug [PORT]` and `do NAME quit` are
what they say, and so are `do NAME FAULT`, where a script names one.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from camera_round_checks import Moment
from lab_machine import HERE, PYTHON, LabError, Live, Machine, beside

LINES = "/run/camd-lines"
ASKS = "/run/camd-asks"
RECORDINGS = "/var/lib/camd-lab/recordings"
MAKER = "Camlab_Lab_Camera"  # what by-id links call the cameras of `uvc-camera`

UNIT = f"""\
[Unit]
After=systemd-udevd.service

[Service]
Type=notify
NotifyAccess=main
User=camd-lab
SupplementaryGroups=video audio
StateDirectory=camd-lab
RuntimeDirectory=camd-lab
Environment=PYTHONPATH={HERE}/lib CAMD_LOG_LEVEL={os.environ.get("CAMD_LOG_LEVEL", "info")}
ExecStart=/usr/bin/python3 -m camd run --config {HERE}/camd.toml
Restart=on-failure
KillMode=mixed
TimeoutStartSec=900

[Install]
WantedBy=multi-user.target
"""
WATCH_UNIT = f"""\
[Service]
ExecStart={PYTHON} {HERE}/camera_observer.py
Nice=-5
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
CONFIG = f"""\
[server]
listen = "unix:/run/camd-lab/camd.sock"
health_listen = ""
requests_per_minute = 100000
[storage]
recordings_dir = "{RECORDINGS}"
state_dir = "/var/lib/camd-lab"
[recording]
rotation = "10m"
fragment = "500ms"
[ffmpeg]
start_timeout = "60s"
stall_timeout = "10s"
"""

Line = dict[str, Any]


class RefusedError(Exception):
    """camd refused a call; `facts` has code, message and data."""

    def __init__(self, facts: Line) -> None:
        super().__init__(facts["message"])
        self.facts = facts


@attrs.define(eq=False)
class CameraLab:
    """The machine, and all lines that were reported in it."""

    machine: Machine
    time_factor: float = 1.0
    lines: list[Line] = attrs.field(factory=list, init=False)
    latest: dict[str, Line] = attrs.field(factory=dict, init=False)  # by camera
    _live: Live | None = attrs.field(default=None, init=False)
    _number: int = attrs.field(default=0, init=False)

    # --- the machine ---

    def set_up(self, entries: str, *more: str) -> None:
        """Install camd with these `[[camera]]` entries, and start it."""
        files = {
            "camd.toml": CONFIG + "".join(more) + entries,
            "camd.service": UNIT,
            "camd-watch.service": WATCH_UNIT,
            **beside("camera_observer.py"),
        }
        self.machine.ssh(
            "systemctl stop camd-watch camd 2>/dev/null; rm -rf /run/camd-lines /var/lib/camd-lab;"
            " id -u camd-lab >/dev/null 2>&1 || useradd --system --user-group camd-lab"
        )
        self.machine.install(files)
        self.machine.ssh("systemctl enable -q camd camd-watch && systemctl start camd camd-watch")
        self.listen()

    def listen(self) -> None:
        """Read all lines since the boot, and those to come."""
        if self._live is not None:
            self._live.close()
        self.latest.clear()
        self._live = Live(self.machine, LINES, lines=1_000_000)
        self.wait("a connection to camd", lambda line: line["k"] == "connected", 120)

    def close(self) -> None:
        """Stop reading."""
        if self._live is not None:
            self._live.close()

    def log(self) -> list[str]:
        """Return the service's log of this boot, each line with its time."""
        return self.machine.ssh("journalctl -b -u camd -o short-unix --no-pager").splitlines()

    def clock(self) -> float:
        """Read the machine's clock. Seconds since 1970."""
        return float(self.machine.ssh("date +%s.%N"))

    def act(self, command: str) -> Moment:
        """Run a command in the machine and return the time."""
        said = self.machine.ssh(
            f"date +%s.%N; {{ {command}; }} >/dev/null; status=$?; date +%s.%N; exit $status"
        )
        since, until = map(float, said.split())
        return Moment(since, until)

    def camera(self, name: str, *words: str) -> Moment:
        """Run a command of `uvc-camera` for a USB camera."""
        return self.act(shlex.join(["uvc-camera", "do", name, *words]))

    def plug_all(self, cameras: Mapping[str, str]) -> None:
        """Plug in USB cameras, options by name; those that were there are removed first."""
        self.machine.ssh(
            "for name in $(uvc-camera list | cut -d' ' -f1); do uvc-camera do $name quit; done;"
            " sleep 1; udevadm settle"
        )
        for name, options in cameras.items():
            self.machine.ssh(f"uvc-camera start {name} {options}")

    # --- what is told ---

    def pump(self, seconds: float = 0.0) -> Line | None:
        """Read the next line, waiting at most so long; None when there is none."""
        assert self._live is not None
        text = self._live.next(seconds)
        if text == "":
            raise LabError("the machine's lines have come to an end")
        if text is None:
            return None
        try:
            line: Line = json.loads(text)
        except ValueError:  # the first one may be torn
            return {"k": "torn", "t": 0.0}
        self.lines.append(line)
        if line["k"] == "camera":
            self.latest[line["c"]] = line
        return line

    def wait(self, what: str, wanted: Callable[[Line], bool], seconds: float) -> Line:
        """Wait for a new line; `seconds` times the time factor. Raises LabError."""
        deadline = time.monotonic() + seconds * self.time_factor
        while (left := deadline - time.monotonic()) > 0:
            line = self.pump(left)
            if line is not None and wanted(line):
                return line
        raise LabError(f"waited for {what} for {seconds * self.time_factor:g} s")

    def until(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until a condition holds; `seconds` times the time factor. Raises LabError."""
        if not condition():
            self.wait(what, lambda _: condition(), seconds)

    def listen_for(self, seconds: float) -> None:
        """Read lines for so many seconds, without the time factor."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.pump(left)

    def ask(self, method: str, **params: object) -> int:
        """Send a request to camd; `answer` waits for its result."""
        self._number += 1
        text = json.dumps({"n": self._number, "method": method, "params": params})
        self.machine.ssh(f"echo {shlex.quote(text)} >{ASKS}")
        return self._number

    def answer(self, number: int, seconds: float = 60) -> Any:
        """Wait for an answer. Raises RefusedError."""

        def answers(line: Line) -> bool:
            return line["k"] == "answer" and line["n"] == number

        there = [line for line in self.lines if answers(line)]
        line = there[0] if there else self.wait(f"answer {number}", answers, seconds)
        if "error" in line:
            raise RefusedError(line["error"])
        return line["result"]

    def call(self, method: str, **params: object) -> Any:
        """Send a request, and wait for its answer. Raises RefusedError."""
        return self.answer(self.ask(method, **params))
