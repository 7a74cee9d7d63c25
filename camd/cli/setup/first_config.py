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
from camd.cli.terminal import console, messages
from camd.config.load import find_file, find_path_bases, load_config
from camd.config.schema import CameraConfig, Config, StorageConfig
from camd.devices.listing import ListedDevice, scan_devices
from camd.errors import ConfigError
from camd.logs import set_up_logging
from camd.model import CameraId, Device, FormatChoice

_SOCKET_FOLDER = Path("/run/camd")  # of the units in systemd/; without them nobody makes it

_HEAD = """\
# The configuration of camd, written by `camd init`. `camd check` says what is wrong with it;
# `camd check --keys` lists every key. A running service reads it again with SIGHUP
# (`systemctl reload camd`).

[server]
{server}

[storage]
# Where recordings go, best a disk of its own: then also set require_mount = true, so that nothing
# is recorded onto the root disk while it is not mounted.
recordings_dir = {recordings}

[recording]
rotation = "30m"         # a new file each half hour; no frame is lost between files
# format = "mkv"         # files of another container, made after recording
"""

_LISTEN = """\
# Only programs of this machine can connect. To serve others, listen on "0.0.0.0:8002" and set
# tls_cert and tls_key.
listen = "127.0.0.1:8002"
"""

_LISTEN_AS_SYSTEM_SERVICE = """\
# Only programs of this machine can connect. To serve others, listen on "0.0.0.0:8002" and set
# tls_cert and tls_key. Where systemd opens the sockets, these are what camd.socket has: change both
# (`systemctl edit camd.socket`).
listen = ["127.0.0.1:8002", "unix:/run/camd/camd.sock"]
"""

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

    @property
    def why_not(self) -> str:
        """Why it could not be asked, and what to do; "" when it could."""
        problem = self.device.problem
        return f"{problem.message}. {problem.suggestion}" if problem is not None else ""


@attrs.frozen
class FoundDevices:
    """The cameras that get an entry, the devices that get none, and a remark on the ids."""

    cameras: tuple[FoundCamera, ...] = ()
    others: tuple[tuple[Device, str], ...] = ()  # each with the reason
    remark: str = ""

    @property
    def devices(self) -> tuple[Device, ...]:
        """All devices that are plugged in."""
        return *(camera.device for camera in self.cameras), *(device for device, _ in self.others)


def write_configuration(recordings: Path, found: FoundDevices, *, system: bool = False) -> str:
    """Write the text of a configuration with these cameras.

    `system`: for the installed service, whose sockets systemd opens. Pure.
    """
    server = (_LISTEN_AS_SYSTEM_SERVICE if system else _LISTEN).rstrip()
    head = _HEAD.format(recordings=json.dumps(str(recordings)), server=server)
    entries = "".join(_entry(camera, found.devices) for camera in found.cameras)
    remarks = "".join(f"\n# {_plain(_without_entry(*other))}\n" for other in found.others)
    return head + (entries + remarks or _NO_CAMERAS) + _FOOT


def _entry(camera: FoundCamera, devices: Sequence[Device]) -> str:
    device = camera.device
    source = _lasting_path(device, devices)
    lines = [
        "",
        f"# {_plain(device.name)}, now {device.node}"
        + ("; it has no stable link, so this node may change" * (source == device.node)),
        "[[camera]]",
        f"id = {_quoted(camera.camera_id)}",
        f"name = {_quoted(device.name)}",
        f"source = {_quoted(f'v4l2:{source}')}",
        *_format_lines(camera),
    ]
    return "\n".join(lines) + "\n"


def _without_entry(device: Device, reason: str) -> str:
    return f"{device.node}, {device.name}, has no entry: {reason}"


def _lasting_path(device: Device, devices: Sequence[Device]) -> Path:
    """Choose the link that stays with this camera, or else its node.

    Cameras without a serial number, or with the same one, share a name in by-id, so the port names
    them. A link that several devices have names none of them.
    """
    others = [other for other in devices if other.node != device.node]
    kinds = ("by-id", "by-path") if _serial_is_unique(device, others) else ("by-path",)
    taken = {link for other in others for link in other.links}
    links = (link for kind in kinds for link in device.links if link.parent.name == kind)
    return next((link for link in links if link not in taken), device.node)


