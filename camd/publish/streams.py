"""All published cameras and their server: the handle, and who is published at the moment."""

from __future__ import annotations

import operator
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.config.schema import Config, MediaMtxConfig
from camd.model import (
    CameraId,
    Event,
    ListedStream,
    PublicationStatus,
    ServedStream,
)
from camd.publish.connecting import StreamServerError, client_tls
from camd.publish.control_api import ControlApi
from camd.publish.made_paths import MadePaths
from camd.publish.publication import LaunchWithInput
from camd.publish.publisher import Publisher
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.served import is_published, path_name, served_stream
from camd.publish.stream_server import ServerView, StreamServer
from camd.runtime.actor import supervise
from camd.runtime.broadcast import Fanout
from camd.runtime.child_process import open_child_process

log = structlog.get_logger("camd.publish")

LOOK_SECONDS = 2.0  # cameras that went away are noticed after this time at most
REMOVE_SECONDS = 3.0  # for the paths that are removed on the way out
MOST_LISTED = 1000  # of the server's paths, in an answer
_HUNG = (problems.SILENT.kind, problems.SERVER_FAILS.kind)


@attrs.define(eq=False)
class Streams:
    """What is published, and what the server says. Every method answers at once.

    Without a server (`server` None) nothing is published.
    """

    server: StreamServer | None = None
    _publishers: dict[CameraId, Publisher] = attrs.field(factory=dict)

    @property
    def enabled(self) -> bool:
        """Whether a server is configured."""
        return self.server is not None

    @property
    def view(self) -> ServerView:
        """What is known of the server."""
        return self.server.view.value if self.server is not None else ServerView()

    def publisher(self, camera_id: CameraId) -> Publisher | None:
        """Return a camera's publisher; None where it has none."""
        return self._publishers.get(camera_id)

    def publication(self, camera_id: CameraId) -> PublicationStatus:
        """Say how a camera's publication goes; OFF where it has none."""
        publisher = self._publishers.get(camera_id)
        if publisher is None:
            return PublicationStatus("")
        return attrs.evolve(publisher.status.value, frames_dropped=publisher.frames_dropped)

    def health(self) -> tuple[str, str]:
        """Return `healthy` or `degraded`, and details. Recordings do not depend on the server."""
        if self.server is None:
            return "healthy", "not used"
        view = self.view
        if view.problem is not None:
            return "degraded", f"{view.problem.message}. {view.problem.suggestion}"
        failing = [
            f"{publisher.camera.camera_id}: {problem.message}"
            for publisher in self._publishers.values()
            if (problem := publisher.status.value.problem) is not None
        ]
        if failing:
            return "degraded", "; ".join(failing[:20])
        if not view.answered:
            return "healthy", "not asked yet"
        return "healthy", f"version {view.info.version or 'unknown'}, {view.path_count} paths"

    def listed(self) -> tuple[ListedStream, ...]:
        """List the server's paths, camd's own first; while it gives no answer, only those."""
        own = [self._own(publisher) for publisher in self._publishers.values()]
        names = {stream.name for stream in own}
        foreign = [
            ListedStream(
                name=path.name,
                source=path.source.type if path.source is not None else "",
                camera_id=None,
                ready=path.is_ready,
                readers=len(path.readers or ()),
                bytes_sent=path.sent_bytes,
            )
            for path in self.view.paths.values()
            if path.name not in names
        ]
        return (*own, *foreign)[:MOST_LISTED]

    def _own(self, publisher: Publisher) -> ListedStream:
        served = self.served(publisher)
        return ListedStream(
            name=publisher.name,
            source=publisher.camera.status.device,
            camera_id=publisher.camera.camera_id,
            ready=served is not None,
            readers=served.readers if served is not None else 0,
            bytes_sent=served.bytes_sent if served is not None else 0,
        )

    # --- what is served

    def served(self, publisher: Publisher) -> ServedStream | None:
        """Return what viewers can have of a camera now."""
        server, view, video = publisher.server, self.view, publisher.camera.hub.video
        if view.problem is not None and view.problem.kind in _HUNG:
            return None
        return served_stream(
            publisher.status.value,
            view.paths.get(publisher.name),
            asked=view.healthy,
            bases=server.bases,
            codec=video.codec if video is not None else "",
        )

    def show(self, publisher: Publisher) -> None:
        """Show in a camera's status what is served of it."""
        if self._publishers.get(publisher.camera.camera_id) is publisher:
            publisher.camera.show_served(self.served(publisher))

    def show_all(self) -> None:
        """Show it in every camera's status."""
        for publisher in tuple(self._publishers.values()):
            self.show(publisher)

    async def follow_server(self) -> None:
        """Show what is served whenever the server was asked; never returns."""
        while self.server is not None:
            seen = self.server.view.value
            self.show_all()
            await self.server.view.wait_until(partial(operator.is_not, seen))

    # --- who is published

    def add(self, publisher: Publisher) -> None:
        """Add the publisher of a camera."""
        self._publishers[publisher.camera.camera_id] = publisher

    def remove(self, publisher: Publisher) -> None:
        """Remove the publisher of a camera that is gone."""
        if self._publishers.get(publisher.camera.camera_id) is publisher:
            del self._publishers[publisher.camera.camera_id]
        publisher.camera.show_served(None)


