"""Metrics of published cameras, and of the media server that they are published to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from camd.metrics.metric_values import camera_counter, camera_gauge
from camd.model import CameraId, PublicationState, PublicationStatus
from camd.publish.publisher import Publisher
from camd.publish.streams import Streams

_STATES = tuple(state for state in PublicationState if state is not PublicationState.OFF)


@attrs.frozen
class PublicationMetrics:
    """One published camera at one moment; see `Publisher` and `PublicationCounters`."""

    camera_id: CameraId
    status: PublicationStatus
    bytes_sent: int = 0
    frames_dropped: int = 0
    lag_seconds: float = 0.0
    readers: int = 0
    failures: Mapping[str, int] = attrs.field(factory=dict)

    @classmethod
    def of(cls, publisher: Publisher) -> PublicationMetrics:
        """Copy what a publisher has done as of now."""
        served = publisher.camera.status.served
        return cls(
            camera_id=publisher.camera.camera_id,
            status=publisher.status.value,
            bytes_sent=publisher.counters.bytes_sent,
            frames_dropped=publisher.frames_dropped,
            lag_seconds=publisher.lag_seconds,
            readers=served.readers if served is not None else 0,
            failures=dict(publisher.counters.failures),
        )


@attrs.frozen
class MediaServerMetrics:
    """The server at one moment, and the cameras that are published to it."""

    up: bool
    version: str
    paths: int
    publications: tuple[PublicationMetrics, ...] = ()

    @classmethod
    def of(cls, streams: Streams) -> MediaServerMetrics | None:
        """Copy what is known as of now; None where no server is configured."""
        if not streams.enabled:
            return None
        view = streams.view
        return cls(
            up=view.healthy,
            version=view.info.version,
            paths=view.path_count,
            publications=tuple(map(PublicationMetrics.of, streams.publishers)),
        )


def publication_families(server: MediaServerMetrics) -> Iterator[Metric]:
    """Make the metric families of a server and of the cameras that are published to it."""
    yield GaugeMetricFamily(
        "camd_mediamtx_up", "1 while MediaMTX's control API answers.", server.up
    )
    if server.version:
        info = InfoMetricFamily("camd_mediamtx", "Version of MediaMTX.")
        info.add_metric((), {"version": server.version})
        yield info
    yield GaugeMetricFamily("camd_mediamtx_paths", "Paths that MediaMTX lists.", server.paths)
    yield _states(server.publications)
    yield from _amounts(server.publications)


def _states(publications: Iterable[PublicationMetrics]) -> Metric:
    states = camera_gauge(
        "camd_publication_state", "1 for the state of the camera's publication.", "state"
    )
    for each in publications:
        for state in _STATES:
            found = each.status.state is state
            states.add_metric((each.camera_id, state.value.lower()), found)
    return states


def _amounts(publications: Iterable[PublicationMetrics]) -> Iterator[Metric]:
    sent = camera_counter("camd_publication_bytes", "Bytes of the stream given to FFmpeg.")
    starts = camera_counter("camd_publication_starts", "FFmpeg processes that were started.")
    dropped = camera_counter(
        "camd_publication_frames_dropped", "Frames that MediaMTX was too slow for."
    )
    failures = camera_counter(
        "camd_publication_failures", "Publications that ended with a problem.", "cause"
    )
    lag = camera_gauge("camd_publication_lag_seconds", "Footage that waits for MediaMTX.")
    readers = camera_gauge("camd_publication_readers", "Viewers of the camera at MediaMTX.")
    for each in publications:
        here = (each.camera_id,)
        sent.add_metric(here, each.bytes_sent)
        starts.add_metric(here, each.status.starts)
        dropped.add_metric(here, each.frames_dropped)
        lag.add_metric(here, each.lag_seconds)
        readers.add_metric(here, each.readers)
        for cause, value in each.failures.items():
            failures.add_metric((each.camera_id, cause), value)
    yield from (sent, starts, dropped, failures, lag, readers)
