"""Metric families in Prometheus' text format (exposition format 0.0.4), made of frozen values.

Base units: bytes, seconds, and ratios from 0 to 1. Labels name cameras, states, levels and causes;
files, sessions and clients are never labels, so that the number of series stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from camd.metrics.metric_values import (
    camera_counter,
    camera_gauge,
    camera_values,
    cause_values,
    duration_family,
)
from camd.metrics.publication_families import MediaServerMetrics, publication_families
from camd.metrics.snapshot_families import SnapshotCounts, snapshot_families
from camd.metrics.totals import RecorderTotals
from camd.metrics.viewer_families import (
    ExportMetrics,
    ViewerMetrics,
    export_families,
    viewer_families,
)
from camd.model import CameraId, CameraState, CameraStatus, StorageLevel, StorageStatus
from camd.rpc.server_counters import ServerCounters
from camd.storage.rules.io_stats import DurationHistogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@attrs.frozen
class CameraMetrics:
    """One camera at one moment. `durable_age` is the age of its last durable frame in seconds."""

    status: CameraStatus
    wanted: bool  # something needs its capture
    frames_captured: int = 0
    durable_age: float | None = None  # None: it is not recorded, or nothing is durable yet


@attrs.frozen
class RecorderCounts:
    """Copies of the counters of `RecorderTotals`, for the thread that writes them."""

    recorded_bytes: Mapping[CameraId, int] = attrs.field(factory=dict)
    recorded_frames: Mapping[CameraId, int] = attrs.field(factory=dict)
    recorded_seconds: Mapping[CameraId, float] = attrs.field(factory=dict)
    gap_entries: Mapping[tuple[CameraId, str], int] = attrs.field(factory=dict)
    gap_seconds: Mapping[tuple[CameraId, str], float] = attrs.field(factory=dict)
    failed_captures: Mapping[tuple[CameraId, str], int] = attrs.field(factory=dict)

    @classmethod
    def of(cls, totals: RecorderTotals) -> RecorderCounts:
        """Copy the counters as of now."""
        return cls(
            recorded_bytes=dict(totals.recorded_bytes),
            recorded_frames=dict(totals.recorded_frames),
            recorded_seconds=dict(totals.recorded_seconds),
            gap_entries=dict(totals.gap_entries),
            gap_seconds=dict(totals.gap_seconds),
            failed_captures=dict(totals.failed_captures),
        )


@attrs.frozen
class MetricsSnapshot:
    """Everything that `/metrics` says, at one moment."""

    version: str
    cameras: tuple[CameraMetrics, ...]
    storage: StorageStatus
    syncs: DurationHistogram
    recorder: RecorderCounts
    calls: ServerCounters
    verified_at: float | None = None  # Unix seconds of the end of the last complete scrub
    snapshots: SnapshotCounts = attrs.field(factory=SnapshotCounts)
    viewers: ViewerMetrics = attrs.field(factory=ViewerMetrics)
    exports: ExportMetrics = attrs.field(factory=ExportMetrics)
    media_server: MediaServerMetrics | None = None  # None: cameras are not published


def render_metrics(snapshot: MetricsSnapshot) -> bytes:
    """Write the metrics of a snapshot, and those of this process. Blocks: it reads /proc."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


@attrs.frozen(eq=False)
class _SnapshotCollector(Collector):
    snapshot: MetricsSnapshot

    def collect(self) -> Iterable[Metric]:
        return families(self.snapshot)


