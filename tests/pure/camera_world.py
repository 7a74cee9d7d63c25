"""A model of ports, cameras and FFmpeg processes, with camd's real decisions about bindings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeVar

import attrs
from support.fake_devices import CONTROLLER, entry, usb_camera

from camd.capture.rules import state as m
from camd.capture.supervisor import DeviceClaims
from camd.devices.matching.adoption import adopt
from camd.devices.matching.match import Assignment, assign
from camd.model import CameraId, CameraState, Device, DeviceBinding, Problem

CONFIGURED = (entry("door", serial="B2"), entry("gate", port="1-3", swap="accept"))
T = TypeVar("T")


@attrs.frozen
class Owner:
    """The camera that an id belongs to, and where it was last under this id."""

    physical: Physical
    port: str


class CamerasModel:
    """Every camera, and the check that each id stays with its camera."""

    def __init__(self) -> None:
        self.world = World()
        self.claims = DeviceClaims()
        self.now = Assignment()
        self.adopted = ""
        self.shells: dict[str, CaptureModel] = {}
        self.owners: dict[str, Owner] = {}
        self.look()

    # --- camd's part --------------------------------------------------------------------------

    def look(self, *, adopted: str = "") -> None:
        """Assign devices, tell the cameras, and check every change of an owner."""
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
                self.shells[binding.camera_id] = CaptureModel(
                    binding.camera_id, self.world, self.claims, binding
                )
            elif shell.offered != binding:
                shell.mailbox.append(binding)

    def leave(self, shell: CaptureModel) -> None:
        """End a camera that is no more; its FFmpeg process may take its time."""
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
    def listed(self) -> list[CaptureModel]:
        return [self.shells[binding.camera_id] for binding in self.now.bindings]

    @property
    def with_mail(self) -> list[CaptureModel]:
        return [shell for shell in self.shells.values() if shell.mailbox]

    def able(self, *, told: bool | None = None) -> list[ChildProcess]:
        """The FFmpeg processes that do not hang."""
        alive = [child for child in self.world.children if not child.hangs]
        return [child for child in alive if told is None or child.told == told]

    @property
    def with_pictures(self) -> list[ChildProcess]:
        return [child for child in self.able() if self.world.is_there(child.plugging)]

    # --- by itself ---------------------------------------------------------------------------

    def pictures(self, child: ChildProcess) -> None:
        if not child.delivers:
            child.delivers = True
            self.shell(child).mailbox.append(m.FirstFragmentArrived())

    def shell(self, child: ChildProcess) -> CaptureModel:
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
                    shell.mailbox.append(m.RetryDue())
                while shell.mailbox:
                    shell.read()


def some(things: Iterable[T], number: int) -> T:
    """Choose one of several by a number."""
    choice = list(things)
    return choice[number % len(choice)]


# --- ports, cameras and processes -----------------------------------------------------


@attrs.frozen
class Physical:
    """A camera that one can take in one's hand; the sticker is for the tests alone."""

    sticker: str
    product: str
    serial: str = ""

    @property
    def looks(self) -> tuple[str, str]:
        """All that it shows of itself."""
        return self.product, self.serial


FLEET = (
    Physical("red", "6366", serial="R1"),
    Physical("blue", "6366", serial="B2"),
    Physical("plain", "6366"),
    Physical("twin one", "9230", serial="SN0001"),
    Physical("twin two", "9230", serial="SN0001"),
    Physical("bare one", "7777"),
    Physical("bare two", "7777"),
    Physical("only one", "5555"),
)
TABLE_PORTS = "1234"  # fewer than cameras, so that they meet each other's traces
ALL_PORTS = "12345678"


def is_unique(physical: Physical) -> bool:
    """Tell whether its serial number is no other camera's."""
    return bool(physical.serial) and sum(p.looks == physical.looks for p in FLEET) == 1


@attrs.frozen(eq=False)
class Plugging:
    """A camera in a port, from plugging in to pulling out."""

    physical: Physical
    device: Device

    @property
    def port(self) -> str:
        """Where it is."""
        assert self.device.usb is not None
        return self.device.usb.port.removeprefix(CONTROLLER)


@attrs.define(eq=False)
class ChildProcess:
    """A capture process and the node that it has open."""

    camera_id: str
    plugging: Plugging
    told: bool = False
    hangs: bool = False
    delivers: bool = False


