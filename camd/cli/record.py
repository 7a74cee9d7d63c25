"""The commands record and stop: progress, Ctrl-C, receipts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, cast

import click
import trio
from rich.markup import escape
from rich.text import Text

from camd.cli import tables
from camd.cli.exit import CommandFailed
from camd.cli.service_access import (
    ServiceAccess,
    ask,
    interrupted,
    json_option,
    print_result,
    printed_by,
    remote_options,
    with_client,
)
from camd.cli.terminal import console, live_text, messages, read_duration
from camd.client import Client
from camd.model import are_durable

_PROGRESS_SECONDS = 0.5
_LONGEST = timedelta(days=1)


def whole_seconds(context: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a duration such as 10m for an option; the service accepts whole seconds up to a day."""
    duration = read_duration(context, param, value)
    if duration is None:
        return None
    second = timedelta(seconds=1)
    if duration % second or not second <= duration <= _LONGEST:
        raise click.BadParameter(f"{value} is not 1s to 24h in whole seconds", param=param)
    return duration // second


async def show_until_end(
    client: Client, camera: str, session_id: str, show: Callable[[Text], None]
) -> None:
    """Show the progress of a session; return when the camera records it no more."""
    while True:
        status = await client.call("get_recording_status", device=camera)
        if status is None or status.get("session_id") != session_id:
            return
        show(progress_line(status))
        await trio.sleep(_PROGRESS_SECONDS)


async def receipt_from_files(client: Client, session_id: str) -> dict[str, Any]:
    """Build the receipt of a session that ended by itself."""
    page = await client.call("list_recordings", session_id=session_id, limit=1000)
    names = [file["filename"] for file in reversed(page["files"])]
    return session_receipt(
        [await client.call("get_recording_info", filename=name) for name in names]
    )


def session_receipt(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """Build a receipt as stop_recording returns it from the descriptions of the files."""
    keys = ("filename", "start_time", "end_time", "duration", "frames", "size", "sha256")
    sized = [{**info, "size": info.get("file_size")} for info in infos]
    gaps: list[Any] = next((info["gaps"] for info in reversed(infos) if info.get("gaps")), [])
    return {
        "files": [{key: info.get(key) for key in keys} for info in sized],
        "gaps": gaps,
        "frames_written": sum(info.get("frames") or 0 for info in infos),
        "durable": are_durable(
            (info.get("durable") is True for info in infos), (gap.get("cause") for gap in gaps)
        ),
    }


@click.command(short_help="Record CAMERA until Ctrl-C, or for a time.")
@click.argument("camera")
@click.option(
    "--for",
    "seconds",
    callback=whole_seconds,
    metavar="DURATION",
    help="Stop after this time, such as 10m.",
)
@click.option(
    "--format",
    "container",
    type=click.Choice(["mp4", "mkv"]),
    help="Container of the files.  [default: recording.format]",
)
@click.option(
    "--key",
    help="Key of this start: a second start with the same key joins the session.",
)
@remote_options
@json_option
def record(
    access: ServiceAccess,
    as_json: bool,
    camera: str,
    seconds: int | None,
    container: str | None,
    key: str | None,
) -> None:
    """Record CAMERA until Ctrl-C, or for a time, and print the receipt.

    CAMERA is an id such as camera0, a node such as /dev/video0, or a link to one. Ctrl-C stops the
    recording. If this command is killed, the recording continues: `camd stop CAMERA` ends it.
    """
    wanted = {"duration": seconds, "format": container, "key": key}
    params = {name: value for name, value in wanted.items() if value is not None}

    async def calls(client: Client) -> dict[str, Any]:
        # Before the start: Ctrl-C while the camera starts must not leave it recording.
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            started = await client.call("start_recording", device=camera, **params)
            say = messages()
            for warning in started.get("warnings") or ():
                say.print(f"[yellow]warning:[/] {escape(str(warning))}")
            say.print(
                f"Recording {camera} into {started['filename']}; Ctrl-C stops it.", markup=False
            )
            session_id: str = started["session_id"]
            with live_text(say) as show:
                until_end = partial(show_until_end, client, camera, session_id, show)
                if await interrupted(signals, until_end):
                    stopped = await client.call("stop_recording", device=camera)
                    return cast("dict[str, Any]", stopped["receipt"])
            return await receipt_from_files(client, session_id)

    receipt = with_client(access, calls)
    print_result(receipt, print_receipt, as_json=as_json)
    fail_if_incomplete(receipt)


def _print_stopped(result: Mapping[str, Any]) -> None:
    print_receipt(result["receipt"])
    fail_if_incomplete(result["receipt"])


@click.command(short_help="Stop the recording of CAMERA.")
@click.argument("camera")
@remote_options
@printed_by(_print_stopped)
def stop(access: ServiceAccess, camera: str) -> object:
    """Stop the recording of CAMERA, also one that another client started; print the receipt."""
    return ask(access, "stop_recording", device=camera)


def progress_line(status: dict[str, Any]) -> Text:
    """Format the progress of a recording as one line."""
    frames = status.get("frames_written", status.get("frames"))
    size = status.get("bytes_written", status.get("file_size"))
    parts = [
        "●",
        tables.clock_time(status.get("elapsed_time")),
        tables.file_size(size),
        "" if frames is None else f"{frames} frames",
        str(status.get("current_file") or "waiting for the camera"),
    ]
    gaps = len(status.get("gaps") or ())
    if gaps:
        parts.append(f"{gaps} gap{'s' if gaps > 1 else ''}")
    return Text("  ".join(part for part in parts if part), overflow="ellipsis", no_wrap=True)


def fail_if_incomplete(receipt: dict[str, Any]) -> None:
    """Raise CommandFailed when a receipt has no files, or files that are not complete."""
    if not receipt["files"]:
        raise CommandFailed("nothing was recorded")
    open_files = [file["filename"] for file in receipt["files"] if not file.get("sha256")]
    if open_files:
        raise CommandFailed(
            f"not complete: {', '.join(open_files)}; see `camd status` for the cause"
        )


def print_receipt(receipt: dict[str, Any]) -> None:
    """Print the files of a session, its gaps, and how many of the captured frames are in files."""
    out = console()
    out.print(tables.receipt_files(receipt["files"]))
    if receipt.get("gaps"):
        out.print(tables.gaps(receipt["gaps"]))
    written = receipt.get("frames_written")
    captured = receipt.get("frames_captured")
    share = (
        f"{written} of {captured} captured frames" if captured is not None else f"{written} frames"
    )
    durable = "durable" if receipt.get("durable") else "not yet durable"
    out.print(f"{share} are in files, {durable}.")
