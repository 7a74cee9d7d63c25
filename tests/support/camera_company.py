"""All cameras of a world as camd sees them, and whose each id really is, by what happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import attrs
from support.camera_shell import Shell
from support.camera_world import ALL_PORTS, TABLE_PORTS, Child, Physical, Plugging, World
from support.fake_devices import entry

from camd.capture.rules import state as m
from camd.devices.leases import DeviceLeases
from camd.devices.matching.match import Assignment, adopt, assign
from camd.model import CameraId, Device

CONFIGURED = (entry("door", serial="B2"), entry("gate", port="1-3", swap="accept"))
T = TypeVar("T")


@attrs.frozen
class Owner:
    """The camera that an id belongs to, and where it was last under this id."""

    physical: Physical
    port: str


class Company:
    """Every camera, and the judge of their names."""

    def __init__(self) -> None:
        self.world = World()
        self.leases = DeviceLeases()
        self.now = Assignment()
        self.adopted = ""
        self.shells: dict[str, Shell] = {}
        self.owners: dict[str, Owner] = {}
        self.look()

    # --- camd's part --------------------------------------------------------------------------

    def look(self, *, adopted: str = "") -> None:
        """Survey, assign, and tell the cameras; judge every change of an owner."""
        before, self.adopted = self.now, adopted
        self.now = assign(self.world.devices, before.known, CONFIGURED)
        ids = {binding.camera_id for binding in self.now.bindings}
        for camera_id in self.shells.keys() - ids:  # its device got another id, as somebody said
            self.leave(self.shells[camera_id])
        kept = {known.camera_id for known in self.now.known}
        self.owners = {known: owner for known, owner in self.owners.items() if known in kept}
        for binding in self.now.bindings:
            if binding.camera_id == "gate" and binding.device is not None:  # it takes what comes
                plugging = self.plugging(binding.device)
                assert plugging.port == "3"
                self.owners["gate"] = Owner(plugging.physical, "3")
        spread = {known: owner for known, owner in self.owners.items() if known != adopted}
        for binding in self.now.bindings:
            if binding.device is not None:
                self.judge(binding.camera_id, self.plugging(binding.device), spread)
            shell = self.shells.get(binding.camera_id)
            if shell is None:
                self.shells[binding.camera_id] = Shell(
                    binding.camera_id, self.world, self.leases, binding
                )
            elif shell.offered != binding:
                shell.mailbox.append(binding)

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
        if owner is None and camera_id.startswith("camera") and camera_id != self.adopted:
            missing = [i for i, o in spread.items() if o.physical.looks == new.looks]
            missing = [i for i in missing if i != "gate" and not self.bound(i)]
            assert not missing, "a new number for what may be a known camera"
        if owner is not None and owner.physical is not new:
            assert owner.physical.looks == new.looks, "another camera under this name"
            lookalikes = [o for o in spread.values() if o.physical.looks == new.looks]
            there = [p for p in self.world.ports.values() if p.physical.looks == new.looks]
            alone = len(lookalikes) == len(there) == 1
            assert port == owner.port or alone, "guessed which of two it is"
        self.owners[camera_id] = Owner(new, port)

    def bound(self, camera_id: str) -> bool:
        return any(
            binding.camera_id == camera_id and binding.device for binding in self.now.bindings
        )

    def plugging(self, device: Device) -> Plugging:
        (found,) = (p for p in self.world.ports.values() if p.device.plug_id == device.plug_id)
        return found

    def say(self, camera_id: str, device: Device) -> None:
        """Let a person say which camera is which."""
        for binding in self.now.bindings:
            if binding.device == device:
                self.owners.pop(binding.camera_id, None)
        known = adopt(self.now, CameraId(camera_id), device, CONFIGURED)
        self.now = attrs.evolve(self.now, known=known)
        self.look(adopted=camera_id)

    # --- what can be chosen from --------------------------------------------------------------

    @property
    def free_ports(self) -> list[str]:
        return [port for port in TABLE_PORTS if port not in self.world.ports]

    @property
    def listed(self) -> list[Shell]:
        return [self.shells[binding.camera_id] for binding in self.now.bindings]

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

    # --- by itself ---------------------------------------------------------------------------

    def pictures(self, child: Child) -> None:
        if not child.delivers:
            child.delivers = True
            self.shell(child).mailbox.append(m.FragmentArrived())

    def shell(self, child: Child) -> Shell:
        return self.shells[child.camera_id]

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


def some(things: Iterable[T], number: int) -> T:
    """Choose one of several by a number."""
    choice = list(things)
    return choice[number % len(choice)]
