"""A machine with cameras, and what camd makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from camd.config.schema import CameraConfig
from camd.devices.matching.match import Assignment, adopt, assign
from camd.model import CameraId, Device, MatchedBy, Problem


class Machine:
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

    def matched_by(self, camera_id: str) -> MatchedBy | None:
        return next(
            binding.matched_by for binding in self.now.bindings if binding.camera_id == camera_id
        )

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


def without_camera(machine: Machine) -> dict[str, tuple[str, ...]]:
    """Return the devices that no camera has, with the cameras that they may be or replace."""
    return {left.device.node.name: left.candidates for left in machine.now.unbound}
