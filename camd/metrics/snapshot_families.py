"""Metrics of snapshots: taken, shown, failed by cause, and how long their pictures take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
from prometheus_client.core import Metric

from camd.metrics.metric_values import camera_counter, camera_values, cause_values, duration_family
from camd.model import CameraId
from camd.snapshots.snapshot_counters import SnapshotCounters
from camd.storage.rules.io_stats import DurationHistogram


@attrs.frozen
class SnapshotCounts:
    """Copies of `SnapshotCounters`, for the thread that writes them."""

    taken: Mapping[CameraId, int] = attrs.field(factory=dict)
    shown: Mapping[CameraId, int] = attrs.field(factory=dict)
    failed: Mapping[tuple[CameraId, str], int] = attrs.field(factory=dict)
    decodes: DurationHistogram = attrs.field(factory=DurationHistogram)

    @classmethod
    def of(cls, counters: SnapshotCounters) -> SnapshotCounts:
        """Copy the counters as of now."""
        return cls(
            taken=dict(counters.taken),
            shown=dict(counters.shown),
            failed=dict(counters.failed),
            decodes=counters.decodes.histogram,
        )


def snapshot_families(counts: SnapshotCounts) -> Iterator[Metric]:
    """Make the metric families of snapshots."""
    taken = camera_counter("camd_snapshots_taken", "Snapshots that were stored.")
    shown = camera_counter("camd_stills_shown", "Pictures that were answered and not stored.")
    failed = camera_counter("camd_snapshots_failed", "Pictures that were refused.", "cause")
    yield camera_values(taken, counts.taken)
    yield camera_values(shown, counts.shown)
    yield cause_values(failed, counts.failed)
    yield duration_family(
        "camd_snapshot_decode_seconds",
        "Duration of making a picture of a frame.",
        counts.decodes,
    )