@attrs.define(eq=False)
class _CameraFollower:
    """Gives every published camera a publisher, as cameras come and go."""

    streams: Streams
    cameras: Cameras
    server: StreamServer
    launch: LaunchWithInput
    tls: ssl.SSLContext
    clock: Clock
    nursery: trio.Nursery
    scopes: dict[CameraId, tuple[Camera, trio.CancelScope]] = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def notice(self, _: Event) -> None:
        """Look again soon: something happened to a camera, perhaps a new one."""
        self.changed.set()

    async def follow(self) -> None:
        """Start and end publishers; never returns."""
        while True:
            self.changed = trio.Event()
            self._match_cameras()
            with trio.move_on_after(LOOK_SECONDS):
                await self.changed.wait()
            await trio.lowlevel.checkpoint()

    def _match_cameras(self) -> None:
        present = {
            camera.camera_id: camera
            for camera in self.cameras
            if is_published(camera.config, self.server.config)
        }
        for camera_id, (camera, scope) in tuple(self.scopes.items()):
            if present.get(camera_id) is not camera:
                scope.cancel()
                del self.scopes[camera_id]
        for camera_id, camera in present.items():
            if camera_id not in self.scopes:
                scope = trio.CancelScope()
                self.scopes[camera_id] = camera, scope
                self.nursery.start_soon(self._publish, camera, scope)

    async def _publish(self, camera: Camera, scope: trio.CancelScope) -> None:
        publisher = Publisher(
            camera=camera,
            name=path_name(camera.config, self.server.config),
            always=self.server.config.publish == "always",
            server=self.server,
            find_program=self.cameras.find_program,
            launch=self.launch,
            tls=self.tls,
            changed=self.streams.show,
            clock=self.clock,
        )
        self.streams.add(publisher)
        try:
            with scope:
                name = f"publisher {camera.camera_id}"
                await supervise(name, publisher.serve, publisher.crashed)
        finally:
            self.streams.remove(publisher)


@asynccontextmanager
async def open_streams(
    config: Config,
    cameras: Cameras,
    events: Fanout[Event],
    *,
    clock: Clock,
    launch: LaunchWithInput = open_child_process,
) -> AsyncIterator[Streams]:
    """Publish the cameras to the configured server while the block runs; without one, nothing.

    On the way out all publications end, and the paths that camd has made are removed; bounded.
    """
    if config.mediamtx is None:
        yield Streams()
        return
    async with _open_published(config, config.mediamtx, cameras, events, clock, launch) as streams:
        yield streams


@asynccontextmanager
async def _open_published(
    config: Config,
    mediamtx: MediaMtxConfig,
    cameras: Cameras,
    events: Fanout[Event],
    clock: Clock,
    launch: LaunchWithInput,
) -> AsyncIterator[Streams]:
    tls = await trio.to_thread.run_sync(client_tls)
    made = MadePaths.on_disk(config.storage.state_dir)
    await made.load()
    publishers: dict[CameraId, Publisher] = {}
    server = StreamServer(
        config=mediamtx,
        api=ControlApi(mediamtx, tls),
        made=made,
        wanted=lambda: {publisher.name for publisher in publishers.values()},
        clock=clock,
    )
    streams = Streams(server, publishers)
    async with trio.open_nursery() as nursery:
        follower = _CameraFollower(streams, cameras, server, launch, tls, clock, nursery)
        with events.subscribed(follower.notice):
            nursery.start_soon(follower.follow)
            nursery.start_soon(streams.follow_server)
            nursery.start_soon(_serve, server)
            try:
                yield streams
            finally:
                nursery.cancel_scope.cancel()
    if not server.breaker.open:
        with trio.CancelScope(shield=True), trio.move_on_after(REMOVE_SECONDS):
            await _remove_made(server, made)


async def _serve(server: StreamServer) -> None:
    """Ask the server; a bug in that is logged, and it is asked again."""
    await supervise("stream server", server.serve, server.crashed)


async def _remove_made(server: StreamServer, made: MadePaths) -> None:
    for name in made.names:
        try:
            await server.remove_path(name)
        except StreamServerError as error:
            log.warning("path_not_removed", path=name, why=error.problem.message)
            return
