"""Controls as clients list and set them, over a driver in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
import trio
from support.fake_v4l2_driver import NODE, FakeControl, FakeDriver, webcam

from camd.api.control_methods import ControlsApi
from camd.capture.controls import CameraControls, ControlStore
from camd.devices.v4l2 import videodev2
from camd.errors import CAMERA_UNKNOWN, Refusal
from camd.model import CameraId
from camd.rpc.registry import Caller, Registry
from camd.rpc.roles import Principal, Role


@attrs.frozen
class PlayedCamera:
    """What the API needs of a camera."""

    camera_id: CameraId
    node: Path | None
    settings: CameraControls


@attrs.define(eq=False)
class CameraRig:
    """One camera with a driver, and the methods over it."""

    driver: FakeDriver = attrs.field(factory=webcam)
    node: Path | None = NODE
    configured: tuple[tuple[str, int | str], ...] = ()
    camera: PlayedCamera = attrs.field(init=False)
    registry: Registry = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        wishes = ControlStore(lambda _: None)
        driver, camera_id = self.driver, CameraId("camera0")
        owner = CameraControls(camera_id, self.configured, wishes, driver.read, driver.write)
        self.camera = PlayedCamera(camera_id, self.node, owner)
        self.registry = Registry(ControlsApi(self).methods())

    async def locate(self, name: str) -> PlayedCamera:
        """Know one camera."""
        if name not in ("camera0", str(NODE)):
            raise Refusal(CAMERA_UNKNOWN, camera_id=name)
        return self.camera

    async def call(self, method: str, role: Role = Role.OPERATOR, /, **params: object) -> Any:
        """Call a method as somebody with a role; the answer is one that JSON can hold."""
        caller = Caller(Principal("ann", role, None, "test"), "test")
        with trio.fail_after(20):
            answer = await self.registry.call(method, {"device": "camera0", **params}, caller)
        return json.loads(msgspec.json.encode(answer))

    async def refused(self, method: str, role: Role = Role.OPERATOR, /, **params: object) -> int:
        """Call a method that is refused; returns the code."""
        with pytest.raises(Refusal) as refusal:
            await self.call(method, role, **params)
        return refusal.value.kind.code


async def test_controls_are_listed_with_all_that_a_console_needs() -> None:
    """What each is, what it can be set to, what it is, what is wished for, and by whom."""
    rig = CameraRig(configured=(("power_line_frequency", "50 hz"),))
    answer = await rig.call("get_camera_controls", Role.VIEWER)
    assert (answer["device"], answer["camera_id"]) == ("camera0", "camera0")
    controls = {control["name"]: control for control in answer["controls"]}
    assert controls["power_line_frequency"] == {
        "name": "power_line_frequency",
        "label": "Power Line Frequency",
        "type": "menu",
        "minimum": 0,
        "maximum": 2,
        "step": 1,
        "default": 2,
        "value": 2,
        "choices": [
            {"value": 0, "label": "Disabled"},
            {"value": 1, "label": "50 Hz"},
            {"value": 2, "label": "60 Hz"},
        ],
        "active": True,
        "read_only": False,
        "wished": 1,
        "source": "configuration",
    }
    exposure = controls["exposure_time_absolute"]
    assert (exposure["active"], exposure["wished"], exposure["source"]) == (False, None, None)


async def test_a_button_has_neither_value_nor_default() -> None:
    """There is nothing to show, though the driver says zero."""
    driver = FakeDriver(controls=[FakeControl(1, "Reset", videodev2.TYPE_BUTTON)])
    (button,) = (await CameraRig(driver).call("get_camera_controls"))["controls"]
    assert (button["type"], button["value"], button["default"]) == ("button", None, None)


@pytest.mark.parametrize("value", ["manual", 1, 1.0])
async def test_a_control_is_set(value: object) -> None:
    """The answer is the control as the driver has it, and the wish that is kept."""
    rig = CameraRig()
    answer = await rig.call("set_camera_control", control="exposure_auto", value=value)
    assert (answer["name"], answer["value"]) == ("auto_exposure", 1)
    assert (answer["wished"], answer["source"], answer["success"]) == (1, "client", True)
    assert (answer["device"], answer["camera_id"]) == ("camera0", "camera0")
    answer = await rig.call("set_camera_control", control="auto_exposure", value=None)
    assert (answer["value"], answer["wished"], answer["source"]) == (3, None, None)


async def test_who_may_do_what() -> None:
    """Viewers look, operators set; unknown cameras are unknown."""
    rig = CameraRig()
    wish = {"control": "brightness", "value": 1}
    assert await rig.refused("set_camera_control", Role.VIEWER, **wish) == -32003
    assert await rig.refused("get_camera_controls", Role.VIEWER, device="camera7") == -32004
    assert rig.driver.opened == 0
    answer = await rig.call("set_camera_control", device=str(NODE), **wish)
    assert (answer["device"], answer["camera_id"]) == (str(NODE), "camera0")


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"control": "brightness", "value": 256}, -32602),
        ({"control": "brightness"}, -32602),
        ({"control": "brightness", "value": [1]}, -32602),
        ({"control": "brightness", "value": 1.5}, -32602),
        ({"control": "contrast", "value": 1}, -32008),
        ({"control": "exposure_time_absolute", "value": 10}, -32008),
    ],
)
async def test_wrong_wishes_have_their_codes(wish: dict[str, object], code: int) -> None:
    """Values by parameter; names, and what has no effect, as what is not supported."""
    rig = CameraRig()
    assert await rig.refused("set_camera_control", **wish) == code
    assert rig.driver.log == []


async def test_a_camera_without_a_node_has_no_controls() -> None:
    """Absent, or a stream: a refusal that says so."""
    rig = CameraRig(node=None)
    assert await rig.refused("get_camera_controls") == -32006
    assert await rig.refused("set_camera_control", control="brightness", value=1) == -32006
