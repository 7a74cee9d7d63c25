"""Which cameras were stopped by hand within a window, kept over restarts of the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.model import CameraId
from camd.model.schedule_values import OverriddenBy
from camd.runtime.state_file import StateFile, from_json
from camd.schedules.rules.decision import Override

log = structlog.get_logger("camd.schedules")

STOPS_FILE = "schedule_stops.json"
VERSION = 1
MOST_STOPS = 1024  # far more than cameras


@attrs.frozen
class StoredStop:
    """One override, as the file has it."""

    camera: str
    by: str
    until: datetime


@attrs.frozen
class StoredStops:
    """The file's content."""

    version: int
    stops: tuple[StoredStop, ...] = ()


def parse_stops(text: str) -> StoredStops:
    """Parse the file's text strictly. Raises ValueError."""
    found = from_json(text, StoredStops, version=VERSION)
    if len(found.stops) > MOST_STOPS:
        raise ValueError(f"stops: must be a list of at most {MOST_STOPS}")
    for stop in found.stops:
        OverriddenBy(stop.by)
        if stop.until.tzinfo is None:
            raise ValueError("until: must have a time zone")
    return found


@attrs.define(eq=False)
class StopMemory:
    """The overrides of all cameras, in memory and in a file.

    What the disk refuses is still known in memory, and a change never waits for the disk.
    """

    _load: Callable[[], Awaitable[StoredStops | None]]
    _save: Callable[[StoredStops], Awaitable[None]]  # raises OSError
    _overrides: dict[CameraId, Override] = attrs.field(factory=dict, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @classmethod
    def on_disk(cls, state_dir: Path) -> StopMemory:
        """Keep them in a file of this folder, which is read and written in threads."""
        file, one = StateFile(state_dir / STOPS_FILE, parse_stops), trio.CapacityLimiter(1)

        async def save(stops: StoredStops) -> None:
            await trio.to_thread.run_sync(file.save, stops, limiter=one, abandon_on_cancel=True)

        return cls(partial(trio.to_thread.run_sync, file.load, abandon_on_cancel=True), save)

    async def load(self) -> None:
        """Read the file."""
        found = await self._load()
        for stop in found.stops if found is not None else ():
            self._overrides[CameraId(stop.camera)] = Override(OverriddenBy(stop.by), stop.until)

    def get(self, camera_id: CameraId, instant: datetime) -> Override | None:
        """Return the override of a camera that holds at an instant."""
        override = self._overrides.get(camera_id)
        return override if override is not None and override.holds(instant) else None

    def put(self, camera_id: CameraId, override: Override | None) -> None:
        """Keep the override of a camera; None: it has none any more."""
        if self._overrides.get(camera_id) == override:
            return
        self._overrides.pop(camera_id, None)
        if override is not None and len(self._overrides) < MOST_STOPS:
            self._overrides[camera_id] = override
        self._changed.set()

    def forget_past(self, instant: datetime) -> None:
        """Forget what no longer counts."""
        kept = {who: one for who, one in self._overrides.items() if one.holds(instant)}
        if len(kept) < len(self._overrides):
            self._overrides = kept
            self._changed.set()

    async def serve(self) -> None:
        """Save each change; never returns."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            try:
                await self._save(self._stored())
            except OSError as error:
                log.error("schedule_stops_not_saved", error=str(error))

    def _stored(self) -> StoredStops:
        found = sorted(self._overrides.items())
        return StoredStops(VERSION, tuple(StoredStop(who, o.by.value, o.until) for who, o in found))
