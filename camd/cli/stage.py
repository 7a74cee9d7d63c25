"""Where the demonstration plays: a folder, a port, and a real service as a child process."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from rich.console import Console
from rich.markup import escape

from camd.access.keys import ADMIN_KEY_FILE
from camd.cli.exits import CommandFailed
from camd.client import CannotConnectError, open_client

_START_SECONDS = 30
_STOP_SECONDS = 30
_LAST_WORDS = 20  # lines

HEADING = "# Written by `camd demo`."
CONFIGURATION = """\
[server]
listen = "127.0.0.1:{port}"
health_listen = ""

[storage]
warn_percent = 90
block_percent = 95

[recording]
rotation = "2s"

[discovery]
v4l2 = false

[[camera]]
id = "camera0"
name = "Gate"
source = "test:?size=640x480&rate=30"

[[camera]]
id = "camera1"
name = "Yard"
source = "test:?size=320x240&rate=15"
"""


@attrs.frozen
class DemoService:
    """Where the demonstration plays: its folder, its port, and where its words go."""

    folder: Path
    port: int
    out: Console

    @property
    def config_file(self) -> Path:
        """The configuration that the service is started with."""
        return self.folder / "camd.toml"

    @property
    def key_file(self) -> Path:
        """Where the service leaves its first key."""
        return self.folder / "state" / ADMIN_KEY_FILE

    @property
    def log_file(self) -> Path:
        """What the service says."""
        return self.folder / "camd.log"

    def write_configuration(self) -> None:
        """Write the service's configuration; that of somebody else is left alone."""
        if self.config_file.exists():
            with self.config_file.open(encoding="utf-8") as file:
                if file.readline().rstrip() != HEADING:
                    raise CommandFailed(
                        f"{self.config_file} is not the demo's; choose another --dir"
                    )
        text = f"{HEADING}\n{CONFIGURATION.format(port=self.port)}"
        self.config_file.write_text(text, encoding="utf-8")

    def say(self, text: str) -> None:
        """Print a sentence, with rich's markup; long lines stay whole, to be copied."""
        self.out.print(text, soft_wrap=True)


@asynccontextmanager
async def open_service(stage: DemoService) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run the service as a child while the block runs; it ends in order, and with us."""
    command = [sys.executable, "-m", "camd", "run", "--config", str(stage.config_file)]
    stage.say(f"[bold]2.[/] Starting the service: {escape(shlex.join(command))}")
    if setpriv := shutil.which("setpriv"):  # should we be killed, it is told to end
        command = [setpriv, "--pdeathsig", "TERM", *command]
    with stage.log_file.open("wb") as log:
        # From this thread, which lives as long as we do: the signal means the parent *thread*.
        service = subprocess.Popen(  # noqa: ASYNC220 - milliseconds, and nothing else runs yet
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(os.environ),
            start_new_session=True,  # Ctrl-C is for us alone
        )
    try:
        yield service
    finally:
        service.terminate()
        with trio.CancelScope(shield=True), trio.move_on_after(_STOP_SECONDS):
            await _wait(service)
        service.kill()


async def wait_ready(stage: DemoService, service: subprocess.Popen[bytes], address: str) -> str:
    """Wait until the service lets us in, and return the key. Raises Failed."""
    with trio.move_on_after(_START_SECONDS):
        while service.poll() is None:
            try:
                token = stage.key_file.read_text(encoding="ascii").strip()
                async with open_client(address, token) as client:
                    await client.call("ping")
                return token
            except (FileNotFoundError, CannotConnectError):
                await trio.sleep(0.05)
    code = service.poll()
    fate = "does not answer" if code is None else f"ended with exit status {code}"
    raise CommandFailed(f"the service {fate}")


def last_words(stage: DemoService) -> list[str]:
    """Return the end of what the service said."""
    try:
        text = stage.log_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return ["The service's last words:", *text.splitlines()[-_LAST_WORDS:]]


async def wait_for_end(service: subprocess.Popen[bytes]) -> None:
    """Wait for Ctrl-C or SIGTERM. Raises Failed when the service ends by itself."""
    async with trio.open_nursery() as nursery:

        async def watch_service() -> None:
            await _wait(service)
            raise CommandFailed(f"the service ended with exit status {service.returncode}")

        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            nursery.start_soon(watch_service)
            await anext(signals)
        nursery.cancel_scope.cancel()


async def _wait(service: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process."""
    await trio.to_thread.run_sync(service.wait, abandon_on_cancel=True)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out what would configure the service besides its file."""
    ours = ("CAMD_", "RECORDING_ROTATION", "STORAGE_", "CAMERA_SERVICE_", "LISTEN_", "NOTIFY_")
    return {name: value for name, value in environ.items() if not name.startswith(ours)}
