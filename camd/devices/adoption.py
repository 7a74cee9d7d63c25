"""Which camera is which, said by hand: an id is given to a device, or forgotten. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from camd.config.schema import CameraConfig
from camd.devices.assignment import MOST_CAMERAS, Assignment
from camd.devices.identity import KnownCamera, look, natural
from camd.devices.selectors import allows_adoption
from camd.model import CameraId, Device, V4l2Source


class AdoptionError(Exception):
    """An id cannot be given to a device; the message says why, for people."""


def adopt(
    now: Assignment, camera_id: CameraId, device: Device, entries: Sequence[CameraConfig]
) -> tuple[KnownCamera, ...]:
    """Give `camera_id` to `device`; return what is known then, for the next `assign`.

    Whoever had the device loses it: a camera that was only numbered is forgotten, one of the
    configuration is absent. An id that nobody has makes a new camera. Raises AdoptionError where
    the configuration says something else, or the device is not there any more.
    """
    source = next((entry.source for entry in entries if entry.id == camera_id), None)
    if source is not None and not isinstance(source, V4l2Source):
        raise AdoptionError(f"{camera_id} is no camera of this machine, by its configuration")
    plugging = (device.node, device.plugged)
    found = (p for p in look(now.devices) if (p.device.node, p.device.plugged) == plugging)
    plugged = next(found, None)
    if plugged is None:
        raise AdoptionError("The device is not plugged in any more")
    if not allows_adoption(source, plugged):
        raise AdoptionError(
            f"{camera_id} is {str(source)!r} in the configuration, and the device is not; "
            "correct the source there"
        )
    holder = next((seat.camera_id for seat in now.seats if seat.device == plugged.device), None)
    others = [known for known in now.known if known.camera_id not in (camera_id, holder)]
    if len(others) >= MOST_CAMERAS:
        raise AdoptionError(f"{MOST_CAMERAS} cameras are known already; forget one first")
    held = now.identity(holder) if holder is not None else None
    selector = str(source) if source is not None else ""
    bound = KnownCamera(camera_id, held or plugged.identity, selector, adopted=True)
    return tuple(sorted((*others, bound), key=lambda known: natural(known.camera_id)))


def forget(known: Sequence[KnownCamera], camera_id: CameraId) -> tuple[KnownCamera, ...]:
    """Forget what was bound to an id; its number is free again."""
    return tuple(camera for camera in known if camera.camera_id != camera_id)
