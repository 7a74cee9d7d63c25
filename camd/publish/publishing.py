"""Publish cameras to the server that is configured now, as cameras come and go.

A reload changes the configuration: what only viewers are told changes at once, a camera's publisher
is started again when its path is another one, and all are when the server is another one. Cameras
go on capturing meanwhile.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import structlog
import trio

from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.config.schema import Config, MediaMtxConfig
from camd.model import CameraId, Event
from camd.publish.connecting import StreamServerError, client_tls
from camd.publish.created_paths import MadePaths
from camd.publish.mediamtx_api import MediaMtxApi
from camd.publish.publication import LaunchWithInput
from camd.publish.publisher import Publisher
from camd.publish.rules.served_paths import is_another_server, is_published, path_name
from camd.publish.stream_server import StreamServer
from camd.publish.streams import Streams
from camd.runtime.actor import supervise
from camd.runtime.broadcast import Fanout
from camd.runtime.child_process import open_child_process

log = structlog.get_logger("camd.publish")

LOOK_SECONDS = 2.0  # cameras that went away are noticed after this time at most
REMOVE_SECONDS = 3.0  # for the paths that are removed when a server is left


@attrs.frozen
class PublishedAs:
    """A camera and how it is published; a publisher serves one such value."""

    camera: Camera
    name: str
    always: bool


@attrs.define(eq=False)
class _CameraFollower:
    """Gives every published camera a publisher, as cameras and configuration change."""

    streams: Streams
    cameras: Cameras
    server: StreamServer
    launch: LaunchWithInput
    tls: ssl.SSLContext
    clock: Clock
    nursery: trio.Nursery
    running: dict[CameraId, tuple[PublishedAs, trio.CancelScope]] = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def look_soon(self, _: object = None) -> None:
        """Look again soon: something happened to a camera or to the configuration."""
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
        """End publishers that serve something else now; one that ended makes room for the next."""
        config = self.server.config
        wanted = {
            camera.camera_id: PublishedAs(
                camera, path_name(camera.config, config), config.publish == "always"
            )
            for camera in self.cameras
            if is_published(camera.config, config)
        }
        for camera_id, (published, scope) in self.running.items():
            if wanted.get(camera_id) != published:
                scope.cancel()
        for camera_id, published in wanted.items():
            if camera_id not in self.running:
                scope = trio.CancelScope()
                self.running[camera_id] = published, scope
                self.nursery.start_soon(self._publish, published, scope)

    async def _publish(self, published: PublishedAs, scope: trio.CancelScope) -> None:
        camera = published.camera
        publisher = Publisher(
            camera=camera,
            name=published.name,
            always=published.always,
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
            del self.running[camera.camera_id]
            self.look_soon()


@attrs.define(eq=False, kw_only=True)
class _ServerFollower:
    """Publishes to one server after the other, as the configuration names them."""

    streams: Streams
    cameras: Cameras
    events: Fanout[Event]
    state_dir: Path
    clock: Clock
    launch: LaunchWithInput

    async def follow(self) -> None:
        """Publish to the configured server; never returns."""
        configured = self.streams.configured
        while True:
            config = await configured.wait_until(lambda config: config is not None)
            assert config is not None
            await self._publish_to(config)
            await trio.lowlevel.checkpoint()

    async def _publish_to(self, config: MediaMtxConfig) -> None:
        """Publish to one server until the configuration names another one, or none."""
        tls = await trio.to_thread.run_sync(client_tls)
        made = MadePaths.on_disk(self.state_dir, server=config.api)
        await made.load()
        server = StreamServer(
            config=config,
            api=MediaMtxApi(config, tls),
            made=made,
            wanted=self.streams.paths,
            clock=self.clock,
        )
        try:
            with self.streams.using(server):
                await self._run(server, tls)
        finally:
            if not server.breaker.open:
                with trio.CancelScope(shield=True), trio.move_on_after(REMOVE_SECONDS):
                    await _remove_made(server, made)

    async def _run(self, server: StreamServer, tls: ssl.SSLContext) -> None:
        async with trio.open_nursery() as nursery:
            follower = _CameraFollower(
                self.streams, self.cameras, server, self.launch, tls, self.clock, nursery
            )
            with self.events.subscribed(follower.look_soon):
                nursery.start_soon(follower.follow)
                nursery.start_soon(self.streams.follow_server, server)
                nursery.start_soon(supervise, "stream server", server.serve, server.crashed)
                await self._apply_changes(server, follower)
                nursery.cancel_scope.cancel()

    async def _apply_changes(self, server: StreamServer, follower: _CameraFollower) -> None:
        """Apply what leaves the server the same; return when it is another one, or none."""
        configured = self.streams.configured
        while True:
            config = await configured.wait_until(lambda config: config != server.config)
            if config is None or is_another_server(server.config, config):
                return
            server.reconfigure(config)
            follower.look_soon()
            self.streams.show_all()


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
    streams = Streams()
    streams.reconfigure(config)
    follower = _ServerFollower(
        streams=streams,
        cameras=cameras,
        events=events,
        state_dir=config.storage.state_dir,
        clock=clock,
        launch=launch,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.follow)
        try:
            yield streams
        finally:
            nursery.cancel_scope.cancel()


async def _remove_made(server: StreamServer, made: MadePaths) -> None:
    for name in made.names:
        try:
            await server.remove_path(name)
        except StreamServerError as error:
            log.warning("path_not_removed", path=name, why=error.problem.message)
            return
