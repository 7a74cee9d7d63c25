"""One viewer at one camera: attached to its hub, again after a lag, a pause, or a crash.

The viewer is told when the camera does not deliver, and why; it stays, and gets the next capture.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import attrs
import trio

from camd.capture.consumer import CaptureBegan, CapturedFragment, CaptureEnded
from camd.capture.hub import StreamHub
from camd.clock import Clock
from camd.live.rules.viewer_backlog import FramesLost, ViewerBacklog
from camd.live.viewer_queue import ViewerQueue
from camd.model import CameraId, CameraState, CameraStatus
from camd.mp4.fragments import Init
from camd.runtime.broadcast import LatestValue

_WITH_PROCESS = (CameraState.STARTING, CameraState.STREAMING, CameraState.STOPPING)
_FAILED = (CameraState.RESTING, CameraState.ABSENT, CameraState.FAULTED)


class ViewedCamera(Protocol):
    """What a viewer needs of a camera."""

    @property
    def camera_id(self) -> CameraId:
        """Its id."""

    @property
    def hub(self) -> StreamHub:
        """Its stream; another one after a crash of its actor."""

    @property
    def published(self) -> LatestValue[CameraStatus]:
        """Its status."""


@attrs.frozen
class LiveViewEnd:
    """Why no picture comes, and what to do."""

    cause: str
    message: str
    suggestion: str


REMOVED = LiveViewEnd(
    "camera_removed", "The camera was removed", "Choose another camera; recordings stay."
)
_OVER = LiveViewEnd("ended", "The camera's stream has ended", "Nothing: it goes on by itself.")


class ViewerSink(Protocol):
    """Takes what a viewer gets. Each call may wait while the viewer does not read."""

    async def begin(self, init: Init, first: CapturedFragment) -> None:
        """Take the header of all that follows; `first` comes next."""

    async def take(self, init: Init, fragments: Sequence[CapturedFragment]) -> None:
        """Take fragments, in order."""

    async def skipped(self, lost: FramesLost) -> None:
        """Note that frames are left out here."""

    async def clock_set(self, init: Init, following: CapturedFragment) -> None:
        """Note that the wall clock was set before this fragment."""

    async def ended(self, why: LiveViewEnd) -> None:
        """Note that nothing comes for now; `begin` follows when the camera is back."""


@attrs.define(eq=False)
class LiveView:
    """One viewer. `run` returns when the camera was removed."""

    camera: ViewedCamera
    is_present: Callable[[], bool]  # False: the camera was removed
    sink: ViewerSink
    clock: Clock = attrs.field(kw_only=True)
    paused: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _header: Init | None = attrs.field(default=None, init=False)  # that the viewer has
    _capture: float | None = attrs.field(default=None, init=False)  # when it began
    _fallback: Init | None = attrs.field(default=None, init=False)  # of the capture
    _lost: FramesLost | None = attrs.field(default=None, init=False)
    _is_over: bool = attrs.field(default=False, init=False)  # the capture, for now
    _told: LiveViewEnd | None = attrs.field(default=None, init=False)

    def pause(self, paused: bool = True) -> None:
        """Leave the camera, or come back at its newest key frame."""
        self.paused = paused
        self._wake()

    async def run(self) -> None:
        """Watch until the camera was removed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_status)
            while self.is_present():
                if self.paused:
                    await self._changed.wait()
                else:
                    await self._watch(self.camera.hub)
            nursery.cancel_scope.cancel()
        await self.sink.ended(REMOVED)

    async def _follow_status(self) -> None:
        status = self.camera.published.value
        while True:
            status = await self.camera.published.wait_until(partial(operator.is_not, status))
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _watch(self, hub: StreamHub) -> None:
        """Stay attached until the viewer pauses or lags, or the camera has another hub."""
        queue = ViewerQueue(ViewerBacklog(self.clock.monotonic()), self._wake)
        async with hub.attach(queue):
            self._compare(hub)
            await self._tell_lost(queue.backlog)
            while self._stays(hub):
                if queue.backlog.lost is not None:
                    self._note_lag(queue.backlog)
                    break
                if not await self._step(hub, queue.backlog):
                    await self._changed.wait()

    def _stays(self, hub: StreamHub) -> bool:
        return not self.paused and self.camera.hub is hub and self.is_present()

    def _compare(self, hub: StreamHub) -> None:
        """Forget the header where another capture runs than before: its times begin anew."""
        if hub.began_at != self._capture:
            self._header, self._capture = None, hub.began_at
            self._lost = None

    def _note_lag(self, backlog: ViewerBacklog) -> None:
        lost = backlog.lost
        if isinstance(backlog.take(), CaptureEnded):
            self._header, self._is_over = None, True
        self._lost = lost

    async def _tell_lost(self, backlog: ViewerBacklog) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            await self.sink.skipped(lost.without(backlog.group))

    async def _step(self, hub: StreamHub, backlog: ViewerBacklog) -> bool:
        """Pass on what is next; False: nothing is."""
        match backlog.take():
            case None:
                return await self._tell_problem()
            case CaptureBegan(init):
                self._compare(hub)
                self._fallback, self._is_over = init, False
            case CaptureEnded():
                self._header, self._is_over = None, True
            case fragments:
                await self._pass_on(fragments, backlog)
        return True

    async def _pass_on(
        self, fragments: tuple[CapturedFragment, ...], backlog: ViewerBacklog
    ) -> None:
        first = fragments[0]
        init = first.init or self._fallback
        assert init is not None, "a capture begins with its header"
        if self._header is None or self._header.moov != init.moov:
            await self.sink.begin(init, first)
            self._told, backlog.clock_stepped = None, False
        self._header = init
        if backlog.clock_stepped:
            backlog.clock_stepped = False
            await self.sink.clock_set(init, first)
        await self.sink.take(init, fragments)

    async def _tell_problem(self) -> bool:
        """Tell why the camera does not deliver, once; False: it does, or that was told."""
        status = self.camera.published.value
        problem, failed = status.problem, status.state in _FAILED
        if self._header is not None or status.state in _WITH_PROCESS:
            return False
        why = None
        if problem is not None and (failed or self._is_over):
            why = LiveViewEnd(problem.kind, problem.message, problem.suggestion)
        elif self._is_over and self._told is None:
            why = _OVER
        self._is_over = False
        if why is None or why == self._told:
            return False
        self._told = why
        await self.sink.ended(why)
        return True
