"""The supervisor of a camera's capture: starts and ends FFmpeg as the state table says.

It follows the demand of the hub, and reports to the mailbox of the camera what happens.
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
from camd.capture.hub import Demand, StreamHub
from camd.capture.planner import CapturePlan, CapturePlanner
from camd.capture.process import (
    CaptureProcess,
    CaptureReport,
    CaptureTimeouts,
    ReadThrottle,
)
from camd.capture.rules import state as m
from camd.clock import SYSTEM_CLOCK, Clock
from camd.config.schema import FfmpegConfig
from camd.devices.leases import DeviceLeases
from camd.model import CameraId, Cause, Device, Problem
from camd.model.problems import BUSY, NOT_FOUND, STALLED, STREAM_CHANGED
from camd.runtime.pipe_poller import PipePoller


def _nobody(camera_id: CameraId) -> Sequence[str]:
    return ()


def _jitter() -> float:
    return random.uniform(0.8, 1.2)


@attrs.frozen
class CaptureEnvironment:
    """What captures need of this machine and of the other cameras; each part may be absent."""

    leases: DeviceLeases = attrs.field(factory=DeviceLeases)
    find_holders: FindHolders | None = None  # who has a node open; without it nobody looks
    neighbours: Callable[[CameraId], Sequence[str]] = _nobody  # who delivers over the same bus
    look_again: Callable[[Path], Awaitable[Device | None]] | None = None  # what a node is now
    pipes: PipePoller | None = None  # reads the output of all processes in rounds
    clock: Clock = SYSTEM_CLOCK
    jitter: Callable[[], float] = _jitter  # factor of each rest
    settled_seconds: float = m.SETTLED_SECONDS


log = structlog.get_logger("camd.camera")


@attrs.frozen
class SourceEnded:
    """A source that plays once has been played, for `consumers`."""

    consumers: tuple[Consumer, ...]


@attrs.frozen
class WarningsChanged:
    """The warnings about the stream's times have changed."""


