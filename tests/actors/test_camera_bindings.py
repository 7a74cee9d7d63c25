"""Cameras of this machine: they are listed, bound to devices, unbound, adopted and forgotten."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
from support.camera_rig import REQUEST, MemoryBindings, jump_clocks, open_cameras_rig
from support.camera_rig import find_program as stage_program
from support.fake_devices import denied, entry, usb_camera
from support.fake_ffmpeg import hangs, streams
from trio.testing import MockClock

from camd.api import result_fields
from camd.camera.camera import Camera
from camd.capture.controls import ControlStore
from camd.config.schema import CameraConfig
from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary
from camd.model import CameraChanged, CameraId, CameraState, Device, GapCause, Problem, SessionState
from camd.model.problems import CAMERA_REMOVED
from camd.sources import SyntheticSource

A1, B2 = usb_camera(0, port="1", serial="A1"), usb_camera(2, port="2", serial="B2")

OTHER = CameraConfig(CameraId("camera0"), SyntheticSource())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> MockClock:
    """Start an autojump clock for all modules."""
    jump_clocks(monkeypatch)
    return autojump_clock


async def test_plugged_in_cameras_are_listed_and_announced(clock: MockClock) -> None:
    """Without configuration each camera has a number, its own name, its node and identity."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        status = camera.status
        assert (status.device, status.name) == ("/dev/video0", A1.name)
        assert status.identity == "usb:0c45:6366:A1"
        rig.monitor.plug(A1, B2)
        await rig.until("camera1", CameraState.IDLE)
        announced = [e.status.camera_id for e in rig.heard if isinstance(e, CameraChanged)]
        assert announced.count(CameraId("camera1")) >= 1
        assert rig.cameras.find("/dev/video2").camera_id == "camera1"
        assert rig.cameras.find(str(B2.links[0])).camera_id == "camera1"


async def test_an_unplugged_camera_is_known_over_restarts(clock: MockClock) -> None:
    """It is listed as absent, under its number and name, and its node finds no camera."""
    async with open_cameras_rig(A1, B2) as rig:
        rig.monitor.plug(B2)
        await rig.until("camera0", CameraState.ABSENT)
    async with open_cameras_rig(B2, kept=rig.kept) as later:
        camera = await later.until("camera0", CameraState.ABSENT)
        assert (camera.status.name, camera.status.identity) == (A1.name, "usb:0c45:6366:A1")
        assert (await later.until("camera1", CameraState.IDLE)).device == "/dev/video2"
        with pytest.raises(Refusal):
            later.cameras.find("/dev/video0")


async def test_a_session_survives_a_replug_at_another_port_and_node(clock: MockClock) -> None:
    """The session continues at once, in a new file, with the outage in the ledger."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        begun = await camera.start_recording(REQUEST)
        await trio.sleep(5.2)
        rig.monitor.plug()
        await rig.until("camera0", CameraState.ABSENT)
        await trio.sleep(60)
        assert not camera.status.session.healthy  # type: ignore[union-attr]
        came = trio.current_time()
        rig.monitor.plug(attrs.evolve(usb_camera(7, port="4", serial="A1"), plug_id=9))
        await rig.until("camera0", CameraState.STREAMING)
        assert trio.current_time() - came < 1
        await trio.sleep(3)
        ended = await camera.stop_recording()
        assert ended.session_id == begun.session_id
        assert len(ended.segments) == 2
        (gap,) = ended.gaps
        assert gap.cause is GapCause.CAMERA_LOST
        assert 59 < gap.duration_seconds < 62
        assert rig.cameras.launcher.most_alive == 1


async def test_another_camera_at_its_port_does_not_record_as_the_old_one(clock: MockClock) -> None:
    """The old camera is swapped, and the new one has a number of its own."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        await camera.start_recording(REQUEST)
        rig.monitor.plug()
        await rig.until("camera0", CameraState.ABSENT)
        other = attrs.evolve(usb_camera(0, port="1", serial="X9"), plug_id=5)
        rig.monitor.plug(other)
        await camera.published.wait_until(
            lambda s: s.problem is not None and s.problem.kind == "swapped"
        )
        assert (await rig.until("camera1", CameraState.IDLE)).device == "/dev/video0"
        await trio.sleep(100)
        assert camera.status.state is CameraState.ABSENT
        assert len(rig.cameras.launcher.processes) == 1
        with pytest.raises(Refusal) as caught:
            await (await rig.camera("camera0")).start_recording(REQUEST)
        assert caught.value.kind.code == -1006  # the session waits