@attrs.define(eq=False)
class World:
    """What is plugged in, and which processes run."""

    ports: dict[str, Plugging] = attrs.field(factory=dict)
    children: list[ChildProcess] = attrs.field(factory=list)
    _pluggings: int = attrs.field(default=0, init=False)

    @property
    def devices(self) -> list[Device]:
        """What the device monitor would list."""
        return [plugging.device for plugging in self.ports.values()]

    @property
    def unplugged(self) -> list[Physical]:
        """The cameras that lie on the table."""
        there = {plugging.physical for plugging in self.ports.values()}
        return [physical for physical in FLEET if physical not in there]

    def is_there(self, plugging: Plugging) -> bool:
        """Tell whether a plugging lasts."""
        return self.ports.get(plugging.port) is plugging

    def plug(self, physical: Physical, port: str) -> None:
        """Put a camera into a free port; it gets the lowest free node."""
        assert port not in self.ports
        assert physical in self.unplugged
        taken = {plugging.device.node.name for plugging in self.ports.values()}
        taken |= {child.plugging.device.node.name for child in self.children}
        number = next(n for n in range(100) if f"video{n}" not in taken)
        self._pluggings += 1
        found = usb_camera(number, port=port, serial=physical.serial, product=physical.product)
        self.ports[port] = Plugging(physical, attrs.evolve(found, plug_id=self._pluggings))

    def pull(self, port: str) -> Physical:
        """Take the camera out of a port."""
        return self.ports.pop(port).physical

    def opened(self, device: Device, camera_id: str) -> ChildProcess:
        """Start a process on whatever has the node's name now, as FFmpeg does."""
        (plugging,) = (p for p in self.ports.values() if p.device.node == device.node)
        child = ChildProcess(camera_id, plugging)
        self.children.append(child)
        return child


# --- one camera without event loop ----------------------------------------------------


BROKEN = Problem("broken", "It broke", "Mend it.")
BUSY = Problem("busy", "It is still open", "Wait.")
STALLED = Problem("stalled", "It delivers nothing", "Shake it.")
UNPLUGGED = Problem("absent", "It is not there", "Plug it in.")


@attrs.define(eq=False)
class CaptureModel:
    """One camera: its state table, mailbox, binding, FFmpeg process and timer."""

    camera_id: str
    world: World
    claims: DeviceClaims
    binding: DeviceBinding
    machine: m.CaptureState = attrs.field(factory=m.CaptureState)
    mailbox: deque[m.CaptureEvent | DeviceBinding] = attrs.field(factory=deque)
    child: ChildProcess | None = None
    resting: bool = False
    session: bool = False

    def __attrs_post_init__(self) -> None:
        if self.binding.device is None:
            self.step(m.DeviceLost(self.binding.problem or UNPLUGGED))

    @property
    def offered(self) -> DeviceBinding:
        """The latest binding, read from the mailbox or not."""
        bindings = [item for item in self.mailbox if isinstance(item, DeviceBinding)]
        return bindings[-1] if bindings else self.binding

    @property
    def end_is_under_way(self) -> bool:
        """Whether the process has ended and the state table does not know."""
        return any(isinstance(item, m.ProcessEnded) for item in self.mailbox)

    @property
    def records(self) -> bool:
        """Whether footage of the device of the binding goes into the session."""
        device = self.binding.device
        return (
            self.session
            and self.machine.state is CameraState.STREAMING
            and self.child is not None
            and device is not None
            and self.child.plugging.device.plug_id == device.plug_id
            and self.child.delivers
        )

    def want(self, *, wanted: bool) -> None:
        """Start or stop a recording."""
        self.session = wanted
        self.step(m.DemandBegan() if wanted else m.DemandEnded())

    def read(self) -> None:
        """Take the next message out of the mailbox."""
        item = self.mailbox.popleft()
        if isinstance(item, DeviceBinding):
            self.sit(item)
        else:
            self.step(item)

    def sit(self, binding: DeviceBinding) -> None:
        """Change the binding: another device is a loss first."""
        before, after = self.binding.device, binding.device
        self.binding = binding
        if after is None:
            self.step(m.DeviceLost(binding.problem or UNPLUGGED))
        elif before is None or before.plug_id != after.plug_id:
            if before is not None:
                self.step(m.DeviceLost(UNPLUGGED))
            self.step(m.DeviceAppeared())

    def step(self, event: m.CaptureEvent) -> None:
        """Let the machine answer, and do what it says."""
        self.machine, actions = m.step(self.machine, event)
        for action in actions:
            match action:
                case m.CaptureAction.SPAWN:
                    assert self.child is None, "two children of one camera"
                    assert not self.end_is_under_way, "the last one's end is not known yet"
                    self.spawn(self.binding.device)
                case m.CaptureAction.TERMINATE:
                    if self.child is not None:
                        self.child.told = True
                case m.CaptureAction.RETRY_LATER:
                    self.resting = True
                case m.CaptureAction.CANCEL_RETRY:
                    self.resting = False

    def spawn(self, device: Device | None) -> None:
        """Start a process, if the device is there and no other camera has claimed it."""
        if device is None or not any(d.plug_id == device.plug_id for d in self.world.devices):
            self.mailbox.append(m.ProcessEnded(BROKEN, absent=True))
        elif self.claims.claim(device, self.camera_id) is not None:  # type: ignore[arg-type]
            self.mailbox.append(m.ProcessEnded(BUSY))
        else:
            self.child = self.world.opened(device, self.camera_id)

    def end_child(self) -> None:
        """End the process, and report it."""
        child = self.child
        assert child is not None
        self.world.children.remove(child)
        self.claims.release(child.plugging.device, self.camera_id)  # type: ignore[arg-type]
        self.child = None
        problem = None if child.told else BROKEN
        absent = problem is not None and not self.world.is_there(child.plugging)
        self.mailbox.append(m.ProcessEnded(problem, absent))
