"""What a configured source says about which camera is meant, before and after it was found. Pure.

A node, and a link of by-id, say who is meant at the first sight only: node numbers change, and
the link of twins goes to the one that came last. From then on the camera itself is remembered. A
serial number and a place stay what they are: another camera is never meant.
"""

from __future__ import annotations

import re

from camd.devices.identity import KnownCamera, PluggedDevice, by_path_names, is_by_path
from camd.model import V4l2Source

_NODE_PART = re.compile(r"-video-index\d+$")


def designates(source: V4l2Source, plugged: PluggedDevice) -> bool:
    """Tell whether the source's words fit this device; no words fit none."""
    device, identity = plugged.device, plugged.identity
    if source.path is not None:
        return source.path == device.node or source.path in device.links
    if source.serial:
        return identity.serial == source.serial
    if not source.port:
        return False
    links = by_path_names(device)
    names = {identity.port, plugged.usb_name, *links}
    names.update(_NODE_PART.sub("", link) for link in links)
    return source.port.rpartition("/")[2] in names or source.port in names


def permits(source: V4l2Source | None, known: KnownCamera, plugged: PluggedDevice) -> bool:
    """Tell whether a camera that is bound through `source` may be this device.

    A kernel's name of a port may be another port's after a reboot, so the place is compared with
    the one that was bound.
    """
    if source is None:
        return True
    if source.serial:
        return plugged.identity.serial == source.serial
    if names_place(source):
        return known.identity.same_place(plugged.identity)
    return True


def allows_adoption(source: V4l2Source | None, plugged: PluggedDevice) -> bool:
    """Tell whether a device may be bound by hand without contradicting the configuration."""
    fixed = source is not None and (bool(source.serial) or names_place(source))
    return not fixed or (source is not None and designates(source, plugged))


def names_place(source: V4l2Source) -> bool:
    """Tell whether the source means a place and not a camera."""
    if source.path is not None:
        return is_by_path(source.path)
    return bool(source.port) and not source.serial
