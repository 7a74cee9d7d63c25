"""How many cameras there may be: more are left out and named, and nothing else happens to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.camera_rig import CamerasRig, MemoryBindings, Wall, open_cameras_rig
from support.fake_devices import usb_camera
from trio.testing import MockClock

from camd.api.system_methods import SystemApi
from camd.config.schema import CameraConfig
from camd.errors import Refusal
from camd.model import CameraId, CameraState, Device
from camd.model.ids import MAX_CAMERAS
from camd.rpc.registry import Caller, NoParams
from camd.rpc.roles import AuthMethod, Principal, Role
from camd.sources import SyntheticSource, V4l2Source

CALLER = Caller(Principal("ann", Role.VIEWER, None, AuthMethod.API_KEY), "1")


def webcams(count: int) -> tuple[Device, ...]:
    """Plug in so many cameras."""
    return tuple(usb_camera(n, port=f"1.{n + 1}", serial=f"S{n}") for n in range(count))


async def reasons(rig: CamerasRig) -> list[str]:
    """Ask the service why it is not healthy."""
    api = SystemApi(rig.cameras, rig.storage, None, clock=Wall().clock)  # type: ignore[arg-type]
    answer: dict[str, Any] = await api.get_system_status(CALLER, NoParams())
    assert (answer["status"] == "healthy") is (answer["reasons"] == [])
    found: list[str] = answer["reasons"]
    return found


async def test_cameras_above_the_limit_are_left_out_and_named(clock: MockClock) -> None:
    """Once in the log, in the status as long as they are there; the others work."""
    devices = webcams(MAX_CAMERAS + 2)
    with capture_logs() as logs:
        async with open_cameras_rig(*devices) as rig:
            assert len(rig.cameras) == MAX_CAMERAS
            assert rig.cameras.left_out == ("camera64", "camera65")
            (reason,) = await reasons(rig)
            assert "64 cameras are the most, and more were found: camera64, camera65" in reason
            assert "camd forget" in reason
            rig.monitor.plug(*devices[:-1])
            rig.monitor.plug(*devices)
            await rig.until("camera0", CameraState.IDLE)
    lines = [line for line in logs if line["event"] == "cameras_left_out"]
    assert [line["cameras"] for line in lines] == [["camera64", "camera65"]]


async def test_one_that_is_forgotten_makes_room(clock: MockClock) -> None:
    """The next one is added at once."""
    devices = webcams(MAX_CAMERAS + 1)
    async with open_cameras_rig(*devices) as rig:
        rig.monitor.plug(*devices[1:])
        gone = await rig.until("camera0", CameraState.ABSENT)
        await rig.bindings.forget(gone)
        await rig.until("camera64", CameraState.IDLE)
        assert (len(rig.cameras), rig.cameras.left_out) == (MAX_CAMERAS, ())
        assert await reasons(rig) == []


async def test_after_a_restart_those_that_are_plugged_in_come_first(clock: MockClock) -> None:
    """Cameras that were unplugged long ago do not keep a new one out."""
    kept, devices = MemoryBindings(), webcams(MAX_CAMERAS + 2)
    async with open_cameras_rig(*devices[:MAX_CAMERAS], kept=kept):
        pass
    async with open_cameras_rig(*devices[2:], kept=kept) as rig:
        assert rig.cameras.get(CameraId("camera64")) is not None
        assert rig.cameras.get(CameraId("camera65")) is not None
        assert rig.cameras.left_out == ("camera0", "camera1")


async def test_a_camera_above_the_limit_is_neither_adopted_nor_added(clock: MockClock) -> None:
    """By hand it is refused with a code of its own; a reload leaves it for a restart."""
    devices = webcams(MAX_CAMERAS + 1)
    async with open_cameras_rig(*devices) as rig:
        with pytest.raises(Refusal) as caught:
            await rig.bindings.adopt(CameraId("new"), devices[-1].node)
        assert (caught.value.kind.code, caught.value.data["max_cameras"]) == (-1022, MAX_CAMERAS)
        added = CameraConfig(CameraId("added"), SyntheticSource())
        assert not await rig.bindings.add(added)
        assert rig.cameras.get(added.id) is None
        with pytest.raises(Refusal) as caught:
            rig.cameras.add(added)
        assert caught.value.kind.code == -1022
        instead = CameraConfig(CameraId("camera0"), SyntheticSource())
        assert await rig.bindings.add(instead)  # it takes the place of one that is there
        assert len(rig.cameras) == MAX_CAMERAS


async def test_the_status_says_in_sentences_what_is_wrong(clock: MockClock) -> None:
    """Each camera by its name, with what to do; at most twenty, then how many more."""
    entries = tuple(
        CameraConfig(CameraId(f"c{n}"), V4l2Source(Path(f"/dev/video{n}")), name=f"Yard {n}")
        for n in range(23)
    )
    async with open_cameras_rig(entries=entries, auto=False) as rig:
        await rig.until("c0", CameraState.ABSENT)
        found = await reasons(rig)
        assert found[0].startswith("Camera Yard 0: ")
        assert found[0].count(". ") >= 1
        assert len(found) == 21
        assert found[-1] == "3 more cameras have problems."