@attrs.define(eq=False)
class CaptureSupervisor:
    """One camera's capture: its state, its process, and the hub that the process fills.

    `tell` puts an event into the camera's mailbox; `step` is called from its loop only.
    """

    _planner: CapturePlanner
    _ffmpeg: FfmpegConfig
    _tell: Callable[[m.CaptureEvent | SourceEnded | WarningsChanged], Awaitable[None]]
    _hub: StreamHub
    _nursery: trio.Nursery
    _environment: CaptureEnvironment = attrs.field(factory=CaptureEnvironment)
    _tune: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint  # set the device's controls
    state: m.CaptureState = attrs.field(factory=m.CaptureState, init=False)
    _run: CaptureProcess | None = attrs.field(default=None, init=False)
    _rest: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    @property
    def gone(self) -> bool:
        """Whether no process exists."""
        return self._run is None

    def step(self, event: m.CaptureEvent) -> None:
        """Take an event, and do what the state table says."""
        before = self.state
        self.state, actions = m.step(before, event)
        for action in actions:
            match action:
                case m.CaptureAction.SPAWN:
                    self._spawn()
                case m.CaptureAction.TERMINATE:
                    if self._run is not None:  # else its end is in the mailbox already
                        self._run.stop()
                case m.CaptureAction.REST:
                    self._rest = trio.CancelScope()
                    self._go(partial(self._take_rest, self._rest, self.state.rest_seconds))
                case m.CaptureAction.WAKE:
                    self._rest.cancel()
        if before.state is not self.state.state:
            problem, camera = self.state.problem, self._planner.camera.id
            cause = problem.kind if problem else None
            same = problem is not None and before.problem == problem
            tell = log.debug if same else log.info  # many tries with one problem are logged once
            tell("camera_state", camera=camera, state=self.state.state.value, cause=cause)

    async def follow_demand(self) -> None:
        """Tell the mailbox when the capture is needed, and a grace after nobody needs it."""
        seen = Demand()
        while True:
            before, seen = seen, await self._hub.demand.wait_until(partial(operator.ne, seen))
            if seen.consumers:
                if seen.joined != before.joined:
                    await self._tell(m.Wanted())
                continue
            with trio.move_on_after(seen.grace_seconds) as grace:
                await self._hub.demand.wait_until(partial(operator.ne, seen))
            if grace.cancelled_caught:
                await self._tell(m.Unwanted())

    def _go(self, task: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(task)

    def _spawn(self) -> None:
        assert self._run is None
        self._hub.expect()
        self._run = self._new_run()
        self._go(partial(self._supervise, self._run))

    def _new_run(self) -> CaptureProcess:
        start, stall = self._ffmpeg.start_timeout, self._ffmpeg.stall_timeout
        return CaptureProcess(
            sink=self._hub,
            timeouts=CaptureTimeouts(
                start.total_seconds(), stall.total_seconds(), self._planner.connect_steps
            ),
            tell=self._report,
            clock=self._environment.clock,
            may_end=self._planner.may_end,
            launch=self._planner.launch,
            throttle=ReadThrottle(self._planner.speed) if self._planner.speed is not None else None,
            pipes=self._environment.pipes,
        )

    async def _report(self, report: CaptureReport) -> None:
        """Pass on what a process says; compare its first fragment with what was asked for."""
        if not isinstance(report, m.FragmentArrived):
            await self._tell(report)
            return
        self._compare()
        self._planner.without_sound(delivered=True)
        await self._tell(report)
        if self._hub.init is not None and not self._planner.began(self._hub.init):
            await self._tell(m.ProcessStalled(STREAM_CHANGED))
        self._go(self._tune)  # some drivers accept controls only now

    async def _supervise(self, run: CaptureProcess) -> None:
        """Run a process to its end, then report how it ended."""
        problem = await self._attempt(run)
        while run.wanted and not run.delivered and self._tries_again(problem):
            self._run = run = self._new_run()
            problem = await self._attempt(run)
        self._planner.without_sound(delivered=run.delivered)
        self._planner.learn(problem or self.state.problem)
        if not run.delivered:
            self._planner.doubt(problem or self.state.problem)
        absent = problem is not None and await self._planner.is_absent()
        consumers = self._hub.demanding
        why = problem or self.state.problem
        if run.killed:  # it waited for a picture, and what it still held is lost
            why = why or STALLED
        self._hub.end(_capture_ended(why, absent=absent))
        self._run = None
        await self._tell(m.ProcessEnded(problem, absent))
        if problem is None and not run.stopping:
            await self._tell(SourceEnded(consumers))

    def _tries_again(self, problem: Problem | None) -> bool:
        """Whether a capture that delivered nothing is followed at once by one with another plan."""
        camera, cause = self._planner.camera.id, problem.kind if problem else None
        if self._planner.tries_without_sound(problem, delivered=False):
            log.warning("tried_without_sound", camera=camera, cause=cause)
            return True
        if self._planner.tries_otherwise(problem):
            log.info("tried_otherwise", camera=camera, cause=cause)
            return True
        return False

    async def _attempt(self, run: CaptureProcess) -> Problem | None:
        """Plan, lease the device for this camera, and run the process."""
        plan = await self._plan(run)
        if not isinstance(plan, CapturePlan):
            return plan
        device, camera_id, leases = self._device, self._planner.camera.id, self._environment.leases
        if device is not None and (other := leases.take(device, camera_id)) is not None:
            return _still_leased(other)
        try:
            await self._tune()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._settle, run)
                nursery.start_soon(self._tell_warnings)
                problem = await run.live(plan.arguments, plan.sound_seconds)
                nursery.cancel_scope.cancel()
        finally:
            if device is not None:
                leases.release(device, camera_id)
        if problem is not None and not run.stopping:
            problem = await self._explain(run, problem)
        return problem and await self._diagnose(problem, device)

    async def _explain(self, run: CaptureProcess, problem: Problem) -> Problem:
        """Ask the source itself why, unless the capture is not needed any more."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_told, run, nursery.cancel_scope)
            problem = await self._planner.explain(problem, delivered=run.delivered)
            nursery.cancel_scope.cancel()
        return problem

    async def _plan(self, run: CaptureProcess) -> CapturePlan | Problem | None:
        """Find out what to run; None: the capture is not needed any more."""
        plan: CapturePlan | Problem | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_told, run, nursery.cancel_scope)
            plan = await self._planner.plan() if await self._is_same_device() else NOT_FOUND
            nursery.cancel_scope.cancel()
        return None if run.stopping else plan

    async def _is_same_device(self) -> bool:
        """Look again after a failure: the node may be another camera's by now."""
        device, look_again = self._device, self._environment.look_again
        if device is None or look_again is None or not self.state.failures:
            return True
        found = await look_again(device.node)
        return found is not None and found.plug_id == device.plug_id

    @property
    def _device(self) -> Device | None:
        binding = self._planner.binding
        return binding.device if binding is not None else None

    async def _diagnose(self, problem: Problem, device: Device | None) -> Problem:
        """Add what this machine knows about a failure and FFmpeg does not."""
        if self._environment.find_holders is None:
            return problem
        return await diagnose(
            problem,
            device.node if device is not None else self._planner.path,
            find_holders=self._environment.find_holders,
            neighbours=partial(self._environment.neighbours, self._planner.camera.id),
        )

    def _compare(self) -> None:
        """Compare the stream with what was asked for."""
        if self._hub.video is not None:
            self._planner.compare(self._hub.video)

    async def _settle(self, run: CaptureProcess) -> None:
        await run.begun.wait()
        await trio.sleep(self._environment.settled_seconds)
        self._compare()
        await self._tell(m.ProcessSettled())

    async def _tell_warnings(self) -> None:
        """Tell the camera whenever the warnings about the stream's times change."""
        told = self._hub.warnings.value
        while True:
            told = await self._hub.warnings.wait_until(partial(operator.ne, told))
            await self._tell(WarningsChanged())

    async def _take_rest(self, scope: trio.CancelScope, seconds: float) -> None:
        with scope:
            await trio.sleep(seconds * self._environment.jitter())
            await self._tell(m.RestOver())


async def _cancel_when_told(run: CaptureProcess, scope: trio.CancelScope) -> None:
    """Cancel a probe or an encoder trial when the capture is not needed any more."""
    await run.wait_stop()
    scope.cancel()


def _still_leased(other: CameraId) -> Problem:
    return attrs.evolve(
        BUSY,
        message=f"The device is still open for camera {other}, to which it belonged before",
        suggestion="Nothing: camd tries again.",
    )


def _capture_ended(problem: Problem | None, *, absent: bool) -> CaptureEnded:
    if problem is None:
        return CaptureEnded(None, "")
    return CaptureEnded(Cause.CAMERA_LOST if absent else problem.ledger_cause, problem.message)
