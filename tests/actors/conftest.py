"""The fixture of the actor tests: clocks that jump."""

from __future__ import annotations

import pytest
from support.camera_rig import jump_clocks
from trio.testing import MockClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> MockClock:
    """Make wall time and monotonic time follow a clock that jumps to the next deadline."""
    jump_clocks(monkeypatch)
    return autojump_clock
