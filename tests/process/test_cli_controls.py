"""`camd controls` against a fake service."""

from __future__ import annotations

import json
from typing import Any

from test_cli_commands import FakeService, RefusedError, camd, service

__all__ = ["service"]  # the fixture

BRIGHTNESS = {
    "name": "brightness",
    "type": "integer",
    "minimum": 0,
    "maximum": 250,
    "step": 10,
    "default": 120,
    "value": 130,
    "choices": [],
    "active": True,
    "read_only": False,
    "wished": 130,
    "source": "client",
}
LINES = {
    "name": "power_line_frequency",
    "type": "menu",
    "default": 2,
    "value": 1,
    "choices": [{"value": 1, "label": "50 Hz"}, {"value": 2, "label": "60 Hz"}],
    "active": False,
}
LIST = {"device": "camera0", "camera_id": "camera0", "controls": [BRIGHTNESS, LINES]}


def set_control(params: dict[str, Any]) -> dict[str, Any]:
    """Answer as the service does; the brightness is refused."""
    if params["control"] == "brightness":
        raise RefusedError(
            *(-32602, "Invalid params"),
            errors=[{"path": "value", "message": "must be a whole number from 0 to 250"}],
        )
    return {**LINES, "success": True}


def test_controls_are_shown_as_a_table(service: FakeService) -> None:
    """Values with labels, possible values, kept values, and notes."""
    service.answers = {"get_camera_controls": LIST}
    result = camd(service, "controls", "camera0")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[1:] == [
        "brightness 130 120 0 … 250 by 10 130 by client",
        "power_line_frequency 1 (50 Hz) 2 1 (50 Hz), 2 (60 Hz) no effect at present",
    ]
    assert json.loads(camd(service, "controls", "camera0", "--json").stdout) == LIST
    assert service.calls == [("get_camera_controls", {"device": "camera0"})] * 2
    service.answers = {"get_camera_controls": {**LIST, "controls": []}}
    assert "no controls" in camd(service, "controls", "camera0").stdout


def test_controls_are_set_one_by_one(service: FakeService) -> None:
    """In the given order; a refusal keeps none of the others, and ends with status 4."""
    service.answers = {"set_camera_control": set_control}
    settings = ("brightness=999", "power_line_frequency=50 Hz", "gain=")
    result = camd(service, "controls", "camera0", *settings)
    assert result.exit_code == 4
    assert "power_line_frequency = 1 (50 Hz)  (no effect at present)" in result.stdout
    assert "brightness: Invalid params (-32602)" in result.stderr
    assert "value: must be a whole number from 0 to 250" in result.stderr
    assert service.calls == [
        ("set_camera_control", {"device": "camera0", "control": name, "value": value})
        for name, value in (
            *(("brightness", "999"), ("power_line_frequency", "50 Hz"), ("gain", None)),
        )
    ]


def test_json_has_set_and_refused_controls(service: FakeService) -> None:
    """Set and refused controls are two lists."""
    service.answers = {"set_camera_control": set_control}
    result = camd(service, "controls", "camera0", "--json", "brightness=999", "gain=1")
    said = json.loads(result.stdout)
    assert result.exit_code == 4
    assert [each["name"] for each in said["set"]] == ["power_line_frequency"]
    assert [(each["control"], each["code"]) for each in said["refused"]] == [("brightness", -32602)]


def test_an_argument_without_equals_sign_is_a_usage_error(service: FakeService) -> None:
    """Nothing is set unless all arguments are valid."""
    for wrong in ("brightness", "=5"):
        result = camd(service, "controls", "camera0", "gain=1", wrong)
        assert result.exit_code == 2
        assert "is not NAME=VALUE" in result.stderr
    assert service.calls == []
