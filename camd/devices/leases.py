"""Which camera's FFmpeg process may have a device open: one at a time, whatever its binding is."""

from __future__ import annotations

import attrs

from camd.model import CameraId, Device


@attrs.define(eq=False)
class DeviceLeases:
    """The camera that has each device; by plugging, since a node's name may come back."""

    _holders: dict[int, CameraId] = attrs.field(factory=dict, init=False)

    def take(self, device: Device, camera_id: CameraId) -> CameraId | None:
        """Lease a device to a camera; returns None, or the other camera that has it."""
        holder = self._holders.setdefault(device.plug_id, camera_id)
        return None if holder == camera_id else holder

    def release(self, device: Device, camera_id: CameraId) -> None:
        """Free a device after the camera's FFmpeg process has ended."""
        if self._holders.get(device.plug_id) == camera_id:
            del self._holders[device.plug_id]
