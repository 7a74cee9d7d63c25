"""What clients are served from: the work beside the cameras, with its methods and its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import attrs

from camd.api.camera_methods import CameraRoutes, CamerasApi
from camd.api.device_methods import ControlsApi, DevicesApi
from camd.api.event_methods import EventsApi
from camd.api.event_publisher import EventPublisher
from camd.api.footage.export_methods import ExportsApi
from camd.api.footage.playback_methods import PlaybackApi, RangeFinder
from camd.api.footage.played_ranges import PlayedRanges
from camd.api.http.app import HttpApp, ResourceRoutes
from camd.api.http.export_routes import ExportRoutes
from camd.api.http.key_methods import ApiKeysApi
from camd.api.http.live_routes import LiveRoutes
from camd.api.http.playback_routes import PlaybackRoutes
from camd.api.http.sign_in_routes import SignInApi, SignInRoutes
from camd.api.http.web_pages import load_web_pages
from camd.api.metrics_methods import MetricsApi
from camd.api.recording_methods import RecordingsApi, SchedulesApi, SessionsApi
from camd.api.retention_methods import FilesApi, RetentionApi
from camd.api.snapshot_methods import SnapshotRoutes, SnapshotsApi
from camd.api.stream_methods import StreamRoutes, StreamsApi
from camd.api.system_methods import StorageApi, StorageRoutes, SystemApi
from camd.auth.authenticator import Authenticator
from camd.clock import Clock
from camd.contract.event_results import NOTIFICATIONS
from camd.events.event_log import EventLog, open_event_log
from camd.export.exports import Exports, open_exports
from camd.live.transcoding import open_transcodes
from camd.live.viewer_counts import ViewerCounts
from camd.metrics.collector import MetricsCollector
from camd.model import Event
from camd.playback.playback import Playback
from camd.publish.publishing import open_streams
from camd.publish.streams import Streams
from camd.reload import CurrentConfig
from camd.rpc.openrpc import registry_with_discovery
from camd.rpc.registry import Notification, Registry
from camd.rpc.server_counters import ServerCounters
from camd.runtime.broadcast import Fanout
from camd.server.connection_auth import AUTHENTICATE_METHOD
from camd.snapshots.snapshots import Snapshots, open_snapshots
from camd.storage.retention.cleanup import Retention, open_retention
from camd.storage.verify.scrub import open_scrub


@attrs.frozen(eq=False, kw_only=True)
class Services:
    """Everything that methods and routes are made of."""

    current: CurrentConfig
    authenticator: Authenticator
    clock: Clock
    retention: Retention
    snapshots: Snapshots
    streams: Streams
    live_routes: LiveRoutes
    event_log: EventLog
    playback: Playback
    exports: Exports
    system: SystemApi
    calls: ServerCounters
    metrics: MetricsCollector

    @property
    def ranges(self) -> RangeFinder:
        """What finds the camera and the range of a request."""
        return RangeFinder(self.current.cameras, self.playback, clock=self.clock)

    @property
    def played_ranges(self) -> PlayedRanges:
        """What reads the files of a range."""
        current = self.current
        return PlayedRanges(
            cameras=current.cameras,
            storage=current.storage,
            playback=self.playback,
            resumed=current.resumed,
            clock=self.clock,
        )

    @contextmanager
    def listening(
        self, events: Fanout[Event], notifications: Fanout[Notification]
    ) -> Iterator[None]:
        """Publish and count events, and follow reloads, while the block runs."""
        applied = self.current.applied
        with (
            EventPublisher(notifications, self.event_log).listening(events),
            self.metrics.listening(events),
            applied.subscribed(self.snapshots.reconfigure),
            applied.subscribed(self.streams.reconfigure),
        ):
            yield

    def registry(self) -> Registry:
        """Collect the methods of all resources."""
        current, clock = self.current, self.clock
        cameras, storage = current.cameras, current.storage
        return registry_with_discovery(
            (
                self.system,
                CamerasApi(cameras, clock=clock),
                RecordingsApi(cameras, storage),
                SnapshotsApi(cameras, self.snapshots),
                ExportsApi(cameras, self.exports),
                StorageApi(storage),
                SessionsApi(cameras, storage),
                SchedulesApi(cameras, current.schedules),
                FilesApi(storage, clock=clock),
                RetentionApi(self.retention),
                ControlsApi(cameras),
                DevicesApi(cameras, current.binder),
                StreamsApi(cameras, self.streams),
                EventsApi(cameras, self.event_log.history),
                MetricsApi(self.metrics, clock=clock),
                SignInApi(self.authenticator, clock=clock),
                ApiKeysApi(self.authenticator, clock=clock),
                PlaybackApi(self.playback, self.ranges),
            ),
            others=(AUTHENTICATE_METHOD,),
            notifications=NOTIFICATIONS,
        )

    async def web(self) -> HttpApp:
        """Collect the routes of all resources; the files of the web page at `/` are read once."""
        storage, health = self.current.storage, self.system.health
        routes = (*self._routes(), await load_web_pages(), self.live_routes)
        return HttpApp(storage, self.authenticator, health, self.metrics, routes, clock=self.clock)

    def _routes(self) -> Sequence[ResourceRoutes]:
        cameras, clock = self.current.cameras, self.clock
        return (
            CameraRoutes(CamerasApi(cameras, clock=clock), self.system.health, clock=clock),
            StorageRoutes(self.current.storage, clock=clock),
            SnapshotRoutes(cameras, self.snapshots),
            ExportRoutes(cameras, self.exports),
            StreamRoutes(self.streams, clock=clock),
            PlaybackRoutes(self.playback, self.ranges, self.played_ranges),
            SignInRoutes(self.authenticator, self.current.config.server.path, clock=clock),
        )


@asynccontextmanager
async def open_services(
    current: CurrentConfig, authenticator: Authenticator, events: Fanout[Event], *, clock: Clock
) -> AsyncIterator[Services]:
    """Run the work beside the cameras while the block runs."""
    config, cameras, storage = current.config, current.cameras, current.storage
    state_dir, find_program = config.storage.state_dir, cameras.find_program
    async with (
        open_retention(
            config.retention,
            state_dir=state_dir,
            storage=storage,
            events=events,
            in_use=cameras.newest_files,
            clock=clock,
        ) as retention,
        open_scrub(config.scrub, storage, state_dir, events, clock=clock) as scrub,
        open_snapshots(config, storage, find_program, clock=clock) as snapshots,
        open_streams(config, cameras, events, clock=clock) as streams,
        open_transcodes(config.server.transcodes, find_program, clock=clock) as transcodes,
        open_event_log(state_dir, clock=clock) as event_log,
        open_exports(storage, clock=clock) as exports,
    ):
        calls, viewers = ServerCounters(), ViewerCounts()
        yield Services(
            current=current,
            authenticator=authenticator,
            clock=clock,
            retention=retention,
            snapshots=snapshots,
            streams=streams,
            live_routes=LiveRoutes(cameras, snapshots, transcodes, viewers, clock=clock),
            event_log=event_log,
            playback=Playback(storage, find_program),
            exports=exports,
            system=SystemApi(cameras, storage, current.reload, scrub, clock=clock, streams=streams),
            calls=calls,
            metrics=MetricsCollector(
                cameras=cameras,
                storage=storage,
                scrub=scrub,
                calls=calls,
                snapshots=snapshots,
                streams=streams,
                viewers=viewers,
                exports=exports,
                clock=clock,
            ),
        )
