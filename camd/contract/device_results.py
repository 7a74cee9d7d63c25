"""Fields of devices of this machine, and of their controls."""

from __future__ import annotations

from typing import Annotated

import attrs

from camd.contract.camera_results import CameraMode
from camd.contract.result_types import ProblemFields, doc, one_of


@attrs.frozen(kw_only=True)
class UsbInfo:
    """The USB device behind a node."""

    vendor: Annotated[str, doc("four hexadecimal digits")]
    product: Annotated[str, doc("four hexadecimal digits")]
    serial: Annotated[str, doc("empty when it has none")]
    port: Annotated[str, doc("the same after a reboot")]
    kernel_name: Annotated[str, doc("such as `1-1.3`; may change")]


@attrs.frozen(kw_only=True)
class HolderInfo:
    """A process that has a device open."""

    pid: int
    program: str
    user: str
    camd: Annotated[bool, doc("whether it is this service")]


@attrs.frozen(kw_only=True)
class DeviceInfo(ProblemFields):
    """A video device of this machine."""

    device: Annotated[str, doc("its node")]
    name: str
    driver: str | None
    bus: str
    usb: UsbInfo | None
    links: tuple[str, ...]
    sound_card: str | None
    modes: tuple[CameraMode, ...]
    camera_id: Annotated[str | None, doc("null: no camera")]
    recognised_by: Annotated[str, one_of("serial", "port", "path", "name")] | None
    reason: str
    candidates: Annotated[
        tuple[str, ...], doc("the cameras that it may be, when that is ambiguous")
    ]
    held_by: tuple[HolderInfo, ...]
    held_by_complete: bool


@attrs.frozen(kw_only=True)
class AbsentCamera:
    """A camera without a device, and why it has none."""

    camera_id: str
    identity: str | None
    cause: str
    message: str
    suggestion: str


@attrs.frozen(kw_only=True)
class DeviceOverview:
    """The video devices of this machine, and the cameras that have none."""

    devices: tuple[DeviceInfo, ...]
    absent: tuple[AbsentCamera, ...]
    watched: Annotated[str, doc("how devices are monitored")]


@attrs.frozen(kw_only=True)
class AdoptedCamera:
    """A camera that was bound to a device."""

    device: str | None
    camera_id: str
    reason: str
    success: bool


@attrs.frozen(kw_only=True)
class ForgottenCamera:
    """A camera that is no longer known."""

    camera_id: str
    success: bool


@attrs.frozen(kw_only=True)
class ControlChoice:
    """An entry of a menu."""

    value: int
    label: str


@attrs.frozen(kw_only=True)
class ControlInfo:
    """A control of a camera: exposure, focus, gain and whatever else its driver offers."""

    name: str
    label: str
    type: Annotated[str, one_of("integer", "boolean", "menu", "button", "bitmask", "string")]
    minimum: int
    maximum: int
    step: int
    default: int | None
    value: Annotated[int | str | None, doc("null when it cannot be read")]
    choices: Annotated[tuple[ControlChoice, ...], doc("of a menu")]
    active: Annotated[bool, doc("false: no effect at present, because of another control")]
    read_only: bool
    wished: Annotated[bool | int | str | None, doc("the stored or configured value")]
    source: Annotated[str, doc("of that value"), one_of("configuration", "client")] | None


@attrs.frozen(kw_only=True)
class ControlList:
    """The controls of a camera."""

    device: str
    camera_id: str
    controls: tuple[ControlInfo, ...]


@attrs.frozen(kw_only=True)
class ChangedControl(ControlInfo):
    """A control as the driver has it after a change."""

    device: str
    camera_id: str
    success: bool
