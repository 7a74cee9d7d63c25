"""One camera's publisher: attached to the hub, it publishes each capture, again after a failure."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.capture.hub import StreamHub
from camd.clock import Clock
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.ffmpeg.text.publish_args import CARRIED_SOUND, CARRIED_VIDEO, publish_arguments
from camd.model import CameraStatus, Problem, PublicationState, PublicationStatus
from camd.mp4.fragments import Init
from camd.publish.publication import LaunchWithInput, Publication
from camd.publish.publication_counters import PublicationCounters
from camd.publish.publication_queue import PublicationQueue
from camd.publish.relay import RtspRelay, needs_relay, open_relay
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.retry import RETRY_DELAY
from camd.publish.rules.served_paths import find_obstacle
from camd.publish.stream_server import StreamServer
from camd.runtime.broadcast import LatestValue

log = structlog.get_logger("camd.publish")

RELOAD_SECONDS = 10.0  # for which a camera that is always published captures without its publisher
STEADY_SECONDS = 30.0  # published so long, a failure is the first one again


@attrs.define(eq=False)
class Publisher:
    """Publishes one camera on the path `name`; `status` says how that goes.

    With `always` the camera captures for it; else it publishes what is captured for others.
    """

    camera: Camera
    name: str
    always: bool
    server: StreamServer
    _find_program: Callable[[], Awaitable[FFmpegBinary]]
    _launch: LaunchWithInput
    _tls: ssl.SSLContext
    _changed: Callable[[Publisher], None]
    _clock: Clock = attrs.field(kw_only=True)
    status: LatestValue[PublicationStatus] = attrs.field(init=False)
    counters: PublicationCounters = attrs.field(factory=PublicationCounters, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _accepted_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds

    _queue: PublicationQueue = attrs.field(factory=PublicationQueue, init=False)

    def __attrs_post_init__(self) -> None:
        self.status = LatestValue(PublicationStatus(self.name, PublicationState.WAITING))

    @property
    def frames_dropped(self) -> int:
        """Frames that the server was too slow for."""
        return self.counters.frames_dropped + self._queue.frames_dropped

    @property
    def lag_seconds(self) -> float:
        """Footage that waits for the server."""
        return self._queue.waiting_seconds

    def crashed(self) -> None:
        """Note that `serve` ended by a bug; it is started again."""
        self._show(PublicationState.RESTING, problems.ASKING_FAILS)

    async def serve(self) -> None:
        """Publish; never returns. A camera that was started anew after a bug has another hub."""
        while True:
            hub = self.camera.hub
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._publish_from, hub)
                await self.camera.published.wait_until(partial(self._is_anew, hub))
                nursery.cancel_scope.cancel()

    def _is_anew(self, hub: StreamHub, status: CameraStatus) -> bool:
        return self.camera.hub is not hub

    async def _publish_from(self, hub: StreamHub) -> None:
        self.counters.frames_dropped += self._queue.frames_dropped
        grace = RELOAD_SECONDS if self.always else 0.0
        queue = self._queue = PublicationQueue(grace_seconds=grace)
        async with hub.attach(queue, needs_capture=self.always):
            while True:
                self._show(PublicationState.WAITING)
                init = await queue.wait_header()
                await self._publish_once(queue, init)

    async def _publish_once(self, queue: PublicationQueue, init: Init) -> None:
        """Publish one capture; after a failure, wait before the next try."""
        self._show(PublicationState.CONNECTING, starts=1)
        problem = await self._try_to_publish(queue, init)
        self.server.look_soon()
        if problem is None:
            self._failures = 0
            return
        problem = problems.explained(problem, self.server.view.value.problem)
        self.counters.failures[problem.kind.value] += 1
        steady = self._accepted_at is not None and (
            self._clock.monotonic() - self._accepted_at >= STEADY_SECONDS
        )
        self._failures = 1 if steady else self._failures + 1
        self._show(PublicationState.RESTING, problem)
        seconds = RETRY_DELAY.after(self._failures, random.random())
        log.warning(
            "not_published", camera=self.camera.camera_id, why=problem.message, again_in=seconds
        )
        await self._wait_for_retry(seconds)

    async def _wait_for_retry(self, seconds: float) -> None:
        """Wait so long, or until the server is another process, or answers again."""
        info, healthy = self.server.view.value.info, self.server.view.value.healthy
        with trio.move_on_after(seconds):
            await self.server.view.wait_until(
                lambda view: view.healthy and (not healthy or view.info != info)
            )

    async def _try_to_publish(self, queue: PublicationQueue, init: Init) -> Problem | None:
        self._accepted_at = None
        if init.video.codec not in CARRIED_VIDEO:
            return problems.NOT_CARRIED
        view = self.server.view.value
        obstacle = find_obstacle(self.server.config, view.settings if view.healthy else None)
        if obstacle is not None:
            return obstacle
        if (taken := await self.server.prepare_path(self.name)) is not None:
            return taken
        try:
            program = await self._find_program()
        except FfmpegMissingError:
            return problems.NO_FFMPEG
        async with self._address() as relay:
            base = self.server.config.rtsp if relay is None else relay.address
            sound = init.audio is not None and init.audio.codec in CARRIED_SOUND
            arguments = publish_arguments(str(program.path), f"{base}/{self.name}", sound=sound)
            publication = Publication(queue, self._launch, self._accept, self.counters)
            problem = await publication.run(arguments, init)
            if relay is not None and relay.problem is not None:
                return relay.problem
            return problem

    @asynccontextmanager
    async def _address(self) -> AsyncIterator[RtspRelay | None]:
        if not needs_relay(self.server.config):
            yield None
            return
        async with open_relay(self.server.config, self._tls) as relay:
            yield relay

    def _accept(self) -> None:
        self._accepted_at = self._clock.monotonic()
        log.info("published", camera=self.camera.camera_id, path=self.name)
        self._show(PublicationState.PUBLISHING)
        self.server.look_soon()

    def _show(
        self, state: PublicationState, problem: Problem | None = None, *, starts: int = 0
    ) -> None:
        """Publish the status; a problem stays until the server has taken the stream."""
        before = self.status.value
        if state is PublicationState.CONNECTING:
            problem = before.problem
        starts += before.starts
        self.status.publish(attrs.evolve(before, state=state, problem=problem, starts=starts))
        self._changed(self)
