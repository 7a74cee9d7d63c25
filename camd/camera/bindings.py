"""Which camera has which device: follows what is plugged in, and keeps what was learned of it."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.config.schema import CameraConfig, Config
from camd.devices.binding_store import BindingStore
from camd.devices.matching.identity import KnownCamera
from camd.devices.matching.match import AdoptionError, Assignment, adopt, assign, forget
from camd.errors import ALREADY_RECORDING, INVALID_PARAMS, SOURCE_UNAVAILABLE, Refusal
from camd.model import CameraId, Device, DeviceBinding, V4l2Source
from camd.runtime.broadcast import Published

log = structlog.get_logger("camd.cameras")

FIRST_LOOK_SECONDS = 0.5  # the service waits no longer for slow devices; they come when they come


class BoundCameras(Protocol):
    """What is needed of all cameras together."""

    def __iter__(self) -> Iterator[Camera]: ...

    def get(self, camera_id: CameraId) -> Camera | None:
        """Look a camera up by its id."""

    def add(self, config: CameraConfig, binding: DeviceBinding | None = None) -> Camera:
        """Begin one."""

    def remove(self, camera_id: CameraId, *, for_good: bool = True) -> None:
        """End one, in its own time."""


class PluggedDevices(Protocol):
    """What is plugged in at the moment."""

    @property
    def present(self) -> Published[tuple[Device, ...]]: ...

    @property
    def settled(self) -> trio.Event: ...

    @property
    def method(self) -> str: ...


@attrs.define(eq=False)
class DeviceBinder:
    """The owner of the known cameras. Cameras are told of their seats; the rest is asked for."""

    _config: Config
    _cameras: BoundCameras
    monitor: PluggedDevices
    _keeping: BindingStore
    assignment: Assignment = attrs.field(factory=Assignment, init=False)
    _known: tuple[KnownCamera, ...] = attrs.field(default=(), init=False)
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def begin(self) -> None:
        """List every camera that is configured or was ever seen, with the seats they have now.

        Waits until all devices have answered, for FIRST_LOOK_SECONDS at most.
        """
        self._known = await self._keeping.kept.load()
        with trio.move_on_after(FIRST_LOOK_SECONDS):
            await self.monitor.settled.wait()
        await self._look()

    async def follow(self) -> None:
        """Give out the seats anew whenever something is plugged in or out; never returns."""
        while True:
            seen = self.monitor.present.value
            await self._look()
            await self.monitor.present.wait_until(partial(operator.is_not, seen))

    async def add(self, camera: CameraConfig) -> bool:
        """Take a camera that the configuration has now, of whatever kind its source is.

        A camera that was only numbered gives way to it; False, and nothing is changed, while that
        one records.
        """
        former = self._cameras.get(camera.id)
        async with self._one_at_a_time:
            config = attrs.evolve(self._config, cameras=(*self._config.cameras, camera))
            staying = {binding.camera_id for binding in self._assign(config).bindings} - {camera.id}
            leaving = [side for side in self._cameras if side.binding is not None]
            leaving = [side for side in leaving if side.camera_id not in staying]
            if any(side.status.session is not None for side in leaving):
                return False
            self._config = config
        if former is not None:  # it begins anew, as it is configured
            self._cameras.remove(camera.id, for_good=False)
            await former.close()
        await self._look()
        return True

    async def adopt(self, camera_id: CameraId, node: Path | None) -> DeviceBinding:
        """Let a camera be the device at `node` from now on; kept over restarts.

        An id that no camera has makes a new one. Without `node` it is the one device that may be
        meant. Raises Refusal: no such device, or several; it is another camera's by the
        configuration; a recording is running on it.
        """
        configured = any(entry.id == camera_id for entry in self._config.cameras)
        if not configured and not self._config.discovery.v4l2:
            raise Refusal(
                INVALID_PARAMS,
                "Only cameras of the configuration are used, and none has this id",
                suggestion="Write an entry for it, or set discovery.v4l2 = true.",
                camera_id=camera_id,
            )
        async with self._one_at_a_time:
            device = self._meant(camera_id, node)
            for binding in self.assignment.bindings:
                side = self._cameras.get(binding.camera_id)
                concerned = binding.device == device or binding.camera_id == camera_id
                if side is not None and concerned and binding.device is not None:
                    _refuse_while_recording(side)
            try:
                self._known = adopt(self.assignment, camera_id, device, self._config.cameras)
            except AdoptionError as error:
                raise Refusal(INVALID_PARAMS, str(error), camera_id=camera_id) from error
        await self._look(changed=True)
        log.info("camera_adopted", camera=camera_id, device=str(device.node))
        return next(
            binding for binding in self.assignment.bindings if binding.camera_id == camera_id
        )

    async def forget(self, camera: Camera) -> None:
        """Forget a camera that is not there any more; its number is free again. Raises Refusal."""
        configured = any(entry.id == camera.camera_id for entry in self._config.cameras)
        if configured or camera.binding is None or camera.binding.device is not None:
            raise Refusal(
                INVALID_PARAMS,
                "Only a camera that was found by itself and is not plugged in can be forgotten",
                suggestion="Unplug it, or remove it from the configuration.",
                camera_id=camera.camera_id,
            )
        _refuse_while_recording(camera)
        self._known = forget(self._known, camera.camera_id)
        await self._look(changed=True)

    def _meant(self, camera_id: CameraId, node: Path | None) -> Device:
        """Find the device that somebody names by a node or a link, or that can only be meant."""
        if node is None:
            offered = self.assignment.adoptable_by(camera_id)
            if len(offered) == 1:
                return offered[0]
            nodes = [str(device.node) for device in offered]
            raise Refusal(
                INVALID_PARAMS,
                "There are several devices that it may be" if nodes else "Say which device it is",
                suggestion="Name its node, as `camd devices` shows it.",
                camera_id=camera_id,
                possible=nodes,
            )
        for device in self.assignment.devices:
            if node == device.node or node in device.links:
                return device
        raise Refusal(
            SOURCE_UNAVAILABLE,
            "There is no camera at that node",
            suggestion="Look at `camd devices`.",
            camera_id=camera_id,
            cause="not_found",
        )

    async def _look(self, *, changed: bool = False) -> None:
        """Assign the seats, keep what is known, and tell the cameras.

        They are told although the disk does not take it: a stranger must not be filmed meanwhile.
        """
        async with self._one_at_a_time:
            found = self._assign(self._config)
            for news in found.messages_since(self.assignment):
                log.info(news.kind.value, camera=news.camera_id, text=news.text)
            changed = changed or found.known != self._known
            self.assignment, self._known = found, found.known
            if changed:
                await self._keeping.keep(found.known)
            self._tell_cameras(found)

    def _assign(self, config: Config) -> Assignment:
        """Decide who has what by a configuration."""
        present, auto = self.monitor.present.value, config.discovery.v4l2
        return assign(present, self._known, config.cameras, auto=auto)

    def _tell_cameras(self, found: Assignment) -> None:
        configured = {camera.id: camera for camera in self._config.cameras}
        for binding in found.bindings:
            camera = self._cameras.get(binding.camera_id)
            if camera is None:
                entry = configured.get(binding.camera_id)
                self._cameras.add(entry or CameraConfig(binding.camera_id, V4l2Source()), binding)
            else:
                camera.bind_device(binding)
        bound = {binding.camera_id for binding in found.bindings}
        for camera in list(self._cameras):
            if isinstance(camera.config.source, V4l2Source) and camera.camera_id not in bound:
                self._cameras.remove(camera.camera_id)


def _refuse_while_recording(camera: Camera) -> None:
    """Refuse to change who a camera is while footage is recorded under that name."""
    session = camera.status.session
    if session is not None:
        raise Refusal(
            ALREADY_RECORDING,
            camera_id=camera.camera_id,
            session_id=session.session_id,
            owner=session.owner,
        )
