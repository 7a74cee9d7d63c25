"""API methods for camera controls: exposure, focus, gain and whatever else a driver offers."""

from __future__ import annotations

from pathlib import Path

import attrs

from camd.api import result_fields
from camd.api.camera_methods import ByCamera
from camd.api.event_publisher import about_camera
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.capture.controls import CameraControls
from camd.errors import SOURCE_UNAVAILABLE, Refusal
from camd.model import Control, ControlKind, ProblemKind
from camd.rpc.registry import Caller, method
from camd.rpc.roles import Role


@attrs.frozen
class ControlRequest(ByCamera):
    """A control and its value; null sets the configured value or the default."""

    control: str
    value: bool | int | str | None


@attrs.define(eq=False)
class ControlsApi:
    """The methods, over the cameras."""

    _cameras: Cameras

    @method(role=Role.VIEWER)
    async def get_camera_controls(self, caller: Caller, params: ByCamera) -> result_fields.View:
        """List the controls of a camera with their values, ranges and choices."""
        camera = await self._cameras.locate(params.device)
        controls = await camera.controls.read(_node_of(camera))
        return {
            "device": params.device,
            "camera_id": camera.camera_id,
            "controls": [_control(each, camera.controls) for each in controls],
        }

    @method(role=Role.OPERATOR)
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
