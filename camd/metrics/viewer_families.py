"""Metrics of those who watch and of exports: how many there are, and what they were sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from camd.export.exports import Exports
from camd.live.viewer_counts import ViewerCounts
from camd.metrics.metric_values import camera_counter, camera_gauge, camera_values
from camd.model import CameraId


@attrs.frozen
class ViewerMetrics:
    """The viewers of all cameras at one moment; see `ViewerCounts`."""

    watching: Mapping[CameraId, int] = attrs.field(factory=dict)
    sent_bytes: Mapping[CameraId, int] = attrs.field(factory=dict)
    skipped_frames: Mapping[CameraId, int] = attrs.field(factory=dict)
    refused: Mapping[CameraId, int] = attrs.field(factory=dict)

    @classmethod
    def of(cls, counts: ViewerCounts, cameras: Iterable[CameraId]) -> ViewerMetrics:
        """Copy the counts as of now; each of `cameras` has a number of viewers, 0 included."""
        totals = counts.totals
        return cls(
            watching={each: counts.watching(each) for each in cameras},
            sent_bytes=dict(totals.sent_bytes),
            skipped_frames=dict(totals.skipped_frames),
            refused=dict(totals.refused),
        )


@attrs.frozen
class ExportMetrics:
    """Exports at one moment; see `Exports`."""

    running: int = 0
    sent_bytes: int = 0
    ended_early: int = 0

    @classmethod
    def of(cls, exports: Exports) -> ExportMetrics:
        """Copy the numbers as of now."""
        totals = exports.totals
        return cls(exports.running, totals.sent_bytes, totals.ended_early)


def viewer_families(viewers: ViewerMetrics) -> Iterator[Metric]:
    """Make the metric families of viewers."""
    watching = camera_gauge("camd_viewers", "Viewers of the camera's live view.")
    sent = camera_counter("camd_viewer_sent_bytes", "Footage and pictures sent to viewers.")
    skipped = camera_counter(
        "camd_viewer_skipped_frames", "Frames left out because a viewer was too slow."
    )
    refused = camera_counter("camd_viewers_refused", "Viewers refused: there were too many.")
    yield camera_values(watching, viewers.watching)
    yield camera_values(sent, viewers.sent_bytes)
    yield camera_values(skipped, viewers.skipped_frames)
    yield camera_values(refused, viewers.refused)


def export_families(exports: ExportMetrics) -> Iterator[Metric]:
    """Make the metric families of exports."""
    yield GaugeMetricFamily(
        "camd_exports_running", "Exports that are prepared or sent.", exports.running
    )
    yield CounterMetricFamily(
        "camd_export_sent_bytes", "Bytes of exports that were sent.", exports.sent_bytes
    )
    yield CounterMetricFamily(
        "camd_exports_ended_early",
        "Exports cut off because a file was gone or unreadable.",
        exports.ended_early,
    )
