"""Families of metrics that several parts have: counters and gauges of cameras, durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.utils import floatToGoString

from camd.model import CameraId
from camd.storage.rules.io_stats import DurationHistogram

FamilyT = TypeVar("FamilyT", CounterMetricFamily, GaugeMetricFamily)


def camera_gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """Return a gauge with the label `camera`, and others behind it."""
    return GaugeMetricFamily(name, text, labels=("camera", *labels))


def camera_counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    """Return a counter with the label `camera`, and others behind it."""
    return CounterMetricFamily(name, text, labels=("camera", *labels))


def camera_values(family: FamilyT, values: Mapping[CameraId, float]) -> FamilyT:
    """Return a family of cameras with the value of each."""
    for camera, value in values.items():
        family.add_metric((camera,), value)
    return family


def cause_values(family: FamilyT, values: Mapping[tuple[CameraId, str], float]) -> FamilyT:
    """Return a family of cameras and causes with the value of each."""
    for camera_and_cause, value in values.items():
        family.add_metric(camera_and_cause, value)
    return family


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
