"""A camera's shell without event loop: carries out what the machine says, as Children does."""

from __future__ import annotations

from collections import deque

import attrs
from support.camera_world import Child, World

from camd.capture.rules import state as m
from camd.devices.leases import DeviceLeases
from camd.model import CameraState, Device, DeviceBinding, Problem

BROKEN = Problem("broken", "It broke", "Mend it.")
BUSY = Problem("busy", "It is still open", "Wait.")
STALLED = Problem("stalled", "It delivers nothing", "Shake it.")
UNPLUGGED = Problem("absent", "It is not there", "Plug it in.")


@attrs.define(eq=False)
class Shell:
    """One camera: its machine, its mailbox, its seat, its child and its timer."""

    camera_id: str
    world: World
    leases: DeviceLeases
    binding: DeviceBinding
    machine: m.CaptureState = attrs.field(factory=m.CaptureState)
    mailbox: deque[m.CaptureEvent | DeviceBinding] = attrs.field(factory=deque)
    child: Child | None = None
    resting: bool = False
    session: bool = False

    def __attrs_post_init__(self) -> None:
        if self.binding.device is None:
            self.step(m.DeviceLost(self.binding.problem or UNPLUGGED))

    @property
    def offered(self) -> DeviceBinding:
        """The latest seat, heard of or not."""
        bindings = [item for item in self.mailbox if isinstance(item, DeviceBinding)]
        return bindings[-1] if bindings else self.binding

    @property
    def end_is_under_way(self) -> bool:
        """Whether the child has ended and the machine does not know."""
        return any(isinstance(item, m.ProcessEnded) for item in self.mailbox)

    @property
    def records(self) -> bool:
        """Whether footage of the camera that has the seat goes into the session."""
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
        self.step(m.Wanted() if wanted else m.Unwanted())

    def read(self) -> None:
        """Take the next message out of the mailbox."""
        item = self.mailbox.popleft()
        if isinstance(item, DeviceBinding):
            self.sit(item)
        else:
            self.step(item)

    def sit(self, binding: DeviceBinding) -> None:
        """Change seats: another device is a loss first."""
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
                case m.CaptureAction.REST:
                    self.resting = True
                case m.CaptureAction.WAKE:
                    self.resting = False

    def spawn(self, device: Device | None) -> None:
        """Start a child, if the device is there and nobody else's child has it."""
        if device is None or not any(d.plug_id == device.plug_id for d in self.world.devices):
            self.mailbox.append(m.ProcessEnded(BROKEN, absent=True))
        elif self.leases.take(device, self.camera_id) is not None:  # type: ignore[arg-type]
            self.mailbox.append(m.ProcessEnded(BUSY))
        else:
            self.child = self.world.opened(device, self.camera_id)

    def end_child(self) -> None:
        """The child is gone, and says so."""
        child = self.child
        assert child is not None
        self.world.children.remove(child)
        self.leases.release(child.plugging.device, self.camera_id)  # type: ignore[arg-type]
        self.child = None
        problem = None if child.told else BROKEN
        absent = problem is not None and not self.world.is_there(child.plugging)
        self.mailbox.append(m.ProcessEnded(problem, absent))
