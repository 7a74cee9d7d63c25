"""How many viewers watch, how many may, and what they were sent since the service was started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from camd.model import CameraId

MAX_VIEWERS_OF_CAMERA = 64
MAX_VIEWERS = 256
WHEN_TOO_MANY = "Close another view of a camera, or try again later."


class TooManyViewersError(Exception):
    """No further viewer is admitted; the text says why."""


@attrs.define(eq=False)
class ViewerTotals:
    """Totals of each camera's viewers; they only grow."""

    sent_bytes: Counter[CameraId] = attrs.field(factory=Counter)  # of footage and pictures
    skipped_frames: Counter[CameraId] = attrs.field(factory=Counter)  # a viewer was too slow
    refused: Counter[CameraId] = attrs.field(factory=Counter)  # viewers beyond a bound


@attrs.frozen
class AdmittedViewer:
    """A viewer of a camera; counts what it is sent, and what it was too slow for."""

    camera_id: CameraId
    _totals: ViewerTotals

    def count_sent(self, size: int) -> None:
        """Count bytes that the viewer's socket has taken."""
        self._totals.sent_bytes[self.camera_id] += size

    def count_skipped(self, frames: int) -> None:
        """Count frames that were left out."""
        self._totals.skipped_frames[self.camera_id] += frames


@attrs.define(eq=False)
class ViewerCounts:
    """The viewers of all cameras."""

    of_camera: int = MAX_VIEWERS_OF_CAMERA
    in_all: int = MAX_VIEWERS
    totals: ViewerTotals = attrs.field(factory=ViewerTotals, init=False)
    _counts: Counter[CameraId] = attrs.field(factory=Counter, init=False)

    def __len__(self) -> int:
        """Return how many watch."""
        return self._counts.total()

    def watching(self, camera_id: CameraId) -> int:
        """Return how many watch a camera."""
        return self._counts[camera_id]

    @contextmanager
    def admitted(self, camera_id: CameraId) -> Iterator[AdmittedViewer]:
        """Count a viewer while the block runs. Raises TooManyViewersError."""
        if (why := self._why_not(camera_id)) is not None:
            self.totals.refused[camera_id] += 1
            raise TooManyViewersError(why)
        self._counts[camera_id] += 1
        try:
            yield AdmittedViewer(camera_id, self.totals)
        finally:
            self._counts[camera_id] -= 1
            if not self._counts[camera_id]:
                del self._counts[camera_id]

    def _why_not(self, camera_id: CameraId) -> str | None:
        if self._counts[camera_id] >= self.of_camera:
            return f"the camera has {self.of_camera} viewers already"
        if len(self) >= self.in_all:
            return f"{self.in_all} viewers watch already"
        return None
