"""Controls are set before each FFmpeg process starts, and again when it streams."""

from __future__ import annotations

from pathlib import Path

import attrs
import structlog
import trio
from support.camera_rig import REQUEST, CamerasRig, open_cameras_rig
from support.fake_devices import usb_camera
from trio.testing import MockClock

from camd.camera.camera import Camera
from camd.model import CameraState

A1 = usb_camera(0, serial="A1")


@attrs.define(eq=False)
class FakeControls:
    """Camera controls that are set at once, and report what they could not set."""

    rig: CamerasRig
    failures: tuple[str, ...] = ()
    applied: list[tuple[str, int]] = attrs.field(factory=list)  # node, and children until then

    async def apply(self, node: Path) -> tuple[str, ...]:
        """Note the node and the number of processes so far."""
        await trio.lowlevel.checkpoint()
        self.applied.append((str(node), len(self.rig.cameras.launcher.processes)))
        return self.failures


async def recording(rig: CamerasRig, settings: FakeControls) -> Camera:
    """Record with the only camera, which has these controls."""
    camera = await rig.until("camera0", CameraState.IDLE)
    camera.controls = settings  # type: ignore[assignment]
    await camera.start_recording(REQUEST)
    await trio.sleep(1)
    return camera


async def test_controls_are_set_before_each_process_and_again_when_it_streams(
    clock: MockClock,
) -> None:
    """A camera forgets its controls when it is unplugged; some take them only while streaming."""
    async with open_cameras_rig(A1) as rig:
        settings = FakeControls(rig)
        await recording(rig, settings)
        assert settings.applied == [("/dev/video0", 0), ("/dev/video0", 1)]
        rig.monitor.plug()
        await rig.until("camera0", CameraState.ABSENT)
        rig.monitor.plug(attrs.evolve(usb_camera(6, serial="A1"), plug_id=3))
        await rig.until("camera0", CameraState.STREAMING)
        await trio.sleep(1)
        assert settings.applied[2:] == [("/dev/video6", 1), ("/dev/video6", 2)]


async def test_what_cannot_be_set_is_a_warning_and_costs_no_footage(clock: MockClock) -> None:
    """The status has a warning, the log one line; the recording goes on."""
    async with open_cameras_rig(A1) as rig:
        settings = FakeControls(rig, failures=("focus_absolute is not there",))
        with structlog.testing.capture_logs() as logs:
            camera = await recording(rig, settings)
        assert len(settings.applied) == 2
        assert [line["event"] for line in logs].count("controls_not_set") == 1
        assert "focus_absolute is not there" in camera.status.warnings
        assert camera.status.state is CameraState.STREAMING