def _serial_is_unique(device: Device, others: Sequence[Device]) -> bool:
    """Tell whether it has a serial number that no device at another port has."""
    if device.usb is None or not device.usb.serial:
        return False
    ports = {
        other.usb.port
        for other in others
        if other.usb is not None and other.usb.serial == device.usb.serial
    }
    return ports <= {device.usb.port}


def _format_lines(camera: FoundCamera) -> Iterator[str]:
    choice = camera.choice
    if choice is None:
        why = f": {_plain(camera.why_not)}" if camera.why_not else "; see `camd devices`."
        yield f"# It could not be asked for its formats{why}"
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


async def find_cameras() -> FoundDevices:
    """Look for the cameras that are plugged in now, as the service does when it starts.

    The configuration that applies now and its state folder say which ids cameras have.
    """
    try:
        config, remark = load_config(None, os.environ), ""
    except ConfigError as error:
        config = _defaults()
        remark = (
            f"The present configuration was not read, so that ids may differ: {error.mistakes[0]}"
        )
    scanned = await scan_devices(config)
    listed, remark = scanned.devices, remark or scanned.remark
    return FoundDevices(
        tuple(_found(one, one.camera_id) for one in listed if one.camera_id is not None),
        tuple((one.device, one.reason) for one in listed if one.camera_id is None),
        remark,
    )


def _defaults() -> Config:
    """Return a configuration without cameras, with the state folder of the one that applies."""
    storage = StorageConfig()
    try:
        file = find_file(None, os.environ)
    except ConfigError:  # nobody may look whether it is there
        file = None
    data = find_path_bases(file, os.environ).data
    return Config(storage=attrs.evolve(storage, state_dir=data / storage.state_dir))


def _found(listed: ListedDevice, camera_id: CameraId) -> FoundCamera:
    answer = FormatSelection(CameraConfig(camera_id)).answer(listed.device.capabilities)
    choice = answer if isinstance(answer, FormatChoice) else None
    return FoundCamera(camera_id, listed.device, choice)


def make_first_config(file: Path, recordings: Path | None, *, force: bool) -> None:
    """Carry out `camd init`."""
    set_up_logging("error")
    folder = Path("recordings") if recordings is None else recordings.absolute()
    found = trio.run(find_cameras)
    system = _is_below_etc(file) and os.path.isdir(_SOCKET_FOLDER)
    text = write_configuration(folder, found, system=system)
    tell = partial(messages().print, soft_wrap=True, markup=False, highlight=False)
    for remark in _remarks(found):
        tell(f"! {_plain(remark)}")
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    _write(file, text, force=force)
    load_config(file, {})  # a text that is refused is a bug, and is noticed here
    say = partial(console().print, soft_wrap=True, markup=False, highlight=False)
    many = "1 camera" if len(found.cameras) == 1 else f"{len(found.cameras)} cameras"
    say(f"{file}: {many}. Look through it, then:")
    for command in _next_commands(file, system=system):
        say(f"  {command}")


def _remarks(found: FoundDevices) -> Iterator[str]:
    """Yield what a person has to know besides the file."""
    if found.remark:
        yield found.remark
    for camera in found.cameras:
        if camera.why_not:
            yield f"{camera.camera_id}, {camera.device.node}: {camera.why_not}"
    for device, reason in found.others:
        yield _without_entry(device, reason)


def _next_commands(file: Path, *, system: bool) -> tuple[str, str]:
    """Return what to do next. The installed service has a user of its own: root does not run it."""
    if system:
        return "camd check", "systemctl reload-or-restart camd"
    return f"camd check --config {file}", f"camd run --config {file}"


def _is_below_etc(file: Path) -> bool:
    return file.absolute().is_relative_to("/etc")


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
        if _is_below_etc(file):
            with suppress(KeyError, PermissionError):  # the service reads it by its group
                os.fchown(descriptor, -1, grp.getgrnam("camd").gr_gid)
        opened.write(text)
