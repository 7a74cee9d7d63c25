"""`camd init`: write a first configuration, with an entry for each camera that is plugged in."""

from __future__ import annotations

import grp
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import click
import trio

from camd.capture.rules.negotiation import FormatSelection
from camd.cli.exit import CommandFailed
from camd.cli.service_access import configured
from camd.cli.terminal import console
from camd.config.load import SYSTEM_FILE, load_config
from camd.config.schema import CameraConfig
from camd.devices.listing import ListedDevice, scan_devices
from camd.logs import set_up_logging
from camd.model import CameraId, Device, FormatChoice

_HEAD = """\
# The configuration of camd, written by `camd init`. `camd check` says what is wrong with it;
# `camd check --keys` lists every key. A running service reads it again with SIGHUP
# (`systemctl reload camd`).

[server]
# Only programs of this machine can connect. To serve others, listen on "0.0.0.0:8002" and set
# tls_cert and tls_key.
{listen}

[storage]
# Where recordings go, best a disk of its own: then also set require_mount = true, so that nothing
# is recorded onto the root disk while it is not mounted.
recordings_dir = {recordings}

[recording]
rotation = "30m"         # a new file each half hour; no frame is lost between files
# format = "mkv"         # files of another container, made after recording
"""

_LISTEN = 'listen = "127.0.0.1:8002"'
_LISTEN_AS_UNIT = """\
# systemd opens the sockets: change camd.socket along with this (`systemctl edit camd.socket`).
listen = ["127.0.0.1:8002", "unix:/run/camd/camd.sock"]"""
_UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))

_NO_CAMERAS = """\

# No USB camera was plugged in. One that is plugged in later is found and gets an id by itself.
"""

_FOOT = """\

# A network camera; the text up to the @ stays out of every log.
# [[camera]]
# name = "Yard"
# source = "rtsp://user:password@192.0.2.10/stream"
"""


@attrs.frozen
class FoundCamera:
    """A camera for which an entry is written."""

    camera_id: CameraId
    device: Device
    choice: FormatChoice | None  # None: it cannot be asked now, or offers nothing that is recorded


def write_configuration(
    recordings: Path, cameras: Sequence[FoundCamera], *, has_unit: bool = False
) -> str:
    """Write the text of a configuration with these cameras. Pure.

    `has_unit`: it is for the service of systemd, whose sockets are those of camd.socket.
    """
    head = _HEAD.format(
        recordings=json.dumps(str(recordings)), listen=_LISTEN_AS_UNIT if has_unit else _LISTEN
    )
    entries = "".join(_entry(camera) for camera in cameras) if cameras else _NO_CAMERAS
    return head + entries + _FOOT


def _entry(camera: FoundCamera) -> str:
    device, choice = camera.device, camera.choice
    source = _lasting_path(device)
    lines = [
        "",
        f"# {_plain(device.name)}, now {device.node}"
        + ("; it has no stable link, so this node may change" * (source == device.node)),
        "[[camera]]",
        f"id = {_quoted(camera.camera_id)}",
        f"name = {_quoted(device.name)}",
        f"source = {_quoted(f'v4l2:{source}')}",
        *_format_lines(choice),
    ]
    return "\n".join(lines) + "\n"


def _lasting_path(device: Device) -> Path:
    """Choose the link that stays with this camera, or else its node.

    Cameras without a serial number share one name in by-id, so the port names them.
    """
    kinds = ("by-id", "by-path") if device.usb and device.usb.serial else ("by-path",)
    links = (link for kind in kinds for link in device.links if link.parent.name == kind)
    return next(links, device.node)


def _format_lines(choice: FormatChoice | None) -> Iterator[str]:
    if choice is None:
        yield "# It could not be asked for its formats: see `camd devices`."
        return
    yield f"# Without these, camd chooses: {_plain(choice.why)}"
    if choice.width and choice.height:
        yield f'# resolution = "{choice.width}x{choice.height}"'
    if choice.fps:
        yield f"# fps = {choice.fps:g}"
    yield "# always_on = true     # capture all the time: starts are quicker, pre-roll is possible"


def _quoted(text: str) -> str:
    """Write a TOML string; a device names itself, with any bytes."""
    return json.dumps(_plain(text), ensure_ascii=False)


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


async def find_cameras() -> list[FoundCamera]:
    """Look for the cameras that are plugged in now, as the service does when it starts."""
    listed = await scan_devices(configured(None))
    return [_found(one) for one in listed.devices if one.camera_id is not None]


def _found(listed: ListedDevice) -> FoundCamera:
    assert listed.camera_id is not None
    entry = CameraConfig(listed.camera_id)
    answer = FormatSelection(entry).answer(listed.device.capabilities)
    choice = answer if isinstance(answer, FormatChoice) else None
    return FoundCamera(listed.camera_id, listed.device, choice)


def make_first_config(file: Path, recordings: Path | None, *, force: bool) -> None:
    """Carry out `camd init`."""
    set_up_logging("error")
    folder = Path("recordings") if recordings is None else recordings.absolute()
    cameras = trio.run(find_cameras)
    has_unit = is_read_by_unit(file)
    text = write_configuration(folder, cameras, has_unit=has_unit)
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    _write(file, text, force=force)
    load_config(file, {})  # a text that is refused is a bug, and is noticed here
    say = partial(console().print, soft_wrap=True, markup=False, highlight=False)
    many = "1 camera" if len(cameras) == 1 else f"{len(cameras)} cameras"
    say(f"{file}: {many}. Look through it, then:")
    say(f"  camd check --config {file}")
    say("  systemctl reload-or-restart camd" if has_unit else f"  camd run --config {file}")


def is_read_by_unit(file: Path, unit_folders: Sequence[Path] = _UNIT_FOLDERS) -> bool:
    """Whether the units are installed and their service reads this file."""
    installed = any((folder / "camd.socket").exists() for folder in unit_folders)
    return installed and file.absolute() == SYSTEM_FILE


def _write(file: Path, text: str, *, force: bool) -> None:
    """Write the file, readable by its group at most: it may get passwords. Raises CommandFailed."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        descriptor = os.open(file, flags, 0o640)
    except FileExistsError:
        raise CommandFailed(f"{file} exists; --force replaces it") from None
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror}") from None
    with open(descriptor, "w", encoding="utf-8") as opened:  # noqa: PTH123 - a descriptor
        if file.absolute().is_relative_to("/etc"):
            with suppress(KeyError, PermissionError):  # the service reads it by its group
                os.fchown(descriptor, -1, grp.getgrnam("camd").gr_gid)
        opened.write(text)
