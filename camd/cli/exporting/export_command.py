"""The command export: what a camera recorded between two instants as files, with receipts."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from camd.cli import tables, terminal
from camd.cli.exit import CommandFailed
from camd.cli.exporting.export_receipt import export_receipt, receipt_path, write_receipt
from camd.cli.service_access import (
    ServiceAccess,
    json_option,
    print_result,
    remote_options,
    with_client,
)
from camd.cli.terminal import ProgressMeter, console, messages, show_progress

if TYPE_CHECKING:
    from camd.client import Client, DownloadedExport, ExportPartInfo


def file_of_part(path: Path, number: int) -> Path:
    """Return the file of a part: FILE, FILE-2, …; the number comes before the suffix."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


@click.command(short_help="Write what CAMERA recorded between two instants into FILE.")
@click.argument("camera")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--from",
    "begin",
    metavar="TIME",
    required=True,
    callback=terminal.read_time,
    help="The first instant: '2026-01-15 15:30:05', 15:30, 'yesterday 15:30', -2h, now, or with a "
    "zone 2026-01-15T14:30:05Z.",
)
@click.option(
    "--to",
    "end",
    metavar="TIME",
    required=True,
    callback=terminal.read_time,
    help="The instant before which it ends; at most 24 hours later.",
)
@remote_options
@json_option
def export(
    access: ServiceAccess, as_json: bool, camera: str, file: Path, begin: str, end: str
) -> None:
    """Write what CAMERA recorded between two instants into FILE, an MP4.

    Frames are copied, never encoded again: exactly those whose time lies from --from to before
    --to. The file begins with the key frame before the first of them; players hide what comes
    before it. What is missing is closed up, and listed with its cause.

    Where the camera's codec, size or settings changed, another file begins: FILE-2, FILE-3 and so
    on. FILE.json is the receipt: the SHA-256 of FILE (sha256sum FILE), the recordings that it comes
    from, what is missing, and how many frames are hidden at its beginning.

    A download that was interrupted goes on where it ended when the same command runs again. Files
    that exist are not overwritten.

    Example: camd export camera0 yard.mp4 --from '2026-01-15 15:30' --to '2026-01-15 15:42'
    """
    import trio

    async def calls(client: Client) -> list[dict[str, Any]]:
        found = await client.get_export(
            camera, datetime.fromisoformat(begin), datetime.fromisoformat(end)
        )
        if found.searching:
            messages().print(tables.STILL_SEARCHING)
        files = {part.part: file_of_part(file, part.part) for part in found.parts}
        await trio.to_thread.run_sync(_refuse_existing, list(files.values()))
        receipts = []
        for part in found.parts:
            done = await _download(client, part, files[part.part])
            receipt = export_receipt(found, part, done, {"from": begin, "to": end})
            await trio.to_thread.run_sync(write_receipt, done, receipt)
            receipts.append(receipt | {"receipt": str(receipt_path(done.path))})
        return receipts

    print_result(with_client(access, calls), _print_receipts, as_json=as_json)


def _refuse_existing(files: list[Path]) -> None:
    for file in files:
        for path in (file, receipt_path(file)):
            if os.path.lexists(path):
                raise CommandFailed(f"{path} exists already; it is not overwritten")


async def _download(client: Client, part: ExportPartInfo, path: Path) -> DownloadedExport:
    """Download a part with a progress bar. Raises CommandFailed."""
    from camd.client import ConnectionLostError, ExportChangedError

    def line(there: int, seconds: float) -> str:
        return progress_bar(path.name, there, part.size, seconds)

    try:
        with show_progress(messages(), ProgressMeter(line)) as progress:
            return await client.download_export(part, path, progress=progress)
    except ConnectionLostError as error:
        raise CommandFailed(
            f"{error}\n  Run the same command again: it goes on where it ended."
        ) from None
    except ExportChangedError as error:
        raise CommandFailed(
            f"{error}\n  Run the same command again: it begins anew with what is there now."
        ) from None
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror or error}") from None


def progress_bar(name: str, there: int, size: int, seconds: float) -> str:
    """Format the progress of a download: a bar, per cent, bytes, and bytes a second."""
    share = there / size if size else 1.0
    full = round(24 * share)
    rate = f"  {tables.file_size(there / seconds)}/s" if seconds > 0.5 else ""
    bar = "█" * full + "░" * (24 - full)
    return f"{name}  {bar} {100 * share:3.0f} %  {tables.file_size(there)}{rate}"


def _print_receipts(receipts: list[dict[str, Any]]) -> None:
    out = console()
    for receipt in receipts:
        begin, end = (terminal.format_moment(receipt[name]) for name in ("start_time", "end_time"))
        hidden = f", {receipt['lead_in']} hidden before" if receipt["lead_in"] else ""
        text = (
            f"{receipt['file']}  {tables.file_size(receipt['size'])}, {begin} to {end}, "
            f"{receipt['frames']} frames{hidden}; checked against its receipt {receipt['receipt']}"
        )
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    gaps = receipts[0]["gaps"]
    if gaps:
        out.print(tables.gaps(gaps))
        missing = sum(gap["duration"] for gap in gaps)
        out.print(escape(f"{tables.clock_time(missing)} of the range are missing."))
