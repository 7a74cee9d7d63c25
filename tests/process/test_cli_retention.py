"""rm, pin, unpin, cleanup and retention against a fake service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_cli_commands import FakeService, RefusedError, camd, service

__all__ = ["service"]  # the fixture

A, B = "camera0_2026-01-15_14-30-00.mp4", "camera0_2026-01-15_15-00-00.mp4"
PLAN = {
    "files": [{"filename": A, "file_size": 2000, "reason": "older than 30 days"}],
    "kept": [{"filename": B, "file_size": 1000, "reason": "pinned"}],
    "files_to_delete": 1,
    "space_to_free": 2000,
    "files_kept": 1,
    "message": "1 of 1 files removed",
}
POLICY = {"policy_type": "age", "enabled": True, "max_age_days": 30.0, "interval": 3600.0}


def delete(params: dict[str, Any]) -> dict[str, Any]:
    """Answer as the service does; B is pinned."""
    if params["filename"] == B:
        raise RefusedError(-1012, "The file is pinned", suggestion="Call unpin_recording first.")
    return {"filename": params["filename"], "deleted": True, "space_freed": 2000}


def test_rm_removes_what_it_can_and_says_why_the_rest_stays(service: FakeService) -> None:
    """One call for each file; with a refusal, the exit code is 4."""
    service.answers = {"delete_recording": delete}
    result = camd(service, "rm", "--yes", B, A)
    assert result.exit_code == 4
    assert f"{A} removed, 2.0 kB freed" in result.stdout
    assert f"{B}: The file is pinned (-1012)" in result.stderr
    assert service.calls == [("delete_recording", {"filename": name}) for name in (B, A)]
    assert camd(service, "rm", "--yes", A).exit_code == 0


def test_rm_asks_first(service: FakeService) -> None:
    """Without an answer, as in a pipe, nothing is removed."""
    result = camd(service, "rm", A)
    assert result.exit_code == 1
    assert f"Remove {A} permanently?" in result.stderr
    assert "Remove 2 recordings" in camd(service, "rm", A, B).stderr
    assert service.calls == []


def test_rm_json_has_removed_and_refused_files(service: FakeService) -> None:
    """Removed and refused files are two lists."""
    service.answers = {"delete_recording": delete}
    result = camd(service, "rm", "--yes", "--json", A, B)
    assert result.exit_code == 4
    said = json.loads(result.stdout)
    assert [each["filename"] for each in said["removed"]] == [A]
    assert [(each["code"], each["data"]["filename"]) for each in said["refused"]] == [(-1012, B)]


def test_pin_and_unpin(service: FakeService) -> None:
    """Reason and time are passed on when they are given."""
    pinned = {"filename": A, "pinned": True, "pin": {"until": "2026-02-01T00:00:00Z"}}
    service.answers = {"pin_recording": pinned, "unpin_recording": {"filename": A, "pin": None}}
    result = camd(service, "pin", A, "--reason", "evidence", "--until", "2026-02-01 00:00Z")
    assert result.exit_code == 0
    assert f"{A} is pinned until 2026-02-01T00:00:00Z" in result.stderr
    assert json.loads(camd(service, "pin", A, "--json").stdout) == pinned
    assert f"{A} is not pinned" in camd(service, "unpin", A).stderr
    assert service.calls == [
        ("pin_recording", {"filename": A, "reason": "evidence", "until": "2026-02-01T00:00:00Z"}),
        ("pin_recording", {"filename": A}),
        ("unpin_recording", {"filename": A}),
    ]


def test_cleanup_shows_removed_and_kept_files(service: FakeService) -> None:
    """--preview calls only the preview; --force is passed on."""
    service.answers = {"preview_cleanup": PLAN, "cleanup_old_files": PLAN}
    for arguments in (["--preview"], [], ["--force"]):
        result = camd(service, "cleanup", *arguments)
        assert result.exit_code == 0
        for part in (A, "older than 30 days", B, "pinned", "2.0 kB", "1 of 1 files removed"):
            assert part in result.stdout
    assert service.calls == [
        ("preview_cleanup", {}),
        ("cleanup_old_files", {"force": False}),
        ("cleanup_old_files", {"force": True}),
    ]
    assert camd(service, "cleanup", "--preview", "--force").exit_code == 2
    assert json.loads(camd(service, "cleanup", "--json").stdout) == PLAN


@pytest.mark.parametrize("arguments", [["retention"], ["retention", "show"]])
def test_retention_shows_the_policy(service: FakeService, arguments: list[str]) -> None:
    """The policy and its last run; as JSON everything."""
    last = {"ended": "2026-01-15T12:00:00Z", "asked_by": "schedule", "message": "7 files removed"}
    service.answers = {"get_retention_policy": {**POLICY, "last_run": last}}
    result = camd(service, *arguments)
    assert result.exit_code == 0
    for part in ("age", "30", "1:00:00", "7 files removed", "schedule"):
        assert part in result.stdout
    said = json.loads(camd(service, "retention", "show", "--json").stdout)
    assert said == {**POLICY, "last_run": last}


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        (["age", "--days", "30"], {"policy_type": "age", "enabled": True, "max_age_days": 30}),
        (["size", "--gb", "1.5"], {"policy_type": "size", "enabled": True, "max_size_gb": 1.5}),
        (["manual"], {"policy_type": "manual", "enabled": True}),
        (
            ["age", "--days", "7", "--off"],
            {"policy_type": "age", "enabled": False, "max_age_days": 7},
        ),
    ],
)
def test_retention_set(
    service: FakeService, arguments: list[str], params: dict[str, object]
) -> None:
    """The options are sent, and the answer is shown."""
    service.answers = {"set_retention_policy": {**POLICY, "message": "It is stored"}}
    result = camd(service, "retention", "set", *arguments)
    assert (result.exit_code, service.calls) == (0, [("set_retention_policy", params)])
    assert "It is stored" in result.stderr
