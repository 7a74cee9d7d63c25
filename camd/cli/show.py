"""Commands that show the service: status, ls, info, storage, sessions, gaps, watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    remote_options,
    talk,
)
from camd.cli.terminal import console, messages, print_json
from camd.client import Client, RemoteError
from camd.errors import FORBIDDEN

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
_SERVICE = {"status": "service", "version": "version", "uptime": "up for", "components": "parts"}


@click.command()
@remote_options
@json_option
def status(access: ServiceAccess, as_json: bool) -> None:
    """Show the service and its cameras."""

    async def conversation(client: Client) -> tuple[Any, Any]:
        try:
            service = await client.call("get_status")
        except RemoteError as error:
            if error.code != FORBIDDEN.code:
                raise
            service = {}  # a viewer may see only the cameras
        return service, await client.call("get_camera_list")

    service, cameras = talk(access, conversation)
    if as_json:
        print_json({"service": service, **cameras})
        return
    out = console()
    if service:
        out.print(tables.pairs(service, _SERVICE))
        out.print()
    if cameras["cameras"]:
        out.print(tables.cameras(cameras["cameras"]))
        for line in (line for camera in cameras["cameras"] for line in tables.remarks(camera)):
            out.print(line, soft_wrap=True)
    else:
        out.print(
            "No cameras. Plug one in, or add a [[camera]] to the configuration.", markup=False
        )


@click.command()
@click.option("--snapshots", is_flag=True, help="List snapshots instead.")
@page_options
@remote_options
@json_option
def ls(access: ServiceAccess, as_json: bool, snapshots: bool, **page: Any) -> None:
    """List recordings, newest first; with --snapshots, pictures."""
    if snapshots:
        answer = ask(access, "list_snapshots", **page)
        _print_page(answer, "files", tables.snapshots, what="snapshots", page=page, as_json=as_json)
        return
    answer = ask(access, "list_recordings", **page)
    _print_page(answer, "files", tables.recordings, what="recordings", page=page, as_json=as_json)


@click.command()
@click.argument("name")
@remote_options
@json_option
def info(access: ServiceAccess, as_json: bool, name: str) -> None:
    """Show everything about the recording NAME."""
    details = ask(access, "get_recording_info", filename=name)
    if as_json:
        print_json(details)
        return
    missing = details.get("gaps") or []
    out = console()
    out.print(tables.pairs({key: value for key, value in details.items() if key != "gaps"}))
    if missing:
        out.print(tables.gaps(missing))


@click.command()
@remote_options
@json_option
def storage(access: ServiceAccess, as_json: bool) -> None:
    """Show the free space, and how long it lasts."""
    space = ask(access, "get_storage_info")
    if as_json:
        print_json(space)
        return
    console().print(tables.pairs(space, _STORAGE))


# --- sessions and gaps ---------------------------------------------------------------------


@click.command(short_help="List recording sessions, newest first.")
@page_options
@remote_options
@json_option
def sessions(access: ServiceAccess, as_json: bool, **page: Any) -> None:
    """List recording sessions, newest first: how much was recorded and how much is missing."""
    answer = ask(access, "get_sessions", **page)
    _print_page(answer, "sessions", tables.sessions, what="sessions", page=page, as_json=as_json)


@click.command()
@page_options
@remote_options
@json_option
def gaps(access: ServiceAccess, as_json: bool, **page: Any) -> None:
    """List missing footage, newest first, with its cause."""
    answer = ask(access, "get_gaps", **page)
    _print_page(answer, "gaps", tables.gaps, what="gaps", page=page, as_json=as_json)


def _print_page(
    answer: dict[str, Any],
    field: str,
    table: Callable[[Any], Table],
    *,
    what: str,
    page: dict[str, Any],
    as_json: bool,
) -> None:
    """Print one page of a listing, and how many entries there are when it does not show all."""
    if as_json:
        print_json(answer)
        return
    rows, out = answer[field], console()
    if rows:
        out.print(table(rows))
    if page["offset"] + len(rows) < answer["total"] or not rows:
        out.print(f"{len(rows)} of {answer['total']} {what}")


# --- events --------------------------------------------------------------------------------


@click.command(short_help="Show events as they happen, until Ctrl-C.")
@remote_options
@json_option
def watch(access: ServiceAccess, as_json: bool) -> None:
    """Show events as they happen, until Ctrl-C; with --json, one object per line."""

    async def conversation(client: Client) -> None:
        out = console()
        messages().print("Waiting for events; Ctrl-C ends.")
        unseen = EventFilter()
        async for method, params in client.notifications():
            if as_json:
                print_json({"method": method, "params": params}, indent=None)
            elif unseen.accepts(method, params):
                out.print(event_line(method, params), soft_wrap=True)

    talk(access, conversation)


@attrs.define(eq=False)
class EventFilter:
    """Drops camera notifications that would print the same line again."""

    _latest: dict[object, tuple[object, ...]] = attrs.field(factory=dict, init=False)

    def accepts(self, method: str, params: dict[str, Any]) -> bool:
        """Whether to print a notification; those of a camera also come when only sizes change."""
        if method != "camera_status_update":
            return True
        camera = params.get("camera_id")
        shown = tuple(params.get(key) for key in ("status", "state", "message"))
        new = self._latest.get(camera) != shown
        self._latest[camera] = shown
        return new


def event_line(method: str, params: dict[str, Any]) -> str:
    """Format one notification as a line, with rich's markup."""
    time = terminal.format_moment(params.get("time"), "%H:%M:%S")
    camera = escape(str(params.get("camera_id") or ""))
    match method:
        case "camera_status_update":
            state = escape(str(params.get("state") or "").lower())
            message = escape(str(params.get("message") or ""))
            parts = [camera, tables.coloured(params.get("status")), state, message]
        case "recording_status_update":
            parts = [
                camera,
                tables.coloured(params.get("status")),
                escape(str(params.get("filename") or "")),
                tables.clock_time(params.get("duration")),
                tables.file_size(params.get("file_size")),
                escape(str(params.get("reason") or "")),
            ]
        case "storage_status_update":
            percent = params.get("used_percent")
            parts = [
                "storage",
                tables.coloured(params.get("threshold_status")),
                "" if percent is None else f"{percent:.1f} % used",
                escape(str(params.get("message") or "")),
            ]
        case "retention_update":
            parts = ["retention", escape(str(params.get("message") or ""))]
        case "scrub_update":
            parts = [
                "scrub",
                tables.coloured(params.get("status")),
                escape(str(params.get("message") or "")),
            ]
        case _:
            parts = [escape(method)]
    return "  ".join(part for part in (time, *parts) if part)
