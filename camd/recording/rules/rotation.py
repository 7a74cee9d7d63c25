"""When a segment is long enough, so that the next one begins. Pure."""

from __future__ import annotations

import zlib
from datetime import timedelta

import attrs

from camd.model import CameraId

_STAGGER_SECONDS = 5.0
_STAGGER_SHARE = 0.01


@attrs.frozen
class Rotation:
    """When a segment is long enough. `stagger_seconds` shortens a session's first one."""

    max_seconds: float
    max_bytes: int | None = None
    stagger_seconds: float = 0.0

    @classmethod
    def of(cls, camera_id: CameraId, interval: timedelta, max_bytes: int | None) -> Rotation:
        """Make a camera's rotation; cameras that start together do not seal together."""
        seconds = interval.total_seconds()
        share = zlib.crc32(camera_id.encode()) % 1000 / 1000.0
        stagger = share * min(_STAGGER_SECONDS, seconds * _STAGGER_SHARE)
        return cls(seconds, max_bytes, stagger)

    def due(
        self,
        *,
        number: int,
        seconds: float,
        size_bytes: int,
        next_bytes: int,
        frame_seconds: float,
    ) -> bool:
        """Whether a file begins before a fragment of `next_bytes` that starts `seconds` into
        segment `number`; half a frame's time of tolerance, since capture times are rounded."""
        limit = self.max_seconds - (self.stagger_seconds if number == 0 else 0.0)
        if seconds >= limit - frame_seconds / 2:
            return True
        return self.max_bytes is not None and size_bytes + next_bytes > self.max_bytes
