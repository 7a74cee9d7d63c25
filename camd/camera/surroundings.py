"""What a camera's children need of the machine around them, and of the other cameras."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs

from camd.camera.diagnosis import FindHolders
from camd.devices.leases import DeviceLeases
from camd.model import CameraId, Device
from camd.runtime.pipes import PipePoller


def _nobody(camera_id: CameraId) -> Sequence[str]:
    return ()


@attrs.frozen
class CaptureEnvironment:
    """Shared by all cameras; nothing of it has to be there."""

    leases: DeviceLeases = attrs.field(factory=DeviceLeases)
    find_holders: FindHolders | None = None  # who has a node open; without it nobody looks
    neighbours: Callable[[CameraId], Sequence[str]] = _nobody  # who delivers over the same bus
    look_again: Callable[[Path], Awaitable[Device | None]] | None = None  # what a node is now
    pipes: PipePoller | None = None  # where children's output is read in rounds
