"""Commands show and read times in the local zone, which they name, or in UTC; JSON is UTC."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from test_cli_commands import FILE, FakeService, camd, service

__all__ = ["service"]

NOON = "2026-01-15T12:00:00Z"
ROW = {"camera_id": "camera0", "start_time": NOON, "from": NOON, "duration": 2.5, "frames": 75}


@pytest.fixture(autouse=True)
def winter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone to Central European Time."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("command", "method", "answer"),
    [
        (["ls"], "list_recordings", {"files": [{**FILE, **ROW}]}),
        (["sessions"], "get_sessions", {"sessions": [ROW]}),
        (["gaps"], "get_gaps", {"gaps": [ROW]}),
        (["info", "a.mp4"], "get_recording_info", {**FILE, **ROW}),
    ],
)
def test_times_are_local_and_have_a_zone(
    service: FakeService,
    command: list[str],
    method: str,
    answer: dict[str, object],
) -> None:
    """An hour later than in UTC, with the zone's name; `--utc` and `--json` give UTC."""
    service.answers[method] = {**answer, "total": 1, "limit": 20, "offset": 0}
    assert "2026-01-15 13:00:00 CET" in camd(service, *command).stdout
    assert "2026-01-15 12:00:00 UTC" in camd(service, *command, "--utc").stdout
    assert f'"start_time": "{NOON}"' in camd(service, *command, "--json").stdout


def test_events_come_with_local_times(service: FakeService) -> None:
    """Like all other times."""
    service.notifications = [("something_new", {"time": "2026-07-15T12:00:00.5Z"})]
    assert "14:00:00 CEST  something_new" in camd(service, "watch").stdout
    assert "12:00:00 UTC  something_new" in camd(service, "watch", "--utc").stdout
    assert "12:00:00.5Z" in camd(service, "watch", "--json").stdout


@pytest.mark.parametrize(
    ("typed", "utc", "sent"),
    [
        ("2026-01-15 13:00", False, NOON),
        ("2026-01-15 12:00", True, NOON),
        ("2026-01-15T14:00:00+02:00", False, NOON),
        (NOON, False, NOON),
        ("2026-01-15", False, "2026-01-14T23:00:00Z"),
        ("2026-01-15 13:00:00 CET", False, NOON),
        ("2026-01-15 12:00:00 UTC", False, NOON),
        ("2026-10-25 02:30 CEST", False, "2026-10-25T00:30:00Z"),
        ("2026-10-25 02:30 CET", False, "2026-10-25T01:30:00Z"),
        ("2026-10-25 02:30", True, "2026-10-25T02:30:00Z"),
    ],
)
def test_a_time_without_a_zone_is_local(
    service: FakeService,
    typed: str,
    utc: bool,
    sent: str,
) -> None:
    """A displayed time can be typed again, and means the same."""
    service.answers["get_gaps"] = {"gaps": [], "total": 0, "limit": 20, "offset": 0}
    camd(service, "gaps", "--from", typed, *(["--utc"] if utc else []))
    assert service.calls[0][1]["from"] == sent


def test_text_that_is_no_time_is_refused(service: FakeService) -> None:
    """The message has an example."""
    result = camd(service, "ls", "--from", "last week")
    assert result.exit_code == 2
    assert "2026-01-15T14:30:00Z" in result.output
    assert json.dumps(service.calls) == "[]"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("2026-10-25 02:30", "write '2026-10-25 02:30:00 CEST' or '2026-10-25 02:30:00 CET'"),
        ("2026-03-29 02:30", "skipped"),
        ("2026-07-15 12:00 CET", "is CEST here"),
        ("0001-01-01", "no time"),
    ],
)
def test_a_time_that_is_no_instant_or_two_is_refused(
    service: FakeService, typed: str, said: str
) -> None:
    """When clocks are set forward or back; the message says what to write."""
    result = camd(service, "ls", "--from", typed)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
    assert service.calls == []


def test_a_pin_ends_at_a_local_time(service: FakeService) -> None:
    """As the times of other commands."""
    service.answers["pin_recording"] = {"filename": "a.mp4", "pin": {"until": NOON}}
    camd(service, "pin", "a.mp4", "--until", "2026-01-15 13:00")
    assert service.calls[0][1]["until"] == NOON
