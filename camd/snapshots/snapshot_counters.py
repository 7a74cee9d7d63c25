"""What snapshots have come to since the service was started, for the metrics."""

from __future__ import annotations

from collections import Counter

import attrs

from camd.errors import Refusal
from camd.model import CameraId
from camd.storage.rules.io_stats import DurationCounter


@attrs.define(eq=False)
class SnapshotCounters:
    """Totals that only grow. `failed` counts refusals by their cause, else by their kind."""

    taken: Counter[CameraId] = attrs.field(factory=Counter)  # stored as files
    shown: Counter[CameraId] = attrs.field(factory=Counter)  # answered, and not stored
    failed: Counter[tuple[CameraId, str]] = attrs.field(factory=Counter)
    decodes: DurationCounter = attrs.field(factory=DurationCounter)  # from movie to picture

    def fail(self, camera_id: CameraId, refusal: Refusal) -> None:
        """Count a snapshot that was refused."""
        cause = refusal.details.get("cause")
        self.failed[camera_id, str(cause or refusal.kind.name)] += 1
