"""The supervisor of a camera's capture: starts and ends FFmpeg as the state table says.

It follows the demand of the hub, and puts events into the camera's mailbox.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.capture.consumer import CaptureEnded, Consumer
from camd.capture.diagnosis import FindHolders, diagnose
from camd.capture.hub import StreamHub, TotalDemand
from camd.capture.planner import CapturePlan, CapturePlanner
from camd.capture.process import (
    READ_SECONDS,
    CaptureProcess,
    CaptureReport,
    CaptureTimeouts,
    ReadThrottle,
)
from camd.capture.rules import state as m
from camd.clock import Clock
from camd.config.schema import FfmpegConfig
from camd.model import CameraId, Device, GapCause, Problem
from camd.model.problems import BUSY, NOT_FOUND, STALLED, STREAM_CHANGED
from camd.runtime.pipe_poller import PipePoller


def _no_neighbours(camera_id: CameraId) -> Sequence[str]:
    return ()


def _jitter() -> float:
    return random.uniform(0.8, 1.2)


@attrs.define(eq=False)
class DeviceClaims:
    """Which camera's FFmpeg process may have each device open: one at a time.

    A binding may change while the old process still ends. The key is the plugging, because the
    name of a node may come back.
    """

    _cameras: dict[int, CameraId] = attrs.field(factory=dict, init=False)

    def claim(self, device: Device, camera_id: CameraId) -> CameraId | None:
        """Claim a device for a camera; return None, or the other camera that has it."""
        camera = self._cameras.setdefault(device.plug_id, camera_id)
        return None if camera == camera_id else camera

    def release(self, device: Device, camera_id: CameraId) -> None:
        """Free a device after the camera's FFmpeg process has ended."""
        if self._cameras.get(device.plug_id) == camera_id:
            del self._cameras[device.plug_id]


@attrs.frozen
class CaptureEnvironment:
    """What captures use of this machine and of the other cameras; only the clock has no default."""

    claims: DeviceClaims = attrs.field(factory=DeviceClaims)
    find_holders: FindHolders | None = None  # who has a node open; None: not asked
    neighbours: Callable[[CameraId], Sequence[str]] = _no_neighbours  # on the same bus
    look_again: Callable[[Path], Awaitable[Device | None]] | None = None  # queries a node again
    pipes: PipePoller | None = None  # reads the output of all processes in rounds
    clock: Clock = attrs.field(kw_only=True)
    jitter: Callable[[], float] = _jitter  # factor of each pause
    steady_seconds: float = m.STEADY_SECONDS


log = structlog.get_logger("camd.camera")


@attrs.frozen
class SourceEnded:
    """A source without repetition was read to its end; `consumers` needed it then.

    It comes with the end of its process, so that no other capture begins in between.
    """

    consumers: tuple[Consumer, ...]
    process: m.ProcessEnded


@attrs.frozen
class WarningsChanged:
    """The warnings about the stream's times have changed."""


