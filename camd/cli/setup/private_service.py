"""A service that a command runs for itself: a process with a folder and a port of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio
from rich.console import Console
from rich.markup import escape

from camd.auth.key_file import ADMIN_KEY_FILE
from camd.cli.exit import CommandFailed
from camd.client import CannotConnectError, connect
from camd.logs import FORMAT_VARIABLE, LogFormat

_START_SECONDS = 120  # of a small machine that does other work, too
_STOP_SECONDS = 30
_LOG_LINES = 20


@attrs.frozen
class PrivateService:
    """A service of a command: its folder, its port, and the console for messages."""

    folder: Path
    port: int
    out: Console

    @property
    def config_file(self) -> Path:
        """The configuration file of the service."""
        return self.folder / "camd.toml"

    @property
    def address(self) -> str:
        """The WebSocket of the service."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def key_file(self) -> Path:
        """The file in which the service writes its first key."""
        return self.folder / "state" / ADMIN_KEY_FILE

    @property
    def log_file(self) -> Path:
        """The log of the service."""
        return self.folder / "camd.log"

    def say(self, text: str) -> None:
        """Print text with rich's markup; long lines are not folded, so that they can be copied."""
        self.out.print(text, soft_wrap=True)


@asynccontextmanager
async def open_service(service: PrivateService) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run the service as a child process while the block runs; then stop it in order."""
    command = [sys.executable, "-m", "camd", "run", "--config", str(service.config_file)]
    service.say(f"[bold]2.[/] Starting the service: {escape(shlex.join(command))}")
    if setpriv := shutil.which("setpriv"):  # if this process is killed, the service gets SIGTERM
        command = [setpriv, "--pdeathsig", "TERM", *command]
    with service.log_file.open("wb") as log:
        # The main thread forks: the signal comes when the *thread* that forked ends.
        process = subprocess.Popen(  # noqa: ASYNC220 - milliseconds, and nothing else runs yet
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=clean_environment(os.environ),
            start_new_session=True,  # Ctrl-C goes only to this process
        )
    try:
        yield process
    finally:
        process.terminate()
        with trio.CancelScope(shield=True), trio.move_on_after(_STOP_SECONDS):
            await wait_process(process)
        process.kill()


async def wait_ready(service: PrivateService, process: subprocess.Popen[bytes]) -> str:
    """Wait until the service answers, and return its key. Raises CommandFailed."""
    with trio.move_on_after(_START_SECONDS):
        while process.poll() is None:
            try:
                token = service.key_file.read_text(encoding="ascii").strip()
                async with connect(service.address, token, reconnect=False, timeout=None) as client:
                    await client.call("ping")
                return token
            except (FileNotFoundError, CannotConnectError):
                await trio.sleep(0.05)
    code = process.poll()
    what = "does not answer" if code is None else f"ended with exit status {code}"
    raise CommandFailed(f"the service {what}")


def end_of_log(service: PrivateService) -> list[str]:
    """Return the last lines of the log, with a heading."""
    try:
        text = service.log_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return ["The last lines of its log:", *text.splitlines()[-_LOG_LINES:]]


async def wait_process(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a process."""
    await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


@contextmanager
def held_port() -> Iterator[int]:
    """Hold a port of the loopback interface while the block runs: no other program is given it.

    A service that is told this port may listen there: both sockets allow that the address is used
    again (SO_REUSEADDR), and this one does not listen (socket(7)).
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Remove the variables that would configure the service; its log is for people."""
    ours = ("CAMD_", "RECORDING_ROTATION", "STORAGE_", "CAMERA_SERVICE_", "LISTEN_", "NOTIFY_")
    others = {name: value for name, value in environ.items() if not name.startswith(ours)}
    return {**others, FORMAT_VARIABLE: LogFormat.TERMINAL.value}
