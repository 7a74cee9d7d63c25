"""The schedules of all cameras: who is followed, and when the wall clock opens a window.

The wall clock may be set, and the machine may sleep: both are noticed within TICK_SECONDS of the
machine's running, because nothing waits longer for a window than that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.config.schema import Config, ScheduleConfig
from camd.model import CameraId, Event
from camd.runtime.actor import supervise
from camd.runtime.broadcast import Fanout
from camd.schedules.camera_scheduler import CameraScheduler
from camd.schedules.rules.decision import is_scheduled
from camd.schedules.rules.windows import WindowState, window_state
from camd.schedules.schedule_time import ScheduleTime
from camd.schedules.stop_memory import StopMemory

log = structlog.get_logger("camd.schedules")

TICK_SECONDS = 1.0
LOAD_SECONDS = 10.0  # for the stops by hand of an earlier run


@attrs.define(eq=False, kw_only=True)
class Schedules:
    """What is configured, and the camera actors that follow it. Every method answers at once."""

    configured: tuple[ScheduleConfig, ...] = ()
    _cameras: Cameras
    _stops: StopMemory
    _clock: Clock
    _nursery: trio.Nursery
    _time: ScheduleTime = attrs.field(init=False)
    _followed: dict[CameraId, tuple[CameraScheduler, trio.CancelScope]] = attrs.field(
        factory=dict, init=False
    )
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._time = ScheduleTime(self._clock)

    # --- the handle ---

    def due(self, schedule: ScheduleConfig) -> WindowState:
        """Say whether the window of one schedule is open now."""
        return window_state((schedule,), self._time.now())

    def reconfigure(self, schedules: tuple[ScheduleConfig, ...]) -> None:
        """Follow other schedules from now on; a session of one that is gone ends."""
        self.configured = schedules
        self._changed.set()

    # --- who is followed ---

    def notice(self, _: Event) -> None:
        """Match the cameras again soon: one has changed, or is new."""
        self._changed.set()

    async def follow(self) -> None:
        """Follow the cameras that schedules record, as they come and go; never returns."""
        while True:
            self._changed = trio.Event()
            self._match_cameras()
            with trio.move_on_after(self._pause()):
                await self._changed.wait()
            await trio.lowlevel.checkpoint()
            self._wake_due()

    def _match_cameras(self) -> None:
        present = {camera.camera_id: camera for camera in self._cameras}
        for camera_id, (follower, scope) in tuple(self._followed.items()):
            if present.get(camera_id) is not follower.camera:
                scope.cancel()
                del self._followed[camera_id]
        for camera_id, camera in present.items():
            schedules = tuple(one for one in self.configured if one.records(camera_id))
            if camera_id in self._followed:
                self._followed[camera_id][0].use(schedules)
            elif schedules or _left_running(camera):
                self._begin(camera, schedules)

    def _begin(self, camera: Camera, schedules: tuple[ScheduleConfig, ...]) -> None:
        follower = CameraScheduler(
            camera=camera,
            schedules=schedules,
            time=self._time,
            stops=self._stops,
            clock=self._clock,
        )
        scope = trio.CancelScope()
        self._followed[camera.camera_id] = follower, scope
        self._nursery.start_soon(self._serve, follower, scope)

    async def _serve(self, follower: CameraScheduler, scope: trio.CancelScope) -> None:
        with scope:
            name = f"schedules of {follower.camera.camera_id}"
            await supervise(name, follower.serve, follower.crashed)

    # --- the time ---

    def _pause(self) -> float:
        """Return the seconds until the time has to be looked at again."""
        if not self._followed:
            return float("inf")
        now = self._time.now()
        waits = [(change - now).total_seconds() for change in self._changes()]
        return max(0.0, min((TICK_SECONDS, *waits)))

    def _changes(self) -> list[datetime]:
        changes = [follower.next_change for follower, _ in self._followed.values()]
        return [change for change in changes if change is not None]

    def _wake_due(self) -> None:
        self._stops.forget_past(self._time.now())
        for follower, _ in self._followed.values():
            follower.wake_if_due()


def _left_running(camera: Camera) -> bool:
    """Whether a session runs whose schedule is no longer configured: somebody has to end it."""
    session = camera.published.value.session
    return session is not None and is_scheduled(session)


@asynccontextmanager
async def open_schedules(
    config: Config,
    *,
    cameras: Cameras,
    events: Fanout[Event],
    resumed: trio.Event,
    clock: Clock,
    stops: StopMemory | None = None,
) -> AsyncIterator[Schedules]:
    """Record the cameras as the schedules say while the block runs.

    Begins once the sessions of an earlier run are resumed (`resumed`), so that it finds its own.
    Stops by hand are kept in `stops`, or else in the state folder.
    """
    stops = stops or StopMemory.on_disk(config.storage.state_dir)
    async with trio.open_nursery() as nursery:
        schedules = Schedules(
            configured=config.schedules,
            cameras=cameras,
            stops=stops,
            clock=clock,
            nursery=nursery,
        )
        with events.subscribed(schedules.notice):
            nursery.start_soon(_run, schedules, stops, resumed)
            yield schedules
            nursery.cancel_scope.cancel()


async def _run(schedules: Schedules, stops: StopMemory, resumed: trio.Event) -> None:
    with trio.move_on_after(LOAD_SECONDS):  # a disk that hangs keeps nothing from being recorded
        await stops.load()
    await resumed.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stops.serve)
        nursery.start_soon(schedules.follow)
