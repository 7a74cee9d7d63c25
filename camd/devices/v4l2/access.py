"""What it means for people when the kernel refuses to open or to ask a node. Pure."""

from __future__ import annotations

import errno

import attrs

from camd.model import Problem
from camd.model.problems import BUSY, IO_ERROR, no_permission

_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ENXIO})
_FOREIGN = frozenset({errno.ENOTTY, errno.ENOTDIR, errno.EISDIR})  # no V4L2 node at all


@attrs.frozen
class NodeAccess:
    """Who may open a node, and who we are."""

    group: str  # of the node, "" when it gives its group no access
    user: str  # "" where the user has no name
    member: bool = False  # the system's list has the user in the group
    entitled: bool = False  # by user and groups we may, so something else forbids it
    contained: bool = False  # this process runs in a container


def is_gone(error: OSError) -> bool:
    """Whether an error says that the device is not there (any more)."""
    return error.errno in _GONE


def is_foreign(error: OSError) -> bool:
    """Whether an error says that this is no video node."""
    return error.errno in _FOREIGN


def is_denied(error: OSError) -> bool:
    """Whether an error says that we may not open the node."""
    return error.errno in (errno.EACCES, errno.EPERM)


def denied(node: str, access: NodeAccess) -> Problem:
    """Describe a node that we may not open, and what gives access to it."""
    return no_permission(access.user or "The service", "the camera", remedy(node, access))


def remedy(node: str, access: NodeAccess) -> str:
    """Say what gives this process access to a node."""
    if access.contained:
        group = f" --group-add {access.group}" if access.group and not access.entitled else ""
        return f"Start the container with --device {node}{group}."
    if access.entitled:
        return "Allow the service the device, such as by DeviceAllow=char-video4linux rw."
    if not access.group:
        return f"Give a group access: `sudo chgrp video {node}; sudo chmod g+rw {node}`."
    if access.member:
        return f"Log in again, or restart the service: it is not in the group {access.group} yet."
    return f"Run: sudo usermod -aG {access.group} {access.user or 'USER'}; then start camd again."


def describe(error: OSError) -> Problem:
    """Describe any other error of a node."""
    if error.errno == errno.EBUSY:
        return BUSY
    return attrs.evolve(IO_ERROR, message=f"{IO_ERROR.message}: {error.strerror or error}")
