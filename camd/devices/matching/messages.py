"""What is said of a camera that has no device, and of a device that no camera has. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import attrs

from camd.devices.matching.identity import DeviceIdentity, KnownCamera, PluggedDevice
from camd.model import CameraId, Cause, Problem, ProblemKind, V4l2Source
from camd.model.problems import ABSENT

NOT_LISTED = "discovery.v4l2 is false, and no entry of the configuration means it"


class MatchMessageKind(enum.Enum):
    """What changed, or needs somebody."""

    BOUND = "camera_bound"  # an id was given to a device
    MOVED = "camera_moved"  # it was found at another place
    REPLACED = "camera_replaced"  # another device took the id over, as the configuration allows
    FORGOTTEN = "camera_forgotten"  # the binding does not hold any more
    SWAPPED = "camera_swapped"
    AMBIGUOUS = "camera_ambiguous"
    TAKEN = "camera_taken"


TOLD_PROBLEMS = {
    ProblemKind.AMBIGUOUS: MatchMessageKind.AMBIGUOUS,
    ProblemKind.SWAPPED: MatchMessageKind.SWAPPED,
    ProblemKind.TAKEN: MatchMessageKind.TAKEN,
}


@attrs.frozen
class MatchMessage:
    """One line for the log."""

    kind: MatchMessageKind
    camera_id: CameraId
    text: str


def absent(identity: DeviceIdentity) -> Problem:
    """Say that a known camera is not plugged in."""
    place = f", last seen at {identity.place}" if identity.place else ""
    return attrs.evolve(ABSENT, message=f"{_who(identity)} is not plugged in{place}")


def unbound(camera_id: CameraId, source: V4l2Source) -> Problem:
    """Say that no device was ever found for an entry."""
    if str(source):
        return Problem(
            ProblemKind.ABSENT,
            f"No camera fits {str(source)!r}",
            "Plug the camera in, or correct its source; `camd devices` shows what is there.",
            Cause.CAMERA_LOST,
        )
    return Problem(
        ProblemKind.ABSENT,
        "No camera has this id yet",
        f"Give it one with `camd adopt {camera_id} NODE`, or write its source.",
        Cause.CAMERA_LOST,
    )


def swapped(
    known: KnownCamera, standing: Sequence[PluggedDevice], *, can_accept: bool, can_adopt: bool
) -> Problem:
    """Say that a different camera is where a known one was."""
    camera_id, expected = known.camera_id, known.identity
    if not can_adopt:
        adopt = "or correct its source in the configuration"
    elif can_accept:
        adopt = f'or take the new one: `camd adopt {camera_id}`, or swap = "accept"'
    else:
        adopt = f"or take the new one: `camd adopt {camera_id}`"
    return Problem(
        ProblemKind.SWAPPED,
        f"Another camera is at {expected.place}: expected {_who(expected)}, found "
        f"{_list(standing)}",
        f"Put the old camera back, {adopt}.",
        Cause.CAMERA_SWAPPED,
    )


def ambiguous(known: KnownCamera, candidates: Sequence[PluggedDevice]) -> Problem:
    """Say that a known camera may be one of several, or one of several may be this device."""
    return Problem(
        ProblemKind.AMBIGUOUS,
        f"{_who(known.identity)} is not at {known.identity.place or 'its place'}, and nothing "
        f"tells whether it is {_list(candidates)}",
        f"Put it back, or say which one it is: `camd adopt {known.camera_id} "
        f"{candidates[0].device.node}`.",
        Cause.CAMERA_LOST,
    )


def several_fit(
    camera_id: CameraId, source: V4l2Source, candidates: Sequence[PluggedDevice]
) -> Problem:
    """Say that an entry's words fit more than one device."""
    return Problem(
        ProblemKind.AMBIGUOUS,
        f"{str(source)!r} fits several: {_list(candidates)}",
        'Name the camera by its port, such as source = "v4l2:port='
        f'{candidates[0].identity.place}", or say which one it is: `camd adopt {camera_id} '
        f"{candidates[0].device.node}`.",
        Cause.CAMERA_LOST,
    )


def taken(source: V4l2Source, holder: CameraId, device: PluggedDevice) -> Problem:
    """Say that an entry means a device that another camera has."""
    return Problem(
        ProblemKind.TAKEN,
        f"{str(source)!r} is {_device(device)}, which is {holder}",
        "Correct the source of one of the two.",
        Cause.CAMERA_LOST,
    )


def faceless(device: PluggedDevice) -> Problem:
    """Say that nothing would recognise a device the next time."""
    return Problem(
        ProblemKind.AMBIGUOUS,
        f"Nothing tells {_device(device)} from others: no serial number, no place of its own",
        "Let camd open the device (group video), or let udev make its links.",
        Cause.CAMERA_LOST,
    )


def may_be(cameras: Iterable[CameraId]) -> str:
    """Say of a device that it may be a known camera."""
    names = " or ".join(cameras)
    return (
        f"it may be {names}; say which with `camd adopt CAMERA NODE`, or give it an entry of its "
        "own, by its port"
    )


def stands_for(cameras: Iterable[CameraId]) -> str:
    """Say of a device that it is where another camera should be."""
    return f"it is where {' and '.join(cameras)} should be"


def _list(devices: Sequence[PluggedDevice]) -> str:
    return " or ".join(_device(device) for device in devices)


def _device(plugged: PluggedDevice) -> str:
    return _who(plugged.identity)


def _who(identity: DeviceIdentity) -> str:
    return f"{identity.name} ({identity.describe()})"
