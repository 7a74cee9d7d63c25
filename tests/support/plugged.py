"""Cameras to plug in: devices as the survey of the machine would tell them."""

from __future__ import annotations

from pathlib import Path

import attrs

from camd.config.schema import CameraConfig
from camd.model import (
    CameraId,
    Capabilities,
    Device,
    FrameSize,
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
    """Load a virtual camera; all of them share one by-path link."""
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
    """Take the permission to open a device away: sysfs alone speaks of it, and guesses its bus."""
    bus_info = device.bus_info if device.usb else "platform:vivid.0"
    return attrs.evolve(device, capabilities=None, problem=DENIED, bus_info=bus_info)


def entry(camera_id: str, *, swap: str = "alarm", **source: object) -> CameraConfig:
    """Write a `[[camera]]` entry; `source` is what V4l2Source takes."""
    return CameraConfig(CameraId(camera_id), V4l2Source(**source), swap=swap)  # type: ignore[arg-type]
