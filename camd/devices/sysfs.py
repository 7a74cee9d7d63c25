"""Reads video nodes, their links and sound cards from /dev, /sys and udev's database.

Only `read_facts` may block: the kernel locks a USB device to read its serial number, and a reset of
the device holds that lock. The other functions read memory only.

Source: the kernel's Documentation/ABI/testing/sysfs-bus-usb, drivers/usb/core/sysfs.c for the
locks, drivers/media/v4l2-core/v4l2-dev.c for `name`, `index` and `dev`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import attrs

from camd.devices.v4l2.node import (
    NodeStat,
    SysfsFacts,
    UsbPlace,
    clean_text,
    find_bus_path,
    find_generation,
    find_number,
    find_usb_place,
    parse_udev,
)
from camd.model import UsbFacts

_ATTRIBUTE_BYTES = 512  # the longest attribute is a USB string of 126 characters
_UDEV_BYTES = 65536
_LINKS = 1024  # per folder


@attrs.frozen
class SysfsRoots:
    """The folders of the kernel and udev; tests have their own."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    udev: Path = Path("/run/udev")


SYSTEM = SysfsRoots()


def read_bytes(path: Path, most: int = _ATTRIBUTE_BYTES) -> bytes:
    """Read the first bytes of a file; b"" when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(fd, most)
    except OSError:
        return b""
    finally:
        os.close(fd)


def list_nodes(roots: SysfsRoots) -> list[str]:
    """Return the names of the video nodes, sorted by number."""
    try:
        names = os.listdir(roots.dev)
    except OSError:
        return []
    numbered = sorted((number, name) for name in names if (number := find_number(name)) is not None)
    return [name for _, name in numbered]


def stat_node(name: str, roots: SysfsRoots) -> NodeStat | None:
    """Stat a node without opening it; None when it is gone, or a link to another one."""
    try:
        status = (roots.dev / name).lstat()
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return None
    folder = _find_folder(name, status, roots)
    try:
        inode = (roots.sys / folder).stat().st_ino if folder else 0
    except OSError:
        return None
    # Neither file system reuses an inode number soon.
    return NodeStat(name, (status.st_dev, status.st_ino, status.st_rdev, inode), folder)


def _find_folder(name: str, status: os.stat_result, roots: SysfsRoots) -> str:
    """Find the node's sysfs folder; by number where a container has renamed the node."""
    link = roots.sys / "class/video4linux" / name
    if stat.S_ISCHR(status.st_mode):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        if read_bytes(link / "dev").strip() != number.encode():
            link = roots.sys / "dev/char" / number
    root, folder = os.path.realpath(roots.sys), follow(link)
    known = "/video4linux/" in folder and os.path.isdir(folder)
    return os.path.relpath(folder, root) if known else ""


def follow(link: Path) -> str:
    """Resolve a link; "" when it leads nowhere, or is removed meanwhile.

    It is told to be strict: otherwise each Python decides by itself which errors it raises, and
    from 3.14 on it returns the path of a link that it could not read.
    """
    try:
        return os.path.realpath(link, strict=True)
    except OSError:
        return ""


def read_links(roots: SysfsRoots) -> Mapping[str, tuple[Path, ...]]:
    """Return udev's links in by-id and by-path, by the name of the node that they point to."""
    found: dict[str, tuple[Path, ...]] = {}
    for folder in (roots.dev / "v4l/by-id", roots.dev / "v4l/by-path"):
        try:
            names = sorted(os.listdir(folder))[:_LINKS]
        except OSError:
            continue
        for name in names:
            with suppress(OSError):
                target = (folder / name).readlink().name
                found[target] = (*found.get(target, ()), folder / name)
    return found


def read_facts(node: NodeStat, roots: SysfsRoots) -> SysfsFacts | None:
    """Read what sysfs and udev say of a node; None when it is gone. May block for long."""
    if not node.folder:
        return SysfsFacts()
    folder = roots.sys / node.folder
    index = read_bytes(folder / "index").strip()
    number = clean_text(read_bytes(folder / "dev"))
    udev = read_bytes(roots.udev / "data" / f"c{number}", _UDEV_BYTES).decode("utf-8", "replace")
    place = find_usb_place(node.folder)
    device = roots.sys / place.folder if place else folder
    facts = SysfsFacts(
        label=clean_text(read_bytes(folder / "name")),
        index=int(index) if index.isdigit() else None,
        number=number,
        product=clean_text(read_bytes(device / "product")) if place else "",
        manufacturer=clean_text(read_bytes(device / "manufacturer")) if place else "",
        usb=_read_usb(place, roots) if place else None,
        bus_path=f"usb-{place.controller}-{place.ports}" if place else find_bus_path(node.folder),
        virtual=node.folder.startswith("devices/virtual/"),
        says_capture=parse_udev(udev),
    )
    return facts if os.path.isdir(folder) else None


def _read_usb(place: UsbPlace, roots: SysfsRoots) -> UsbFacts:
    device, hub = roots.sys / place.folder, roots.sys / place.hub
    generation = find_generation(clean_text(read_bytes(hub / "version")))
    return UsbFacts(
        vendor=clean_text(read_bytes(device / "idVendor")).lower(),
        product=clean_text(read_bytes(device / "idProduct")).lower(),
        serial=clean_text(read_bytes(device / "serial")),
        port=f"{place.controller}-{generation}-{place.ports}",
        kernel_name=place.kernel_name,
    )


# --- sound cards --------------------------------------------------------------------------

_CARD = re.compile(r"card[0-9]{1,4}")
_CAPTURE = re.compile(r"pcmC[0-9]+D[0-9]+c")


def read_cards(sys: Path = Path("/sys")) -> Mapping[str, str]:
    """Return the ids of sound cards that can record, by the sysfs folder of their USB device.

    Of several cards of one device the first is taken.
    """
    root = os.path.realpath(sys)
    found: dict[str, str] = {}
    for card in _names(sys / "class/sound", _CARD):
        folder = follow(sys / "class/sound" / card)
        place = find_usb_place(os.path.relpath(folder, root)) if folder else None
        if place is None or not _names(Path(folder), _CAPTURE):
            continue
        if name := clean_text(read_bytes(Path(folder) / "id")):
            found.setdefault(place.folder, name)
    return found


def _names(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        names = [name for name in os.listdir(folder) if pattern.fullmatch(name)]
    except OSError:
        return []
    return sorted(names, key=lambda name: (len(name), name))  # card2 before card10
