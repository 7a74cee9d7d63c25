"""Capabilities of a camera in the API, from its binding and its state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from json_schema import undescribed
from support.camera_rig import CAMERA, REQUEST, CameraRig, Node, open_camera_rig

from camd.api.camera_methods import ByCamera, CamerasApi
from camd.camera.camera import Camera
from camd.clock import SYSTEM_CLOCK
from camd.contract.camera_results import CameraCapabilities, CameraDetails
from camd.model import (
    CameraState,
    Capabilities,
    Device,
    DeviceBinding,
    FrameSize,
    PixelFormat,
    Problem,
    Rates,
    SizeRange,
)
from camd.rpc.registry import Caller
from camd.rpc.roles import AuthMethod, Principal, Role

MJPEG = PixelFormat(
    *("MJPG", "Motion-JPEG", True),
    (FrameSize(640, 480, Rates((30.0, 15.0))), FrameSize(1280, 720, Rates((30000 / 1001,)))),
)
SENSOR = PixelFormat(
    *("YUYV", "YUYV 4:2:2", False),
    size_range=SizeRange((320, 240), (640, 480), (320, 240), Rates(limits=(1.0, 60.0))),
)
ODD = PixelFormat("pRAA", "10-bit Bayer", False, (FrameSize(640, 480),))


@attrs.define(eq=False)
class OneCamera:
    """The cameras: this one."""

    camera: Camera

    async def locate(self, name: str) -> Camera:
        """Find it by any name."""
        return self.camera


def binding(*formats: PixelFormat) -> DeviceBinding:
    """Bind the camera to a device that offers `formats`."""
    found = Capabilities("uvcvideo", "Webcam", "usb", formats)
    return DeviceBinding(CAMERA, Device(Path("/dev/video0"), 1, "Webcam", capabilities=found))


async def ask(rig: CameraRig) -> dict[str, Any]:
    """Call both methods as a client does; they agree."""
    api = CamerasApi(OneCamera(rig.camera), clock=SYSTEM_CLOCK)  # type: ignore[arg-type]
    caller = Caller(Principal("ann", Role.VIEWER, None, AuthMethod.API_KEY), "1")
    answer = await api.get_camera_capabilities(caller, ByCamera("camera0"))
    status = await api.get_camera_status(caller, ByCamera("camera0"))
    assert answer.items() >= status["capabilities"].items()
    assert undescribed(CameraCapabilities, answer) + undescribed(CameraDetails, status) == []
    return msgspec.json.decode(msgspec.json.encode(answer))  # type: ignore[no-any-return]


async def test_what_the_driver_lists_is_shown_before_any_picture() -> None:
    """Formats, sizes and rates, mode by mode, and the choice with its reason."""
    async with open_camera_rig(node=Node(), binding=binding(MJPEG, SENSOR, ODD)) as rig:
        shown = await ask(rig)
    assert shown["camera_id"] == "camera0"
    assert shown["formats"] == ["mjpeg", "yuyv422"]
    assert shown["unreadable_formats"] == ["pRAA"]
    assert shown["resolutions"] == ["1280x720", "640x480", "320x240"]
    assert shown["fps_options"] == [60.0, 30.0, 29.97, 15.0, 1.0]
    assert shown["modes"][0] == {"format": "mjpeg", "resolution": "1280x720", "fps": [29.97]}
    assert shown["modes"][2]["fps_range"] == [1.0, 60.0]
    assert shown["chosen"] == {
        "format": "mjpeg",
        "resolution": "1280x720",
        "fps": 29.97,
        "copied": False,
        "codec": "h264",
        "reason": "the camera has no H.264; MJPEG at 1280x720, 29.97 frames/s, encoded",
    }
    assert shown["validation_status"] == "provisional"


async def test_pictures_confirm_it() -> None:
    """While the camera streams, the list is confirmed."""
    here = binding(MJPEG)
    async with open_camera_rig(node=Node(), binding=here) as rig:
        await rig.camera.start_recording(REQUEST)
        assert (await ask(rig))["validation_status"] == "confirmed"
        await rig.camera.stop_recording()


async def test_a_camera_that_is_gone_or_in_problem_says_so() -> None:
    """A missing or failing camera is shown as such."""
    gone = DeviceBinding(CAMERA, None, problem=Problem("not_found", "", ""))
    async with open_camera_rig(node=Node(), binding=gone) as rig:
        shown = await ask(rig)
        assert (shown["validation_status"], shown["formats"]) == ("disconnected", [])
        assert shown["chosen"] is None
    async with open_camera_rig(node=Node(), binding=binding(ODD), always_on=True) as rig:
        await rig.until(CameraState.RESTING)
        shown = await ask(rig)
    assert (shown["validation_status"], shown["chosen"]) == ("error", None)


@pytest.mark.parametrize("streaming", [False, True])
async def test_other_sources_show_what_they_deliver(streaming: bool) -> None:
    """A synthetic picture has no driver to ask; while it rests, its expected format is shown."""
    async with open_camera_rig(always_on=streaming) as rig:
        if streaming:
            await rig.until(CameraState.STREAMING)
        shown = await ask(rig)
    assert shown["validation_status"] == ("confirmed" if streaming else "provisional")
    assert shown["formats"] == ["h264"]
    assert shown["resolutions"] == ["320x180"]
    assert len(shown["modes"]) == len(shown["formats"])
