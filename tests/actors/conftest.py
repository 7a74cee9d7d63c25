"""What the actor tests share: clocks that jump."""

from __future__ import annotations

import pytest
from support.camera_rig import jump_clocks
from trio.testing import MockClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> MockClock:
    """Nothing here takes any time."""
    jump_clocks(monkeypatch)
    return autojump_clock
