"""A video node as a value, and how paths in sysfs and udev's texts are read. Pure."""

from __future__ import annotations

import re

import attrs

from camd.model import UsbFacts

_NODE = re.compile(r"video(0|[1-9][0-9]{0,5})")
_ROOT_HUB = re.compile(r"usb[0-9]+")
_USB_DEVICE = re.compile(r"[0-9]+-([0-9]+(?:\.[0-9]+)*)")
_NUMBERED_AT_BOOT = re.compile(r"xhci-hcd\.[0-9]+(\.auto)?|.*\.auto")


@attrs.frozen
class NodeStat:
    """One video node in one look."""

    name: str  # "video0"
    stamp: tuple[int, ...]  # another one after each plugging, even under the same name
    folder: str  # below the root of sysfs, links followed; "" when sysfs does not know it

    @property
    def number(self) -> int:
        """The node's number, by which nodes are ordered."""
        return int(self.name.removeprefix("video"))


@attrs.frozen
class UsbPlace:
    """Where a USB device is in the tree of busses; read off the path of its folder."""

    folder: str  # the device's, below the root of sysfs
    kernel_name: str  # "1-1.3": the bus, then the ports on the way
    ports: str  # "1.3"
    hub: str  # folder of the root hub
    controller: str  # "0000:00:14.0"


@attrs.frozen
class SysfsFacts:
    """What sysfs and udev say of a node."""

    label: str = ""  # the driver's name for it
    index: int | None = None  # among the nodes of one device
    number: str = ""  # "81:0", major and minor
    product: str = ""
    manufacturer: str = ""
    usb: UsbFacts | None = None
    bus_path: str = ""
    virtual: bool = False  # made by software: what it can do changes without a word
    says_capture: bool | None = None  # udev's opinion, None when it has none

    @property
    def plausible(self) -> bool:
        """Whether this is a capture node as far as one can tell without opening it."""
        return self.index == 0 if self.says_capture is None else self.says_capture


def clean(raw: bytes) -> str:
    """Make a text of what a device says: no odd bytes, no odd spaces."""
    text = raw.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() and c != "\ufffd" else " " for c in text).split())


def find_usb_place(folder: str) -> UsbPlace | None:
    """Find the USB device in a path below the root of sysfs; None when there is none."""
    parts = folder.split("/")
    hub = next((i for i, part in enumerate(parts) if _ROOT_HUB.fullmatch(part)), 0)
    devices = [i for i, part in enumerate(parts) if i > hub and _USB_DEVICE.fullmatch(part)]
    if not hub or not devices:
        return None
    last = devices[-1]
    matched = _USB_DEVICE.fullmatch(parts[last])
    assert matched is not None
    controller = parts[hub - 1]
    if _NUMBERED_AT_BOOT.fullmatch(controller) and hub >= 2 and parts[hub - 2] != "platform":
        controller = parts[hub - 2]  # the chip's own name: the other counts who came first
    hub_folder = "/".join(parts[: hub + 1])
    return UsbPlace("/".join(parts[: last + 1]), parts[last], matched[1], hub_folder, controller)


def find_generation(version: str) -> str:
    """Turn a root hub's `version` (" 2.00", "3.10") into the part of a port's name."""
    return f"usb{version.strip().partition('.')[0] or '0'}"


def find_bus_path(folder: str) -> str:
    """Name the place of a device that is not on USB as the kernel's bus does, else ""."""
    parts = folder.partition("/video4linux/")[0].split("/")
    if parts[:2] == ["devices", "platform"]:
        return f"platform:{parts[-1]}"
    if len(parts) > 2 and parts[1].startswith("pci"):
        return f"pci:{parts[-1]}"
    return ""


def parse_udev(text: str) -> bool | None:
    """Read from a file of udev's database whether a node captures; None when it does not say."""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "E:ID_V4L_CAPABILITIES":
            return ":capture:" in value
    return None


def find_number(name: str) -> int | None:
    """Find the number in a video node's name; None when it is not the name of one."""
    matched = _NODE.fullmatch(name)
    return int(matched[1]) if matched else None
