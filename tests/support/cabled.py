"""A machine with cameras plugged in, and the assignment that camd makes for it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camd.config.schema import CameraConfig
from camd.devices.matching.match import Assignment, adopt, assign
from camd.model import CameraId, Device, DeviceBinding, MatchedBy, Problem


class Machine:
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
            else f"({binding.problem.cause})"
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


def unbound_devices(machine: Machine) -> dict[str, tuple[str, ...]]:
    """Return the devices that no camera has, with the cameras that they may be or replace."""
    return {left.device.node.name: left.candidates for left in machine.now.unbound}
