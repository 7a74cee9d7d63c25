"""Commands that show the service: its state, its recordings and what is missing, its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import click
from rich.markup import escape
from rich.table import Table

from camd.cli import tables, terminal
from camd.cli.service_access import (
    ServiceAccess,
    ask,
    json_option,
    page_options,
    print_result,
    printed_by,
    remote_options,
    with_client,
)
from camd.cli.terminal import console, messages, print_json

if TYPE_CHECKING:
    from camd.client import Client, ServiceEvent

_LOG_LEVELS = ("debug", "info", "warning", "error")  # of camd.logs.LogLevel, for the help
_STORAGE = {
    "threshold_status": "state",
    "message": "what is wrong",
    "suggestion": "what to do",
    "used_percent": "used",
    "used_space": "used space",
    "available_space": "available",
    "total_space": "total",
    "recordings_size": "recordings",
    "snapshots_size": "snapshots",
    "promised_bytes": "reserved for running sessions",
    "write_rate": "write rate",
    "seconds_until_blocked": "time until blocked",
    "warn_threshold": "warning from",
    "block_threshold": "blocked from",
    "critical_threshold": "critical from",
    "free_inodes": "free inodes",
    "sync_latency": "time of a sync",
    "pending_seconds": "oldest pending call",
    "slow": "slow",
}
_SERVICE = {"status": "service", "version": "version", "uptime": "up for"}


def _print_status(found: Mapping[str, Any]) -> None:
    out, cameras = console(), found["cameras"]
    if found["service"]:
        out.print(tables.pairs(found["service"], _SERVICE))
        for line in tables.reasons(found["service"]):
            out.print(line, soft_wrap=True)
        out.print()
    if cameras:
        out.print(tables.cameras(cameras))
        for line in (line for camera in cameras for line in tables.remarks(camera)):
            out.print(line, soft_wrap=True)
    else:
        out.print(
            "No cameras. Plug one in, or add a [[camera]] to the configuration.", markup=False
        )


@click.command()
@remote_options
@printed_by(_print_status)
def status(access: ServiceAccess) -> object:
    """Show the service and its cameras."""

    async def calls(client: Client) -> dict[str, Any]:
        service = await client.call("get_system_status")
        return {"service": service, **await client.call("get_camera_list")}

    return with_client(access, calls)


def _print_info(details: dict[str, Any]) -> None:
    missing, out = details.pop("gaps", None), console()
    out.print(tables.pairs(details))
    if missing:
        out.print(tables.gaps(missing))


@click.command()
@click.argument("name")
@remote_options
@printed_by(_print_info)
def info(access: ServiceAccess, name: str) -> object:
    """Show everything about the recording NAME."""
    return ask(access, "get_recording_info", filename=name)


@click.command()
@remote_options
@printed_by(lambda space: console().print(tables.pairs(space, _STORAGE)))
def storage(access: ServiceAccess) -> object:
    """Show the free space, and how long it lasts."""
    return ask(access, "get_storage_info")


@click.command(short_help="Print the OpenRPC document of the service's methods.")
@remote_options
def openrpc(access: ServiceAccess) -> None:
    """Print what methods the service has, as an OpenRPC document (spec.open-rpc.org) in JSON."""
    print_json(ask(access, "rpc.discover"))


@click.command("log-level", short_help="Show or set how much the service logs.")
@click.argument("level", type=click.Choice(_LOG_LEVELS), required=False)
@remote_options
@printed_by(lambda answer: click.echo(answer["level"]))
def log_level(access: ServiceAccess, level: str | None) -> object:
    """Show how much the service logs, or set it until its next start.

    `debug` adds FFmpeg's messages. What is set by CAMD_LOG_LEVEL applies again at the next start.
    """
    return ask(access, "set_log_level", **({} if level is None else {"level": level}))


# --- lists of recordings, sessions and gaps -------------------------------------------------


def _page_printer(
    field: str, table: Callable[[Any], Table], what: str
) -> Callable[[Mapping[str, Any]], None]:
    """Make the function that prints a page, and the total when the page does not show all."""

    def show(answer: Mapping[str, Any]) -> None:
        rows, total, out = answer[field], answer["total"], console()
        if rows:
            out.print(table(rows))
        if answer.get("offset", 0) + len(rows) < total or not rows:
            out.print(f"{len(rows)} of {total} {what}")

    return show


_print_recordings = _page_printer("files", tables.recordings, "recordings")
_print_snapshots = _page_printer("files", tables.snapshots, "snapshots")


@click.command()
@click.option("--snapshots", is_flag=True, help="List snapshots instead.")
@page_options
@remote_options
@json_option
def ls(access: ServiceAccess, as_json: bool, snapshots: bool, **page: Any) -> None:
    """List recordings, newest first; with --snapshots, pictures."""
    method = "list_snapshots" if snapshots else "list_recordings"
    show = _print_snapshots if snapshots else _print_recordings
    print_result(ask(access, method, **page), show, as_json=as_json)


@click.command(short_help="List recording sessions, newest first.")
@page_options
@remote_options
@printed_by(_page_printer("sessions", tables.sessions, "sessions"))
def sessions(access: ServiceAccess, **page: Any) -> object:
    """List recording sessions, newest first: how much was recorded and how much is missing."""
    return ask(access, "get_sessions", **page)


@click.command()
@page_options
@remote_options
@printed_by(_page_printer("gaps", partial(tables.gaps, cameras=True), "gaps"))
def gaps(access: ServiceAccess, **page: Any) -> object:
    """List missing footage, newest first, with its cause."""
    return ask(access, "get_gaps", **page)


def _print_schedules(answer: Mapping[str, Any]) -> None:
    rows, out = answer["schedules"], console()
    if not rows:
        out.print("No schedules. Add a [[schedule]] to the configuration.", markup=False)
        return
    out.print(tables.schedules(rows))
    for line in (line for row in rows for line in tables.schedule_remarks(row)):
        out.print(line, soft_wrap=True)


@click.command(short_help="Show the schedules, and whether their windows are open.")
@remote_options
@printed_by(_print_schedules)
def schedule(access: ServiceAccess) -> object:
    """Show the schedules: what they record, whether they do now, and when that changes."""
    return ask(access, "get_schedules")


# --- the time line of a camera -----------------------------------------------------------------


def _print_timeline(answer: Mapping[str, Any]) -> None:
    out = console()
    for line in tables.timeline_lines(answer, out.width):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if answer["gaps"]:
        out.print(tables.timeline_gaps(answer["gaps"]))
    if answer.get("searching"):
        out.print(tables.STILL_SEARCHING, markup=False)


@click.command(short_help="Show when a camera was recorded, and what is missing.")
@click.argument("camera")
@click.option(
    "--from",
    "since",
    metavar="TIME",
    callback=terminal.read_time,
    help="From '2026-01-15 15:30', 15:30, 'yesterday 15:30', -2h, or with a zone "
    "2026-01-15T14:30:00Z.  [default: a day before]",
)
@click.option(
    "--to", "until", metavar="TIME", callback=terminal.read_time, help="Until then.  [default: now]"
)
@remote_options
@printed_by(_print_timeline)
def timeline(access: ServiceAccess, camera: str, since: str | None, until: str | None) -> object:
    """Show when CAMERA was recorded, and what is missing and why.

    In the bar, # is recorded, ! is missing, and . was not to be recorded.
    """
    return ask(access, "get_timeline", camera=camera, **{"from": since, "to": until})


# --- events --------------------------------------------------------------------------------


@click.command(short_help="Show events as they happen, until Ctrl-C.")
@click.option("--topic", "topics", multiple=True, help="Only these, such as recording.stopped.")
@click.option("--camera", metavar="CAMERA", help="Only those of this camera.")
@click.option(
    "--since", type=click.IntRange(0), metavar="NUMBER", help="First the events behind this one."
)
@click.option("--reconnect", is_flag=True, help="Go on when the service has started again.")
@remote_options
@json_option
def watch(
    access: ServiceAccess,
    as_json: bool,
    topics: tuple[str, ...],
    camera: str | None,
    since: int | None,
    reconnect: bool,
) -> None:
    """Show events as they happen, until Ctrl-C; with --json, one object per line."""
    unseen = RepeatFilter()

    def show(method: str, params: dict[str, Any]) -> None:
        if as_json:
            print_json({"method": method, "params": params}, indent=None)
        elif unseen.accepts(method, params):
            console().print(event_line(method, params), soft_wrap=True)

    async def show_all(client: Client) -> None:
        if access.token is None:
            await client.call("ping")  # refused where a token is needed
        messages().print("Waiting for events; Ctrl-C ends.")
        async for method, params in client.notifications():
            show(method, params)

    async def show_chosen(client: Client) -> None:
        chosen = client.events(topics or None, camera=camera, since=since, reconnect=reconnect)
        async with chosen as events:
            messages().print("Waiting for events; Ctrl-C ends.")
            async for event in events:
                show(*_as_sent(event))

    chooses = bool(topics or camera or reconnect or since is not None)
    with_client(access, show_chosen if chooses else show_all)


def _as_sent(event: ServiceEvent) -> tuple[str, dict[str, Any]]:
    from camd.client import EventsMissed

    if event.sent is not None:
        return event.sent.method, event.sent.params
    assert isinstance(event, EventsMissed)
    return "events_missed", {"missed": event.missed, "oldest": event.oldest, "seq": event.seq}


@attrs.define(eq=False)
class RepeatFilter:
    """Drops camera notifications that would print the same line again."""

    _latest: dict[object, tuple[object, ...]] = attrs.field(factory=dict, init=False)

    def accepts(self, method: str, params: dict[str, Any]) -> bool:
        """Whether to print a notification; those of a camera also come when only sizes change."""
        if method != "camera_status_update":
            return True
        camera = params.get("camera_id")
        shown = tuple(params.get(name) for name in ("status", "state", "message"))
        new = self._latest.get(camera) != shown
        self._latest[camera] = shown
        return new


def event_line(method: str, params: dict[str, Any]) -> str:
    """Format one notification as a line, with rich's markup."""

    def text(name: str) -> str:
        return escape(str(params.get(name) or ""))

    match method:
        case "camera_status_update":
            status = tables.coloured(params.get("status"))
            parts = [text("camera_id"), status, text("state").lower(), text("message")]
        case "recording_status_update":
            status = tables.coloured(params.get("status"))
            length, size = params.get("duration"), params.get("file_size")
            parts = [text("camera_id"), status, text("filename")]
            parts += [tables.clock_time(length), tables.file_size(size), text("reason")]
        case "storage_status_update":
            percent = params.get("used_percent")
            used = "" if percent is None else f"{percent:.1f} % used"
            level = tables.coloured(params.get("threshold_status"))
            parts = ["storage", level, used, text("message")]
        case "retention_update":
            parts = ["retention", text("message")]
        case "events_missed":
            count = params.get("missed")
            parts = ["missed", "unknown" if count is None else f"up to {count} events"]
        case "scrub_update":
            parts = ["scrub", tables.coloured(params.get("status")), text("message")]
        case "recovery_update":
            status = tables.coloured(params.get("status"))
            parts = ["recovery", status, f"{text('files') or 0} of {text('total') or 0} files"]
            parts += [text("problem")]
        case _:
            parts = [escape(method)]
    time = terminal.format_moment(params.get("time"), "%H:%M:%S")
    return "  ".join(part for part in (time, *parts) if part)
