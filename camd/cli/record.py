"""The commands record, stop and snapshot: progress, Ctrl-C, receipts, pictures."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.markup import escape
from rich.text import Text

from camd.cli import tables, terminal
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

if TYPE_CHECKING:
    from camd.client import Client

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
    import trio

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
    from camd.model import are_durable

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
    import trio

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


# --- snapshot -------------------------------------------------------------------------------


@click.command(short_help="Take a picture of CAMERA.")
@click.argument("camera")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write the picture here, not into the service's folder; - is stdout. The suffix tells the "
    "format.",
)
@click.option("--name", "filename", metavar="NAME", help="Name in the service's folder.")
@click.option("--format", type=click.Choice(("jpg", "png")), help="[default: jpg]")
@click.option("--quality", type=click.IntRange(1, 100), help="Of a JPEG.  [default: 85]")
@click.option("--width", type=click.IntRange(16, 8192), help="In pixels; never enlarged.")
@click.option(
    "--max-age",
    "max_age",
    metavar="TIME",
    callback=read_duration,
    help="A frame that is no older will do, such as 1s.  [default: the newest]",
)
@click.option(
    "--at",
    metavar="TIME",
    callback=terminal.read_time,
    help="A past instant, from the recordings: '2026-01-15 15:30:05', 15:30, or -10m.",
)
@remote_options
@json_option
def snapshot(
    access: ServiceAccess,
    as_json: bool,
    camera: str,
    output: Path | None,
    filename: str | None,
    max_age: timedelta | None,
    **options: Any,
) -> None:
    """Take a picture of CAMERA, into the service's snapshots folder or into a file here."""
    if max_age is not None:
        options["max_age_ms"] = max_age // timedelta(milliseconds=1)
    if output is not None:
        if filename is not None:
            raise click.UsageError("--name is for the service's folder; give it or --output")
        taken = _fetch_picture(access, camera, output, options)
    else:
        taken = ask(access, "take_snapshot", device=camera, filename=filename, **options)
    if str(output) != "-":
        print_result(taken, _print_taken, as_json=as_json)


def _print_taken(taken: Mapping[str, Any]) -> None:
    size = f", {taken['width']}x{taken['height']}" if "width" in taken else ""
    age = tables.clock_time(taken["frame_age_ms"] / 1000)
    text = f"{taken['filename']}{size}, {tables.file_size(taken['file_size'])}, {age} old"
    console().print(text, markup=False, highlight=False)


def _fetch_picture(
    access: ServiceAccess, camera: str, output: Path, options: dict[str, Any]
) -> dict[str, Any]:
    """Get a picture that is not stored, and write it."""
    from camd.model.notation import format_instant

    suffix = output.suffix.lower().removeprefix(".").replace("jpeg", "jpg")
    format = options.pop("format") or (suffix if suffix == "png" else "jpg")
    still = with_client(access, lambda client: client.still(camera, format=format, **options))
    try:
        with click.open_file(str(output), "wb") as file:
            file.write(still.data)
    except OSError as error:
        raise CommandFailed(f"{output} cannot be written: {error.strerror}") from None
    return {
        "filename": str(output),
        "timestamp": format_instant(still.time),
        "frame_age_ms": still.age_ms,
        "file_size": len(still.data),
    }
