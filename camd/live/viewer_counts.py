"""How many viewers watch, and how many may."""

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
class ViewerCounts:
    """The viewers of all cameras."""

    of_camera: int = MAX_VIEWERS_OF_CAMERA
    in_all: int = MAX_VIEWERS
    _counts: Counter[CameraId] = attrs.field(factory=Counter, init=False)

    def __len__(self) -> int:
        """Return how many watch."""
        return self._counts.total()

    def watching(self, camera_id: CameraId) -> int:
        """Return how many watch a camera."""
        return self._counts[camera_id]

    @contextmanager
    def admitted(self, camera_id: CameraId) -> Iterator[None]:
        """Count a viewer while the block runs. Raises TooManyViewersError."""
        if self._counts[camera_id] >= self.of_camera:
            raise TooManyViewersError(f"the camera has {self.of_camera} viewers already")
        if len(self) >= self.in_all:
            raise TooManyViewersError(f"{self.in_all} viewers watch already")
        self._counts[camera_id] += 1
        try:
            yield
        finally:
            self._counts[camera_id] -= 1
            if not self._counts[camera_id]:
                del self._counts[camera_id]
