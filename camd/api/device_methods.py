"""Methods of devices: which camera has which; and of their controls."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import attrs

from camd.api import result_fields
from camd.api.camera_methods import ByCamera, offered
from camd.api.event_publisher import about_camera
from camd.camera.bindings import DeviceBinder
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.capture.controls import CameraControls
from camd.contract.device_results import (
    AdoptedCamera,
    ChangedControl,
    ControlList,
    DeviceOverview,
    ForgottenCamera,
)
from camd.contract.result_types import doc
from camd.devices.holders import Holder
from camd.devices.listing import ListedDevice, describe_devices
from camd.errors import SOURCE_UNAVAILABLE, Refusal
from camd.model import CameraId, Control, ControlKind, Device, DeviceBinding, ProblemKind
from camd.model.ids import ID_PATTERN
from camd.model.problems import ABSENT
from camd.rpc.registry import EVERYTHING, Caller, NoParams, method
from camd.rpc.roles import Role


@attrs.frozen
class AdoptRequest(ByCamera):
    """A camera, also one that is not configured yet, and its device."""

    node: Annotated[
        str | None, doc("the device node, or a link to it; without it, the only possible one")
    ] = None


@attrs.define(eq=False)
class DevicesApi:
    """The methods, over the bindings of the cameras of this machine."""

    _cameras: Cameras
    _binder: DeviceBinder

    @method(role=Role.OPERATOR, result=DeviceOverview)
    async def get_devices(self, caller: Caller, params: NoParams) -> result_fields.View:
        """List the video devices of this machine, and the cameras that have none.

        Each device says which camera it is and why, and which processes have it open.
        """
        found, watched = self._binder.assignment, self._binder.monitor.method
        return device_list(await describe_devices(found), found.bindings, watched)

    @method(role=Role.ADMIN, result=AdoptedCamera)
    async def adopt_camera(self, caller: Caller, params: AdoptRequest) -> result_fields.View:
        """Bind a camera to the device at a node from now on, across restarts."""
        camera_id = await self._find_id(params.device)
        caller.link.hold(EVERYTHING)  # other cameras lose their device by it
        binding = await self._binder.adopt(camera_id, Path(params.node) if params.node else None)
        device = str(binding.device.node) if binding.device is not None else None
        return {
            "device": device,
            "camera_id": camera_id,
            "reason": binding.reason,
            "success": binding.device is not None,
        }

    @method(role=Role.ADMIN, result=ForgottenCamera)
    async def forget_camera(self, caller: Caller, params: ByCamera) -> result_fields.View:
        """Forget a camera that was found automatically and is no longer plugged in."""
        camera = await self._cameras.locate(params.device)
        caller.link.hold(EVERYTHING)
        await self._binder.forget(camera)
        return {"camera_id": camera.camera_id, "success": True}

    async def _find_id(self, name: str) -> CameraId:
        """Find a camera's id by any of its names, or take the name as the id of a new one."""
        try:
            return (await self._cameras.locate(name)).camera_id
        except Refusal:
            if not re.fullmatch(ID_PATTERN, name):
                raise
            return CameraId(name)


def device_list(
    listed: tuple[ListedDevice, ...], bindings: tuple[DeviceBinding, ...], how: str
) -> result_fields.View:
    """Convert devices and bindings to the result of `get_devices`."""
    return {
        "devices": [_listed(one) for one in listed],
        "absent": [_absent(binding) for binding in bindings if binding.device is None],
        "watched": how,
    }


def _listed(one: ListedDevice) -> result_fields.View:
    return _device(one.device) | {
        "camera_id": one.camera_id,
        "recognised_by": one.matched_by.value if one.matched_by is not None else None,
        "reason": one.reason,
        "candidates": list(one.candidates),
        "held_by": [_holder(holder) for holder in one.holders.holders],
        "held_by_complete": one.holders.complete,
    }


def _holder(holder: Holder) -> result_fields.View:
    return {
        "pid": holder.pid,
        "program": holder.program,
        "user": holder.user,
        "camd": os.getpid() in (holder.pid, holder.parent),  # this service's own capture
    }


def _device(device: Device) -> result_fields.View:
    usb, can = device.usb, device.capabilities
    view: result_fields.View = {
        "device": str(device.node),
        "name": device.name,
        "driver": can.driver if can is not None else None,
        "bus": usb.port if usb is not None else device.bus_info,
        "usb": attrs.asdict(usb) if usb is not None else None,
        "links": [str(link) for link in device.links],
        "sound_card": device.sound_card or None,
        "modes": offered(can)["modes"] if can is not None else [],
    }
    if device.problem is not None:
        view |= result_fields.problem(device.problem)
    return view


def _absent(binding: DeviceBinding) -> result_fields.View:
    view: result_fields.View = {
        "camera_id": binding.camera_id,
        "identity": binding.identity or None,
    }
    return view | result_fields.problem(binding.problem or ABSENT)


# --- controls: exposure, focus, gain and whatever else a driver offers


@attrs.frozen
class ControlRequest(ByCamera):
    """A control and its value."""

    control: Annotated[str, doc("as `get_camera_controls` names it")]
    value: Annotated[
        bool | int | str | None,
        doc("the label of a menu's entry is a value, too; null: as configured, or the default"),
    ]


@attrs.define(eq=False)
class ControlsApi:
    """The methods, over the cameras."""

    _cameras: Cameras

    @method(role=Role.VIEWER, result=ControlList)
    async def get_camera_controls(self, caller: Caller, params: ByCamera) -> result_fields.View:
        """List the controls of a camera with their values, ranges and choices."""
        camera = await self._cameras.locate(params.device)
        controls = await camera.controls.read(_node_of(camera))
        return {
            "device": params.device,
            "camera_id": camera.camera_id,
            "controls": [_control(each, camera.controls) for each in controls],
        }

    @method(role=Role.OPERATOR, result=ChangedControl)
    async def set_camera_control(
        self, caller: Caller, params: ControlRequest
    ) -> result_fields.View:
        """Set a control and store the value; it is set again whenever the camera starts."""
        camera = await self._cameras.locate(params.device)
        settings = camera.controls
        caller.link.hold(about_camera(camera.camera_id))
        control = await settings.change(_node_of(camera), params.control, params.value)
        return {
            "device": params.device,
            "camera_id": camera.camera_id,
            **_control(control, settings),
            "success": True,
        }


def _node_of(camera: Camera) -> Path:
    if camera.node is None:
        raise Refusal(
            SOURCE_UNAVAILABLE,
            "The camera has no controls: it is not plugged in, or no camera of this machine",
            suggestion="Plug it in; streams, files and synthetic pictures have no controls.",
            camera_id=camera.camera_id,
            cause=ProblemKind.NO_DEVICE,
        )
    return camera.node


def _control(control: Control, controls: CameraControls) -> result_fields.View:
    wanted = controls.wanted_for(control)
    no_default = control.kind in (ControlKind.STRING, ControlKind.BUTTON)
    return {
        "name": control.name,
        "label": control.label,
        "type": control.kind.value,
        "minimum": control.minimum,
        "maximum": control.maximum,
        "step": control.step,
        "default": None if no_default else control.default,
        "value": control.value,
        "choices": [{"value": value, "label": label} for value, label in control.choices],
        "active": not control.inactive,
        "read_only": control.read_only,
        "wished": None if wanted is None else wanted.value,
        "source": None if wanted is None else wanted.source,
    }
