"""The recordings volume on the wire, and on the health page."""

from __future__ import annotations

import json

import attrs
import pytest
from test_storage_levels import CODES, status

from camd.api import result_fields
from camd.api.event_publisher import notification_of
from camd.api.system_methods import _storage_health
from camd.model import SearchProgressed, StorageChanged, StorageLevel, SyncLatency

NAMES = {"ok": "normal", "low": "warning"}
HEALTH = {"ok": "healthy", "low": "degraded", "blocked": "degraded", "no_inodes": "degraded"}


@pytest.mark.parametrize("level", list(StorageLevel))
def test_a_level_is_an_event_with_code_and_advice(level: StorageLevel) -> None:
    """Every level but ok has a code, a message and a suggestion."""
    method, params, key = notification_of(StorageChanged(status(level=level, reason="why")))
    assert (method, key) == ("storage_status_update", None)
    assert params["threshold_status"] == NAMES.get(level.value, level.value)
    if level is StorageLevel.OK:
        assert not {"code", "message", "suggestion"} & set(params)
        return
    assert params["code"] == CODES[level.value]
    assert params["message"] == "why"
    assert params["suggestion"]


@pytest.mark.parametrize(("ended", "key"), [(False, "recovery"), (True, None)])
def test_a_search_is_an_event_and_its_progress_the_latest_one(ended: bool, key: str | None) -> None:
    """A client that reads slowly gets the newest progress, and the end in any case."""
    told = SearchProgressed(ended, 64, 250, {"adopted": 60})
    assert notification_of(told) == (
        "recovery_update",
        {
            "status": "ENDED" if ended else "PROGRESS",
            "files": 64,
            "total": 250,
            "counts": {"adopted": 60},
            "problem": None,
        },
        key,
    )


def test_latency_goes_out_in_seconds() -> None:
    """The numbers have the documented names; JSON can hold them."""
    latency = SyncLatency(3, 0.25, 0.5, 0.75, 1.0)
    shown = result_fields.storage(status(sync_latency=latency, pending_seconds=12.5, slow=True))
    assert shown["sync_latency"] == {
        "count": 3,
        "latest": 0.25,
        "median": 0.5,
        "p95": 0.75,
        "worst": 1.0,
    }
    assert (shown["pending_seconds"], shown["slow"], shown["free_inodes"]) == (12.5, True, None)
    assert json.dumps(result_fields.storage(status()))


@pytest.mark.parametrize("level", list(StorageLevel))
def test_health_follows_the_level(level: StorageLevel) -> None:
    """What only stops new recordings degrades; what stops all is unhealthy, with its reason."""
    health, details = _storage_health(status(level=level, reason="why"))
    assert health == HEALTH.get(level.value, "unhealthy")
    assert bool(details) is (level is not StorageLevel.OK)
    if health == "unhealthy":
        assert details == f"storage is {level.value}: why"


def test_a_slow_disk_is_degraded() -> None:
    """Slow is no level, and shows on the health page all the same."""
    assert _storage_health(attrs.evolve(status(), slow=True))[0] == "degraded"