@attrs.define(eq=False)
class CaptureSupervisor:
    """One camera's capture: its state, its process, and the hub that takes the stream.

    `tell` puts an event into the camera's mailbox; only the camera's loop calls `step`.
    """

    _planner: CapturePlanner
    _ffmpeg: FfmpegConfig
    _tell: Callable[[m.CaptureEvent | SourceEnded | WarningsChanged], Awaitable[None]]
    _hub: StreamHub
    _nursery: trio.Nursery
    _environment: CaptureEnvironment
    _tune: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint  # sets the device's controls
    state: m.CaptureState = attrs.field(factory=m.CaptureState, init=False)
    _process: CaptureProcess | None = attrs.field(default=None, init=False)
    _retry_timer: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    @property
    def gone(self) -> bool:
        """Whether no process exists."""
        return self._process is None

    def step(self, event: m.CaptureEvent) -> None:
        """Pass an event to the state table, and carry out the actions that it returns."""
        before = self.state
        self.state, actions = m.step(before, event)
        for action in actions:
            match action:
                case m.CaptureAction.SPAWN:
                    self._spawn()
                case m.CaptureAction.TERMINATE:
                    if self._process is not None:  # else ProcessEnded is in the mailbox
                        self._process.stop()
                case m.CaptureAction.RETRY_LATER:
                    self._retry_timer = trio.CancelScope()
                    self._nursery.start_soon(
                        self._wait_for_retry, self._retry_timer, self.state.retry_seconds
                    )
                case m.CaptureAction.CANCEL_RETRY:
                    self._retry_timer.cancel()
        if before.state is not self.state.state:
            problem, camera = self.state.problem, self._planner.camera.id
            cause = problem.kind if problem else None
            same = problem is not None and before.problem == problem
            tell = log.debug if same else log.info  # the same failure is logged once
            tell("camera_state", camera=camera, state=self.state.state.value, cause=cause)

    async def follow_demand(self) -> None:
        """Tell Wanted when there is demand, and Unwanted a grace after the last consumer left."""
        seen = TotalDemand()
        while True:
            before, seen = seen, await self._hub.demand.wait_until(partial(operator.ne, seen))
            if seen.consumers:
                if seen.joined != before.joined:
                    await self._tell(m.DemandBegan())
                continue
            with trio.move_on_after(seen.grace_seconds) as grace:
                await self._hub.demand.wait_until(partial(operator.ne, seen))
            if grace.cancelled_caught:
                await self._tell(m.DemandEnded())

    def _spawn(self) -> None:
        assert self._process is None
        self._hub.expect()
        self._process = self._new_process()
        self._nursery.start_soon(self._supervise, self._process)

    def _new_process(self) -> CaptureProcess:
        start, stall = self._ffmpeg.start_timeout, self._ffmpeg.stall_timeout
        source = self._planner.source
        speed = source.speed or 1.0
        return CaptureProcess(
            sink=self._hub,
            timeouts=CaptureTimeouts(
                start.total_seconds(), stall.total_seconds(), source.connect_steps
            ),
            tell=self._report,
            clock=self._environment.clock,
            may_end=source.may_end,
            launch=self._planner.launch,
            throttle=None if source.speed is None else ReadThrottle(source.speed),
            pipes=self._environment.pipes,
            hurried=self._hub.hurried,
            read_seconds=min(READ_SECONDS, self._hub.fragment_seconds) / max(1, speed),
        )

    async def _report(self, report: CaptureReport) -> None:
        """Pass on a report of the process; at the first fragment, compare format and settings."""
        if not isinstance(report, m.FirstFragmentArrived):
            await self._tell(report)
            return
        self._compare()
        self._planner.without_sound(delivered=True)
        await self._tell(report)
        if self._hub.init is not None and not self._planner.began(self._hub.init):
            await self._tell(m.ProcessStalled(STREAM_CHANGED))
        self._nursery.start_soon(self._tune)  # some drivers accept controls only now

    async def _supervise(self, process: CaptureProcess) -> None:
        """Run a process to its end, again while there is another plan, and tell ProcessEnded."""
        problem = await self._attempt(process)
        while process.wanted and not process.delivered and self._tries_again(problem):
            self._process = process = self._new_process()
            problem = await self._attempt(process)
        self._planner.without_sound(delivered=process.delivered)
        self._planner.learn(problem or self.state.problem)
        if not process.delivered:
            self._planner.contents.doubt(problem or self.state.problem)
        absent = problem is not None and await self._planner.is_absent()
        consumers = self._hub.demanding
        why = problem or self.state.problem
        if process.killed:  # it did not end when told; what it had buffered is lost
            why = why or STALLED
        self._hub.end(_capture_ended(why, absent=absent))
        self._process = None
        ended = m.ProcessEnded(problem, absent)
        over = problem is None and not process.stopping
        await self._tell(SourceEnded(consumers, ended) if over else ended)

    def _tries_again(self, problem: Problem | None) -> bool:
        """Whether a capture that delivered nothing is tried again at once, with another plan."""
        camera, cause = self._planner.camera.id, problem.kind if problem else None
        if self._planner.tries_without_sound(problem, delivered=False):
            log.warning("tried_without_sound", camera=camera, cause=cause)
            return True
        if self._planner.contents.tries_otherwise(problem):
            log.info("retried_at_once", camera=camera, cause=cause)
            return True
        return False

    async def _attempt(self, process: CaptureProcess) -> Problem | None:
        """Plan, claim the device for this camera, and run the process."""
        plan = await self._plan(process)
        if not isinstance(plan, CapturePlan):
            return plan
        device, claims = self._planner.device, self._environment.claims
        camera_id = self._planner.camera.id
        if device is not None and (other := claims.claim(device, camera_id)) is not None:
            return _still_claimed(other)
        try:
            await self._tune()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._report_steady, process)
                nursery.start_soon(self._report_new_sound, process)
                nursery.start_soon(self._tell_warnings)
                problem = await process.run(plan.arguments, plan.sound_seconds)
                nursery.cancel_scope.cancel()
        finally:
            if device is not None:
                claims.release(device, camera_id)
        if problem is not None and not process.stopping:
            problem = await self._explain(process, problem)
        return problem and await self._diagnose(problem, device)

    async def _explain(self, process: CaptureProcess, problem: Problem) -> Problem:
        """Ask the source for the cause, as long as the capture is needed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_told, process, nursery.cancel_scope)
            problem = await self._planner.source.explain(problem, delivered=process.delivered)
            nursery.cancel_scope.cancel()
        return problem

    async def _plan(self, process: CaptureProcess) -> CapturePlan | Problem | None:
        """Make the plan; None: the capture is not needed any more."""
        plan: CapturePlan | Problem | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_told, process, nursery.cancel_scope)
            plan = await self._planner.plan() if await self._is_same_device() else NOT_FOUND
            nursery.cancel_scope.cancel()
        return None if process.stopping else plan

    async def _is_same_device(self) -> bool:
        """Query the node again after a failure: it may belong to another camera now."""
        device, look_again = self._planner.device, self._environment.look_again
        if device is None or look_again is None or not self.state.failures:
            return True
        found = await look_again(device.node)
        return found is not None and found.plug_id == device.plug_id

    async def _diagnose(self, problem: Problem, device: Device | None) -> Problem:
        """Add what this machine knows of a failure, and FFmpeg does not."""
        if self._environment.find_holders is None:
            return problem
        return await diagnose(
            problem,
            device.node if device is not None else self._planner.source.path,
            find_holders=self._environment.find_holders,
            neighbours=partial(self._environment.neighbours, self._planner.camera.id),
        )

    def _compare(self) -> None:
        """Compare the stream with the requested format."""
        if self._hub.video is not None:
            self._planner.compare(self._hub.video)

    async def _report_steady(self, process: CaptureProcess) -> None:
        await process.begun.wait()
        await trio.sleep(self._environment.steady_seconds)
        self._compare()
        await self._tell(m.StreamingSteadily())

    async def _report_new_sound(self, process: CaptureProcess) -> None:
        """Begin anew where the source has sound that was not there when it was asked."""
        await process.sound_announced.wait()
        await process.begun.wait()
        if self._planner.has_new_sound():
            await self._tell(m.ProcessStalled(STREAM_CHANGED))

    async def _tell_warnings(self) -> None:
        """Tell WarningsChanged when the warnings about the stream's times change."""
        told = self._hub.warnings.value
        while True:
            told = await self._hub.warnings.wait_until(partial(operator.ne, told))
            await self._tell(WarningsChanged())

    async def _wait_for_retry(self, scope: trio.CancelScope, seconds: float) -> None:
        with scope:
            await trio.sleep(seconds * self._environment.jitter())
            await self._tell(m.RetryDue())


async def _cancel_when_told(process: CaptureProcess, scope: trio.CancelScope) -> None:
    """Cancel a probe or an encoder trial when the process is told to stop."""
    await process.wait_stop()
    scope.cancel()


def _still_claimed(other: CameraId) -> Problem:
    return attrs.evolve(
        BUSY,
        message=f"The device is still open for camera {other}, to which it belonged before",
        suggestion="Nothing: camd tries again.",
    )


def _capture_ended(problem: Problem | None, *, absent: bool) -> CaptureEnded:
    if problem is None:
        return CaptureEnded(None, "")
    return CaptureEnded(GapCause.CAMERA_LOST if absent else problem.ledger_cause, problem.message)