async def test_an_adopted_device_continues_the_session(clock: MockClock) -> None:
    """The number that the replacement had before is gone."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        begun = await camera.start_recording(REQUEST)
        other = attrs.evolve(usb_camera(0, port="1", serial="X9"), plug_id=5)
        rig.monitor.plug(other)
        await rig.until("camera1", CameraState.IDLE)
        binding = await rig.bindings.adopt(CameraId("camera0"), Path("/dev/video0"))
        assert binding.device == other
        await rig.until("camera0", CameraState.STREAMING)
        assert rig.cameras.get(CameraId("camera1")) is None
        assert (await camera.stop_recording()).session_id == begun.session_id
        assert [known.identity.serial for known in rig.kept.known] == ["X9"]


async def test_the_device_of_a_recording_camera_is_not_adopted(clock: MockClock) -> None:
    """A camera id does not get another device while it records."""
    async with open_cameras_rig(A1, B2) as rig:
        await (await rig.until("camera1", CameraState.IDLE)).start_recording(REQUEST)
        for camera_id, node in (("camera0", "/dev/video2"), ("camera1", "/dev/video0")):
            with pytest.raises(Refusal) as caught:
                await rig.bindings.adopt(CameraId(camera_id), Path(node))
            assert caught.value.kind.code == -1006


async def test_a_device_is_adopted_as_a_new_camera(clock: MockClock) -> None:
    """An id that no camera has makes a camera; a node without a camera is refused."""
    async with open_cameras_rig(A1) as rig:
        await rig.until("camera0", CameraState.IDLE)
        await rig.bindings.adopt(CameraId("gate"), Path("/dev/video0"))
        assert (await rig.until("gate", CameraState.IDLE)).device == "/dev/video0"
        with pytest.raises(Refusal) as caught:
            await rig.bindings.adopt(CameraId("gate"), Path("/dev/video8"))
        assert caught.value.kind.code == -32006


async def test_only_absent_cameras_can_be_forgotten(clock: MockClock) -> None:
    """The number of a forgotten camera is free again."""
    async with open_cameras_rig(A1, B2, entries=(entry("gate", serial="B2"),)) as rig:
        for camera_id in ("camera0", "gate"):
            with pytest.raises(Refusal):
                await rig.bindings.forget(await rig.camera(camera_id))
        rig.monitor.plug(B2)
        await rig.bindings.forget(await rig.until("camera0", CameraState.ABSENT))
        assert rig.cameras.get(CameraId("camera0")) is None
        rig.monitor.plug(B2, attrs.evolve(A1, plug_id=8))
        await rig.until("camera0", CameraState.IDLE)


async def test_configured_and_other_cameras_are_listed_together(clock: MockClock) -> None:
    """An entry has its device by its selector; cameras with other sources have no binding."""
    gate = attrs.evolve(entry("gate", serial="B2"), name="Gate")
    hall = CameraConfig(CameraId("hall"), SyntheticSource())
    async with open_cameras_rig(A1, B2, entries=(hall, gate)) as rig:
        assert [camera.camera_id for camera in rig.cameras] == ["hall", "gate", "camera0"]
        camera = await rig.until("gate", CameraState.IDLE)
        assert (camera.status.device, camera.status.name) == ("/dev/video2", "Gate")
        assert (await rig.camera("hall")).binding is None


async def test_an_entry_that_is_added_takes_over_its_device(clock: MockClock) -> None:
    """A reload may give an id to a camera that had only a number."""
    async with open_cameras_rig(B2) as rig:
        await rig.until("camera0", CameraState.IDLE)
        await rig.bindings.add(entry("gate", serial="B2"))
        assert (await rig.until("gate", CameraState.IDLE)).device == "/dev/video2"
        assert rig.cameras.get(CameraId("camera0")) is None


async def test_the_device_is_free_before_another_camera_opens_it(clock: MockClock) -> None:
    """A process that is slow to end keeps its device; the new camera waits for it."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        rig.cameras.launcher.then(hangs(2.0, deaf=True))
        rig.cameras.launcher.unkillable = True
        await camera.start_recording(REQUEST)
        await camera.stop_recording()
        assert await rig.bindings.add(entry("gate", serial="A1"))
        gate = await rig.camera("gate")
        with pytest.raises(Refusal) as caught, trio.fail_after(60):
            await gate.start_recording(REQUEST)
        assert caught.value.data["cause"] == "busy"
        assert rig.cameras.launcher.most_alive == 1
        for child in rig.cameras.launcher.processes:
            child._killed.cancel()


