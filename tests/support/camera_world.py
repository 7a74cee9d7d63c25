"""A world of cameras, ports and capture processes, as the kernel and FFmpeg behave; no camd in it.

A node gets the lowest free number, and a number stays taken as long as a process holds the node,
be the camera unplugged or not. A process that hangs cannot be ended until it is let go.
"""

from __future__ import annotations

import attrs
from support.fake_devices import CONTROLLER, usb_camera

from camd.model import Device


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
class Child:
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
    children: list[Child] = attrs.field(factory=list)
    _pluggings: int = attrs.field(default=0, init=False)

    @property
    def devices(self) -> list[Device]:
        """What a survey would tell."""
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

    def opened(self, device: Device, camera_id: str) -> Child:
        """Start a process on whatever has the node's name now, as FFmpeg does."""
        (plugging,) = (p for p in self.ports.values() if p.device.node == device.node)
        child = Child(camera_id, plugging)
        self.children.append(child)
        return child
