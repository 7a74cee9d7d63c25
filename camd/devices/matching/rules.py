"""The match rules: serial number, then port or bus address, then name and formats.

A rule matches a known camera to a device only where the relation is one to one: no other known
camera could be this device, and no other device could be this camera. Otherwise it does not match.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import attrs

from camd.devices.matching.identity import PluggedDevice, RememberedCamera
from camd.model import MatchedBy

Permits = Callable[
    [RememberedCamera, PluggedDevice], bool
]  # does the configuration allow the pair?


@attrs.frozen(eq=False)
class MatchedCamera:
    """A known camera, and the device that a rule has matched it to."""

    known: RememberedCamera
    plugged: PluggedDevice
    matched_by: MatchedBy
    reason: str


def match_by_serial_or_place(
    known: Sequence[RememberedCamera], plugged: Sequence[PluggedDevice], permits: Permits
) -> tuple[MatchedCamera, ...]:
    """Match by serial numbers; what is left, by USB port or bus address."""
    matches = [*_match_by_serial(known, plugged, permits)]
    matched = {match.known.camera_id for match in matches}
    used = {match.plugged for match in matches}
    cameras = [camera for camera in known if camera.camera_id not in matched]
    devices = [device for device in plugged if device not in used]
    return *matches, *_match_by_place(cameras, devices, permits)


def _match_by_serial(
    known: Sequence[RememberedCamera], plugged: Sequence[PluggedDevice], permits: Permits
) -> Iterator[MatchedCamera]:
    for camera in known:
        there = camera.identity
        found = [device for device in plugged if device.identity.same_model_and_serial(there)]
        cameras = [other for other in known if other.identity.same_model_and_serial(there)]
        if there.serial and len(found) == len(cameras) == 1 and permits(camera, found[0]):
            reason = f"serial number {there.serial}, unique here"
            yield MatchedCamera(camera, found[0], MatchedBy.SERIAL, reason)


def _match_by_place(
    known: Sequence[RememberedCamera], plugged: Sequence[PluggedDevice], permits: Permits
) -> Iterator[MatchedCamera]:
    def fits(camera: RememberedCamera, device: PluggedDevice) -> bool:
        there, here = camera.identity, device.identity
        same = there.same_place(here) and there.same_model_and_serial(here)
        return same and permits(camera, device)

    for camera in known:
        found = [device for device in plugged if fits(camera, device)]
        if len(found) == 1 and sum(fits(other, found[0]) for other in known) == 1:
            here = found[0].identity
            kind = "USB port" if here.usb else "bus address"
            reason = f"the same model at {kind} {here.place}"
            yield MatchedCamera(camera, found[0], place_rule(found[0]), reason)


def match_by_name(
    known: Sequence[RememberedCamera],
    absent: Collection[RememberedCamera],
    plugged: Sequence[PluggedDevice],
    permits: Permits,
) -> Iterator[MatchedCamera]:
    """Match cameras that are the only ones of their model by name and formats.

    `absent` are those of `known` that have no device, `plugged` the devices that no camera has.
    """
    for camera in absent:
        cameras = [other for other in known if other.identity.same_model(camera.identity)]
        found = [device for device in plugged if device.identity.same_model(camera.identity)]
        if len(cameras) != 1 or len(found) != 1 or not permits(camera, found[0]):
            continue
        there, here = camera.identity, found[0].identity
        same = (there.name, there.formats) == (here.name, here.formats)
        if same and there.formats and there.same_model_and_serial(here):
            reason = "the only camera of its name and formats, and the only one ever seen"
            yield MatchedCamera(camera, found[0], MatchedBy.NAME, reason)


def has_unique_serial(
    device: PluggedDevice, plugged: Sequence[PluggedDevice], known: Sequence[RememberedCamera]
) -> bool:
    """Tell whether no other device and no known camera has the device's serial number."""
    here = device.identity
    devices = sum(other.identity.same_model_and_serial(here) for other in plugged)
    cameras = any(camera.identity.same_model_and_serial(here) for camera in known)
    return bool(here.serial) and devices == 1 and not cameras


def rule_for_new_camera(
    device: PluggedDevice, plugged: Sequence[PluggedDevice], known: Sequence[RememberedCamera]
) -> MatchedBy | None:
    """Return the most reliable rule that will match a new camera later; None when none will."""
    here = device.identity
    if has_unique_serial(device, plugged, known):
        return MatchedBy.SERIAL
    same = [p for p in plugged if p.identity.same_model_and_serial(here)]
    there = [p for p in same if p.identity.same_place(here)]
    return place_rule(device) if len(there) == 1 else None


def place_rule(device: PluggedDevice) -> MatchedBy:
    """Return the rule that matches this device by its place."""
    return MatchedBy.PORT if device.identity.usb else MatchedBy.PATH
