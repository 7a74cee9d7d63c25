"""What the kernel's files say of video nodes: who they are, and where they are plugged in.

Only `read_facts` may wait: the kernel locks a USB device while it is read for its serial number,
and whoever resets that device holds the lock. The other reads touch nothing but memory.

Source: the kernel's Documentation/ABI/testing/sysfs-bus-usb, drivers/usb/core/sysfs.c for what is
locked, drivers/media/v4l2-core/v4l2-dev.c for `name`, `index` and `dev`.
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
    clean,
    find_bus_path,
    find_generation,
    find_number,
    find_usb_place,
    parse_udev,
)
from camd.model import UsbFacts

_ATTRIBUTE_BYTES = 512  # more than the kernel's longest text here (a USB string: 126 characters)
_UDEV_BYTES = 65536
_LINKS = 1024  # per folder


@attrs.frozen
class SysfsRoots:
    """Where the kernel and udev show devices."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    udev: Path = Path("/run/udev")


SYSTEM = SysfsRoots()


def read_bytes(path: Path, most: int = _ATTRIBUTE_BYTES) -> bytes:
    """Read the beginning of a small file; nothing when it is not there (any more)."""
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
    """List the names of video nodes in the order of their numbers."""
    try:
        names = os.listdir(roots.dev)
    except OSError:
        return []
    numbered = sorted((number, name) for name in names if (number := find_number(name)) is not None)
    return [name for _, name in numbered]


def stat_node(name: str, roots: SysfsRoots) -> NodeStat | None:
    """Look at one node without opening it; None when it is gone, or a link to another."""
    try:
        facts = (roots.dev / name).lstat()
    except OSError:
        return None
    if stat.S_ISLNK(facts.st_mode):
        return None
    folder = _find_folder(name, facts, roots)
    try:
        life = (roots.sys / folder).stat().st_ino if folder else 0
    except OSError:
        return None
    # Neither file system gives an inode's number to another one soon.
    return NodeStat(name, (facts.st_dev, facts.st_ino, facts.st_rdev, life), folder)


def _find_folder(name: str, facts: os.stat_result, roots: SysfsRoots) -> str:
    """Find the node's folder by its number: in a container its name may be another one."""
    link = roots.sys / "class/video4linux" / name
    if stat.S_ISCHR(facts.st_mode):
        number = f"{os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}"
        if read_bytes(link / "dev").strip() != number.encode():
            link = roots.sys / "dev/char" / number
    root, folder = os.path.realpath(roots.sys), follow(link)
    known = "/video4linux/" in folder and Path(folder).is_dir()
    return os.path.relpath(folder, root) if known else ""


def follow(link: Path) -> str:
    """Follow a link to its end; "" when it goes away meanwhile.

    Unlike Path.resolve, realpath is at peace with links that go round in circles; but between its
    look at a link and its reading of it, the link may go, and then it raises.
    """
    try:
        return os.path.realpath(link)
    except OSError:
        return ""


def read_links(roots: SysfsRoots) -> Mapping[str, tuple[Path, ...]]:
    """Read which of udev's stable links point to which node, by the node's name."""
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
    """Read what sysfs and udev say of a node; None when it is gone. May block: see above."""
    if not node.folder:
        return SysfsFacts()
    folder = roots.sys / node.folder
    index = read_bytes(folder / "index").strip()
    number = clean(read_bytes(folder / "dev"))
    udev = read_bytes(roots.udev / "data" / f"c{number}", _UDEV_BYTES).decode("utf-8", "replace")
    place = find_usb_place(node.folder)
    device = roots.sys / place.folder if place else folder
    facts = SysfsFacts(
        label=clean(read_bytes(folder / "name")),
        index=int(index) if index.isdigit() else None,
        number=number,
        product=clean(read_bytes(device / "product")) if place else "",
        manufacturer=clean(read_bytes(device / "manufacturer")) if place else "",
        usb=_read_usb(place, roots) if place else None,
        bus_path=f"usb-{place.controller}-{place.ports}" if place else find_bus_path(node.folder),
        virtual=node.folder.startswith("devices/virtual/"),
        says_capture=parse_udev(udev),
    )
    return facts if folder.is_dir() else None


def _read_usb(place: UsbPlace, roots: SysfsRoots) -> UsbFacts:
    device, hub = roots.sys / place.folder, roots.sys / place.hub
    generation = find_generation(clean(read_bytes(hub / "version")))
    return UsbFacts(
        vendor=clean(read_bytes(device / "idVendor")).lower(),
        product=clean(read_bytes(device / "idProduct")).lower(),
        serial=clean(read_bytes(device / "serial")),
        port=f"{place.controller}-{generation}-{place.ports}",
        kernel_name=place.kernel_name,
    )


# --- Which sound card belongs to which USB device.

_CARD = re.compile(r"card[0-9]{1,4}")
_CAPTURE = re.compile(r"pcmC[0-9]+D[0-9]+c")


def read_cards(sys: Path = Path("/sys")) -> Mapping[str, str]:
    """Read the ids of cards that can record, by the folder of their USB device below `sys`.

    Does not block. Of several cards of one device the first counts.
    """
    root = os.path.realpath(sys)
    found: dict[str, str] = {}
    for card in _names(sys / "class/sound", _CARD):
        folder = follow(sys / "class/sound" / card)
        place = find_usb_place(os.path.relpath(folder, root)) if folder else None
        if place is None or not _names(Path(folder), _CAPTURE):
            continue
        if name := clean(read_bytes(Path(folder) / "id")):
            found.setdefault(place.folder, name)
    return found


def _names(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        names = [name for name in os.listdir(folder) if pattern.fullmatch(name)]
    except OSError:
        return []
    return sorted(names, key=lambda name: (len(name), name))  # card2 before card10
