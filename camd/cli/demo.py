"""`camd demo`: a real service with two synthetic cameras, shown at work, then left to try out."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import trio
from rich.live import Live
from rich.markup import escape

from camd.camera.program import FfmpegMissingError, find_ffmpeg
from camd.cli import tables
from camd.cli.exits import CommandFailed
from camd.cli.output import console
from camd.cli.reach import run_to_end
from camd.cli.record import complain, print_receipt, progress_line
from camd.cli.stage import (
    DemoService,
    free_port,
    last_words,
    open_service,
    wait_for_end,
    wait_ready,
)
from camd.client import Client, open_client
from camd.config.schema import FfmpegConfig

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
        program = await find_ffmpeg(FfmpegConfig())
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