def families(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    """Make all metric families of a snapshot."""
    info = InfoMetricFamily("camd_build", "Version of camd.")
    info.add_metric((), {"version": snapshot.version})
    yield info
    yield from _camera_families(snapshot.cameras)
    yield from _recorder_families(snapshot.recorder)
    yield from _storage_families(snapshot)
    yield from snapshot_families(snapshot.snapshots)
    yield from viewer_families(snapshot.viewers)
    yield from export_families(snapshot.exports)
    if snapshot.media_server is not None:
        yield from publication_families(snapshot.media_server)
    yield from _call_families(snapshot.calls)


def _camera_families(cameras: Iterable[CameraMetrics]) -> Iterator[Metric]:
    cameras = tuple(cameras)
    states = camera_gauge("camd_camera_state", "1 for the state of the camera's capture.", "state")
    wanted = camera_gauge("camd_camera_wanted", "1 while something needs the camera's capture.")
    recording = camera_gauge("camd_camera_recording", "1 while a session runs.")
    healthy = camera_gauge(
        "camd_camera_recording_healthy", "1 while frames of the session become durable."
    )
    age = camera_gauge(
        "camd_camera_last_durable_frame_age_seconds",
        "Seconds since a frame of the running session was last synced.",
    )
    frames = camera_counter("camd_camera_frames", "Frames that the camera delivered.")
    taken = camera_counter("camd_camera_bytes", "Bytes that the camera delivered.")
    for camera in cameras:
        status, name = camera.status, (camera.status.camera_id,)
        session = status.session
        for state in CameraState:
            states.add_metric((*name, state.value.lower()), status.state is state)
        wanted.add_metric(name, camera.wanted)
        recording.add_metric(name, session is not None)
        healthy.add_metric(name, session is not None and session.healthy)
        if camera.durable_age is not None:
            age.add_metric(name, camera.durable_age)
        frames.add_metric(name, camera.frames_captured)
        taken.add_metric(name, status.bytes_captured)
    yield from (states, wanted, recording, healthy, age, frames, taken)


def _recorder_families(counts: RecorderCounts) -> Iterator[Metric]:
    by_camera = (
        ("camd_recorded_bytes", "Bytes written into recordings.", counts.recorded_bytes),
        ("camd_recorded_frames", "Frames written into recordings.", counts.recorded_frames),
        ("camd_recorded_seconds", "Footage written into recordings.", counts.recorded_seconds),
    )
    for name, text, values in by_camera:
        yield camera_values(camera_counter(name, text), values)
    by_cause = (
        ("camd_gap_seconds", "Footage missing by the gap ledger.", counts.gap_seconds),
        ("camd_gap_entries", "Entries of the gap ledger.", counts.gap_entries),
        ("camd_ffmpeg_exits", "FFmpeg processes that failed.", counts.failed_captures),
    )
    for name, text, entries in by_cause:
        yield cause_values(camera_counter(name, text, "cause"), entries)


def _storage_families(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    status = snapshot.storage
    level = GaugeMetricFamily(
        "camd_storage_level", "1 for the level of the recordings volume.", labels=("level",)
    )
    for each in StorageLevel:
        level.add_metric((each.value,), status.level is each)
    yield level
    values: tuple[tuple[str, str, float | None], ...] = (
        ("total_bytes", "Size of the recordings volume.", status.total_bytes),
        ("available_bytes", "Space that recordings may use.", status.available_bytes),
        ("recordings_bytes", "Size of all recordings.", status.recordings_bytes),
        ("snapshots_bytes", "Size of all snapshots.", status.snapshots_bytes),
        ("reserved_bytes", "Space reserved for running sessions.", status.promised_bytes),
        ("write_bytes_per_second", "Rate at which recordings grow.", status.write_rate),
        ("full_in_seconds", "Time until no session may start.", status.seconds_until_blocked),
        ("pending_call_seconds", "Age of the oldest pending disk call.", status.pending_seconds),
        ("index_entries_waiting", "Entries not yet in index and journal.", status.notes_waiting),
        ("free_inodes", "Files that can still be created.", status.free_inodes),
    )
    for name, text, value in values:
        if value is not None:
            yield GaugeMetricFamily(f"camd_storage_{name}", text, value)
    yield CounterMetricFamily(
        "camd_storage_index_entries_lost", "Entries lost: too many waited.", status.notes_lost
    )
    yield duration_family(
        "camd_storage_sync_seconds", "Duration of syncs of the recordings volume.", snapshot.syncs
    )
    if snapshot.verified_at is not None:
        yield GaugeMetricFamily(
            "camd_last_verified_timestamp_seconds",
            "Unix time of the end of the last complete scrub.",
            snapshot.verified_at,
        )


def _call_families(stats: ServerCounters) -> Iterator[Metric]:
    yield GaugeMetricFamily("camd_connections", "Open connections of clients.", stats.connections)
    totals = (
        ("refused_connections", "Connections that were refused.", stats.refused_connections),
        ("requests", "JSON-RPC calls that were answered.", stats.requests),
        ("request_errors", "Calls that were answered with an error.", stats.errors),
        ("request_seconds", "Time that answering calls took.", stats.busy_seconds),
        ("notifications", "Notifications sent to clients.", stats.notifications),
    )
    for name, text, value in totals:
        yield CounterMetricFamily(f"camd_{name}", text, value)
