"""Collects the metrics of the daemon: one snapshot on the event loop, its text in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import trio

from camd import __version__
from camd.camera.camera import Camera
from camd.camera.cameras import Cameras
from camd.clock import Clock
from camd.export.exports import Exports
from camd.live.viewer_counts import ViewerCounts
from camd.metrics.exposition import (
    CameraMetrics,
    MetricsSnapshot,
    RecorderCounts,
    render_metrics,
)
from camd.metrics.publication_families import MediaServerMetrics
from camd.metrics.snapshot_families import SnapshotCounts
from camd.metrics.totals import RecorderTotals
from camd.metrics.viewer_families import ExportMetrics, ViewerMetrics
from camd.model import Event
from camd.publish.streams import Streams
from camd.rpc.server_counters import ServerCounters
from camd.runtime.broadcast import Fanout
from camd.snapshots.snapshots import Snapshots
from camd.storage.storage import Storage
from camd.storage.verify.scrub import Scrub


@attrs.define(eq=False, kw_only=True)
class MetricsCollector:
    """Reads what the parts of the daemon publish; asks nobody and waits for nobody."""

    _cameras: Cameras
    _storage: Storage
    _scrub: Scrub
    _calls: ServerCounters
    _snapshots: Snapshots
    _streams: Streams
    _viewers: ViewerCounts
    _exports: Exports
    _clock: Clock
    totals: RecorderTotals = attrs.field(
        default=attrs.Factory(lambda self: RecorderTotals(self._clock.now()), takes_self=True),
        init=False,
    )
    _writing: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )

    @contextmanager
    def listening(self, events: Fanout[Event]) -> Iterator[None]:
        """Count the events of `events` while the block runs."""
        with self.totals.listening(events):
            yield

    def snapshot(self) -> MetricsSnapshot:
        """Read everything as of now; never waits."""
        for camera in self._cameras:
            if (session := camera.status.session) is not None:
                self.totals.count_session(session)
        last = self._scrub.progress.last
        ended = last.ended if last is not None else None
        return MetricsSnapshot(
            version=__version__,
            cameras=tuple(self._camera(camera) for camera in self._cameras),
            storage=self._storage.status,
            syncs=self._storage.sync_histogram,
            recorder=RecorderCounts.of(self.totals),
            calls=attrs.evolve(self._calls),
            verified_at=ended.timestamp() if ended is not None else None,
            snapshots=SnapshotCounts.of(self._snapshots.counters),
            media_server=MediaServerMetrics.of(self._streams),
            viewers=ViewerMetrics.of(self._viewers, [each.camera_id for each in self._cameras]),
            exports=ExportMetrics.of(self._exports),
        )

    async def text(self) -> bytes:
        """Write a snapshot in Prometheus' text format, in a thread; one at a time."""
        write = partial(render_metrics, self.snapshot())
        return await trio.to_thread.run_sync(write, limiter=self._writing)

    def _camera(self, camera: Camera) -> CameraMetrics:
        status = camera.status
        session = status.session
        durable_at = session.durable_at if session is not None else None
        return CameraMetrics(
            status=status,
            wanted=camera.hub.demand.value.consumers > 0,
            frames_captured=camera.hub.frames_captured,
            durable_age=None if durable_at is None else self._clock.monotonic() - durable_at,
        )
