"""Families of metrics that several parts have: counters and gauges of cameras, durations."""

from __future__ import annotations

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.utils import floatToGoString

from camd.storage.rules.io_stats import DurationHistogram


def camera_gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """Return a gauge with the label `camera`, and others behind it."""
    return GaugeMetricFamily(name, text, labels=("camera", *labels))


def camera_counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    """Return a counter with the label `camera`, and others behind it."""
    return CounterMetricFamily(name, text, labels=("camera", *labels))


def duration_family(name: str, text: str, durations: DurationHistogram) -> HistogramMetricFamily:
    """Return a histogram in seconds."""
    return HistogramMetricFamily(
        name,
        text,
        buckets=[(_bound(bound), count) for bound, count in durations.cumulative()],
        sum_value=durations.total_seconds,
    )


def _bound(seconds: float) -> str:
    return str(floatToGoString(seconds))  # type: ignore[no-untyped-call]
