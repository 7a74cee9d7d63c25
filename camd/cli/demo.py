"""`camd demo`: a real service with two synthetic cameras, shown at work, then left to try out."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
import trio
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from camd.auth.key_file import ADMIN_KEY_FILE
from camd.cli import tables
from camd.cli.exit import CommandFailed
from camd.cli.record import complain, print_receipt, progress_line
from camd.cli.service_access import run_to_end
from camd.cli.terminal import console
from camd.client import CannotConnectError, Client, open_client
from camd.ffmpeg.binary import FfmpegMissingError, find_ffmpeg

# --- Where the demonstration plays: a folder, a port, and a real service as a child process.

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


# --- `camd demo`: a real service with two synthetic cameras, shown at work, then left to try out.

CAMERAS = ("camera0", "camera1")
RECORDING_SECONDS = 6
_SIGNED_FROM = 48  # a receipt's hash covers everything from this byte on


@click.command(short_help="Show camd at work with two synthetic cameras.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Play here and leave everything there.  [default: a temporary folder]",
)
@click.option("--once", is_flag=True, help="End after the show instead of leaving it running.")
def demo(folder: Path | None, once: bool) -> None:
    """Show camd at work: two synthetic cameras, a recording, its receipts.

    Needs FFmpeg and nothing else: no camera, no root, no configuration. Afterwards the service
    stays up to be tried out; Ctrl-C ends it.
    """
    with _folder(folder) as place:
        stage = DemoService(place, free_port(), console())
        try:
            run_to_end(lambda: perform(stage, once=once))
        except CommandFailed as failure:
            raise CommandFailed("\n  ".join([failure.message, *last_words(stage)])) from None


async def perform(stage: DemoService, *, once: bool) -> None:
    """Play everything, from the start of the service to its end."""
    try:
        program = await find_ffmpeg()
    except FfmpegMissingError as error:
        raise CommandFailed(str(error)) from None
    version = ".".join(map(str, program.version))
    stage.say(f"[bold]1.[/] FFmpeg {version} is at {escape(str(program.path))}.")
    stage.write_configuration()
    async with open_service(stage) as service:
        address = f"ws://127.0.0.1:{stage.port}/ws"
        token = await wait_ready(stage, service, address)
        stage.say(f"[bold]3.[/] It answers on {address}; the key that it wrote opens the door.")
        async with open_client(address, token) as client:
            receipts = await record_both(stage, client)
            await show_results(stage, client, receipts)
        if not once:
            show_next_steps(stage, receipts)
            await wait_for_end(service)
            stage.say("Stopping.")


async def record_both(stage: DemoService, client: Client) -> dict[str, dict[str, Any]]:
    """Record both cameras for some seconds with live progress; return the receipts."""
    receipts: dict[str, dict[str, Any]] = {}
    started: dict[str, str] = {}

    async def start(camera: str) -> None:
        answer = await client.call("start_recording", device=camera)
        started[camera] = answer["filename"]

    async def stop(camera: str) -> None:
        receipts[camera] = (await client.call("stop_recording", device=camera))["receipt"]

    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        for camera in CAMERAS:
            nursery.start_soon(start, camera)
    seconds = trio.current_time() - before
    names = " and ".join(started[camera] for camera in CAMERAS)
    stage.say(f"[bold]4.[/] Both cameras record, {seconds:.1f} s after being asked: {names}")
    stage.say(f"   For {RECORDING_SECONDS} s, with a new file every 2 s:")
    await _show_progress(stage, client)
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        for camera in CAMERAS:
            nursery.start_soon(stop, camera)
    seconds = trio.current_time() - before
    stage.say(f"[bold]5.[/] Stopped, and every byte on disk, {seconds:.1f} s after being asked.")
    return {camera: receipts[camera] for camera in CAMERAS}


async def _show_progress(stage: DemoService, client: Client) -> None:
    live = Live(console=stage.out, transient=True, auto_refresh=False)
    interval = 0.25 if stage.out.is_terminal else 2.0
    end = trio.current_time() + RECORDING_SECONDS
    if stage.out.is_terminal:
        live.start()
    try:
        while (left := end - trio.current_time()) > 0:
            await trio.sleep(min(left, interval))
            lines = [await client.call("get_recording_status", device=name) for name in CAMERAS]
            text = "\n".join(f"   {progress_line(line).plain}" for line in lines if line)
            if stage.out.is_terminal:
                live.update(f"[red]{escape(text)}[/]", refresh=True)
            else:
                stage.say(escape(text))
    finally:
        live.stop()


async def show_results(stage: DemoService, client: Client, receipts: Mapping[str, Any]) -> None:
    """Show receipts, check each hash against its file, show the space."""
    for camera, receipt in receipts.items():
        stage.say(f"\n[bold]{camera}[/]")
        print_receipt(receipt)
        complain(receipt)
        for file in receipt["files"]:
            path = stage.folder / "recordings" / file["filename"]
            if await trio.to_thread.run_sync(signature, path) != file["sha256"]:
                raise CommandFailed(f"{path} is not what the receipt says")
    files = sum(len(receipt["files"]) for receipt in receipts.values())
    stage.say(f"\n[bold]6.[/] All {files} files are on disk with the hashes of their receipts.")
    space = await client.call("get_storage_info")
    available = tables.file_size(space["available_space"])
    stage.say(
        f"[bold]7.[/] Storage is {tables.word(space['threshold_status'])}: "
        f"{space['used_percent']:.1f} % used, {available} available; new recordings are refused "
        f"from {space['block_threshold']:g} % on."
    )


def signature(path: Path) -> str:
    """Return the hash that a receipt gives for a file: of everything from byte 48 on."""
    with path.open("rb") as file:
        file.seek(_SIGNED_FROM)
        return hashlib.file_digest(file, "sha256").hexdigest()


def show_next_steps(stage: DemoService, receipts: Mapping[str, Any]) -> None:
    """Print commands that work as they stand."""
    name = receipts[CAMERAS[0]]["files"][0]["filename"]
    file = shlex.quote(str(stage.folder / "recordings" / name))
    base = f"http://127.0.0.1:{stage.port}"
    key = shlex.quote(str(stage.key_file))
    camd = _own_command()
    stage.say(
        f"\n[bold]The service stays up; Ctrl-C here ends it.[/] In another terminal:\n\n"
        f"  export CAMD_CONFIG={escape(shlex.quote(str(stage.config_file)))}\n"
        f"  {camd} status\n"
        f"  {camd} record camera0 --for 5s\n"
        f"  {camd} watch\n"
        f"  {camd} ls\n"
        f"  ffplay -autoexit {escape(file)}      # or mpv, or any other player\n"
        f"  curl {base}/health/system\n"
        f'  curl -H "Authorization: Bearer $(cat {escape(key)})" -O \\\n'
        f"      {base}/files/recordings/{name}\n"
    )


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    """Use the given folder, or a temporary one that goes at the end."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="camd-demo-") as temporary:
        yield Path(temporary)
        console().print(f"{temporary} is removed; --dir keeps the recordings.")


def _own_command() -> str:
    """Return how to call this program: by its name where the PATH finds it."""
    own = Path(sys.argv[0])
    if own.name != "camd":
        return f"{shlex.quote(sys.executable)} -m camd"
    found = shutil.which("camd")
    return "camd" if found and Path(found).samefile(own) else shlex.quote(str(own.absolute()))
