"""Commands for the cameras of this machine: devices, adopt, forget, controls."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from camd.cli import tables
from camd.cli.exit import ServiceUnreachableFailure
from camd.cli.service_access import (
    ServiceAccess,
    ask,
    ask_each,
    configured,
    fail_if_refused,
    json_option,
    print_result,
    remote_options,
)
from camd.cli.terminal import console, messages


@click.command(short_help="Show the cameras that are plugged in.")
@click.option("--all", "everything", is_flag=True, help="Also list all formats, sizes and rates.")
@click.option("--offline", is_flag=True, help="Look at the devices without the service.")
@remote_options
@json_option
def devices(access: ServiceAccess, everything: bool, offline: bool, as_json: bool) -> None:
    """Show the cameras that are plugged in.

    Shows for each which camera it is and why, what it can deliver, and which programs have it open.
    Asks the service; without one, looks at the devices as the service would when it starts.
    """
    found = _list_offline(access) if offline else _list_devices(access)
    print_result(found, partial(_print_devices, modes=everything), as_json=as_json)


def _print_devices(found: Mapping[str, Any], *, modes: bool) -> None:
    out = console()
    if not found["devices"] and not found["absent"]:
        out.print("No camera is plugged in.")
    if found["devices"]:
        out.print(tables.devices(found["devices"]))
    for device in found["devices"]:
        for line in _remarks(device):
            out.print(f"[bold]{escape(device['device'])}[/]: {escape(line)}", soft_wrap=True)
        if modes and device["modes"]:
            out.print(tables.modes(device["modes"]))
    for camera in found["absent"]:
        out.print(
            f"[bold]{escape(camera['camera_id'])}[/] is not there: {escape(camera['message'])}\n"
            f"    {escape(camera['suggestion'])}",
            soft_wrap=True,
        )


def _list_devices(access: ServiceAccess) -> Any:
    try:
        return ask(access, "get_devices")
    except ServiceUnreachableFailure:
        messages().print("The service does not run; it would find this when it starts:")
        return _list_offline(access)


def _list_offline(access: ServiceAccess) -> Any:
    import trio

    from camd.api.device_methods import device_list
    from camd.devices.listing import scan_devices
    from camd.logs import set_up_logging

    set_up_logging("error")
    found = trio.run(scan_devices, configured(access.config_path))
    if found.remark:
        messages().print(f"! {escape(found.remark)}", soft_wrap=True)
    return device_list(found.devices, found.bindings, found.method)


def _remarks(device: dict[str, Any]) -> list[str]:
    """Return the reason and the problem of a device, which its row in the table does not show."""
    lines = [str(device["reason"])] if device["reason"] else []
    if device.get("message"):
        lines.append(f"{device['message']}. {device['suggestion']}")
    return lines


@click.command(short_help="Assign a device to CAMERA.")
@click.argument("camera")
@click.argument("node", required=False)
@remote_options
def adopt(access: ServiceAccess, camera: str, node: str | None) -> None:
    """Assign the device at NODE to CAMERA, for example after a broken one was replaced.

    NODE may be left out when only one device can be meant. `camd devices` shows cameras and nodes.
    """
    answer = ask(access, "adopt_camera", device=camera, node=node)
    console().print(f"{answer['camera_id']} is {answer['device']}: {answer['reason']}")


@click.command(short_help="Forget a camera that will not come back.")
@click.argument("camera")
@remote_options
def forget(access: ServiceAccess, camera: str) -> None:
    """Forget CAMERA, which is not in the configuration and will not come back.

    Its recordings stay.
    """
    ask(access, "forget_camera", device=camera)
    console().print(f"{camera} is forgotten")


# --- controls -----------------------------------------------------------------------------

_MOST_CHOICES = 12  # of a menu, in the table


@click.command(short_help="Show or set the controls of CAMERA.")
@click.argument("camera")
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@remote_options
@json_option
def controls(access: ServiceAccess, as_json: bool, camera: str, settings: tuple[str, ...]) -> None:
    """Show the controls of CAMERA, such as its brightness, or set some.

    They are set one by one, in the given order, and again whenever the camera starts. NAME=
    without a value forgets the value that was set.
    """
    if not settings:
        found = ask(access, "get_camera_controls", device=camera)
        print_result(found, _print_controls, as_json=as_json)
        return
    calls = [{"device": camera, **_parse_setting(each)} for each in settings]
    done, failures = ask_each(access, "set_camera_control", calls)
    refusals = [
        {"control": params["control"], "code": e.code, "message": str(e), "data": e.data}
        for params, e in failures
    ]
    print_result({"set": done, "refused": refusals}, _print_set, as_json=as_json)
    fail_if_refused((params["control"], error) for params, error in failures)


def _parse_setting(text: str) -> dict[str, object]:
    """Parse NAME=VALUE to the parameters of the call."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"{text!r} is not NAME=VALUE")
    return {"control": name, "value": value or None}


def _print_controls(found: Mapping[str, Any]) -> None:
    rows = found["controls"]
    console().print(_table(rows) if rows else "This camera has no controls.")


def _print_set(found: Mapping[str, Any]) -> None:
    for each in found["set"]:
        inactive = "" if each.get("active", True) else "  (no effect at present)"
        console().print(escape(f"{each.get('name')} = {_value(each)}{inactive}"))


def _table(rows: list[Mapping[str, Any]]) -> Table:
    """Make a table of controls, one a row."""
    table = tables.table_of("control", "value", "default", "possible", "kept", "")
    for row in rows:
        kept = "" if row.get("wished") is None else f"{row['wished']} by {row.get('source')}"
        notes = ["read only"] if row.get("read_only") else []
        notes += [] if row.get("active", True) else ["no effect at present"]
        default = row.get("default")
        cells = (
            row.get("name"),
            _value(row),
            "" if default is None else default,
            _possible(row),
            kept,
            ", ".join(notes),
        )
        table.add_row(*(escape(str(cell)) for cell in cells))
    return table


def _value(row: Mapping[str, Any]) -> str:
    """Format a value, with its label when it is an entry of a menu."""
    value = row.get("value")
    labels = {each["value"]: each["label"] for each in row.get("choices") or ()}
    if value in labels:
        return f"{value} ({labels[value]})"
    return "" if value is None else str(value)


def _possible(row: Mapping[str, Any]) -> str:
    kind, low, high = row.get("type"), row.get("minimum"), row.get("maximum")
    if kind == "boolean":
        return "0, 1"
    if kind == "menu":
        choices = [f"{each['value']} ({each['label']})" for each in row.get("choices") or ()]
        rest = len(choices) - _MOST_CHOICES
        return ", ".join(choices[:_MOST_CHOICES]) + (f", … {rest} more" if rest > 0 else "")
    if kind == "button":
        return "press"
    step = row.get("step") or 1
    return f"{low} … {high}" + (f" by {step}" if step > 1 else "")
