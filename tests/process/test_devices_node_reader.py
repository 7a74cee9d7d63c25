"""The device monitor on a fake sysfs folder: real threads, polling without udev."""

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
from camd.devices.hotplug import open_udev_events
from camd.devices.monitor import DeviceMonitor, open_monitor
from camd.devices.node_reader import Query, query_node, read_access
from camd.model import Capabilities, Device
from camd.runtime.actor import ActorGoneError

USB = "devices/pci0000:00/0000:00:14.0/usb1"
CAPABLE = Capabilities("uvcvideo", "Camera", "usb-0000:00:14.0-1", ())
ON = DiscoveryConfig()


@attrs.define(eq=False)
class Drivers:
    """Fake drivers: the answers of the nodes, by name; called in threads."""

    errors: dict[str, int] = attrs.field(factory=dict)
    hanging: dict[str, threading.Event] = attrs.field(factory=dict)
    metadata: set[str] = attrs.field(factory=set)
    queried: list[str] = attrs.field(factory=list)

    def query(self, node: Path) -> Capabilities | None:
        """Answer for one node."""
        self.queried.append(node.name)
        if (event := self.hanging.get(node.name)) is not None:
            assert event.wait(200)
        if (number := self.errors.get(node.name)) is not None:
            raise OSError(number, "refused")
        return None if node.name in self.metadata else CAPABLE


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """Make a machine with a USB camera of two nodes, number 0 and 1."""
    machine = FakeMachine(tmp_path)
    machine.add_hub(USB)
    plug(machine, 1, 0)
    machine.add_node(1, f"{USB}/1-1/1-1:1.0", index=1, says=":")
    return machine


def plug(machine: FakeMachine, port: int, number: int) -> None:
    """Plug a camera in."""
    machine.add_usb(f"{USB}/1-{port}", serial=f"S{port}\n")
    machine.add_node(number, f"{USB}/1-{port}/1-{port}:1.0", says=":capture:")


def open_test_monitor(machine: FakeMachine, query: Query, config: DiscoveryConfig = ON):
    """Run a monitor on a machine."""
    return open_monitor(config, query=query, roots=machine.roots)


async def shown(monitor: DeviceMonitor, *numbers: int) -> tuple[Device, ...]:
    """Wait until these nodes are listed and nothing else."""
    wanted = [f"video{number}" for number in numbers]
    return await monitor.present.wait_until(
        lambda devices: [device.node.name for device in devices] == wanted
    )


async def test_a_device_is_listed_with_all_that_is_known(machine: FakeMachine) -> None:
    """A capture node has facts, links, sound card and capabilities; other nodes are not listed."""
    link = machine.add_link("by-id", "usb-Camera_S1-video-index0", 0)
    machine.add_card(3, f"{USB}/1-1/1-1:1.2", "Camera")
    with trio.fail_after(300):
        async with open_test_monitor(machine, Drivers(metadata={"video1"}).query) as monitor:
            await monitor.all_queried.wait()
            (device,) = monitor.present.value
            assert monitor.method == "polling every second: udev is not running"
    assert device.node == machine.roots.dev / "video0"
    assert device.usb is not None
    assert device.usb.serial == "S1"
    assert (device.links, device.sound_card) == ((link,), "Camera")
    assert (device.capabilities, device.problem) == (CAPABLE, None)


async def test_plugging_unplugging_and_replugging_are_listed(machine: FakeMachine) -> None:
    """A node that is replugged between two scans is a new device."""
    with trio.fail_after(300):
        async with open_test_monitor(machine, Drivers(metadata={"video1"}).query) as monitor:
            await monitor.all_queried.wait()
            plug(machine, 2, 4)
            first, other = await shown(monitor, 0, 4)
            machine.remove_node(0)
            machine.add_node(0, f"{USB}/1-1/1-1:1.0", says=":capture:")
            devices = await monitor.present.wait_until(
                lambda now: len(now) == 2 and now[0].plug_id > other.plug_id
            )
            assert devices[0] == attrs.evolve(first, plug_id=devices[0].plug_id)
            assert devices[1] == other
            machine.remove_node(4)
            await shown(monitor, 0)


async def test_a_driver_that_hangs_delays_no_other_node(machine: FakeMachine) -> None:
    """It is listed as hung, queried once, and its late answer is used."""
    plug(machine, 2, 2)
    stuck = threading.Event()
    drivers = Drivers(metadata={"video1"}, hanging={"video0": stuck})
    try:
        with trio.fail_after(300):
            async with open_test_monitor(machine, drivers.query) as monitor:
                await shown(monitor, 2)
                assert not monitor.all_queried.is_set()
                await monitor.all_queried.wait()
                hung = monitor.present.value[0]
                assert hung.problem is not None
                assert hung.problem.kind == "hung"
                assert await monitor.query_again(hung.node) == hung
                assert drivers.queried.count("video0") == 1
                stuck.set()
                devices = await monitor.present.wait_until(lambda now: now[0].problem is None)
                assert devices[0].capabilities == CAPABLE
    finally:
        stuck.set()


