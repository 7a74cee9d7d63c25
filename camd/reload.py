"""The current configuration, and replacing it while the service runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.camera.bindings import DeviceBinder
from camd.camera.cameras import Cameras
from camd.config.changes import ConfigChanges, compare, merge, postpone
from camd.config.load import load_config
from camd.config.schema import CameraConfig, Config
from camd.errors import INVALID_PARAMS, STORAGE_UNRESPONSIVE, ConfigError, Refusal
from camd.model import CameraId
from camd.runtime.broadcast import Fanout
from camd.schedules.schedules import Schedules
from camd.storage.rules.levels import Thresholds
from camd.storage.storage import Storage

log = structlog.get_logger("camd.daemon")

READ_TIMEOUT_SECONDS = 10.0


@attrs.define(eq=False, kw_only=True)
class CurrentConfig:
    """The current configuration; `reload` replaces it."""

    config: Config
    path: Path | None
    cameras: Cameras
    binder: DeviceBinder
    storage: Storage
    schedules: Schedules
    resumed: trio.Event  # the sessions of the last run are continued, or closed
    applied: Fanout[Config] = attrs.field(factory=Fanout, init=False)  # what runs after a reload
    _lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _reader: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )

    async def reload(self) -> ConfigChanges:
        """Read the configuration again; apply what does not need a restart. Raises Refusal."""
        async with self._lock:
            new = await self._read()
            changes = compare(self.config, new)
            merged = merge(self.config, new)
            space = merged.storage
            self.storage.space.reconfigure(Thresholds(space.warn_percent, space.block_percent))
            self.cameras.reconfigure(merged.recording)
            waiting = await self._change_cameras(merged.cameras)
            changes = postpone(changes, waiting)  # a later reload tries again
            self.config = attrs.evolve(merged, cameras=self.binder.configured)
            self.schedules.reconfigure(self.config.schedules)
            self.applied.publish(self.config)
            log.info("reloaded", applied=changes.applied, restart_needed=changes.restart_needed)
            return changes

    async def _change_cameras(self, cameras: tuple[CameraConfig, ...]) -> list[CameraId]:
        """Remove, change and add cameras; return those that record, and stay as they are."""
        wanted = {camera.id: camera for camera in cameras}
        before = {camera.id: camera for camera in self.binder.configured}
        gone = [name for name in before if name not in wanted]
        waiting = [name for name in gone if not await self.binder.remove(name)]
        changed = [camera for camera in cameras if camera != before.get(camera.id)]
        return waiting + [one.id for one in changed if not await self.binder.add(one)]

    async def _read(self) -> Config:
        """Read the configuration in a thread, for a limited time. Raises Refusal.

        A thread that a disk blocks is left behind; later reads wait for its end, up to the limit.
        """
        with trio.move_on_after(READ_TIMEOUT_SECONDS):
            try:
                return await trio.to_thread.run_sync(
                    load_config,
                    self.path,
                    dict(os.environ),
                    limiter=self._reader,
                    abandon_on_cancel=True,
                )
            except ConfigError as error:
                raise _refused(error) from None
        raise Refusal(
            STORAGE_UNRESPONSIVE,
            f"The configuration cannot be read within {READ_TIMEOUT_SECONDS:g} s; the old one "
            "stays in force",
            suggestion="Look after the disk that the file is on, and reload again.",
        )


def _refused(error: ConfigError) -> Refusal:
    errors = [
        dict(zip(("path", "message"), mistake.split(": ", 1), strict=False))
        for mistake in error.mistakes
    ]
    return Refusal(
        INVALID_PARAMS,
        "The configuration has mistakes; the old one stays in force",
        suggestion="Correct them and reload again.",
        errors=errors,
    )
