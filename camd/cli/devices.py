"""Commands about the cameras of this machine: what is plugged in, and which camera is which."""

from __future__ import annotations

from typing import Any

import click
import trio
from rich.markup import escape

from camd.api.devices import listing
from camd.cli import tables
from camd.cli.exits import ServiceUnreachable
from camd.cli.output import console, messages, print_json
from camd.cli.reach import ServiceAccess, ask, configured, json_option, remote_options
from camd.devices.listing import look_around
from camd.logs import set_up_logging


@click.command(short_help="Show the cameras that are plugged in.")
@click.option("--all", "everything", is_flag=True, help="With every format, size and rate.")
@click.option("--offline", is_flag=True, help="Look without asking the service.")
@remote_options
@json_option
def devices(reach: ServiceAccess, everything: bool, offline: bool, as_json: bool) -> None:
    """Show the cameras that are plugged in: who each is and why, what it can do, who has it open.

    Asks the service; where none runs, looks as the service would when it starts.
    """
    found = _look(reach) if offline else _ask_or_look(reach)
    if as_json:
        print_json(found)
        return
    out = console()
    if not found["devices"] and not found["absent"]:
        out.print("No camera is plugged in.")
    if found["devices"]:
        out.print(tables.devices(found["devices"]))
    for device in found["devices"]:
        for line in _remarks(device):
            out.print(f"[bold]{escape(device['device'])}[/]: {escape(line)}", soft_wrap=True)
        if everything and device["modes"]:
            out.print(tables.modes(device["modes"]))
    for camera in found["absent"]:
        out.print(
            f"[bold]{escape(camera['camera_id'])}[/] is not there: {escape(camera['message'])}\n"
            f"    {escape(camera['suggestion'])}",
            soft_wrap=True,
        )


def _ask_or_look(reach: ServiceAccess) -> Any:
    try:
        return ask(reach, "get_devices")
    except ServiceUnreachable:
        messages().print("The service does not run; this is what it would find.")
        return _look(reach)


def _look(reach: ServiceAccess) -> Any:
    set_up_logging("error")
    found = trio.run(look_around, configured(reach.config_path))
    return listing(found.devices, found.seats, found.how)


def _remarks(device: dict[str, Any]) -> list[str]:
    """Say what a line of the table has no room for."""
    lines = [str(device["reason"])] if device["reason"] else []
    if device.get("message"):
        lines.append(f"{device['message']}. {device['suggestion']}")
    return lines


@click.command(short_help="Say which device CAMERA is from now on.")
@click.argument("camera")
@click.argument("node", required=False)
@remote_options
def adopt(reach: ServiceAccess, camera: str, node: str | None) -> None:
    """Let CAMERA be the device at NODE from now on, such as after a broken one was replaced.

    Without NODE it is the one device that may be meant. `camd devices` shows both.
    """
    answer = ask(reach, "adopt_camera", device=camera, node=node)
    console().print(f"{answer['camera_id']} is {answer['device']}: {answer['reason']}")


@click.command(short_help="Forget a camera that is gone for good.")
@click.argument("camera")
@remote_options
def forget(reach: ServiceAccess, camera: str) -> None:
    """Forget CAMERA, which was found by itself and is gone for good; its recordings stay."""
    ask(reach, "forget_camera", device=camera)
    console().print(f"{camera} is forgotten")