async def test_the_monitor_ends_while_a_driver_hangs(machine: FakeMachine) -> None:
    """Leaving the block does not wait for the thread."""
    stuck = threading.Event()
    try:
        with trio.fail_after(300):
            async with open_test_monitor(
                machine, Drivers(hanging={"video0": stuck}).query
            ) as monitor:
                await shown(monitor, 1)
        assert not stuck.is_set()
        with pytest.raises(ActorGoneError):
            await monitor.query_again(machine.roots.dev / "video0")
    finally:
        stuck.set()


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        *((errno.EACCES, "no_permission"), (errno.EPERM, "no_permission")),
        *((errno.EBUSY, "busy"), (errno.EIO, "io_error"), (errno.ETIMEDOUT, "io_error")),
    ],
)
async def test_a_refusal_is_a_problem_until_permissions_change(
    machine: FakeMachine, number: int, cause: str
) -> None:
    """A camera that cannot be queried is listed with its problem; new permissions clear it."""
    drivers = Drivers(errors={"video0": number, "video1": number})
    with trio.fail_after(300):
        async with open_test_monitor(machine, drivers.query) as monitor:
            await monitor.all_queried.wait()
            (device,) = monitor.present.value
            assert device.node.name == "video0"
            assert device.capabilities is None
            assert device.problem is not None
            assert device.problem.kind == cause
            drivers.errors.clear()
            drivers.metadata.add("video1")
            (machine.roots.dev / "video0").chmod(0o640)
            (after,) = await monitor.present.wait_until(lambda now: now[0].problem is None)
            assert after.capabilities == CAPABLE
            assert after.plug_id == device.plug_id


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT, errno.ENXIO, errno.ENOTTY])
async def test_nodes_without_a_camera_are_not_listed(machine: FakeMachine, number: int) -> None:
    """A node without a device, or of another kind, has no problem and is not listed."""
    drivers = Drivers(errors={"video0": number}, metadata={"video1"})
    with trio.fail_after(300):
        async with open_test_monitor(machine, drivers.query) as monitor:
            await monitor.all_queried.wait()
            assert monitor.present.value == ()


async def test_query_again_queries_at_once(machine: FakeMachine) -> None:
    """A node, or the target of a link, is queried; the result is None when it is gone."""
    link = machine.add_link("by-id", "usb-Camera-video-index0", 0)
    drivers = Drivers(metadata={"video1"})
    with trio.fail_after(300):
        async with open_test_monitor(machine, drivers.query) as monitor:
            await monitor.all_queried.wait()
            drivers.errors["video0"] = errno.EIO
            device = await monitor.query_again(link)
            assert device is not None
            assert device.problem is not None
            assert device.problem.kind == "io_error"
            assert device == monitor.present.value[0]
            assert drivers.queried.count("video0") == 2
            machine.remove_node(0)
            assert await monitor.query_again(link) is None
            assert await monitor.query_again(machine.roots.dev / "video1") is None


async def test_query_again_is_bounded(machine: FakeMachine) -> None:
    """For a driver that hangs, the device is returned as hung, with its known capabilities."""
    drivers = Drivers(metadata={"video1"})
    stuck = threading.Event()
    try:
        with trio.fail_after(300):
            async with open_test_monitor(machine, drivers.query) as monitor:
                await monitor.all_queried.wait()
                drivers.hanging["video0"] = stuck
                device = await monitor.query_again(machine.roots.dev / "video0")
        assert device is not None
        assert device.problem is not None
        assert device.problem.kind == "hung"
        assert device.capabilities == CAPABLE
    finally:
        stuck.set()


async def test_ignored_nodes_are_not_opened(machine: FakeMachine) -> None:
    """A node that the configuration ignores is neither opened nor listed."""
    plug(machine, 2, 2)
    drivers = Drivers(metadata={"video1"})
    with trio.fail_after(300):
        async with open_test_monitor(
            machine, drivers.query, DiscoveryConfig(ignore=("1-1",))
        ) as monitor:
            await monitor.all_queried.wait()
            assert [device.node.name for device in monitor.present.value] == ["video2"]
    assert drivers.queried == ["video2"]


async def test_without_discovery_the_monitor_is_empty_and_settled(machine: FakeMachine) -> None:
    """No node is queried."""
    drivers = Drivers()
    with trio.fail_after(300):
        async with open_test_monitor(
            machine, drivers.query, DiscoveryConfig(v4l2=False)
        ) as monitor:
            assert monitor.all_queried.is_set()
            assert await monitor.query_again(machine.roots.dev / "video0") is None
            assert (monitor.present.value, monitor.method) == ((), "switched off")
    assert drivers.queried == []


@pytest.fixture
def denying() -> Callable[[Path], None]:
    """Return a query of a driver that may not be opened."""

    def query(node: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(node))

    return query


def test_a_missing_permission_names_its_remedy(
    machine: FakeMachine, denying: Callable[[Path], None]
) -> None:
    """The problem says what to do, and `entitled` whether user and groups allow it."""
    node = machine.roots.dev / "video0"
    problem = query_node(node, denying).problem
    assert problem is not None
    assert "may not open the camera" in problem.message
    assert problem.suggestion
    assert problem.suggestion
    assert read_access(node).entitled
    assert not read_access(node.with_name("video9")).entitled


def test_without_udev_there_is_a_reason(tmp_path: Path) -> None:
    """Where udev does not run, its events are not opened."""
    assert open_udev_events(tmp_path) == (None, "udev is not running")


async def test_udev_events_are_opened_where_udev_runs(tmp_path: Path) -> None:
    """With udev's control socket the events are opened, or the reason says why not."""
    (tmp_path / "control").write_bytes(b"")
    wait_event, reason = open_udev_events(tmp_path)
    assert (wait_event is None) == bool(reason)
    if wait_event is not None:
        with trio.move_on_after(0.05) as quiet:
            await wait_event()
        assert quiet.cancelled_caught