async def test_a_node_that_is_another_camera_by_now_is_not_opened(clock: MockClock) -> None:
    """Before a swap is detected, the old camera's next process must not record the new camera."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        rig.cameras.launcher.then(streams(3.2))
        other = attrs.evolve(usb_camera(0, port="1", serial="X9"), plug_id=5)

        async def look_again(node: Path) -> Device | None:
            return other

        camera._environment = attrs.evolve(camera._environment, look_again=look_again)
        await camera.start_recording(REQUEST)
        await trio.sleep(30)
        assert len(rig.cameras.launcher.processes) == 1
        rig.monitor.plug(attrs.evolve(usb_camera(7, port="4", serial="A1"), plug_id=9), other)
        await rig.until("camera0", CameraState.STREAMING)


async def test_unplugging_does_not_wait_for_a_plan(clock: MockClock) -> None:
    """A probe or a trial of encoders may take long; closing and unplugging do not."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)

        async def find_program() -> FFmpegBinary:
            await trio.sleep(12)
            return await stage_program()

        camera.planner.find_program = find_program
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_refused, camera)
            await rig.until("camera0", CameraState.STARTING)
            before = trio.current_time()
            rig.monitor.plug()
            await rig.until("camera0", CameraState.ABSENT)
            assert trio.current_time() - before < 1


async def _refused(camera: Camera) -> None:
    with pytest.raises(Refusal):
        await camera.start_recording(REQUEST)


async def test_without_discovery_only_the_configuration_makes_cameras(clock: MockClock) -> None:
    """Adopting a device as a new camera is refused; an entry may have it."""
    async with open_cameras_rig(A1, entries=(entry("gate"),), auto=False) as rig:
        with pytest.raises(Refusal) as caught:
            await rig.bindings.adopt(CameraId("yard"), Path("/dev/video0"))
        assert caught.value.kind.code == -32602
        assert (await rig.bindings.adopt(CameraId("gate"), Path("/dev/video0"))).device == A1
        assert [known.camera_id for known in rig.kept.known] == ["gate"]


async def test_a_device_is_used_as_soon_as_it_can_be_opened(clock: MockClock) -> None:
    """A permission that was missing is given: a waiting session starts without delay."""
    denied = Problem("no_permission", "No", "Ask", GapCause.NO_PERMISSION)
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        rig.cameras.launcher.then(streams(3.2))
        await camera.start_recording(REQUEST)
        rig.monitor.plug(attrs.evolve(A1, problem=denied, capabilities=None))
        await trio.sleep(100)
        assert camera.status.state is CameraState.RESTING
        given = trio.current_time()
        rig.monitor.plug(A1)
        await rig.until("camera0", CameraState.STREAMING)
        assert trio.current_time() - given < 1


