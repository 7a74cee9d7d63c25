"""Devices to plug in, as the device monitor lists them, and a machine that matches them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from camd.config.schema import CameraConfig
from camd.devices.matching.adoption import adopt
from camd.devices.matching.match import Assignment, assign
from camd.model import (
    CameraId,
    Capabilities,
    Device,
    DeviceBinding,
    FrameSize,
    MatchedBy,
    PixelFormat,
    Problem,
    UsbFacts,
)
from camd.sources import V4l2Source

CONTROLLER = "0000:00:14.0-usb2-"
MJPEG = (PixelFormat("MJPG", "Motion-JPEG", True, (FrameSize(1280, 720), FrameSize(640, 480))),)
RAW = (PixelFormat("YUYV", "YUYV 4:2:2", False, (FrameSize(640, 480),)),)
DENIED = Problem("no_permission", "It cannot be opened", "Join the group video.")


def usb_camera(
    number: int,
    *,
    port: str = "1",
    serial: str = "",
    product: str = "6366",
    interface: str = "1.0",
    name: str = "",
    formats: tuple[PixelFormat, ...] = MJPEG,
) -> Device:
    """Return a USB camera at a port of the only bus, with the node /dev/video<number>."""
    name = name or f"Cam {product}"
    tail = "video-index0"
    by_id = "_".join(filter(None, ["usb-Maker", product, serial]))
    return Device(
        node=Path(f"/dev/video{number}"),
        plug_id=number,
        name=name,
        bus_info=f"usb-0000:00:14.0-{port}",
        usb=UsbFacts("0c45", product, serial, CONTROLLER + port, f"1-{port}"),
        links=(
            Path(f"/dev/v4l/by-id/{by_id}-{tail}"),
            Path(f"/dev/v4l/by-path/pci-0000:00:14.0-usb-0:{port}:{interface}-{tail}"),
        ),
        capabilities=Capabilities("uvcvideo", name, "", formats),
    )


def vivid(number: int, instance: int) -> Device:
    """Return a virtual camera; all of them have the same by-path link."""
    bus_info = f"platform:vivid-{instance:03}"
    return Device(
        node=Path(f"/dev/video{number}"),
        plug_id=number,
        name=f"vivid-{instance:03}-vid-cap",
        bus_info=bus_info,
        links=(Path("/dev/v4l/by-path/platform-vivid.0-video-index0"),),
        capabilities=Capabilities("vivid", "vivid", bus_info, RAW),
    )


def denied(device: Device) -> Device:
    """Return a device that may not be opened: its bus address is a guess from sysfs."""
    bus_info = device.bus_info if device.usb else "platform:vivid.0"
    return attrs.evolve(device, capabilities=None, problem=DENIED, bus_info=bus_info)


def entry(camera_id: str, *, swap: str = "alarm", **source: object) -> CameraConfig:
    """Return a `[[camera]]` entry; `source` has the arguments of V4l2Source."""
    return CameraConfig(CameraId(camera_id), V4l2Source(**source), swap=swap)  # type: ignore[arg-type]


class MatchedMachine:
    """A machine whose known cameras are kept from one change to the next."""

    def __init__(self, *entries: CameraConfig, auto: bool = True) -> None:
        self.entries: Sequence[CameraConfig] = entries
        self.auto = auto
        self.now = Assignment()

    def has(self, *devices: Device) -> dict[str, str]:
        """Plug exactly these devices in; return each camera's node, or its problem."""
        self.now = assign(devices, self.now.known, self.entries, auto=self.auto)
        return {
            binding.camera_id: binding.device.node.name
            if binding.device
            else f"({binding.problem.kind})"
            for binding in self.now.bindings
        }

    def binding(self, camera_id: str) -> DeviceBinding:
        """Return a camera's binding."""
        return next(binding for binding in self.now.bindings if binding.camera_id == camera_id)

    def matched_by(self, camera_id: str) -> MatchedBy | None:
        """Return the rule that matched a camera."""
        return self.binding(camera_id).matched_by

    def problem(self, camera_id: str) -> Problem:
        """Return the problem of a camera that has no device."""
        return self.binding(camera_id).problem

    def adopt(self, camera_id: str, device: Device) -> None:
        """Bind a camera to a device by hand."""
        known = adopt(self.now, CameraId(camera_id), device, self.entries)
        self.now = attrs.evolve(self.now, known=known)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The messages of the last change, as kind and camera."""
        return [(message.kind.name, message.camera_id) for message in self.now.messages]


def unbound_devices(machine: MatchedMachine) -> dict[str, tuple[str, ...]]:
    """Return the devices that no camera has, with the cameras that they may be or replace."""
    return {left.device.node.name: left.candidates for left in machine.now.unbound}
