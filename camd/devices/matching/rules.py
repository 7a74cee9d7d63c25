"""By what a known camera is recognised, the surest first; what is not sure is not recognised. Pure.

Each rung seats a camera only where the relation is one to one: this device can be no other known
camera, and this camera no other device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import attrs

from camd.devices.matching.identity import KnownCamera, PluggedDevice
from camd.model import MatchedBy

Permits = Callable[[KnownCamera, PluggedDevice], bool]


@attrs.frozen(eq=False)
class CameraMatch:
    """A known camera, recognised."""

    known: KnownCamera
    plugged: PluggedDevice
    matched_by: MatchedBy
    reason: str


def recognise(
    known: Sequence[KnownCamera], plugged: Sequence[PluggedDevice], permits: Permits
) -> tuple[CameraMatch, ...]:
    """Recognise cameras by serial numbers, then by the places that they are known at."""
    by_serial = [*_by_serial(known, plugged, permits)]
    cameras, devices = _left(known, plugged, by_serial)
    return *by_serial, *_by_place(cameras, devices, permits)


def _left(
    known: Sequence[KnownCamera],
    plugged: Sequence[PluggedDevice],
    matches: Sequence[CameraMatch],
) -> tuple[list[KnownCamera], list[PluggedDevice]]:
    """Return the cameras and the devices that the matches leave over."""
    bound = {match.known.camera_id for match in matches}
    used = {match.plugged for match in matches}
    cameras = [camera for camera in known if camera.camera_id not in bound]
    return cameras, [device for device in plugged if device not in used]


def _by_serial(
    known: Sequence[KnownCamera], plugged: Sequence[PluggedDevice], permits: Permits
) -> Iterator[CameraMatch]:
    for camera in known:
        serial = camera.identity.serial
        found = [device for device in plugged if device.identity.alike(camera.identity)]
        twins = [other for other in known if other.identity.alike(camera.identity)]
        if serial and len(found) == len(twins) == 1 and permits(camera, found[0]):
            reason = f"serial number {serial}, unique here"
            yield CameraMatch(camera, found[0], MatchedBy.SERIAL, reason)


def _by_place(
    known: Sequence[KnownCamera], plugged: Sequence[PluggedDevice], permits: Permits
) -> Iterator[CameraMatch]:
    def fits(camera: KnownCamera, device: PluggedDevice) -> bool:
        there, here = camera.identity, device.identity
        return there.same_place(here) and there.alike(here) and permits(camera, device)

    for camera in known:
        found = [device for device in plugged if fits(camera, device)]
        if len(found) == 1 and sum(fits(other, found[0]) for other in known) == 1:
            here = found[0].identity
            matched_by = MatchedBy.PORT if here.usb else MatchedBy.PATH
            what = "USB port" if here.usb else "bus address"
            yield CameraMatch(
                camera, found[0], matched_by, f"the same model at {what} {here.place}"
            )


def recognise_by_name(
    known: Sequence[KnownCamera],
    absent: Collection[KnownCamera],
    plugged: Sequence[PluggedDevice],
    permits: Permits,
) -> Iterator[CameraMatch]:
    """Recognise cameras that are the only ones of their make, by name and formats.

    `absent` are those of `known` that have no device, `plugged` the devices that no camera has.
    """
    for camera in absent:
        make = [other for other in known if other.identity.same_model(camera.identity)]
        found = [device for device in plugged if device.identity.same_model(camera.identity)]
        if len(make) != 1 or len(found) != 1 or not permits(camera, found[0]):
            continue
        there, here = camera.identity, found[0].identity
        look = (there.name, there.formats)
        if there.alike(here) and there.formats and look == (here.name, here.formats):
            reason = "the only camera of its name and formats, and the only one ever seen"
            yield CameraMatch(camera, found[0], MatchedBy.NAME, reason)


def has_unique_serial(
    device: PluggedDevice, plugged: Sequence[PluggedDevice], known: Sequence[KnownCamera]
) -> bool:
    """Tell whether a device's serial number is no known camera's and no other device's."""
    here = device.identity
    twins = sum(other.identity.alike(here) for other in plugged)
    return bool(here.serial) and twins == 1 and not any(k.identity.alike(here) for k in known)


def surest(
    device: PluggedDevice, plugged: Sequence[PluggedDevice], known: Sequence[KnownCamera]
) -> MatchedBy | None:
    """Say by what a new camera will be recognised; None when by nothing that can be seen now."""
    here = device.identity
    if has_unique_serial(device, plugged, known):
        return MatchedBy.SERIAL
    there = [p for p in plugged if p.identity.alike(here) and p.identity.same_place(here)]
    if len(there) == 1:
        return MatchedBy.PORT if here.usb else MatchedBy.PATH
    return None
