"""One camera's schedules: starts and stops its sessions, and publishes their status.

The answers of the camera tell how its own starts and stops went; the status of the camera tells
what others did.
"""

from __future__ import annotations

import operator
from datetime import datetime, timedelta
from functools import partial

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.clock import Clock
from camd.config.schema import ScheduleConfig
from camd.errors import ALREADY_RECORDING, NOT_RECORDING, SHUTTING_DOWN, Refusal
from camd.model import CameraState, CameraStatus, RecordingRequest, Session
from camd.model.schedule_values import OverriddenBy, ScheduleStatus
from camd.schedules.rules.decision import (
    RETRY_DELAY,
    SESSION_KEY,
    STEADY_SECONDS,
    Override,
    ScheduleAction,
    decide_action,
    is_ending,
    is_scheduled,
    override_by,
    session_owner,
    stopped_by_hand,
)
from camd.schedules.rules.windows import NEVER, WindowState, window_state
from camd.schedules.schedule_time import ScheduleTime
from camd.schedules.stop_memory import StopMemory

log = structlog.get_logger("camd.schedules")

RECHECK_AFTER = timedelta(days=1)  # where no window opens or ends within 42 days


@attrs.define(eq=False, kw_only=True)
class CameraScheduler:
    """The actor of one camera's schedules. Only `serve` awaits; everything else is immediate."""

    camera: Camera
    schedules: tuple[ScheduleConfig, ...]  # those that record this camera
    time: ScheduleTime
    stops: StopMemory
    clock: Clock
    _due: WindowState = attrs.field(default=NEVER, init=False)
    _holds: tuple[datetime, datetime] | None = attrs.field(default=None, init=False)  # of `_due`
    _woken: trio.Event = attrs.field(factory=trio.Event, init=False)
    _seen_end: str | None = attrs.field(default=None, init=False)  # id of the last one that ended
    _failures: int = attrs.field(default=0, init=False)  # in a row
    _retry_at: float = attrs.field(default=float("-inf"), init=False)  # monotonic
    _refusal: Refusal | None = attrs.field(default=None, init=False)

    # --- the handle ---

    @property
    def next_change(self) -> datetime | None:
        """When a window opens or ends next, as far as it is known; None: decide at once."""
        return self._holds[1] if self._holds is not None else None

    def wake(self) -> None:
        """Decide again soon."""
        self._woken.set()

    def use(self, schedules: tuple[ScheduleConfig, ...]) -> None:
        """Follow other schedules from now on."""
        if schedules != self.schedules:
            self.schedules, self._holds = schedules, None
            self.wake()

    def wake_if_due(self) -> None:
        """Decide again if a window has opened or ended since the last decision."""
        before = self._holds
        self._update_due()
        if self._holds is not before:
            self.wake()

    def crashed(self) -> None:
        """Compute what is due again after a bug."""
        self._holds = None

    # --- the loop ---

    async def serve(self) -> None:
        """Start and stop sessions as the schedules say; never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_camera)
            while True:
                self._woken = trio.Event()
                self._update_due()
                self._show()
                await self._act()
                self._show()
                with trio.move_on_after(self._pause()):
                    await self._woken.wait()
                await trio.lowlevel.checkpoint()

    def _pause(self) -> float:
        """Return the seconds until the next try; anything else that matters wakes the loop."""
        if self._decide() is not ScheduleAction.START:
            return float("inf")
        return max(0.0, self._retry_at - self.clock.monotonic())

    async def _act(self) -> None:
        match self._decide():
            case ScheduleAction.START if self.clock.monotonic() >= self._retry_at:
                await self._start()
            case ScheduleAction.STOP:
                await self._stop()

    def _decide(self) -> ScheduleAction:
        self._update_due()
        return decide_action(self._due, self.camera.published.value.session, self._override)

    def _update_due(self) -> None:
        """Compute what is due now, unless the last result still holds."""
        now = self.time.now()
        if self._holds is not None and self._holds[0] <= now < self._holds[1]:
            return
        before, self._due = self._due, window_state(self.schedules, now)
        # The end of a window ends an override, also where another window begins with it.
        self._holds = now, self._due.window_end or self._due.next_change or now + RECHECK_AFTER
        if self._due.active != before.active:
            self._failures, self._retry_at, self._refusal = 0, float("-inf"), None

    @property
    def _override(self) -> Override | None:
        return self.stops.get(self.camera.camera_id, self.time.now())

    async def _start(self) -> None:
        name = self._due.name
        try:
            session = await self.camera.start_recording(
                RecordingRequest(owner=session_owner(name), key=SESSION_KEY, preroll=timedelta(0))
            )
        except Refusal as refusal:
            self._note_refusal(refusal)
            return
        self._refusal = None
        log.info(
            "schedule_started",
            camera=self.camera.camera_id,
            schedule=name,
            session=session.session_id,
        )

    def _note_refusal(self, refusal: Refusal) -> None:
        """Try again later, and log the reason once."""
        if refusal.kind is ALREADY_RECORDING:
            return  # somebody else started one meanwhile; the status has that session
        if refusal.kind is SHUTTING_DOWN:
            self._wait_longer()  # the camera closes, and this actor ends with it
            return
        if stopped_by_hand(refusal):
            self._set_override(override_by("stopped", self._due))
            return
        self._wait_longer()
        before, self._refusal = self._refusal, refusal
        if before is None or before.message != refusal.message:
            log.warning(
                "schedule_not_started",
                camera=self.camera.camera_id,
                schedule=self._due.name,
                why=refusal.message,
                suggestion=refusal.suggestion,
            )

    def _wait_longer(self) -> None:
        self._failures += 1
        self._retry_at = self.clock.monotonic() + RETRY_DELAY.after(self._failures)

    async def _stop(self) -> None:
        session = self.camera.published.value.session
        if session is None:
            return
        try:
            await self.camera.stop_recording()
        except Refusal as refusal:
            if refusal.kind is not NOT_RECORDING and not stopped_by_hand(refusal):
                log.warning(
                    "schedule_not_stopped", camera=self.camera.camera_id, why=refusal.message
                )
        else:
            log.info("schedule_stopped", camera=self.camera.camera_id, session=session.session_id)

    # --- what others do to the camera ---

    async def _follow_camera(self) -> None:
        """Follow the session, whoever starts and stops it; never returns."""
        before = self.camera.published.value
        self._note_session(before.session)
        while True:
            status = await self.camera.published.wait_until(partial(operator.is_not, before))
            if before.session is not None and _id(status) != _id(before):
                self._note_end(before.session)
            self._note_session(status.session)
            if _essence(status) != _essence(before):
                if before.state is CameraState.ABSENT:
                    self._retry_at = float("-inf")  # it is plugged in again
                self._show()
                self.wake()
            before = status

    def _note_session(self, session: Session | None) -> None:
        if session is None:
            return
        if is_ending(session):
            self._note_end(session)
        elif session.segments and not is_scheduled(session):
            self._set_override(None)  # a client has started a session

    def _note_end(self, session: Session) -> None:
        """Take the end of a session into account, once for each session."""
        if session.session_id == self._seen_end:
            return
        self._seen_end = session.session_id
        self._update_due()  # its own stop comes when no window is open: it overrides nothing
        override = override_by(session.reason, self._due)
        if override is not None:
            self._set_override(override)
        elif is_scheduled(session) and session.segments:
            if session.elapsed_seconds >= STEADY_SECONDS:
                self._failures = 0
            self._wait_longer()

    def _set_override(self, override: Override | None) -> None:
        self.stops.put(self.camera.camera_id, override)

    # --- what is shown ---

    def _show(self) -> None:
        session, now = self.camera.published.value.session, self._due
        if not self.schedules:
            self.camera.show_schedule(None)
            return
        overridden_by = self._overridden_by(session) if now.active else None
        refusal = self._refusal if overridden_by is None else None
        self.camera.show_schedule(
            ScheduleStatus(
                name=now.name,
                active=now.active,
                next_change=now.next_change,
                overridden_by=overridden_by,
                recording=session is not None and is_scheduled(session),
                message=refusal.message if refusal else "",
                suggestion=refusal.suggestion if refusal else "",
            )
        )

    def _overridden_by(self, session: Session | None) -> OverriddenBy | None:
        if session is not None:
            return None if is_scheduled(session) else OverriddenBy.MANUAL_RECORDING
        override = self._override
        return override.by if override is not None else None


def _id(status: CameraStatus) -> str | None:
    return status.session.session_id if status.session is not None else None


def _essence(status: CameraStatus) -> tuple[object, ...]:
    """The part of a status whose change makes a schedule decide again."""
    session = status.session
    about = (session.session_id, is_ending(session), bool(session.segments)) if session else None
    return about, status.state is CameraState.ABSENT
