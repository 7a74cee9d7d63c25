"""All published cameras and their server: the handle. `publishing` does the work."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import attrs

from camd.config.schema import Config, MediaMtxConfig
from camd.model import (
    CameraId,
    ListedStream,
    PublicationStatus,
    ServedStream,
)
from camd.publish.publisher import Publisher
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.served_paths import served_stream
from camd.publish.stream_server import MediaServerState, StreamServer
from camd.runtime.broadcast import LatestValue

MOST_LISTED = 1000  # of the server's paths, in an answer
_NO_ANSWER = (problems.SILENT.kind, problems.SERVER_FAILS.kind)


@attrs.define(eq=False)
class Streams:
    """What is published, and what the server says. Every method answers at once.

    `configured` is the section `[mediamtx]` as of now; None: nothing is published. `server` is the
    server that is used; it follows the configuration.
    """

    configured: LatestValue[MediaMtxConfig | None] = attrs.field(
        factory=lambda: LatestValue[MediaMtxConfig | None](None), init=False
    )
    server: StreamServer | None = attrs.field(default=None, init=False)
    _publishers: dict[CameraId, Publisher] = attrs.field(factory=dict, init=False)

    @property
    def enabled(self) -> bool:
        """Whether a server is configured."""
        return self.configured.value is not None

    def reconfigure(self, config: Config) -> None:
        """Use another configuration; what it changes is done soon."""
        if config.mediamtx != self.configured.value:
            self.configured.publish(config.mediamtx)

    @contextmanager
    def using(self, server: StreamServer) -> Iterator[None]:
        """Use a server while the block runs."""
        self.server = server
        try:
            yield
        finally:
            self.server = None

    @property
    def view(self) -> MediaServerState:
        """What is known of the server."""
        return self.server.view.value if self.server is not None else MediaServerState()

    @property
    def publishers(self) -> tuple[Publisher, ...]:
        """The publishers of all cameras that have one."""
        return tuple(self._publishers.values())

    def paths(self) -> frozenset[str]:
        """Name the paths that cameras are published on."""
        return frozenset(publisher.name for publisher in self.publishers)

    def publisher(self, camera_id: CameraId) -> Publisher | None:
        """Return a camera's publisher; None where it has none."""
        return self._publishers.get(camera_id)

    def publication(self, camera_id: CameraId) -> PublicationStatus:
        """Say how a camera's publication goes; OFF where it has none."""
        publisher = self._publishers.get(camera_id)
        if publisher is None:
            return PublicationStatus("")
        status = publisher.status.value
        problem = status.problem
        if problem is not None:  # the control API may have said more since then
            problem = problems.explained(problem, self.view.problem)
        return attrs.evolve(status, problem=problem, frames_dropped=publisher.frames_dropped)

    def health(self) -> tuple[str, str]:
        """Return `healthy` or `degraded`, and details. Recordings do not depend on the server."""
        if not self.enabled:
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
        if view.problem is not None and view.problem.kind in _NO_ANSWER:
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
        for publisher in self.publishers:
            self.show(publisher)

    async def follow_server(self, server: StreamServer) -> None:
        """Show what is served whenever the server was asked; never returns."""
        while True:
            seen = server.view.value
            self.show_all()
            await server.view.wait_until(partial(operator.is_not, seen))

    # --- who is published

    def add(self, publisher: Publisher) -> None:
        """Add the publisher of a camera."""
        self._publishers[publisher.camera.camera_id] = publisher

    def remove(self, publisher: Publisher) -> None:
        """Remove the publisher of a camera that is gone."""
        if self._publishers.get(publisher.camera.camera_id) is publisher:
            del self._publishers[publisher.camera.camera_id]
        publisher.camera.show_served(None)
