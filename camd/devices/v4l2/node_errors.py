"""Explains the errors of opening and querying a node: what each means, and what to do."""

from __future__ import annotations

import errno

import attrs

from camd.model import Problem
from camd.model.problems import BUSY, IO_ERROR, NOT_FOUND, no_permission

_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ENXIO})
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_FOREIGN = frozenset({errno.ENOTTY, errno.ENOTDIR, errno.EISDIR})  # no V4L2 node at all


@attrs.frozen
class NodeAccess:
    """Who may open a node, and who this process is."""

    group: str  # of the node; "" when its group may not open it
    user: str  # "" when the user has no name
    member: bool = False  # the users' database has the user in the group
    entitled: bool = False  # user and groups may open it, so something else forbids it
    contained: bool = False  # this process runs in a container


def is_gone(error: OSError) -> bool:
    """Tell whether an error means that the device is not plugged in any more."""
    return error.errno in _GONE


def is_foreign(error: OSError) -> bool:
    """Tell whether an error means that this is not a video node."""
    return error.errno in _FOREIGN


def is_denied(error: OSError) -> bool:
    """Tell whether an error means that this process may not open the node."""
    return error.errno in _DENIED


def describe_error(error: OSError) -> Problem:
    """Describe an error of opening, querying or setting a camera."""
    if is_gone(error):
        return NOT_FOUND
    if is_denied(error):
        advice = "`camd check` says what gives access to it."
        return no_permission("The service", "the camera", advice)
    if error.errno == errno.EBUSY:
        return BUSY
    return attrs.evolve(IO_ERROR, message=f"{IO_ERROR.message}: {error.strerror or error}")


def denied(node: str, access: NodeAccess) -> Problem:
    """Describe a node that this process may not open, with what gives access to it."""
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
