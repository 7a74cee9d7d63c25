"""What identifies a physical camera across renumbering and replugging, and how a source selects it.

Cameras of one model without a serial number, or with the same one, differ only by the port that
they are plugged into. A USB device may have several capture nodes, such as a colour and an
infrared one: the end of their by-path links ("1.0-video-index0") tells them apart, or their names
where udev made no links.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs

from camd.model import CameraId, Capabilities, Device, DeviceSelector

_BY_PATH = "by-path"
_INTERFACE = re.compile(r"(?:\d+\.\d+-)?video-index\d+$")


@attrs.frozen
class DeviceIdentity:
    """What is stored of a physical camera; "" for what it does not have or could not be read."""

    name: str
    vendor: str = ""  # this and the next three: USB cameras only
    product: str = ""
    serial: str = ""
    port: str = ""
    bus_info: str = ""  # cameras that are not on USB
    link: str = ""  # name of the by-path link; "" when several devices have the same one
    formats: str = ""  # digest of pixel formats and sizes

    @property
    def usb(self) -> bool:
        """Whether it is a USB camera."""
        return bool(self.vendor)

    @property
    def interface(self) -> str:
        """Which node of its USB device it is: the end of its by-path link, interface and index."""
        found = _INTERFACE.search(self.link)
        return found[0] if found else ""

    @property
    def place(self) -> str:
        """Where it is plugged in: USB port, bus address or link."""
        return self.port if self.usb else self.bus_info or self.link

    def describe(self) -> str:
        """Format it as text: "usb:0c45:6366:SN1", "usb:0c45:6366@port", or its bus address."""
        if not self.usb:
            return self.place or f"name:{self.name}"
        model = f"usb:{self.vendor}:{self.product}"
        return f"{model}:{self.serial}" if self.serial else f"{model}@{self.port}"

    def same_model(self, other: DeviceIdentity) -> bool:
        """Tell whether the two are the same node of the same camera model."""
        if (self.vendor, self.product) != (other.vendor, other.product):
            return False
        if self.interface and other.interface:
            return self.interface == other.interface and (self.usb or self.name == other.name)
        return self.name == other.name

    def same_model_and_serial(self, other: DeviceIdentity) -> bool:
        """Tell whether only the place could distinguish the two."""
        return self.same_model(other) and self.serial == other.serial

    def same_place(self, other: DeviceIdentity) -> bool:
        """Tell whether the two are plugged in at the same place."""
        if self.usb or other.usb:
            return bool(self.port) and self.port == other.port
        if self.bus_info and other.bus_info:
            return self.bus_info == other.bus_info
        return bool(self.link) and self.link == other.link

    def replaces(self, other: DeviceIdentity) -> bool:
        """Tell whether it is a different camera at the place of `other`.

        Another node of the same device is not a different camera.
        """
        if not self.same_place(other) or self.same_model_and_serial(other):
            return False
        if self.usb:
            here, there = (self.vendor, self.product), (other.vendor, other.product)
            return here != there or self.serial != other.serial
        return not (self.interface and other.interface) or self.interface == other.interface


@attrs.frozen
class RememberedCamera:
    """A camera id and the physical camera that it was bound to, as `cameras.json` keeps it."""

    camera_id: CameraId
    identity: DeviceIdentity
    selector: str = ""  # the configured source that selected it; "" when there was none
    adopted: bool = False  # bound by `camd adopt`: no configured source takes the device away


@attrs.frozen(eq=False)
class PluggedDevice:
    """A device that is plugged in, with its identity."""

    device: Device
    identity: DeviceIdentity

    @property
    def usb_name(self) -> str:
        """The kernel's name of its USB device; "" when it is not on USB."""
        return self.device.usb.kernel_name if self.device.usb is not None else ""


def identify_devices(devices: Iterable[Device]) -> tuple[PluggedDevice, ...]:
    """Identify each device; sorted by node, whatever the order of `devices`."""
    ordered = sorted(devices, key=lambda device: natural_sort_key(str(device.node)))
    owners = Counter(name for device in ordered for name in set(by_path_names(device)))
    return tuple(PluggedDevice(device, _identity(device, owners)) for device in ordered)


def _identity(device: Device, owners: Counter[str]) -> DeviceIdentity:
    link = min((name for name in by_path_names(device) if owners[name] == 1), default="")
    formats = digest_formats(device.capabilities)
    usb = device.usb
    if usb is None:  # before the driver has answered, `bus_info` is a guess from sysfs
        address = device.bus_info if device.capabilities is not None else ""
        return DeviceIdentity(device.name, bus_info=address, link=link, formats=formats)
    return DeviceIdentity(
        device.name, usb.vendor, usb.product, usb.serial, usb.port, link=link, formats=formats
    )


def by_path_names(device: Device) -> tuple[str, ...]:
    """Return the names of the device's links in /dev/v4l/by-path."""
    return tuple(link.name for link in device.links if link.parent.name == _BY_PATH)


def is_by_path(path: Path) -> bool:
    """Tell whether a path is one of udev's links in by-path, which name a place."""
    return path.parent.name == _BY_PATH


def digest_formats(capabilities: Capabilities | None) -> str:
    """Hash the formats and sizes that a camera offers to 16 hexadecimal digits; "" when unknown."""
    if capabilities is None:
        return ""
    lines = []
    for pixels in capabilities.formats:
        sizes = sorted((size.width, size.height) for size in pixels.sizes)
        limits = pixels.size_range and (pixels.size_range.least, pixels.size_range.largest)
        lines.append(f"{pixels.fourcc} {sizes} {limits}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def update_identity(before: DeviceIdentity, now: DeviceIdentity, device: Device) -> DeviceIdentity:
    """Return the identity as it is now; fields that cannot be read at present keep their value."""
    return attrs.evolve(
        now,
        bus_info=now.bus_info or before.bus_info,
        link=now.link if by_path_names(device) else before.link,
        formats=now.formats or before.formats,
    )


def natural_sort_key(text: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key that puts camera10 after camera9."""
    parts = re.findall(r"(\D*)(\d*)", text)
    return tuple((word, int(digits or -1)) for word, digits in parts)


# --- which devices a configured source selects ------------------------------------------------

_NODE_PART = re.compile(r"-video-index\d+$")


def source_selects(source: DeviceSelector, plugged: PluggedDevice) -> bool:
    """Tell whether path, serial number or port of a source fit this device; an empty source: no."""
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


def source_permits(
    source: DeviceSelector | None, known: RememberedCamera, plugged: PluggedDevice
) -> bool:
    """Tell whether a known camera with this source may be matched to this device.

    The kernel may give a port's name to another port at the next boot, so the place is compared
    with the stored one and not with the source.
    """
    if source is None:
        return True
    if source.serial:
        return plugged.identity.serial == source.serial
    if selects_place(source):
        return known.identity.same_place(plugged.identity)
    return True


def allows_adoption(source: DeviceSelector | None, plugged: PluggedDevice) -> bool:
    """Tell whether binding a device by hand would not contradict the configured source."""
    fixed = source is not None and (bool(source.serial) or selects_place(source))
    return not fixed or (source is not None and source_selects(source, plugged))


def selects_place(source: DeviceSelector) -> bool:
    """Tell whether the source selects a place (port or by-path link) and not a camera."""
    if source.path is not None:
        return is_by_path(source.path)
    return bool(source.port) and not source.serial
