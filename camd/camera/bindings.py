"""The device binder: gives each camera its binding, anew whenever devices are plugged in or out."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.config.schema import CameraConfig, Config
from camd.devices.binding_store import KNOWN_FILE, BindingStore
from camd.devices.matching.adoption import AdoptionError, adopt, forget
from camd.devices.matching.identity import RememberedCamera
from camd.devices.matching.match import Assignment, assign
from camd.devices.monitor import DeviceMonitor
from camd.errors import (
    ALREADY_RECORDING,
    CAMERA_LIMIT,
    SOURCE_UNAVAILABLE,
    Refusal,
    wrong_param,
)
from camd.model import CameraId, Device, DeviceBinding, ProblemKind
from camd.model.ids import MAX_CAMERAS

log = structlog.get_logger("camd.cameras")

ALL_QUERIED_TIMEOUT_SECONDS = 0.5  # slow devices do not delay the start


@asynccontextmanager
async def open_binder(
    config: Config, *, cameras: Cameras, monitor: DeviceMonitor
) -> AsyncIterator[DeviceBinder]:
    """Bind all cameras of this machine, and go on doing so while the block runs."""
    store = BindingStore.on_disk(config.storage.state_dir / KNOWN_FILE)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.serve)
        binder = DeviceBinder(config=config, cameras=cameras, monitor=monitor, store=store)
        await binder.begin()
        nursery.start_soon(binder.follow)
        yield binder
        nursery.cancel_scope.cancel()


@attrs.define(eq=False, kw_only=True)
class DeviceBinder:
    """Owns the known cameras and the assignment; adds, binds and removes local cameras by it."""

    _config: Config
    _cameras: Cameras
    monitor: DeviceMonitor
    _store: BindingStore
    assignment: Assignment = attrs.field(factory=Assignment, init=False)
    _known: tuple[RememberedCamera, ...] = attrs.field(default=(), init=False)
    _lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def begin(self) -> None:
        """Load the known cameras, and bind all cameras once.

        Waits until all devices have answered, for ALL_QUERIED_TIMEOUT_SECONDS at most.
        """
        self._known = await self._store.load()
        with trio.move_on_after(ALL_QUERIED_TIMEOUT_SECONDS):
            await self.monitor.all_queried.wait()
        await self._bind_cameras()

    async def follow(self) -> None:
        """Bind the cameras anew whenever devices are plugged in or out; never returns."""
        while True:
            seen = self.monitor.present.value
            await self._bind_cameras()
            await self.monitor.present.wait_until(partial(operator.is_not, seen))

    @property
    def configured(self) -> tuple[CameraConfig, ...]:
        """The cameras of the configuration, as far as they are in force."""
        return self._config.cameras

    async def add(self, camera: CameraConfig) -> bool:
        """Add a camera that the configuration has now, or has otherwise, with any kind of source.

        It replaces the camera with its id, and a discovered one that had its device. Returns False,
        and changes nothing, while one of these records.
        """
        async with self._lock:
            former = self._cameras.get(camera.id)
            if former is not None and former.status.session is not None:
                return False
            entries = {one.id: one for one in self._config.cameras} | {camera.id: camera}
            config = attrs.evolve(self._config, cameras=tuple(entries.values()))
            staying = {binding.camera_id for binding in self._assign(config).bindings} - {camera.id}
            local = [other for other in self._cameras if other.binding is not None]
            leaving = [other for other in local if other.camera_id not in staying]
            if any(other.status.session is not None for other in leaving):
                return False
            if former is None and len(self._cameras) - len(leaving) >= MAX_CAMERAS:
                log.error("camera_not_added", camera=camera.id, why=CAMERA_LIMIT.message)
                return False
            self._config = config
        if former is not None:  # it starts again with its new configuration
            self._cameras.remove(camera.id, for_good=False)
            await former.close()
        await self._bind_cameras()
        if self._cameras.get(camera.id) is None:
            self._cameras.add(camera)
        return True

    async def remove(self, camera_id: CameraId) -> bool:
        """Remove a camera that the configuration no longer has; its recordings stay.

        Where devices are discovered, one that is plugged in stays a camera, with the usual
        settings. Returns False, and changes nothing, while it records.
        """
        async with self._lock:
            former = self._cameras.get(camera_id)
            if former is not None and former.status.session is not None:
                return False
            others = tuple(one for one in self._config.cameras if one.id != camera_id)
            self._config = attrs.evolve(self._config, cameras=others)
        if former is not None:
            self._cameras.remove(camera_id, for_good=former.binding is None)
            await former.close()
        await self._bind_cameras()
        log.info("camera_removed", camera=camera_id)
        return True

    async def adopt(self, camera_id: CameraId, node: Path | None) -> DeviceBinding:
        """Bind a camera to the device at `node` by hand, and store it.

        An id that no camera has makes a new one. Without `node` it is the only device that the
        camera may be. Raises Refusal: no such device, or several; the configuration contradicts; a
        camera whose device would change is recording.
        """
        if not self._is_configured(camera_id) and not self._config.discovery.v4l2:
            raise wrong_param(
                "device",
                "Only cameras of the configuration are used, and none has this id",
                suggestion="Write an entry for it, or set discovery.v4l2 = true.",
                camera_id=camera_id,
            )
        async with self._lock:
            if self._cameras.get(camera_id) is None and len(self._cameras) >= MAX_CAMERAS:
                raise Refusal(CAMERA_LIMIT, camera_id=camera_id, max_cameras=MAX_CAMERAS)
            device = self._find_device(camera_id, node)
            for binding in self.assignment.bindings:
                camera = self._cameras.get(binding.camera_id)
                affected = device == binding.device or camera_id == binding.camera_id
                if camera is not None and affected and binding.device is not None:
                    _refuse_while_recording(camera)
            try:
                self._known = adopt(self.assignment, camera_id, device, self._config.cameras)
            except AdoptionError as error:
                raise wrong_param("device", str(error), camera_id=camera_id) from error
        await self._bind_cameras(changed=True)
        log.info("camera_adopted", camera=camera_id, device=str(device.node))
        return next(b for b in self.assignment.bindings if b.camera_id == camera_id)

    async def forget(self, camera: Camera) -> None:
        """Forget a camera that is not plugged in; its number is free again. Raises Refusal."""
        configured = self._is_configured(camera.camera_id)
        if configured or camera.binding is None or camera.binding.device is not None:
            raise wrong_param(
                "device",
                "Only a camera that was discovered and is not plugged in can be forgotten",
                suggestion="Unplug it, or remove it from the configuration.",
                camera_id=camera.camera_id,
            )
        _refuse_while_recording(camera)
        self._known = forget(self._known, camera.camera_id)
        await self._bind_cameras(changed=True)

    def _is_configured(self, camera_id: CameraId) -> bool:
        return any(entry.id == camera_id for entry in self._config.cameras)

    def _find_device(self, camera_id: CameraId, node: Path | None) -> Device:
        """Find a device by its node or link; else the only one that the camera may be."""
        if node is None:
            possible = self.assignment.adoptable_by(camera_id)
            if len(possible) == 1:
                return possible[0]
            nodes = [str(device.node) for device in possible]
            raise wrong_param(
                "node",
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
            cause=ProblemKind.NOT_FOUND,
        )

    async def _bind_cameras(self, *, changed: bool = False) -> None:
        """Assign the devices, store the known cameras, and give the cameras their bindings.

        A disk that hangs or is full does not stop it: no camera may record another one's device.
        """
        async with self._lock:
            found = self._assign(self._config)
            for message in found.messages_since(self.assignment):
                log.info(message.kind.value, camera=message.camera_id, text=message.text)
            changed = changed or found.known != self._known
            self.assignment, self._known = found, found.known
            if changed:
                await self._store.keep(found.known)
            self._update_cameras(found)

    def _assign(self, config: Config) -> Assignment:
        """Assign the devices that are plugged in, by a configuration."""
        present, auto = self.monitor.present.value, config.discovery.v4l2
        return assign(present, self._known, config.cameras, auto=auto)

    def _update_cameras(self, found: Assignment) -> None:
        bound = {binding.camera_id for binding in found.bindings}
        for other in list(self._cameras):
            if other.config.source.selector and other.camera_id not in bound:
                self._cameras.remove(other.camera_id)
        left_out: list[CameraId] = []
        for binding in sorted(found.bindings, key=lambda binding: binding.device is None):
            camera = self._cameras.get(binding.camera_id)
            if camera is not None:
                camera.bind_device(binding)
            elif not self._add(binding):
                left_out.append(binding.camera_id)
        self._say_left_out(tuple(left_out))

    def _add(self, binding: DeviceBinding) -> bool:
        """Add the camera of a binding; False: there are as many as there may be.

        A discovered one leaves room for those of the configuration that are still to be added.
        """
        missing = {one.id: one for one in self._config.cameras if self._cameras.get(one.id) is None}
        entry = missing.get(binding.camera_id)
        if len(self._cameras) + (0 if entry else len(missing)) >= MAX_CAMERAS:
            return False
        self._cameras.add(entry or CameraConfig(binding.camera_id), binding)
        return True

    def _say_left_out(self, left_out: tuple[CameraId, ...]) -> None:
        new = [camera_id for camera_id in left_out if camera_id not in self._cameras.left_out]
        self._cameras.left_out = left_out
        if new:
            log.error(
                "cameras_left_out",
                cameras=new,
                why=f"{MAX_CAMERAS} cameras are the most that one service has",
                suggestion=CAMERA_LIMIT.suggestion,
            )


def _refuse_while_recording(camera: Camera) -> None:
    """Refuse to change the device of a camera id while it records."""
    session = camera.status.session
    if session is not None:
        raise Refusal(
            ALREADY_RECORDING,
            camera_id=camera.camera_id,
            session_id=session.session_id,
            owner=session.owner,
        )