async def test_a_disk_that_hangs_does_not_delay_bindings(clock: MockClock) -> None:
    """Cameras lose and get devices while the known cameras wait for the disk."""
    async with open_cameras_rig(A1) as rig:
        await (await rig.until("camera0", CameraState.IDLE)).start_recording(REQUEST)
        rig.kept.seconds = 600
        other = attrs.evolve(usb_camera(0, port="1", serial="X9"), plug_id=5)
        before = trio.current_time()
        rig.monitor.plug(other)
        await rig.until("camera0", CameraState.ABSENT)
        rig.monitor.plug(other, attrs.evolve(usb_camera(7, port="4", serial="A1"), plug_id=9))
        await rig.until("camera0", CameraState.STREAMING)
        assert trio.current_time() - before < 6
        rig.kept.seconds = 0
        await trio.sleep(700)
        assert [known.camera_id for known in rig.kept.known] == ["camera0", "camera1"]


async def test_known_cameras_are_saved_when_the_disk_has_room(clock: MockClock) -> None:
    """The numbers survive the next restart."""
    kept = MemoryBindings(full=True)
    async with open_cameras_rig(A1, kept=kept) as rig:
        await rig.until("camera0", CameraState.IDLE)
        assert kept.known == ()
        kept.full = False
        await trio.sleep(60)
        assert [known.camera_id for known in kept.known] == ["camera0"]


async def test_a_camera_that_was_forgotten_stays_forgotten(clock: MockClock) -> None:
    """Also when it was the only one, and nothing else has changed since the start."""
    async with open_cameras_rig(A1) as rig:
        await rig.until("camera0", CameraState.IDLE)
    async with open_cameras_rig(kept=rig.kept) as later:
        await later.bindings.forget(await later.until("camera0", CameraState.ABSENT))
        assert later.kept.known == ()


