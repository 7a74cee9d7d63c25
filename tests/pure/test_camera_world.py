"""Cameras, ports and processes in any order: nobody records under another's name, nobody forever.

The world is a model (tests/support/camera_world.py); the decisions are the real ones: who has
which device, and what a camera does next.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camd.camera import machine as m
from camd.devices.adoption import adopt
from camd.devices.assignment import Assignment, assign
from camd.devices.leases import Leases
from camd.model import CameraId, CameraState, Device
from tests.support.camera_shell import STALLED, Shell
from tests.support.camera_world import (
    ALL_PORTS,
    TABLE_PORTS,
    Child,
    Physical,
    Plugging,
    World,
    is_unique,
)
from tests.support.plugged import entry

CONFIGURED = (entry("door", serial="B2"), entry("gate", port="1-3", swap="accept"))
WHICH = st.integers(0, 1000)  # of some; what there is to choose from depends on the story


@attrs.frozen
class Owner:
    """The camera that an id belongs to, and where it was last under this id."""

    physical: Physical
    port: str


class CameraWorld(RuleBasedStateMachine):
    """Things happen to cameras; the ids' owners are kept here, by what really happened."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.leases = Leases()
        self.now = Assignment()
        self.shells: dict[str, Shell] = {}
        self.owners: dict[str, Owner] = {}
        self.look()

    # --- camd's part --------------------------------------------------------------------------

    def look(self, *, adopted: str = "") -> None:
        """Survey, assign, and tell the cameras; judge every change of an owner."""
        before = self.now
        self.now = assign(self.world.devices, before.known, CONFIGURED)
        ids = {seat.camera_id for seat in self.now.seats}
        for camera_id in self.shells.keys() - ids:
            self.owners.pop(camera_id, None)  # its device got another id, as somebody said
            self.leave(self.shells[camera_id])
        for camera_id in [*self.owners]:
            if all(known.camera_id != camera_id for known in self.now.known):
                del self.owners[camera_id]
        spread = {known: owner for known, owner in self.owners.items() if known != adopted}
        for seat in self.now.seats:
            if seat.device is not None:
                self.judge(seat.camera_id, self.plugging(seat.device), spread)
            shell = self.shells.get(seat.camera_id)
            if shell is None:
                self.shells[seat.camera_id] = Shell(seat.camera_id, self.world, self.leases, seat)
            elif shell.offered != seat:
                shell.mailbox.append(seat)

    def leave(self, shell: Shell) -> None:
        """End a camera that is no more; its child may take its time."""
        if shell.session:
            shell.want(wanted=False)
        if shell.offered.device is not None:
            shell.mailbox.append(attrs.evolve(shell.offered, device=None))

    def judge(self, camera_id: str, plugging: Plugging, spread: dict[str, Owner]) -> None:
        """Say whether an id may belong to this camera, by what really happened."""
        owner = spread.get(camera_id)
        new, port = plugging.physical, plugging.port
        if owner is not None and owner.physical is not new and not self.accepted(camera_id, port):
            assert owner.physical.looks == new.looks, "another camera under this name"
            lookalikes = [o for o in spread.values() if o.physical.looks == new.looks]
            there = [p for p in self.world.ports.values() if p.physical.looks == new.looks]
            alone = len(lookalikes) == len(there) == 1
            assert port == owner.port or alone, "guessed which of two it is"
        self.owners[camera_id] = Owner(new, port)

    def accepted(self, camera_id: str, port: str) -> bool:
        return camera_id == "gate" and port == "3"

    def plugging(self, device: Device) -> Plugging:
        (found,) = (p for p in self.world.ports.values() if p.device.plugged == device.plugged)
        return found

    def say(self, camera_id: str, device: Device) -> None:
        """Let a person say which camera is which."""
        for seat in self.now.seats:
            if seat.device == device:
                self.owners.pop(seat.camera_id, None)
        known = adopt(self.now, CameraId(camera_id), device, CONFIGURED)
        self.now = attrs.evolve(self.now, known=known)
        self.look(adopted=camera_id)

    # --- what can be chosen from --------------------------------------------------------------

    @property
    def free_ports(self) -> list[str]:
        return [port for port in TABLE_PORTS if port not in self.world.ports]

    @property
    def listed(self) -> list[Shell]:
        return [self.shells[seat.camera_id] for seat in self.now.seats]

    @property
    def with_mail(self) -> list[Shell]:
        return [shell for shell in self.shells.values() if shell.mailbox]

    def able(self, *, told: bool | None = None) -> list[Child]:
        """The children that do not hang."""
        alive = [child for child in self.world.children if not child.hangs]
        return [child for child in alive if told is None or child.told == told]

    @property
    def with_pictures(self) -> list[Child]:
        return [child for child in self.able() if self.world.is_there(child.plugging)]

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
        self.shell(some(self.world.children, child)).mailbox.append(m.ChildStalled(STALLED))

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
        self.shell(some(delivering, child)).mailbox.append(m.ChildSettled())

    def pictures(self, child: Child) -> None:
        if not child.delivers:
            child.delivers = True
            self.shell(child).mailbox.append(m.FragmentArrived())

    def shell(self, child: Child) -> Shell:
        return self.shells[child.camera_id]

    # --- people and time ----------------------------------------------------------------------

    @rule(camera=WHICH)
    def start_recording(self, camera: int) -> None:
        some(self.listed, camera).want(wanted=True)

    @rule(camera=WHICH)
    def stop_recording(self, camera: int) -> None:
        some(self.listed, camera).want(wanted=False)

    @precondition(lambda self: any(shell.resting for shell in self.shells.values()))
    @rule(camera=WHICH)
    def rest(self, camera: int) -> None:
        shell = some([shell for shell in self.shells.values() if shell.resting], camera)
        shell.resting = False
        shell.mailbox.append(m.RestOver())

    @precondition(lambda self: self.with_mail)
    @rule(camera=WHICH)
    def read(self, camera: int) -> None:
        some(self.with_mail, camera).read()

    @precondition(lambda self: self.now.offers)
    @rule(camera=WHICH, device=WHICH)
    def adopt_what_is_offered(self, camera: int, device: int) -> None:
        offer = some([offer for offer in self.now.offers if offer.devices] or [None], camera)
        if offer is None:
            return
        meant = some(offer.devices, device)
        holders = [seat.camera_id for seat in self.now.seats if seat.device == meant]
        if not any(self.shells[holder].session for holder in holders):  # else it is refused
            self.say(offer.camera_id, meant)

    # --- what must hold -----------------------------------------------------------------------

    @invariant()
    def a_device_has_one_child_and_one_camera(self) -> None:
        nodes = [child.plugging.device.node for child in self.world.children]
        assert len(set(nodes)) == len(nodes), "two children on one node"
        seated = [seat.device.plugged for seat in self.now.seats if seat.device is not None]
        assert len(set(seated)) == len(seated), "two cameras on one device"
        assert {shell.child for shell in self.shells.values() if shell.child} == {
            *self.world.children
        }
        for shell in self.shells.values():
            assert shell.machine.has_child == bool(shell.child or shell.end_is_under_way)

    @invariant()
    def a_child_runs_on_its_cameras_device(self) -> None:
        for child in self.world.children:
            device = self.shell(child).seat.device
            fits = device is not None and device.plugged == child.plugging.device.plugged
            assert child.told or fits, "it records what is another's"

    @invariant()
    def no_session_is_forgotten(self) -> None:
        for shell in self.shells.values():
            assert shell.machine.wanted == shell.session
            told = bool(shell.mailbox)
            waits = shell.machine.state is CameraState.ABSENT and not shell.machine.present
            if shell.session and not told:
                assert shell.child or shell.resting or waits, "nothing will go on"
                assert not waits or shell.seat.device is None, "it waits for what is there"

    @invariant()
    def who_can_be_known_is_known(self) -> None:
        seats = {
            self.plugging(seat.device): seat.camera_id for seat in self.now.seats if seat.device
        }
        for plugging in self.world.ports.values():
            if is_unique(plugging.physical):
                known = [
                    i for i, owner in self.owners.items() if owner.physical is plugging.physical
                ]
                assert plugging in seats, "a camera with its own serial number has no seat"
                assert seats[plugging] in known

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
            seats = {seat.camera_id: seat.device for seat in self.now.seats}
            device = self.world.ports[port].device
            if at_home:
                assert seats[CameraId(camera_id)] == device, "not recognised where it always was"
            elif seats.get(CameraId(camera_id)) != device:
                self.say(camera_id, device)
        self.settle_down()
        for camera_id in homes:
            shell = self.shells[camera_id]
            assert shell.records == shell.session, f"{camera_id} does not go on"
            if shell.records and shell.child is not None:
                owner = self.owners[camera_id].physical
                assert shell.child.plugging.physical is owner

    def put_back(self) -> dict[str, tuple[str, bool]]:
        """Plug in a camera for every id, where it was last, if the port is free.

        Of cameras that look alike any will do. Returns their ports, and whether it is that one.
        """
        homes: dict[str, tuple[str, bool]] = {}
        for camera_id in sorted(self.owners, key=lambda known: (known != "gate", known)):
            owner = self.owners[camera_id]
            alike = [p for p in self.world.unplugged if p.looks == owner.physical.looks]
            if alike:
                spare = [port for port in reversed(ALL_PORTS) if port not in self.world.ports]
                spare = [port for port in spare if (port == "3") == (camera_id == "gate")]
                at_home = owner.port in spare
                port = owner.port if at_home else spare[0]
                self.world.plug(owner.physical if owner.physical in alike else alike[0], port)
                homes[camera_id] = (port, at_home)
        return homes

    def settle_down(self) -> None:
        """Let everything happen that happens by itself."""
        for _ in range(50):
            for child in [*self.world.children]:
                if child.told or not self.world.is_there(child.plugging):
                    self.shell(child).end_child()
                else:
                    self.pictures(child)
            for shell in self.shells.values():
                if shell.resting:
                    shell.resting = False
                    shell.mailbox.append(m.RestOver())
                while shell.mailbox:
                    shell.read()


def some(things, number: int):
    """Choose one of several by a number."""
    things = list(things)
    return things[number % len(things)]


TestCameraWorld = pytest.mark.filterwarnings("default")(CameraWorld.TestCase)
TestCameraWorld.__doc__ = (
    "Whatever happens in whatever order: one child a device, the right name, no session lost."
)
TestCameraWorld.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
