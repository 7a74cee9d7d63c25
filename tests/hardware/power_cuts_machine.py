"""The machine whose power is cut: camd as a service in it, and an observer beside it.

On top of what lab_machine.py asks for, `start` understands `--volatile`, and the machine has
/srv/data on a disk of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from lab_machine import HERE, PYTHON, Machine, beside

AGENT = f"{PYTHON} {HERE}/power_cuts_agent.py"
LIVE = "/run/camd-observer"
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
ExecStart={agent} watch {cameras}
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


@attrs.define(eq=False)
class CutMachine(Machine):
    """A machine with camd and the observer as services."""

    cameras: Sequence[str] = ()

    def agent(self, *words: str) -> str:
        """Run a command of power_cuts_agent.py."""
        return self.ssh(" ".join([AGENT, *words]))

    def look(self, expected: dict[str, str]) -> dict[str, Any]:
        """Wait until `expected` sessions (by camera) record again; return the whole state."""
        words = [f"{camera}={expected.get(camera, '')}" for camera in self.cameras]
        answer: dict[str, Any] = json.loads(self.agent("look", *words))
        return answer

    def pull(self, names: Sequence[str], folder: Path) -> None:
        """Copy recordings out of the machine."""
        if names:
            self.run("pull", *(f"{RECORDINGS}/{name}" for name in names), str(folder))

    def set_up(self, rotation: int, durability: str) -> None:
        """Install camd, its dependencies and the observer, and start the services."""
        self.install(self._files(rotation, durability))
        # A slow machine may take longer to find its disk than systemd waits for it.
        self.ssh(
            "sed -i 's/x-systemd.device-timeout=[0-9]*s/x-systemd.device-timeout=600s/' /etc/fstab"
            " && systemctl enable -q --now camd camd-watch && sync"
        )

    def _files(self, rotation: int, durability: str) -> dict[str, str]:
        config = CONFIG.format(
            recordings=RECORDINGS,
            rotation=rotation,
            durability=durability,
            fragment=FRAGMENT_SECONDS * 1000,
        )
        for camera in self.cameras:
            config += CAMERA.format(camera=camera, rate=FRAME_RATE)
        watch = WATCH_UNIT.format(agent=AGENT, cameras=" ".join(self.cameras))
        return {
            "camd.toml": config,
            "camd.service": CAMD_UNIT,
            "camd-watch.service": watch,
            **beside("power_cuts_agent.py", "power_cuts_observer.py"),
        }
