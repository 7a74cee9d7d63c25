"""A survey of a machine in a temporary folder: real threads, a real watch without udev."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from support.fake_usb_tree import FakeMachine

from camd.config.schema import DiscoveryConfig
from camd.devices.monitor import DeviceMonitor, open_announcer, open_monitor
from camd.devices.probe import Query, ask, read_access
from camd.model import Capabilities, Device
from camd.runtime.actor import ActorGoneError

USB = "devices/pci0000:00/0000:00:14.0/usb1"
CAPABLE = Capabilities("uvcvideo", "Camera", "usb-0000:00:14.0-1", ())
ON = DiscoveryConfig()


@attrs.define(eq=False)
class Drivers:
    """What the nodes answer, by their names; called in threads."""

    errors: dict[str, int] = attrs.field(factory=dict)
    hanging: dict[str, threading.Event] = attrs.field(factory=dict)
    metadata: set[str] = attrs.field(factory=set)
    asked: list[str] = attrs.field(factory=list)

    def query(self, node: Path) -> Capabilities | None:
        """Answer for one node."""
        self.asked.append(node.name)
        if (event := self.hanging.get(node.name)) is not None:
            assert event.wait(30)
        if (number := self.errors.get(node.name)) is not None:
            raise OSError(number, "refused")
        return None if node.name in self.metadata else CAPABLE


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """A machine with a USB camera of two nodes, number 0 and 1."""
    machine = FakeMachine(tmp_path)
    machine.add_hub(USB)
    plug(machine, 1, 0)
    machine.add_node(1, f"{USB}/1-1/1-1:1.0", index=1, says=":")
    return machine


def plug(machine: FakeMachine, port: int, number: int) -> None:
    """Plug a camera in."""
    machine.add_usb(f"{USB}/1-{port}", serial=f"S{port}\n")
    machine.add_node(number, f"{USB}/1-{port}/1-{port}:1.0", says=":capture:")


def survey_of(machine: FakeMachine, query: Query, config: DiscoveryConfig = ON):
    """Open a survey of a machine."""
    return open_monitor(config, query=query, roots=machine.roots)


async def shown(monitor: DeviceMonitor, *numbers: int) -> tuple[Device, ...]:
    """Wait until these nodes are listed and nothing else."""
    wanted = [f"video{number}" for number in numbers]
    return await monitor.present.wait_until(
        lambda devices: [device.node.name for device in devices] == wanted
    )


async def test_cameras_are_listed_with_all_that_is_known(machine: FakeMachine) -> None:
    """A capture node is listed with facts, links, sound card and capabilities; the other is not."""
    link = machine.add_link("by-id", "usb-Camera_S1-video-index0", 0)
    machine.add_card(3, f"{USB}/1-1/1-1:1.2", "Camera")
    with trio.fail_after(20):
        async with survey_of(machine, Drivers(metadata={"video1"}).query) as monitor:
            await monitor.settled.wait()
            (device,) = monitor.present.value
            assert monitor.how == "a look every second: udev is not running"
    assert device.node == machine.roots.dev / "video0"
    assert device.usb is not None
    assert device.usb.serial == "S1"
    assert (device.links, device.sound_card) == ((link,), "Camera")
    assert (device.capabilities, device.problem) == (CAPABLE, None)


async def test_plugging_unplugging_and_replugging_show(machine: FakeMachine) -> None:
    """A new camera comes, a lost one goes, and one that was replugged between looks is new."""
    with trio.fail_after(30):
        async with survey_of(machine, Drivers(metadata={"video1"}).query) as monitor:
            await monitor.settled.wait()
            plug(machine, 2, 4)
            first, other = await shown(monitor, 0, 4)
            machine.remove_node(0)
            machine.add_node(0, f"{USB}/1-1/1-1:1.0", says=":capture:")
            devices = await monitor.present.wait_until(
                lambda now: len(now) == 2 and now[0].plugged > other.plugged
            )
            assert devices[0] == attrs.evolve(first, plugged=devices[0].plugged)
            assert devices[1] == other
            machine.remove_node(4)
            await shown(monitor, 0)


async def test_a_driver_that_hangs_delays_nobody(machine: FakeMachine) -> None:
    """Others are listed while it hangs; it is listed as hung, asked once, and heard in the end."""
    plug(machine, 2, 2)
    stuck = threading.Event()
    drivers = Drivers(metadata={"video1"}, hanging={"video0": stuck})
    try:
        with trio.fail_after(30):
            async with survey_of(machine, drivers.query) as monitor:
                await shown(monitor, 2)
                assert not monitor.settled.is_set()
                await monitor.settled.wait()
                hung = monitor.present.value[0]
                assert hung.problem is not None
                assert hung.problem.cause == "hung"
                assert await monitor.look_again(hung.node) == hung
                assert drivers.asked.count("video0") == 1
                stuck.set()
                devices = await monitor.present.wait_until(lambda now: now[0].problem is None)
                assert devices[0].capabilities == CAPABLE
    finally:
        stuck.set()


async def test_the_end_waits_for_no_driver(machine: FakeMachine) -> None:
    """A survey ends at once while a driver hangs."""
    stuck = threading.Event()
    try:
        with trio.fail_after(20):
            async with survey_of(machine, Drivers(hanging={"video0": stuck}).query) as monitor:
                await shown(monitor, 1)
        assert not stuck.is_set()
        with pytest.raises(ActorGoneError):
            await monitor.look_again(machine.roots.dev / "video0")
    finally:
        stuck.set()


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        *((errno.EACCES, "no_permission"), (errno.EPERM, "no_permission")),
        *((errno.EBUSY, "busy"), (errno.EIO, "io_error"), (errno.ETIMEDOUT, "io_error")),
    ],
)
async def test_a_refusal_is_a_problem_until_it_is_over(
    machine: FakeMachine, number: int, cause: str
) -> None:
    """A camera that may not be asked is listed with its trouble; a change of rights clears it."""
    drivers = Drivers(errors={"video0": number, "video1": number})
    with trio.fail_after(20):
        async with survey_of(machine, drivers.query) as monitor:
            await monitor.settled.wait()
            (device,) = monitor.present.value
            assert device.node.name == "video0"
            assert device.capabilities is None
            assert device.problem is not None
            assert device.problem.cause == cause
            drivers.errors.clear()
            drivers.metadata.add("video1")
            (machine.roots.dev / "video0").chmod(0o640)
            (after,) = await monitor.present.wait_until(lambda now: now[0].problem is None)
            assert after.capabilities == CAPABLE
            assert after.plugged == device.plugged


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT, errno.ENXIO, errno.ENOTTY])
async def test_what_is_gone_or_no_camera_is_not_listed(machine: FakeMachine, number: int) -> None:
    """A node without a device behind it, or of another kind, is no camera in trouble."""
    drivers = Drivers(errors={"video0": number}, metadata={"video1"})
    with trio.fail_after(20):
        async with survey_of(machine, drivers.query) as monitor:
            await monitor.settled.wait()
            assert monitor.present.value == ()


async def test_looking_again_asks_at_once(machine: FakeMachine) -> None:
    """One node, or what a link points to, is asked anew; what is gone is None."""
    link = machine.add_link("by-id", "usb-Camera-video-index0", 0)
    drivers = Drivers(metadata={"video1"})
    with trio.fail_after(20):
        async with survey_of(machine, drivers.query) as monitor:
            await monitor.settled.wait()
            drivers.errors["video0"] = errno.EIO
            device = await monitor.look_again(link)
            assert device is not None
            assert device.problem is not None
            assert device.problem.cause == "io_error"
            assert device == monitor.present.value[0]
            assert drivers.asked.count("video0") == 2
            machine.remove_node(0)
            assert await monitor.look_again(link) is None
            assert await monitor.look_again(machine.roots.dev / "video1") is None


async def test_looking_again_does_not_wait_for_ever(machine: FakeMachine) -> None:
    """Of a driver that hangs the trouble comes back when patience is over, with what was known."""
    drivers = Drivers(metadata={"video1"})
    stuck = threading.Event()
    try:
        with trio.fail_after(20):
            async with survey_of(machine, drivers.query) as monitor:
                await monitor.settled.wait()
                drivers.hanging["video0"] = stuck
                device = await monitor.look_again(machine.roots.dev / "video0")
        assert device is not None
        assert device.problem is not None
        assert device.problem.cause == "hung"
        assert device.capabilities == CAPABLE
    finally:
        stuck.set()


async def test_ignored_nodes_are_left_alone(machine: FakeMachine) -> None:
    """What the configuration ignores is neither opened nor listed."""
    plug(machine, 2, 2)
    drivers = Drivers(metadata={"video1"})
    with trio.fail_after(20):
        async with survey_of(machine, drivers.query, DiscoveryConfig(ignore=("1-1",))) as monitor:
            await monitor.settled.wait()
            assert [device.node.name for device in monitor.present.value] == ["video2"]
    assert drivers.asked == ["video2"]


async def test_switched_off_it_is_empty_and_settled(machine: FakeMachine) -> None:
    """Without discovery nothing is looked at."""
    drivers = Drivers()
    with trio.fail_after(20):
        async with survey_of(machine, drivers.query, DiscoveryConfig(v4l2=False)) as monitor:
            assert monitor.settled.is_set()
            assert await monitor.look_again(machine.roots.dev / "video0") is None
            assert (monitor.present.value, monitor.how) == ((), "switched off")
    assert drivers.asked == []


@pytest.fixture
def refusing() -> Callable[[Path], None]:
    """A driver that lets nobody in."""

    def query(node: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(node))

    return query


def test_a_want_of_permission_names_the_remedy(
    machine: FakeMachine, refusing: Callable[[Path], None]
) -> None:
    """The trouble says what to do, and what was found out says whether we are entitled."""
    node = machine.roots.dev / "video0"
    problem = ask(node, refusing).problem
    assert problem is not None
    assert "may not open the camera" in problem.message
    assert problem.suggestion
    assert problem.suggestion
    assert read_access(node).entitled
    assert not read_access(node.with_name("video9")).entitled


def test_without_udev_the_reason_is_said(tmp_path: Path) -> None:
    """Where udev does not run nobody listens to it in vain."""
    assert open_announcer(tmp_path) == (None, "udev is not running")


async def test_udev_is_listened_to_where_it_runs(tmp_path: Path) -> None:
    """With udev's control socket there the monitor opens, or says why it cannot."""
    (tmp_path / "control").write_bytes(b"")
    announcer, reason = open_announcer(tmp_path)
    assert (announcer is None) == bool(reason)
    if announcer is not None:
        with trio.move_on_after(0.05) as quiet:
            await announcer.wait_event()
        assert quiet.cancelled_caught
