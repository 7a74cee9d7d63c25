"""What is plugged into this machine: capture nodes, who they are, what they can do."""

from __future__ import annotations

import enum
from pathlib import Path

import attrs

from camd.model.camera_status import Problem
from camd.model.ids import CameraId

# --- what a node can do -------------------------------------------------------------------


@attrs.frozen
class Rates:
    """Frame rates of one size, in frames a second: the listed ones, or any within the limits.

    Both empty: the driver does not say.
    """

    listed: tuple[float, ...] = ()  # highest first
    limits: tuple[float, float] | None = None  # lowest and highest, of a continuous range


@attrs.frozen
class FrameSize:
    """One size that a format is offered in, in pixels."""

    width: int
    height: int
    rates: Rates = Rates()


@attrs.frozen
class SizeRange:
    """Sizes that are not listed one by one: from a least to a largest, in steps of pixels."""

    least: tuple[int, int]
    largest: tuple[int, int]
    step: tuple[int, int] = (1, 1)
    rates: Rates = Rates()


@attrs.frozen
class PixelFormat:
    """One way in which a node delivers pictures."""

    fourcc: str  # the kernel's four characters: "MJPG", "YUYV", "H264"
    description: str
    compressed: bool
    sizes: tuple[FrameSize, ...] = ()  # as the driver lists them
    size_range: SizeRange | None = None


@attrs.frozen
class Capabilities:
    """What a capture node says of itself (VIDIOC_QUERYCAP, VIDIOC_ENUM_*)."""

    driver: str
    card: str  # the name for people
    bus_info: str
    formats: tuple[PixelFormat, ...]


@attrs.frozen
class FormatChoice:
    """What a camera is asked for, and what becomes of it."""

    fourcc: str
    input_format: str  # FFmpeg's name of it: "h264", "mjpeg", "yuyv422"
    width: int  # 0: the driver lists no sizes, and keeps the one that it has
    height: int
    fps: float  # 0: the driver lists no rates
    copied: bool  # False: encoded
    encoder: str  # the codec to encode with: "h264", "h265", "mjpeg"; "" when copied
    why: str  # a sentence for people


# --- who it is ----------------------------------------------------------------------------


@attrs.frozen
class UsbFacts:
    """What the USB device behind a node says, and where it is plugged in."""

    vendor: str  # four hexadecimal digits, small letters
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
    """What values a control takes."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    MENU = "menu"
    BUTTON = "button"
    BITMASK = "bitmask"
    STRING = "string"


@attrs.frozen
class Control:
    """One setting of a camera, as its driver describes it (VIDIOC_QUERY_EXT_CTRL)."""

    number: int  # V4L2_CID_…
    name: str  # "exposure_time_absolute", "power_line_frequency": the label in small letters
    label: str
    kind: ControlKind
    minimum: int
    maximum: int
    step: int
    default: int
    value: int | str | None  # None: cannot be read
    choices: tuple[tuple[int, str], ...] = ()  # of a menu
    inactive: bool = False  # has no effect at present, because of another control
    read_only: bool = False
