"""The API methods for controls, over a fake driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
import trio
from json_schema import undescribed
from support.fake_v4l2_driver import NODE, FakeControl, FakeDriver, webcam

from camd.api.device_methods import ControlsApi
from camd.capture.controls import CameraControls, ControlStore
from camd.devices.v4l2 import videodev2
from camd.errors import CAMERA_UNKNOWN, Refusal
from camd.model import CameraId
from camd.rpc.registry import Caller, Registry
from camd.rpc.roles import Principal, Role


@attrs.frozen
class FakeCamera:
    """The part of a camera that the methods use."""

    camera_id: CameraId
    node: Path | None
    controls: CameraControls


@attrs.define(eq=False)
class Service:
    """One camera with a fake driver, and the methods."""

    driver: FakeDriver = attrs.field(factory=webcam)
    node: Path | None = NODE
    configured: tuple[tuple[str, int | str], ...] = ()
    camera: FakeCamera = attrs.field(init=False)
    registry: Registry = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        store = ControlStore(lambda _: None)
        driver, camera_id = self.driver, CameraId("camera0")
        controls = CameraControls(camera_id, self.configured, store, driver.read, driver.write)
        self.camera = FakeCamera(camera_id, self.node, controls)
        self.registry = Registry([ControlsApi(self)])

    async def locate(self, name: str) -> FakeCamera:
        """Know one camera."""
        if name not in ("camera0", str(NODE)):
            raise Refusal(CAMERA_UNKNOWN, camera_id=name)
        return self.camera

    async def call(self, method: str, role: Role = Role.OPERATOR, /, **params: object) -> Any:
        """Call a method with a role; the result is decoded from JSON."""
        caller = Caller(Principal("ann", role, None, "test"), "test")
        with trio.fail_after(300):
            prepared = self.registry.prepare(method, {"device": "camera0", **params}, caller)
            answer = await prepared.run()
        (declared,) = [each.result for each in self.registry.methods if each.name == method]
        assert undescribed(declared, answer) == []
        return json.loads(msgspec.json.encode(answer))

    async def refused(self, method: str, role: Role = Role.OPERATOR, /, **params: object) -> int:
        """Call a method that is refused; returns the code."""
        with pytest.raises(Refusal) as refusal:
            await self.call(method, role, **params)
        return refusal.value.kind.code


async def test_controls_are_listed_with_all_that_a_console_needs() -> None:
    """Kind, limits, value, the wanted value, and where it comes from."""
    service = Service(configured=(("power_line_frequency", "50 hz"),))
    answer = await service.call("get_camera_controls", Role.VIEWER)
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
    """The driver's zero is not shown."""
    driver = FakeDriver(controls=[FakeControl(1, "Reset", videodev2.TYPE_BUTTON)])
    (button,) = (await Service(driver).call("get_camera_controls"))["controls"]
    assert (button["type"], button["value"], button["default"]) == ("button", None, None)


@pytest.mark.parametrize("value", ["manual", 1, 1.0])
async def test_a_control_is_set(value: object) -> None:
    """The result is the control as the driver has it, and the value that is stored."""
    service = Service()
    answer = await service.call("set_camera_control", control="exposure_auto", value=value)
    assert (answer["name"], answer["value"]) == ("auto_exposure", 1)
    assert (answer["wished"], answer["source"], answer["success"]) == (1, "client", True)
    assert (answer["device"], answer["camera_id"]) == ("camera0", "camera0")
    answer = await service.call("set_camera_control", control="auto_exposure", value=None)
    assert (answer["value"], answer["wished"], answer["source"]) == (3, None, None)


async def test_viewers_list_and_operators_set() -> None:
    """Other calls, and unknown cameras, are refused."""
    service = Service()
    params = {"control": "brightness", "value": 1}
    assert await service.refused("set_camera_control", Role.VIEWER, **params) == -32003
    assert await service.refused("get_camera_controls", Role.VIEWER, device="camera7") == -32004
    assert service.driver.opened == 0
    answer = await service.call("set_camera_control", device=str(NODE), **params)
    assert (answer["device"], answer["camera_id"]) == (str(NODE), "camera0")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"control": "brightness", "value": 256}, -32602),
        ({"control": "brightness"}, -32602),
        ({"control": "brightness", "value": [1]}, -32602),
        ({"control": "brightness", "value": 1.5}, -32602),
        ({"control": "contrast", "value": 1}, -32008),
        ({"control": "exposure_time_absolute", "value": 10}, -32008),
    ],
)
async def test_wrong_requests_have_their_codes(params: dict[str, object], code: int) -> None:
    """Invalid values are invalid parameters; unknown and inactive controls are unsupported."""
    service = Service()
    assert await service.refused("set_camera_control", **params) == code
    assert service.driver.log == []


async def test_a_camera_without_a_node_has_no_controls() -> None:
    """Absent cameras and streams are refused with that reason."""
    service = Service(node=None)
    assert await service.refused("get_camera_controls") == -32006
    assert await service.refused("set_camera_control", control="brightness", value=1) == -32006
