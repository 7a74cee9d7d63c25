"""Commands that look: status, ls, info, storage."""

from __future__ import annotations

from typing import Any

import click

from camd.cli import tables
from camd.cli.output import console, print_json
from camd.cli.reach import ServiceAccess, ask, json_option, page_options, remote_options, talk
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
    "promised_bytes": "promised to running sessions",
    "write_rate": "written at present",
    "seconds_until_blocked": "time until blocked",
    "warn_threshold": "warned from",
    "block_threshold": "blocked from",
    "critical_threshold": "critical from",
    "free_inodes": "files that fit",
    "sync_latency": "syncs take",
    "pending_seconds": "oldest call under way",
    "slow": "slow",
}
_SERVICE = {"status": "service", "version": "version", "uptime": "up for", "components": "parts"}


@click.command()
@remote_options
@json_option
def status(reach: ServiceAccess, as_json: bool) -> None:
    """Show the service and its cameras."""

    async def conversation(client: Client) -> tuple[Any, Any]:
        try:
            service = await client.call("get_status")
        except RemoteError as error:
            if error.code != FORBIDDEN.code:
                raise
            service = {}  # a viewer sees the cameras alone
        return service, await client.call("get_camera_list")

    service, cameras = talk(reach, conversation)
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
@page_options
@remote_options
@json_option
def ls(reach: ServiceAccess, as_json: bool, **page: Any) -> None:
    """List recordings, newest first."""
    answer = ask(reach, "list_recordings", **page)
    if as_json:
        print_json(answer)
        return
    out = console()
    files = answer["files"]
    if files:
        out.print(tables.recordings(files))
    if page["offset"] + len(files) < answer["total"] or not files:
        out.print(f"{len(files)} of {answer['total']} recordings")


@click.command()
@click.argument("name")
@remote_options
@json_option
def info(reach: ServiceAccess, as_json: bool, name: str) -> None:
    """Show everything about the recording NAME."""
    details = ask(reach, "get_recording_info", filename=name)
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
def storage(reach: ServiceAccess, as_json: bool) -> None:
    """Show the space for recordings and how long it lasts."""
    space = ask(reach, "get_storage_info")
    if as_json:
        print_json(space)
        return
    console().print(tables.pairs(space, _STORAGE))
