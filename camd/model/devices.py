"""Capture devices of this machine: identity, capabilities, formats and controls."""

from __future__ import annotations

import enum
from pathlib import Path

import attrs

from camd.model.ids import CameraId
from camd.model.problems import Problem

# --- capabilities of a node


@attrs.frozen
class Rates:
    """Frame rates of one size, in frames per second: a list, or limits of a continuous range.

    Neither: the driver does not say.
    """

    listed: tuple[float, ...] = ()  # highest first
    limits: tuple[float, float] | None = None  # lowest and highest


@attrs.frozen
class FrameSize:
    """One size of a format, in pixels."""

    width: int
    height: int
    rates: Rates = Rates()


@attrs.frozen
class SizeRange:
    """A range of sizes, in pixels."""

    least: tuple[int, int]
    largest: tuple[int, int]
    step: tuple[int, int] = (1, 1)
    rates: Rates = Rates()


@attrs.frozen
class PixelFormat:
    """A pixel format that a node offers."""

    fourcc: str  # the kernel's four characters: "MJPG", "YUYV", "H264"
    description: str
    compressed: bool
    sizes: tuple[FrameSize, ...] = ()  # as the driver lists them
    size_range: SizeRange | None = None


@attrs.frozen
class Capabilities:
    """Capabilities of a capture node (VIDIOC_QUERYCAP, VIDIOC_ENUM_*)."""

    driver: str
    card: str  # the name for people
    bus_info: str
    formats: tuple[PixelFormat, ...]


@attrs.frozen
class FormatChoice:
    """The format to ask a camera for, and how it is recorded."""

    fourcc: str
    input_format: str  # by FFmpeg's name: "h264", "mjpeg", "yuyv422"
    width: int  # 0: the driver lists no sizes, and keeps the one that it has
    height: int
    fps: float  # 0: the driver lists no rates
    copied: bool  # False: encoded
    encoder: str  # the codec to encode with: "h264", "h265", "mjpeg"; "" when copied
    why: str  # a sentence for people


# --- identity


@attrs.frozen
class UsbFacts:
    """Identity of the USB device behind a node, and its port."""

    vendor: str  # four lower-case hexadecimal digits
    product: str
    serial: str  # "" when it has none
    port: str  # controller, bus generation and ports; the same after a reboot
    kernel_name: str  # of the device in sysfs, such as "1-1.3"; bus numbers may change


@attrs.frozen
class Device:
    """A capture node that is plugged in now."""

    node: Path  # /dev/video0
    plug_id: int  # another one after each replug, even of the same node
    name: str
    bus_info: str = ""
    usb: UsbFacts | None = None
    links: tuple[Path, ...] = ()  # /dev/v4l/by-id/…, /dev/v4l/by-path/…
    capabilities: Capabilities | None = None  # None while nobody could ask it: see `problem`
    problem: Problem | None = None
    sound_card: str = ""  # the ALSA card of the same USB device, by its id; "" when it has none


class MatchedBy(enum.Enum):
    """The rule that matched a camera to its device, the most reliable first."""

    SERIAL = "serial"
    PORT = "port"
    PATH = "path"
    NAME = "name"


@attrs.frozen
class DeviceSelector:
    """A Video4Linux device of this machine, by its node or link, serial number, or USB port.

    With none of the three it is the device that is bound to the camera's id.
    """

    path: Path | None = None
    serial: str = ""
    port: str = ""  # as the kernel names it ("1-1.3"), or as `camd devices` shows it

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        if self.serial:
            return f"serial={self.serial}"
        return f"port={self.port}" if self.port else ""


@attrs.frozen
class DeviceBinding:
    """Which device a camera has at the moment, and why; or why it has none."""

    camera_id: CameraId
    device: Device | None
    matched_by: MatchedBy | None = None
    reason: str = ""  # a sentence for people: "serial number LAB0001, unique here"
    problem: Problem | None = None  # absent, swapped, ambiguous: set when there is no device
    identity: str = ""  # of the physical camera, for people: "usb:0c45:6366:SN0001"
    name: str = ""  # what the camera calls itself, also while it is not there


# --- controls -----------------------------------------------------------------------------


class ControlKind(enum.Enum):
    """Type of a control's values."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    MENU = "menu"
    BUTTON = "button"
    BITMASK = "bitmask"
    STRING = "string"


@attrs.frozen
class Control:
    """One control of a camera (VIDIOC_QUERY_EXT_CTRL)."""

    number: int  # V4L2_CID_…
    name: str  # the label in lower case: "exposure_time_absolute"
    label: str
    kind: ControlKind
    minimum: int
    maximum: int
    step: int
    default: int
    value: int | str | None  # None: not readable
    choices: tuple[tuple[int, str], ...] = ()  # of a menu
    inactive: bool = False  # without effect now, because of another control
    read_only: bool = False
