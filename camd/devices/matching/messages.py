"""Texts about bindings: why a camera has no device, why a device has no camera, what changed."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import attrs

from camd.devices.matching.identity import DeviceIdentity, PluggedDevice, RememberedCamera
from camd.model import CameraId, DeviceSelector, GapCause, Problem, ProblemKind
from camd.model.problems import ABSENT

NOT_LISTED = "discovery.v4l2 is false, and no entry of the configuration means it"


class MatchMessageKind(enum.Enum):
    """What happened; the value is the log event."""

    BOUND = "camera_bound"  # a device got a camera id for the first time
    MOVED = "camera_moved"  # a camera was found at another place
    REPLACED = "camera_replaced"  # another device took over the id: swap = "accept"
    FORGOTTEN = "camera_forgotten"  # the stored binding was deleted
    SWAPPED = "camera_swapped"
    AMBIGUOUS = "camera_ambiguous"
    TAKEN = "camera_taken"


PROBLEM_MESSAGES = {
    ProblemKind.AMBIGUOUS: MatchMessageKind.AMBIGUOUS,
    ProblemKind.SWAPPED: MatchMessageKind.SWAPPED,
    ProblemKind.TAKEN: MatchMessageKind.TAKEN,
}


@attrs.frozen
class BindingMessage:
    """One log line about a camera."""

    kind: MatchMessageKind
    camera_id: CameraId
    text: str


def absent(identity: DeviceIdentity) -> Problem:
    """Problem of a known camera that is not plugged in."""
    place = f", last seen at {identity.place}" if identity.place else ""
    return attrs.evolve(ABSENT, message=f"{_name(identity)} is not plugged in{place}")


def never_found(camera_id: CameraId, source: DeviceSelector) -> Problem:
    """Problem of a configured camera that was never bound to a device."""
    if str(source):
        return Problem(
            ProblemKind.ABSENT,
            f"No camera fits {str(source)!r}",
            "Plug the camera in, or correct its source; `camd devices` shows what is there.",
            GapCause.CAMERA_LOST,
        )
    return Problem(
        ProblemKind.ABSENT,
        "No camera has this id yet",
        f"Give it one with `camd adopt {camera_id} NODE`, or write its source.",
        GapCause.CAMERA_LOST,
    )


def swapped(
    known: RememberedCamera, found: Sequence[PluggedDevice], *, can_accept: bool, can_adopt: bool
) -> Problem:
    """Problem of a known camera that has another camera at its place."""
    camera_id, expected = known.camera_id, known.identity
    if not can_adopt:
        adopt = "or correct its source in the configuration"
    elif can_accept:
        adopt = f'or take the new one: `camd adopt {camera_id}`, or swap = "accept"'
    else:
        adopt = f"or take the new one: `camd adopt {camera_id}`"
    return Problem(
        ProblemKind.SWAPPED,
        f"Another camera is at {expected.place}: expected {_name(expected)}, found {_names(found)}",
        f"Put the old camera back, {adopt}.",
        GapCause.CAMERA_SWAPPED,
    )


def ambiguous(known: RememberedCamera, candidates: Sequence[PluggedDevice]) -> Problem:
    """Problem of a known camera that may be one of several devices, or of several cameras."""
    return Problem(
        ProblemKind.AMBIGUOUS,
        f"{_name(known.identity)} is not at {known.identity.place or 'its place'}, and nothing "
        f"tells whether it is {_names(candidates)}",
        f"Put it back, or say which one it is: `camd adopt {known.camera_id} "
        f"{candidates[0].device.node}`.",
        GapCause.CAMERA_LOST,
    )


def several_fit(
    camera_id: CameraId, source: DeviceSelector, candidates: Sequence[PluggedDevice]
) -> Problem:
    """Problem of a configured camera whose source selects several devices."""
    return Problem(
        ProblemKind.AMBIGUOUS,
        f"{str(source)!r} fits several: {_names(candidates)}",
        'Name the camera by its port, such as source = "v4l2:port='
        f'{candidates[0].identity.place}", or say which one it is: `camd adopt {camera_id} '
        f"{candidates[0].device.node}`.",
        GapCause.CAMERA_LOST,
    )


def device_taken(source: DeviceSelector, holder: CameraId, device: PluggedDevice) -> Problem:
    """Problem of a configured camera whose source selects the device of another camera."""
    return Problem(
        ProblemKind.TAKEN,
        f"{str(source)!r} is {_name(device)}, which is {holder}",
        "Correct the source of one of the two.",
        GapCause.CAMERA_LOST,
    )


def not_recognisable(device: PluggedDevice) -> Problem:
    """Problem of a device that no rule would match later."""
    return Problem(
        ProblemKind.AMBIGUOUS,
        f"Nothing tells {_name(device)} from others: no serial number, no place of its own",
        "Let camd open the device (group video), or let udev make its links.",
        GapCause.CAMERA_LOST,
    )


def may_be_camera(cameras: Iterable[CameraId]) -> str:
    """Reason of a device that may be one of several known cameras."""
    names = " or ".join(cameras)
    return (
        f"it may be {names}; say which with `camd adopt CAMERA NODE`, or give it an entry of its "
        "own, by its port"
    )


def in_place_of(cameras: Iterable[CameraId]) -> str:
    """Reason of a device that is at the place of known cameras."""
    return f"it is where {' and '.join(cameras)} should be"


def _names(devices: Sequence[PluggedDevice]) -> str:
    return " or ".join(_name(device) for device in devices)


def _name(of: PluggedDevice | DeviceIdentity) -> str:
    identity = of.identity if isinstance(of, PluggedDevice) else of
    return f"{identity.name} ({identity.describe()})"
