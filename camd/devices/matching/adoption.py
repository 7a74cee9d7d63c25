"""Bindings that are changed by hand: a camera gets a device, or is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from camd.config.schema import CameraConfig
from camd.devices.matching.identity import (
    PluggedDevice,
    RememberedCamera,
    allows_adoption,
    identify_devices,
    natural_sort_key,
)
from camd.devices.matching.match import MOST_CAMERAS, Assignment
from camd.model import CameraId, Device


class AdoptionError(Exception):
    """A device cannot be bound to a camera id; the message says why."""


def adopt(
    now: Assignment, camera_id: CameraId, device: Device, entries: Sequence[CameraConfig]
) -> tuple[RememberedCamera, ...]:
    """Bind `camera_id` to `device`; returns the known cameras for the next `assign`.

    The camera that had the device loses it: it is forgotten, or absent if it is configured. An id
    that no camera has makes a new one. Raises AdoptionError where the configuration contradicts,
    or the device is not plugged in any more.
    """
    key = (device.node, device.plug_id)
    found = (p for p in identify_devices(now.devices) if (p.device.node, p.device.plug_id) == key)
    plugged = next(found, None)
    if plugged is None:
        raise AdoptionError("The device is not plugged in any more")
    selector = _selector_of_adopted(camera_id, plugged, entries)
    holders = (binding.camera_id for binding in now.bindings if binding.device == plugged.device)
    holder = next(holders, None)
    others = [known for known in now.known if known.camera_id not in (camera_id, holder)]
    if len(others) >= MOST_CAMERAS:
        raise AdoptionError(f"{MOST_CAMERAS} cameras are known already; forget one first")
    stored = now.identity(holder) if holder is not None else None
    bound = RememberedCamera(camera_id, stored or plugged.identity, selector, adopted=True)
    return tuple(sorted((*others, bound), key=lambda known: natural_sort_key(known.camera_id)))


def _selector_of_adopted(
    camera_id: CameraId, plugged: PluggedDevice, entries: Sequence[CameraConfig]
) -> str:
    """Return the configured source of a camera. Raises AdoptionError if it is another device's."""
    entry = next((entry for entry in entries if entry.id == camera_id), None)
    source = entry.source.selector if entry else None
    if entry is not None and source is None:
        raise AdoptionError(f"{camera_id} is no camera of this machine, by its configuration")
    if not allows_adoption(source, plugged):
        raise AdoptionError(
            f"{camera_id} is {str(source)!r} in the configuration, and the device is not; "
            "correct the source there"
        )
    return str(source or "")


def forget(known: Sequence[RememberedCamera], camera_id: CameraId) -> tuple[RememberedCamera, ...]:
    """Delete what was stored of an id; a number becomes free again."""
    return tuple(camera for camera in known if camera.camera_id != camera_id)
