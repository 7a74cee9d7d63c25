"""Which camera's child may have a device open: one at a time, whatever is decided meanwhile.

Seats change in a moment; a child that is told to end takes longer, and one that hangs may take
minutes. Until it is gone, nobody else's child is started on that device.
"""

from __future__ import annotations

import attrs

from camd.model import CameraId, Device


@attrs.define(eq=False)
class DeviceLeases:
    """Who has which device; by its plugging, since a node's name may come back."""

    _holders: dict[int, CameraId] = attrs.field(factory=dict, init=False)

    def take(self, device: Device, camera_id: CameraId) -> CameraId | None:
        """Give the device to a camera: None when it has it now, else whose it is."""
        holder = self._holders.setdefault(device.plugged, camera_id)
        return None if holder == camera_id else holder

    def release(self, device: Device, camera_id: CameraId) -> None:
        """The camera's child is gone."""
        if self._holders.get(device.plugged) == camera_id:
            del self._holders[device.plugged]
