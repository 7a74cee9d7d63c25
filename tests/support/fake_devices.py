"""Devices as the monitor lists them, and the matching of cameras to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from camd.config.schema import CameraConfig
from camd.devices.matching.match import Assignment, adopt, assign
from camd.model import (
    CameraId,
    Capabilities,
    Device,
    FrameSize,
    MatchedBy,
    PixelFormat,
    Problem,
    UsbFacts,
    V4l2Source,
)

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
    """Plug a USB camera in: node /dev/video<number>, at a port of the only bus."""
    name = name or f"Cam {product}"
    tail = "video-index0"
    by_id = "_".join(filter(None, ["usb-Maker", product, serial]))
    return Device(
        node=Path(f"/dev/video{number}"),
        plugged=number,
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
    """Load a virtual camera; all of them share one by-path link."""
    bus_info = f"platform:vivid-{instance:03}"
    return Device(
        node=Path(f"/dev/video{number}"),
        plugged=number,
        name=f"vivid-{instance:03}-vid-cap",
        bus_info=bus_info,
        links=(Path("/dev/v4l/by-path/platform-vivid.0-video-index0"),),
        capabilities=Capabilities("vivid", "vivid", bus_info, RAW),
    )


def denied(device: Device) -> Device:
    """Take the permission to open a device away: sysfs alone speaks of it, and guesses its bus."""
    bus_info = device.bus_info if device.usb else "platform:vivid.0"
    return attrs.evolve(device, capabilities=None, problem=DENIED, bus_info=bus_info)


def entry(camera_id: str, *, swap: str = "alarm", **source: object) -> CameraConfig:
    """Write a `[[camera]]` entry; `source` is what V4l2Source takes."""
    return CameraConfig(CameraId(camera_id), V4l2Source(**source), swap=swap)  # type: ignore[arg-type]


# --- which camera has which device ----------------------------------------------------


class MatchedMachine:
    """A machine with cameras: remembers what camd remembers."""

    def __init__(self, *entries: CameraConfig, auto: bool = True) -> None:
        self.entries: Sequence[CameraConfig] = entries
        self.auto = auto
        self.now = Assignment()

    def has(self, *devices: Device) -> dict[str, str]:
        """Plug exactly these devices in; return node or trouble of each camera."""
        self.now = assign(devices, self.now.known, self.entries, auto=self.auto)
        return self.bindings

    @property
    def bindings(self) -> dict[str, str]:
        return {
            binding.camera_id: binding.device.node.name
            if binding.device
            else f"({binding.problem.cause})"
            for binding in self.now.bindings
        }

    def rung(self, camera_id: str) -> MatchedBy | None:
        return next(binding.rung for binding in self.now.bindings if binding.camera_id == camera_id)

    def problem(self, camera_id: str) -> Problem:
        return next(
            binding.problem for binding in self.now.bindings if binding.camera_id == camera_id
        )

    def adopt(self, camera_id: str, device: Device) -> None:
        known = adopt(self.now, CameraId(camera_id), device, self.entries)
        self.now = attrs.evolve(self.now, known=known)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(news.kind.name, news.camera_id) for news in self.now.news]


def without_camera(machine: MatchedMachine) -> dict[str, tuple[str, ...]]:
    """Return the devices that no camera has, with the cameras that they may be or replace."""
    return {left.device.node.name: left.candidates for left in machine.now.unbound}
