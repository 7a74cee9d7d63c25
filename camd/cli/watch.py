"""The command that shows events as they happen."""

from __future__ import annotations

from typing import Any

import attrs
import click
from rich.markup import escape

from camd.cli import tables, times
from camd.cli.output import console, messages, print_json
from camd.cli.reach import ServiceAccess, json_option, remote_options, talk
from camd.client import Client


@click.command(short_help="Show events as they happen, until Ctrl-C.")
@remote_options
@json_option
def watch(reach: ServiceAccess, as_json: bool) -> None:
    """Show events as they happen, until Ctrl-C; with --json one object a line."""

    async def conversation(client: Client) -> None:
        out = console()
        messages().print("Waiting for events; Ctrl-C ends.")
        news = EventFilter()
        async for method, params in client.notifications():
            if as_json:
                print_json({"method": method, "params": params}, indent=None)
            elif news.tells(method, params):
                out.print(event_line(method, params), soft_wrap=True)

    talk(reach, conversation)


@attrs.define(eq=False)
class EventFilter:
    """Which notifications say something that has not been on the screen yet."""

    _latest: dict[object, tuple[object, ...]] = attrs.field(factory=dict, init=False)

    def tells(self, method: str, params: dict[str, Any]) -> bool:
        """Say whether a notification is worth a line; those of a camera come for details too."""
        if method != "camera_status_update":
            return True
        camera = params.get("camera_id")
        shown = tuple(params.get(key) for key in ("status", "state", "message"))
        new = self._latest.get(camera) != shown
        self._latest[camera] = shown
        return new


def event_line(method: str, params: dict[str, Any]) -> str:
    """Say one notification in one line, with rich's markup."""
    time = times.format_moment(params.get("time"), "%H:%M:%S")
    camera = escape(str(params.get("camera_id") or ""))
    match method:
        case "camera_status_update":
            state = escape(str(params.get("state") or "").lower())
            message = escape(str(params.get("message") or ""))
            parts = [camera, tables.word(params.get("status")), state, message]
        case "recording_status_update":
            parts = [
                camera,
                tables.word(params.get("status")),
                escape(str(params.get("filename") or "")),
                tables.clock_time(params.get("duration")),
                tables.file_size(params.get("file_size")),
                escape(str(params.get("reason") or "")),
            ]
        case "storage_status_update":
            percent = params.get("used_percent")
            parts = [
                "storage",
                tables.word(params.get("threshold_status")),
                "" if percent is None else f"{percent:.1f} % used",
                escape(str(params.get("message") or "")),
            ]
        case "retention_update":
            parts = ["retention", escape(str(params.get("message") or ""))]
        case "patrol_update":
            parts = [
                "patrol",
                tables.word(params.get("status")),
                escape(str(params.get("message") or "")),
            ]
        case _:
            parts = [escape(method)]
    return "  ".join(part for part in (time, *parts) if part)
