"""How many viewers are admitted."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from camd.live.viewer_counts import TooManyViewersError, ViewerCounts
from camd.model import CameraId

ONE, OTHER = CameraId("one"), CameraId("other")


def test_a_camera_has_64_viewers_and_all_have_256() -> None:
    """Those beyond are refused with the reason; who leaves makes room."""
    counts = ViewerCounts()
    with ExitStack() as watching:
        for _ in range(64):
            watching.enter_context(counts.admitted(ONE))
        with pytest.raises(TooManyViewersError, match="the camera has 64 viewers"):
            watching.enter_context(counts.admitted(ONE))
        for number in range(256 - 64):
            watching.enter_context(counts.admitted(CameraId(f"camera{number // 64}")))
        with pytest.raises(TooManyViewersError, match="256 viewers watch"):
            watching.enter_context(counts.admitted(OTHER))
        assert (len(counts), counts.watching(ONE), counts.watching(OTHER)) == (256, 64, 0)
    assert (len(counts), counts.watching(ONE)) == (0, 0)
    with counts.admitted(OTHER):
        assert counts.watching(OTHER) == 1
