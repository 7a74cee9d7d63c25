"""Who a camera is: what of it stays the same when it is renumbered, unplugged or moved. Pure.

Cameras of one model without serial numbers differ by nothing but where they are plugged in, and
so do twins that bear the same one. A USB device may have several capture nodes, such as a colour
and an infrared one: the tail of their by-path links ("1.0-video-index0") tells them apart, and
their names where no udev made links.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs

from camd.model import CameraId, Capabilities, Device, V4l2Source

_BY_PATH = "by-path"
_FUNCTION = re.compile(r"(?:\d+\.\d+-)?video-index\d+$")


@attrs.frozen
class DeviceIdentity:
    """What is remembered of a physical camera; "" for what it does not have or nobody could see."""

    name: str
    vendor: str = ""  # of USB cameras, as the three that follow
    product: str = ""
    serial: str = ""
    port: str = ""
    bus_info: str = ""  # of all others
    link: str = ""  # name of the by-path link, unless several devices claim it
    formats: str = ""  # a digest of pixel formats and sizes

    @property
    def usb(self) -> bool:
        """Whether it is a USB camera."""
        return bool(self.vendor)

    @property
    def function(self) -> str:
        """Which node of its device it is, as by-path links end: interface and index."""
        found = _FUNCTION.search(self.link)
        return found[0] if found else ""

    @property
    def place(self) -> str:
        """Where it is plugged in, for people."""
        return self.port if self.usb else self.bus_info or self.link

    def describe(self) -> str:
        """Say in one word who it is: "usb:0c45:6366:SN1", "usb:0c45:6366@port", its bus address."""
        if not self.usb:
            return self.place or f"name:{self.name}"
        model = f"usb:{self.vendor}:{self.product}"
        return f"{model}:{self.serial}" if self.serial else f"{model}@{self.port}"

    def same_model(self, other: DeviceIdentity) -> bool:
        """Tell whether the two are of one make, and the same node of it."""
        if (self.vendor, self.product) != (other.vendor, other.product):
            return False
        if self.function and other.function:
            return self.function == other.function and (self.usb or self.name == other.name)
        return self.name == other.name

    def alike(self, other: DeviceIdentity) -> bool:
        """Tell whether nothing but the place could distinguish the two."""
        return self.same_model(other) and self.serial == other.serial

    def same_place(self, other: DeviceIdentity) -> bool:
        """Tell whether the two are plugged in at the same place."""
        if self.usb or other.usb:
            return bool(self.port) and self.port == other.port
        if self.bus_info and other.bus_info:
            return self.bus_info == other.bus_info
        return bool(self.link) and self.link == other.link

    def replaces(self, other: DeviceIdentity) -> bool:
        """Tell whether it is a different camera where `other` was.

        Another node of the same device is none.
        """
        if not self.same_place(other) or self.alike(other):
            return False
        if self.usb:
            here, there = (self.vendor, self.product), (other.vendor, other.product)
            return here != there or self.serial != other.serial
        return not (self.function and other.function) or self.function == other.function


@attrs.frozen
class KnownCamera:
    """A camera's number or name, and the physical camera that it belongs to."""

    camera_id: CameraId
    identity: DeviceIdentity
    selector: str = ""  # the configured source through which it was bound; "" for none
    adopted: bool = False  # bound by hand: no entry takes the camera away


@attrs.frozen(eq=False)
class PluggedDevice:
    """A device that is plugged in, and who it is."""

    device: Device
    identity: DeviceIdentity

    @property
    def usb_name(self) -> str:
        """How the kernel names its USB device."""
        return self.device.usb.kernel_name if self.device.usb is not None else ""


def look(devices: Iterable[Device]) -> tuple[PluggedDevice, ...]:
    """Say who each device is, in the order of their nodes, whatever order they come in."""
    ordered = sorted(devices, key=lambda device: natural(str(device.node)))
    claims = Counter(name for device in ordered for name in set(by_path_names(device)))
    return tuple(PluggedDevice(device, _identity(device, claims)) for device in ordered)


def _identity(device: Device, claims: Counter[str]) -> DeviceIdentity:
    link = min((name for name in by_path_names(device) if claims[name] == 1), default="")
    formats = fingerprint(device.capabilities)
    usb = device.usb
    if usb is None:  # until a driver has answered, its address is guessed, and may be another one
        address = device.bus_info if device.capabilities is not None else ""
        return DeviceIdentity(device.name, bus_info=address, link=link, formats=formats)
    return DeviceIdentity(
        device.name, usb.vendor, usb.product, usb.serial, usb.port, link=link, formats=formats
    )


def by_path_names(device: Device) -> tuple[str, ...]:
    """Name the device's links below by-path."""
    return tuple(link.name for link in device.links if link.parent.name == _BY_PATH)


def is_by_path(path: Path) -> bool:
    """Tell whether a path is a link that udev names by the place of the device."""
    return path.parent.name == _BY_PATH


def fingerprint(capabilities: Capabilities | None) -> str:
    """Reduce the formats and sizes that a camera offers to a short digest; "" when unknown."""
    if capabilities is None:
        return ""
    lines = []
    for pixels in capabilities.formats:
        sizes = sorted((size.width, size.height) for size in pixels.sizes)
        limits = pixels.size_range and (pixels.size_range.least, pixels.size_range.largest)
        lines.append(f"{pixels.fourcc} {sizes} {limits}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def refresh(before: DeviceIdentity, now: DeviceIdentity, device: Device) -> DeviceIdentity:
    """Remember a camera as it is now; what cannot be seen at present stays as it was."""
    return attrs.evolve(
        now,
        bus_info=now.bus_info or before.bus_info,
        link=now.link if by_path_names(device) else before.link,
        formats=now.formats or before.formats,
    )


def natural(text: str) -> tuple[tuple[str, int], ...]:
    """Return a key that sorts camera10 after camera9."""
    parts = re.findall(r"(\D*)(\d*)", text)
    return tuple((word, int(digits or -1)) for word, digits in parts)


# --- What a configured source says about which camera is meant.

_NODE_PART = re.compile(r"-video-index\d+$")


def designates(source: V4l2Source, plugged: PluggedDevice) -> bool:
    """Tell whether the source's words fit this device; no words fit none."""
    device, identity = plugged.device, plugged.identity
    if source.path is not None:
        return source.path == device.node or source.path in device.links
    if source.serial:
        return identity.serial == source.serial
    if not source.port:
        return False
    links = by_path_names(device)
    names = {identity.port, plugged.usb_name, *links}
    names.update(_NODE_PART.sub("", link) for link in links)
    return source.port.rpartition("/")[2] in names or source.port in names


def permits(source: V4l2Source | None, known: KnownCamera, plugged: PluggedDevice) -> bool:
    """Tell whether a camera that is bound through `source` may be this device.

    A kernel's name of a port may be another port's after a reboot, so the place is compared with
    the one that was bound.
    """
    if source is None:
        return True
    if source.serial:
        return plugged.identity.serial == source.serial
    if names_place(source):
        return known.identity.same_place(plugged.identity)
    return True


def allows_adoption(source: V4l2Source | None, plugged: PluggedDevice) -> bool:
    """Tell whether a device may be bound by hand without contradicting the configuration."""
    fixed = source is not None and (bool(source.serial) or names_place(source))
    return not fixed or (source is not None and designates(source, plugged))


def names_place(source: V4l2Source) -> bool:
    """Tell whether the source means a place and not a camera."""
    if source.path is not None:
        return is_by_path(source.path)
    return bool(source.port) and not source.serial
