"""Cameras, ports and processes in any order: nobody records under another's name, nobody forever.

The world is a model (tests/pure/camera_world.py); the decisions are the real ones: who has
which device, and what a camera does next.
"""

from __future__ import annotations

import pytest
from camera_world import FLEET, STALLED, CamerasModel, is_unique, some
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camd.capture.rules import state as m
from camd.model import CameraId, CameraState

WHICH = st.integers(0, 1000)  # of some; what there is to choose from depends on the story


class CameraWorld(CamerasModel, RuleBasedStateMachine):
    """Things happen to cameras; the ids' owners are kept here, by what really happened."""

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        CamerasModel.__init__(self)

    # --- cables -------------------------------------------------------------------------------

    @precondition(lambda self: self.free_ports)
    @rule(camera=WHICH, port=WHICH)
    def plug(self, camera: int, port: int) -> None:
        physical = some(self.world.unplugged, camera)
        self.world.plug(physical, some(self.free_ports, port))
        self.look()

    @precondition(lambda self: self.world.ports)
    @rule(port=WHICH)
    def pull(self, port: int) -> None:
        self.world.pull(some([*self.world.ports], port))
        self.look()

    @precondition(lambda self: self.world.ports)
    @rule(old=WHICH, new=WHICH)
    def replug(self, old: int, new: int) -> None:
        """So fast that nobody sees it unplugged."""
        physical = self.world.pull(some([*self.world.ports], old))
        self.world.plug(physical, some(self.free_ports, new))
        self.look()

    @precondition(lambda self: self.world.ports)
    @rule(port=WHICH, camera=WHICH)
    def exchange(self, port: int, camera: int) -> None:
        """Another camera where one was, so fast that nobody sees the port empty."""
        place = some([*self.world.ports], port)
        others = self.world.unplugged
        self.world.pull(place)
        self.world.plug(some(others, camera), place)
        self.look()

    @precondition(lambda self: len(self.world.ports) > 1)
    @rule(one=WHICH, two=WHICH, seen=st.booleans())
    def swap(self, one: int, two: int, seen: bool) -> None:
        first = some([*self.world.ports], one)
        second = some([port for port in self.world.ports if port != first], two)
        here, there = self.world.pull(first), self.world.pull(second)
        if seen:
            self.look()
        self.world.plug(there, first)
        if seen:
            self.look()
        self.world.plug(here, second)
        self.look()

    # --- processes ----------------------------------------------------------------------------

    @precondition(lambda self: self.world.children)
    @rule(child=WHICH)
    def stall(self, child: int) -> None:
        self.shell(some(self.world.children, child)).mailbox.append(m.ProcessStalled(STALLED))

    @precondition(lambda self: self.able())
    @rule(child=WHICH)
    def die(self, child: int) -> None:
        self.shell(some(self.able(), child)).end_child()

    @precondition(lambda self: self.able())
    @rule(child=WHICH)
    def hang(self, child: int) -> None:
        some(self.able(), child).hangs = True

    @precondition(lambda self: any(child.hangs for child in self.world.children))
    @rule(child=WHICH)
    def let_go(self, child: int) -> None:
        some([c for c in self.world.children if c.hangs], child).hangs = False

    @precondition(lambda self: self.able(told=True))
    @rule(child=WHICH)
    def obey(self, child: int) -> None:
        self.shell(some(self.able(told=True), child)).end_child()

    @precondition(lambda self: self.with_pictures)
    @rule(child=WHICH)
    def deliver(self, child: int) -> None:
        self.pictures(some(self.with_pictures, child))

    @precondition(lambda self: any(child.delivers for child in self.world.children))
    @rule(child=WHICH)
    def settle(self, child: int) -> None:
        delivering = [c for c in self.world.children if c.delivers]
        self.shell(some(delivering, child)).mailbox.append(m.StreamingSteadily())

    # --- people and time ----------------------------------------------------------------------

    @rule(camera=WHICH)
    def start_recording(self, camera: int) -> None:
        some(self.listed, camera).want(wanted=True)

    @rule()
    def record_all(self) -> None:
        for shell in self.listed:
            shell.want(wanted=True)

    @rule(camera=WHICH)
    def stop_recording(self, camera: int) -> None:
        some(self.listed, camera).want(wanted=False)

    @precondition(lambda self: any(shell.resting for shell in self.shells.values()))
    @rule(camera=WHICH)
    def rest(self, camera: int) -> None:
        shell = some([shell for shell in self.shells.values() if shell.resting], camera)
        shell.resting = False
        shell.mailbox.append(m.RetryDue())

    @precondition(lambda self: self.with_mail)
    @rule(camera=WHICH)
    def read(self, camera: int) -> None:
        some(self.with_mail, camera).read()

    @precondition(lambda self: self.with_mail)
    @rule()
    def read_all(self) -> None:
        for shell in self.with_mail:
            while shell.mailbox:
                shell.read()

    @rule()
    def deliver_all(self) -> None:
        for child in self.with_pictures:
            self.pictures(child)

    @precondition(lambda self: any(self.now.adoptable.values()))
    @rule(camera=WHICH, device=WHICH)
    def adopt_an_adoptable_device(self, camera: int, device: int) -> None:
        camera_id = some([key for key, found in self.now.adoptable.items() if found], camera)
        meant = some(self.now.adoptable[camera_id], device)
        holders = [binding.camera_id for binding in self.now.bindings if binding.device == meant]
        if not any(self.shells[holder].session for holder in holders):  # else it is refused
            self.say(camera_id, meant)

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def a_device_has_one_child_and_one_camera(self) -> None:
        nodes = [child.plugging.device.node for child in self.world.children]
        assert len(set(nodes)) == len(nodes), "two children on one node"
        bound = [
            binding.device.plug_id for binding in self.now.bindings if binding.device is not None
        ]
        assert len(set(bound)) == len(bound), "two cameras on one device"
        assert {shell.child for shell in self.shells.values() if shell.child} == {
            *self.world.children
        }
        for shell in self.shells.values():
            assert shell.machine.has_process == bool(shell.child or shell.end_is_under_way)

    @invariant()
    def a_child_runs_on_its_cameras_device(self) -> None:
        for child in self.world.children:
            device = self.shell(child).binding.device
            fits = device is not None and device.plug_id == child.plugging.device.plug_id
            assert child.told or fits, "it records what is another's"

    @invariant()
    def no_session_is_forgotten(self) -> None:
        for shell in self.shells.values():
            assert shell.machine.wanted == shell.session
            told = bool(shell.mailbox)
            waits = shell.machine.state is CameraState.ABSENT and not shell.machine.present
            if shell.session and not told:
                assert shell.child or shell.resting or waits, "nothing will go on"
                assert not waits or shell.binding.device is None, "it waits for what is there"

    @invariant()
    def who_can_be_known_is_known(self) -> None:
        bindings = {
            self.plugging(binding.device): binding.camera_id
            for binding in self.now.bindings
            if binding.device
        }
        for plugging in self.world.ports.values():
            looks = plugging.physical.looks
            alike = [o for o in self.owners.values() if o.physical.looks == looks]
            if is_unique(plugging.physical) and len(alike) < 2:  # it was a gate's, and went
                assert plugging in bindings, "a camera with its own serial number has no seat"
                assert self.owners[bindings[plugging]] in alike

    # --- the world heals ----------------------------------------------------------------------

    def teardown(self) -> None:
        """Put every camera back, let go what hangs: every session goes on."""
        for child in self.world.children:
            child.hangs = False
        for port in [*self.world.ports]:
            self.world.pull(port)
        homes = self.put_back()
        self.look()
        for camera_id, (port, at_home) in homes.items():
            bindings = {binding.camera_id: binding.device for binding in self.now.bindings}
            device = self.world.ports[port].device
            if at_home:
                assert bindings[CameraId(camera_id)] == device, "not recognised where it always was"
            elif bindings.get(CameraId(camera_id)) != device:
                self.say(camera_id, device)
        self.settle_down()
        for camera_id in homes:
            shell = self.shells[camera_id]
            assert shell.records == shell.session, f"{camera_id} does not go on"
            if shell.records and shell.child is not None:
                owner = self.owners[camera_id].physical
                assert shell.child.plugging.physical is owner


TestCameraWorld = pytest.mark.filterwarnings("default")(CameraWorld.TestCase)
TestCameraWorld.__doc__ = (
    "Whatever happens in whatever order: one child a device, the right name, no session lost."
)
TestCameraWorld.settings = settings(max_examples=100, stateful_step_count=40)


def test_a_device_that_gets_another_camera_waits_for_the_old_ones_child() -> None:
    """Who was told to end and hangs keeps the device; the new camera begins when it is gone."""
    story = CameraWorld()
    red, blue = FLEET[0], FLEET[1]
    story.world.plug(red, "1")
    story.look()
    story.world.pull("1")
    story.world.plug(blue, "1")
    story.look()
    door, camera = story.shells["door"], story.shells["camera0"]
    story.read_all()
    door.want(wanted=True)
    assert door.child is not None
    door.child.hangs = True
    door.want(wanted=False)
    camera.want(wanted=True)
    story.say("camera0", *story.now.adoptable_by(CameraId("camera0")))
    story.read_all()
    assert story.world.children == [door.child]
    assert camera.machine.state is CameraState.RESTING
    door.child.hangs = False
    story.settle_down()
    assert [child.camera_id for child in story.world.children] == ["camera0"]
    assert camera.records