@pytest.mark.parametrize(
    "config", [entry("gate", serial="A1"), entry("camera0", serial="A1"), OTHER], ids=lambda c: c.id
)
async def test_a_reload_ends_no_recording(clock: MockClock, config: CameraConfig) -> None:
    """An entry for a camera that records under its number is refused, and accepted later."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        begun = await camera.start_recording(REQUEST)
        assert not await rig.bindings.add(config)
        await trio.sleep(5)
        ended = await camera.stop_recording()
        assert (ended.session_id, ended.gaps) == (begun.session_id, ())
        assert await rig.bindings.add(config)
        assert (await rig.camera(config.id)).config == config
        names = {camera.camera_id for camera in rig.cameras}
        assert names == ({"camera0", "camera1"} if config is OTHER else {config.id})


async def test_a_reload_removes_no_camera_that_records(clock: MockClock) -> None:
    """Whatever its source is: it stays until its recording is over, and is removed then."""
    hall, gate = CameraConfig(CameraId("hall"), SyntheticSource()), entry("gate", serial="B2")
    async with open_cameras_rig(B2, entries=(hall, gate)) as rig:
        await rig.until("gate", CameraState.IDLE)
        for config in (hall, gate):
            camera = rig.cameras.find(config.id)
            begun = await camera.start_recording(REQUEST)
            other = attrs.evolve(config, name="Other")
            assert not await rig.bindings.remove(config.id)
            assert not await rig.bindings.add(other)
            assert config in rig.bindings.configured
            await trio.sleep(5)
            ended = await camera.stop_recording()
            assert (ended.session_id, ended.gaps) == (begun.session_id, ())
            assert await rig.bindings.add(other)
            assert (await rig.camera(config.id)).status.name == "Other"
            assert await rig.bindings.remove(config.id)
            assert config.id not in [one.id for one in rig.bindings.configured]
        assert rig.cameras.get(hall.id) is None
        told = [e.status for e in rig.heard if isinstance(e, CameraChanged)]
        last = [status for status in told if status.camera_id == hall.id][-1]
        assert (last.state, last.problem) == (CameraState.ABSENT, CAMERA_REMOVED)


async def test_a_camera_without_an_entry_has_the_usual_settings(clock: MockClock) -> None:
    """A device that is plugged in stays a camera where devices are discovered, under its id."""
    gate = attrs.evolve(entry("gate", serial="B2"), name="Gate", fps=5.0)
    async with open_cameras_rig(B2, entries=(gate,)) as rig:
        former = await rig.until("gate", CameraState.IDLE)
        assert await rig.bindings.remove(gate.id)
        (camera,) = rig.cameras
        assert camera is not former
        assert (camera.config, camera.status.name) == (CameraConfig(camera.camera_id), B2.name)
        assert (await rig.until(camera.camera_id, CameraState.IDLE)).device == "/dev/video2"


async def test_cameras_exchange_their_devices(clock: MockClock) -> None:
    """A reload that gives each of two cameras the device of the other needs no second one."""
    one, two = entry("one", serial="A1"), entry("two", serial="B2")
    async with open_cameras_rig(A1, B2, entries=(one, two)) as rig:
        assert (await rig.until("one", CameraState.IDLE)).device == "/dev/video0"
        assert await rig.bindings.add(entry("one", serial="B2"))
        assert await rig.bindings.add(entry("two", serial="A1"))
        assert (await rig.until("one", CameraState.IDLE)).device == "/dev/video2"
        assert (await rig.until("two", CameraState.IDLE)).device == "/dev/video0"
        assert {camera.camera_id for camera in rig.cameras} == {"one", "two"}


async def test_a_session_ends_when_its_camera_is_removed(clock: MockClock) -> None:
    """It has that reason, and is not continued under an id that another camera gets."""
    async with open_cameras_rig(A1) as rig:
        camera = await rig.until("camera0", CameraState.IDLE)
        await camera.start_recording(REQUEST)
        rig.cameras.remove(camera.camera_id)
        await camera.published.wait_until(lambda status: status.session is None)
        last = rig.storage.sessions[-1]
        assert (last.state, last.reason) == (SessionState.ENDED, "camera_removed")


async def test_an_idle_camera_has_the_problem_of_its_next_start(clock: MockClock) -> None:
    """No permission, or a size that it does not have, is shown before a recording is started."""
    wish = attrs.evolve(entry("gate", serial="B2"), resolution=(1920, 1080))
    async with open_cameras_rig(denied(A1), B2, entries=(wish,)) as rig:
        for camera_id, cause in (("camera0", "no_permission"), ("gate", "unsupported_format")):
            camera = await rig.until(camera_id, CameraState.IDLE)
            assert camera.status.problem is not None
            assert camera.status.problem.kind == cause
            assert result_fields.camera(camera.status)["status"] == "ERROR"
        with pytest.raises(Refusal) as caught:
            await (await rig.camera("gate")).start_recording(REQUEST)
        assert caught.value.kind.code == -32008
        assert caught.value.data["possible"]
        rig.monitor.plug(A1, B2)
        await (await rig.camera("camera0")).published.wait_until(lambda s: s.problem is None)


@attrs.define(eq=False)
class RecordingControlStore(ControlStore):
    """A store that records whose controls are deleted."""

    forgotten: list[str] = attrs.field(factory=list)

    async def forget(self, camera_id: CameraId) -> None:
        """Record it."""
        await trio.lowlevel.checkpoint()
        self.forgotten.append(camera_id)


async def test_controls_are_deleted_with_a_number_but_not_by_an_entry(clock: MockClock) -> None:
    """A camera that gets an entry keeps them; the next camera with a free number gets none."""
    async with open_cameras_rig(A1, B2) as rig:
        rig.cameras._controls = store = RecordingControlStore()
        await rig.until("camera1", CameraState.IDLE)
        assert await rig.bindings.add(entry("camera0"))
        await rig.until("camera0", CameraState.IDLE)
        assert store.forgotten == []
        assert await rig.bindings.add(entry("gate", serial="B2"))
        await rig.until("gate", CameraState.IDLE)
        await trio.testing.wait_all_tasks_blocked()
        assert store.forgotten == ["camera1"]
