"""A video node, and what the paths and texts of sysfs and udev say of it."""

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
    """A video node as it is plugged in; equal as long as it is not replugged."""

    name: str  # "video0"
    stamp: tuple[int, ...]  # device and inode numbers: others after each plugging
    folder: str  # its resolved path below sysfs; "" when sysfs does not know it

    @property
    def number(self) -> int:
        """The node's number, for sorting."""
        return int(self.name.removeprefix("video"))


@attrs.frozen
class UsbPlace:
    """The place of a USB device in the tree of busses, parsed from its sysfs path."""

    folder: str  # of the device, below sysfs
    kernel_name: str  # "1-1.3": bus, then ports
    ports: str  # "1.3"
    hub: str  # folder of the root hub
    controller: str  # "0000:00:14.0"


@attrs.frozen
class SysfsFacts:
    """What sysfs and udev's database say of a node."""

    label: str = ""  # the driver's name of the node
    index: int | None = None  # among the nodes of one device
    number: str = ""  # "81:0": major and minor
    product: str = ""
    manufacturer: str = ""
    usb: UsbFacts | None = None
    bus_path: str = ""
    virtual: bool = False  # made by software: its capabilities change without an event
    says_capture: bool | None = None  # by udev; None when udev does not say

    @property
    def plausible(self) -> bool:
        """Whether it is probably a capture node, judged without opening it."""
        return self.index == 0 if self.says_capture is None else self.says_capture


def clean_text(raw: bytes) -> str:
    """Decode a device's text without unprintable characters and repeated spaces."""
    text = raw.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() and c != "\ufffd" else " " for c in text).split())


def find_usb_place(folder: str) -> UsbPlace | None:
    """Find the USB device in a path below sysfs; None when there is none."""
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
        controller = parts[
            hub - 2
        ]  # the chip's name; the controller's number depends on the boot order
    hub_folder = "/".join(parts[: hub + 1])
    return UsbPlace("/".join(parts[: last + 1]), parts[last], matched[1], hub_folder, controller)


def find_generation(version: str) -> str:
    """Return "usb2" or "usb3", a part of the port's name, for a root hub's `version` (" 2.00")."""
    return f"usb{version.strip().partition('.')[0] or '0'}"


def find_bus_path(folder: str) -> str:
    """Return the bus address of a device that is not on USB, as the kernel writes it; else ""."""
    parts = folder.partition("/video4linux/")[0].split("/")
    if parts[:2] == ["devices", "platform"]:
        return f"platform:{parts[-1]}"
    if len(parts) > 2 and parts[1].startswith("pci"):
        return f"pci:{parts[-1]}"
    return ""


def parse_udev(text: str) -> bool | None:
    """Tell by a file of udev's database whether a node captures; None when it does not say."""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "E:ID_V4L_CAPABILITIES":
            return ":capture:" in value
    return None


def find_number(name: str) -> int | None:
    """Return the number in a video node's name; None for any other name."""
    matched = _NODE.fullmatch(name)
    return int(matched[1]) if matched else None
