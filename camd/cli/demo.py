"""`camd demo`: run a real service with two synthetic cameras, record them, show the receipts."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
from rich.markup import escape

from camd.cli import tables
from camd.cli.exit import CommandFailed
from camd.cli.record import fail_if_incomplete, print_receipt, progress_line
from camd.cli.service_access import interrupted, run_to_end
from camd.cli.setup.private_service import (
    PrivateService,
    end_of_log,
    held_port,
    open_service,
    wait_process,
    wait_ready,
)
from camd.cli.terminal import console, live_text
from camd.client import Client, connect
from camd.ffmpeg.binary import FfmpegMissingError, find_ffmpeg
from camd.runtime.folders.access_advice import explain_refused_access

# --- the service ------------------------------------------------------------------------------

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
class DemoService(PrivateService):
    """The service of the demonstration."""

    def write_configuration(self) -> None:
        """Write the configuration; raise CommandFailed when the folder has another one."""
        if os.path.exists(self.config_file):
            with self.config_file.open(encoding="utf-8") as file:
                if file.readline().rstrip() != HEADING:
                    raise CommandFailed(
                        f"{self.config_file} is not the demo's; choose another --dir"
                    )
        text = f"{HEADING}\n{CONFIGURATION.format(port=self.port)}"
        self.config_file.write_text(text, encoding="utf-8")


async def wait_for_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for Ctrl-C or SIGTERM. Raises CommandFailed when the service ends by itself."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        if not await interrupted(signals, partial(wait_process, process)):
            raise CommandFailed(f"the service ended with exit status {process.returncode}")


# --- the demonstration ------------------------------------------------------------------------

CAMERAS = ("camera0", "camera1")
RECORDING_SECONDS = 6
_HASHED_FROM = 48  # a receipt has the hash of a file from this byte on


def demonstrate(folder: Path | None, *, once: bool) -> None:
    """Carry out `camd demo`."""
    with _folder(folder) as place, held_port() as port:
        service = DemoService(place, port, console())
        try:
            run_to_end(lambda: run_demo(service, once=once))
        except CommandFailed as failure:
            raise CommandFailed("\n  ".join([failure.message, *end_of_log(service)])) from None


async def run_demo(service: DemoService, *, once: bool) -> None:
    """Start the service, record, show the results, stop the service."""
    try:
        program = await find_ffmpeg()
    except FfmpegMissingError as error:
        raise CommandFailed(str(error)) from None
    version = ".".join(map(str, program.version))
    service.say(f"[bold]1.[/] FFmpeg {version} is at {escape(str(program.path))}.")
    service.write_configuration()
    async with open_service(service) as process:
        token = await wait_ready(service, process)
        service.say(
            f"[bold]3.[/] It answers on {service.address} and accepts the key that it has written."
        )
        async with connect(service.address, token, reconnect=False, timeout=None) as client:
            receipts = await record_both(service, client)
            await show_results(service, client, receipts)
            if not once:
                show_next_steps(service, receipts)
                await show_link(service, client)
        if not once:
            await wait_for_end(process)
            service.say("Stopping.")


async def record_both(service: DemoService, client: Client) -> dict[str, dict[str, Any]]:
    """Record both cameras for some seconds, with live progress; return the receipts."""
    started, seconds = await _call_both(client, "start_recording")
    names = " and ".join(started[camera]["filename"] for camera in CAMERAS)
    service.say(f"[bold]4.[/] Both cameras record, {seconds:.1f} s after the calls: {names}")
    service.say(f"   For {RECORDING_SECONDS} s, with a new file every 2 s:")
    await _show_progress(service, client)
    stopped, seconds = await _call_both(client, "stop_recording")
    service.say(f"[bold]5.[/] Stopped, with every byte on disk, {seconds:.1f} s after the calls.")
    return {camera: stopped[camera]["receipt"] for camera in CAMERAS}


async def _call_both(client: Client, method: str) -> tuple[dict[str, Any], float]:
    """Call a method for both cameras at the same time; return the answers and the seconds."""
    answers, before = {}, trio.current_time()

    async def call(camera: str) -> None:
        answers[camera] = await client.call(method, device=camera)

    async with trio.open_nursery() as nursery:
        for camera in CAMERAS:
            nursery.start_soon(call, camera)
    return answers, trio.current_time() - before


async def _show_progress(service: DemoService, client: Client) -> None:
    on_terminal = service.out.is_terminal
    interval = 0.25 if on_terminal else 2.0
    end = trio.current_time() + RECORDING_SECONDS
    with live_text(service.out) as show:
        while (left := end - trio.current_time()) > 0:
            await trio.sleep(min(left, interval))
            lines = [await client.call("get_recording_status", device=name) for name in CAMERAS]
            text = escape("\n".join(f"   {progress_line(line).plain}" for line in lines if line))
            if on_terminal:
                show(f"[red]{text}[/]")
            else:
                service.say(text)


async def show_results(service: DemoService, client: Client, receipts: Mapping[str, Any]) -> None:
    """Show the receipts, compare each hash with its file, show the free space."""
    for camera, receipt in receipts.items():
        service.say(f"\n[bold]{camera}[/]")
        print_receipt(receipt)
        fail_if_incomplete(receipt)
        for file in receipt["files"]:
            path = service.folder / "recordings" / file["filename"]
            if await trio.to_thread.run_sync(receipt_hash, path) != file["sha256"]:
                raise CommandFailed(f"{path} does not have the hash of the receipt")
    files = sum(len(receipt["files"]) for receipt in receipts.values())
    service.say(f"\n[bold]6.[/] All {files} files are on disk with the hashes of their receipts.")
    space = await client.call("get_storage_info")
    available = tables.file_size(space["available_space"])
    service.say(
        f"[bold]7.[/] Storage is {tables.coloured(space['threshold_status'])}: "
        f"{space['used_percent']:.1f} % used, {available} available; new recordings are refused "
        f"from {space['block_threshold']:g} % on."
    )


def receipt_hash(path: Path) -> str:
    """Hash a file as its receipt does: from byte 48 on."""
    with path.open("rb") as file:
        file.seek(_HASHED_FROM)
        return hashlib.file_digest(file, "sha256").hexdigest()


def show_next_steps(service: DemoService, receipts: Mapping[str, Any]) -> None:
    """Print commands that can be copied to another terminal."""
    name = receipts[CAMERAS[0]]["files"][0]["filename"]
    file = shlex.quote(str(service.folder / "recordings" / name))
    base = f"http://127.0.0.1:{service.port}"
    key = shlex.quote(str(service.key_file))
    camd = _own_command()
    service.say(
        f"\n[bold]The service keeps running; Ctrl-C here ends it.[/] In another terminal:\n\n"
        f"  export CAMD_CONFIG={escape(shlex.quote(str(service.config_file)))}\n"
        f"  {camd} status\n"
        f"  {camd} record camera0 --for 5s\n"
        f"  {camd} watch\n"
        f"  {camd} ls\n"
        f"  ffplay -autoexit {escape(file)}      # or mpv, or any other player\n"
        f"  curl {base}/health/system\n"
        f'  curl -H "Authorization: Bearer $(cat {escape(key)})" -O \\\n'
        f"      {base}/files/recordings/{name}\n"
    )


async def show_link(service: DemoService, client: Client) -> None:
    """Print a link that opens the web page, signed in."""
    made = await client.call("create_sign_in_code")
    service.say(
        f"[bold]To see it, open[/] http://127.0.0.1:{service.port}{made['path']}\n"
        f"(once, within {made['expires_in']:.0f} s; `{_own_command()} open` prints another link)"
    )


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    """Use the given folder, or a temporary one that is removed at the end."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandFailed(explain_refused_access(folder, error, "used")) from None
        yield folder.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="camd-demo-") as temporary:
        yield Path(temporary)
        console().print(f"{temporary} is removed; --dir keeps the recordings.")


def _own_command() -> str:
    """Return the command for this program: its name if PATH finds it."""
    own = Path(sys.argv[0])
    if own.name != "camd":
        return f"{shlex.quote(sys.executable)} -m camd"
    found = shutil.which("camd")
    return "camd" if found and Path(found).samefile(own) else shlex.quote(str(own.absolute()))
