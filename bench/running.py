"""A daemon to measure: started in a temporary folder, called over its WebSocket, and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio
from websockets.sync.client import ClientConnection, connect

from camd.ffmpeg import binary

CPU_CLOCK = 2  # of a process, as the kernel numbers them: CPUCLOCK_SCHED


@attrs.define
class Camd:
    """A running daemon and a connection to it."""

    pid: int
    folder: Path
    url: str
    socket: ClientConnection
    _id: int = 0

    def call(self, method: str, **params: object) -> dict:
        """Make a call; skip the notifications before its answer."""
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        self.socket.send(json.dumps(request))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self._id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def memory_kib(self) -> int:
        """Private memory of the process (smaps_rollup, Private_*), in KiB."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def cpu_seconds(pid: int) -> float:
    """User and system time of one process, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | CPU_CLOCK)


def child_processes(pid: int) -> list[int]:
    """List the process ids of what a process has started."""
    text = "".join(p.read_text() for p in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(word) for word in text.split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(
    cameras: str, *, before: str = "", tree: Path | None = None, **settings: str
) -> Iterator[Camd]:
    """Run camd with `[[camera]]` tables in TOML and settings as `section__key`.

    `before` is Python that the daemon runs first. `tree` is another checkout, whose camd it is.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "camd.toml").write_text(cameras)
        environ = {
            **os.environ,
            **({} if tree is None else {"PYTHONPATH": str(tree)}),
            "CAMD_SERVER__LISTEN": f"127.0.0.1:{port}",
            "CAMD_SERVER__HEALTH_LISTEN": "",
            "CAMD_SERVER__REQUESTS_PER_MINUTE": "10000000",
            "CAMD_LOG_LEVEL": "warning",
            **{f"CAMD_{key.upper()}": value for key, value in settings.items()},
        }
        start = f"{before}\nfrom camd.cli import main\nmain()"
        command = [sys.executable, "-c", start, "run", "--config", str(folder / "camd.toml")]
        daemon = subprocess.Popen(command, env=environ, cwd=tree)
        try:
            url = f"ws://127.0.0.1:{port}/ws"
            with _connected(url, daemon) as client:
                camd = Camd(daemon.pid, folder, url, client)
                key = (folder / "state" / "admin.key").read_text().strip()
                camd.call("authenticate", auth_token=key)
                yield camd
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


@contextmanager
def another(camd: Camd) -> Iterator[Camd]:
    """Open another connection to the same daemon."""
    with connect(camd.url, max_size=None) as client:
        other = Camd(camd.pid, camd.folder, camd.url, client)
        key = (camd.folder / "state" / "admin.key").read_text().strip()
        other.call("authenticate", auth_token=key)
        yield other


def _connected(url: str, daemon: subprocess.Popen[bytes]) -> ClientConnection:
    deadline = time.monotonic() + 90
    while True:
        try:
            return connect(url, max_size=None)
        except OSError:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def find_ffmpeg() -> str:
    """Return the FFmpeg that camd uses."""
    return str(trio.run(binary.find_ffmpeg).path)


def make_clip(
    path: Path, *, size: str, rate: int, bitrate: str, seconds: int, sound: bool = False
) -> None:
    """Encode a noisy H.264 clip of about `bitrate`, with a key frame every second."""
    picture = f"testsrc2=size={size}:rate={rate},noise=alls=40:allf=t"
    tone = "-f lavfi -i sine=sample_rate=48000 -c:a aac -b:a 96k" if sound else ""
    command = f"""{find_ffmpeg()} -v error -f lavfi -i {picture} {tone} -t {seconds} -c:v libx264
        -preset ultrafast -g {rate} -pix_fmt yuv420p -b:v {bitrate} -minrate {bitrate}
        -maxrate {bitrate} -bufsize {bitrate} -x264-params nal-hrd=cbr -y"""
    subprocess.run([*command.split(), str(path)], check=True)
