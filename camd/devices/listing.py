"""Lists devices for people and clients: each with its camera, the reason, and its holders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from camd.config.schema import Config, DiscoveryConfig
from camd.devices.binding_store import KNOWN_FILE, look_up_known
from camd.devices.holders import DeviceUsers, find_holders
from camd.devices.matching.identity import natural_sort_key
from camd.devices.matching.match import Assignment, assign
from camd.devices.monitor import open_monitor
from camd.devices.query import read_capabilities
from camd.model import CameraId, Device, DeviceBinding, MatchedBy
from camd.runtime.folders.access_advice import explain_refused_access

ALL_QUERIED_TIMEOUT_SECONDS = 3.0  # for the slowest device
HOLDERS_TIMEOUT_SECONDS = 2.0  # to search /proc
_UNKNOWN_HOLDERS = DeviceUsers((), complete=False)


@attrs.frozen
class ListedDevice:
    """One device with its camera, if it has one, and the processes that have it open."""

    device: Device
    camera_id: CameraId | None
    matched_by: MatchedBy | None
    reason: str  # why it has this camera, or none
    candidates: tuple[CameraId, ...]  # the cameras that it may be, or whose place it is at
    holders: DeviceUsers


@attrs.frozen
class DeviceList:
    """All devices and bindings of this machine."""

    devices: tuple[ListedDevice, ...]
    bindings: tuple[DeviceBinding, ...]
    method: str  # how changes are detected
    remark: str = ""  # why the cameras that were seen before are not known, when it matters


async def scan_devices(config: Config) -> DeviceList:
    """Scan and match as the service does when it starts, without storing anything.

    Waits ALL_QUERIED_TIMEOUT_SECONDS at most.
    """
    file = config.storage.state_dir / KNOWN_FILE
    known, error = await trio.to_thread.run_sync(look_up_known, file)
    async with open_monitor(discovery_config(config), query=read_capabilities) as monitor:
        with trio.move_on_after(ALL_QUERIED_TIMEOUT_SECONDS):
            await monitor.all_queried.wait()
        present, method = monitor.present.value, monitor.method
        found = assign(present, known, config.cameras, auto=config.discovery.v4l2)
        devices = await describe_devices(found)
        remark = describe_doubt(file, error) if error is not None and devices else ""
        return DeviceList(devices, found.bindings, method, remark)


def describe_doubt(file: Path, error: OSError | ValueError) -> str:
    """Say what follows when `cameras.json` cannot be used, and why that is. Blocks."""
    why = explain_refused_access(file, error) if isinstance(error, OSError) else f"{file} {error}"
    return f"Ids of cameras may be other ones than the service has: {why}"


def discovery_config(config: Config) -> DiscoveryConfig:
    """Return the monitor's configuration: on with discovery, or with any V4L2 source."""
    local = any(camera.source.selector is not None for camera in config.cameras)
    return attrs.evolve(config.discovery, v4l2=config.discovery.v4l2 or local)


async def describe_devices(found: Assignment) -> tuple[ListedDevice, ...]:
    """Describe every device, sorted by node; waits HOLDERS_TIMEOUT_SECONDS at most."""
    holders = await _find_all_holders(found.devices)

    def held(device: Device) -> DeviceUsers:
        return holders.get(device.plug_id, _UNKNOWN_HOLDERS)

    bound = [
        ListedDevice(
            device, binding.camera_id, binding.matched_by, binding.reason, (), held(device)
        )
        for binding in found.bindings
        if (device := binding.device) is not None
    ]
    unbound = [
        ListedDevice(left.device, None, None, left.reason, left.candidates, held(left.device))
        for left in found.unbound
    ]
    return tuple(sorted([*bound, *unbound], key=lambda one: natural_sort_key(str(one.device.node))))


async def _find_all_holders(devices: Sequence[Device]) -> dict[int, DeviceUsers]:
    """Find the holders of each device; those that take too long are left out."""
    found: dict[int, DeviceUsers] = {}

    async def find(device: Device) -> None:
        found[device.plug_id] = await trio.to_thread.run_sync(
            partial(find_holders, device.node), abandon_on_cancel=True
        )

    with trio.move_on_after(HOLDERS_TIMEOUT_SECONDS):
        async with trio.open_nursery() as nursery:
            for device in devices:
                nursery.start_soon(find, device)
    return found
