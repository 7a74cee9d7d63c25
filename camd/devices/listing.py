"""What is plugged in, which camera it is and why, and who has it open: for those who ask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import trio

from camd.config.schema import Config, DiscoveryConfig
from camd.devices.binding_store import KNOWN_FILE, load_known
from camd.devices.holders import Holders, find_holders
from camd.devices.matching.identity import natural_key
from camd.devices.matching.match import Assignment, assign
from camd.devices.monitor import open_monitor
from camd.devices.query import read_capabilities
from camd.model import CameraId, Device, DeviceBinding, MatchedBy, V4l2Source

LOOK_SECONDS = 3.0  # for the slowest device
HOLDERS_SECONDS = 2.0  # to look through /proc
_NOBODY_LOOKED = Holders((), complete=False)


@attrs.frozen
class ListedDevice:
    """One device, as a person wants to see it."""

    device: Device
    camera_id: CameraId | None
    matched_by: MatchedBy | None  # by what it was recognised
    reason: str
    candidates: tuple[CameraId, ...]  # the cameras that it may be, where nobody can tell
    holders: Holders


async def list_devices(found: Assignment) -> tuple[ListedDevice, ...]:
    """Describe every device that is plugged in, by node; waits HOLDERS_SECONDS at most."""
    holders = await _look_for_holders(found.devices)

    def held(device: Device) -> Holders:
        return holders.get(device.plugged, _NOBODY_LOOKED)

    bound = [
        ListedDevice(
            binding.device,
            binding.camera_id,
            binding.matched_by,
            binding.reason,
            (),
            held(binding.device),
        )
        for binding in found.bindings
        if binding.device is not None
    ]
    others = [
        ListedDevice(left.device, None, None, left.reason, left.candidates, held(left.device))
        for left in found.unbound
    ]
    return tuple(sorted([*bound, *others], key=lambda one: natural_key(str(one.device.node))))


@attrs.frozen
class DeviceListing:
    """What is plugged in, the cameras' seats, and by what means it was found out."""

    devices: tuple[ListedDevice, ...]
    bindings: tuple[DeviceBinding, ...]
    how: str


async def list_local_devices(config: Config) -> DeviceListing:
    """Do what the service does when it starts, and change nothing; waits LOOK_SECONDS at most."""
    known = await trio.to_thread.run_sync(load_known, config.storage.state_dir / KNOWN_FILE)
    async with open_monitor(discovery_config(config), query=read_capabilities) as monitor:
        with trio.move_on_after(LOOK_SECONDS):
            await monitor.settled.wait()
        present, how = monitor.present.value, monitor.method
        found = assign(present, known, config.cameras, auto=config.discovery.v4l2)
        return DeviceListing(await list_devices(found), found.bindings, how)


def discovery_config(config: Config) -> DiscoveryConfig:
    """Say what the survey is to look at: nothing where no camera of this machine is wanted."""
    local = any(isinstance(camera.source, V4l2Source) for camera in config.cameras)
    return attrs.evolve(config.discovery, v4l2=config.discovery.v4l2 or local)


async def _look_for_holders(devices: Sequence[Device]) -> dict[int, Holders]:
    """Find who has which device open; what takes too long is left out."""
    found: dict[int, Holders] = {}

    async def look(device: Device) -> None:
        found[device.plugged] = await trio.to_thread.run_sync(
            partial(find_holders, device.node), abandon_on_cancel=True
        )

    with trio.move_on_after(HOLDERS_SECONDS):
        async with trio.open_nursery() as nursery:
            for device in devices:
                nursery.start_soon(look, device)
    return found
