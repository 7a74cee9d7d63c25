"""What FFmpeg cannot know of a trouble: who holds the node, who may open it, who shares its bus."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.devices.holders import Holder, Holders
from camd.ffmpeg.text import error_patterns as t
from camd.model import Problem

log = structlog.get_logger("camd.camera")

PATIENCE_SECONDS = 2.0
_looking = trio.CapacityLimiter(4)  # threads that hang in a look-up take nobody else's place
_ABOUT_NODES = frozenset(
    problem.cause
    for problem in (t.LOST, t.VANISHED, t.ABSENT, t.IO_ERROR, t.DRIVER_ERROR, t.NO_BUFFERS)
) | frozenset(
    problem.cause for problem in (t.BUSY, t.NO_PERMISSION, t.NO_BANDWIDTH, t.UNSUPPORTED_FORMAT)
)


FindHolders = Callable[[Path], Holders]
Names = Callable[[], Sequence[str]]


@attrs.frozen
class AccessLike:
    """Who may open a node, and whether this process is among them."""

    group: str
    group_may: bool  # read and write
    permitted: bool  # by the node's mode; a unit's DeviceAllow may still forbid it
    user: str  # whom this process runs as
    listed: bool  # the user is a member of the group now; this process may be older than that


@attrs.frozen
class DiagnosisFacts:
    """What was found out. None: it was not asked for, or nobody could tell in time."""

    present: bool | None = None
    holders: Holders | None = None
    access: AccessLike | None = None
    neighbours: tuple[str, ...] = ()  # cameras that deliver over the same bus
    offered: tuple[str, ...] = ()  # what could be asked for


async def diagnose(
    problem: Problem,
    node: Path | None,
    *,
    find_holders: FindHolders | None = None,
    neighbours: Names = tuple,
    offered: Names = tuple,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Problem:
    """Say more of why a camera's child ended, where the machine can tell; else the same.

    `find_holders` may block and is called in a thread; `neighbours` and `offered` are called at
    once. Waits for at most `patience_seconds`, and may be cancelled at any time.
    """
    if node is None or problem.cause not in _ABOUT_NODES:
        return problem
    said = DiagnosisFacts()
    if problem.cause == t.NO_BANDWIDTH.cause:
        said = DiagnosisFacts(neighbours=tuple(neighbours()))
    elif problem.cause == t.UNSUPPORTED_FORMAT.cause:
        said = DiagnosisFacts(offered=tuple(offered()))
    look = partial(_look, problem.cause, node, find_holders)
    with trio.move_on_after(patience_seconds):
        seen = await trio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=_looking)
        return explain(
            problem, attrs.evolve(seen, neighbours=said.neighbours, offered=said.offered), node
        )
    log.warning("diagnosis_took_too_long", cause=problem.cause)
    return explain(problem, said, node)


def explain(problem: Problem, facts: DiagnosisFacts, node: Path) -> Problem:
    """Compose what is known of `problem` into its message and suggestion. Pure."""
    if facts.present is False:
        return problem if problem.cause in (t.VANISHED.cause, t.ABSENT.cause) else t.LOST
    match problem.cause:
        case t.BUSY.cause if facts.holders is not None:
            return _held(problem, facts.holders, node)
        case t.NO_PERMISSION.cause if facts.access is not None:
            return attrs.evolve(problem, suggestion=_how_to_get_in(facts.access))
        case t.NO_BANDWIDTH.cause if facts.neighbours:
            message = f"{problem.message} beside {_listed(facts.neighbours)}"
            return attrs.evolve(problem, message=message)
        case t.UNSUPPORTED_FORMAT.cause if facts.offered:
            return attrs.evolve(problem, possible=facts.offered)
    return problem


def _held(problem: Problem, found: Holders, node: Path) -> Problem:
    if found.holders:
        names = _listed([_described(holder) for holder in found.holders])
        one = len(found.holders) == 1
        return attrs.evolve(
            problem,
            message=f"{names} {'uses' if one else 'use'} the camera",
            suggestion=f"End {'it' if one else 'them'}, or give camd another camera.",
        )
    if found.complete:
        return attrs.evolve(
            problem,
            message="Another program used the camera a moment ago",
            suggestion="It is tried again by itself.",
        )
    return attrs.evolve(
        problem,
        message="Another user's program uses the camera",
        suggestion=f"`sudo fuser -v {node}` says which one; end it, or give camd another camera.",
    )


def _described(holder: Holder) -> str:
    owner = f", user {holder.user}" if holder.user else ""
    return f"{holder.program} (process {holder.pid}{owner})"


def _how_to_get_in(access: AccessLike) -> str:
    """Say what gives this process access to a node."""
    if access.permitted:
        return "The service's unit forbids it: add `DeviceAllow=char-video4linux rw` to it."
    if not access.group_may or access.group == "root":
        return (
            'Only root may open it: let a udev rule set GROUP="video", MODE="0660", then plug '
            "the camera in again."
        )
    if access.listed:
        return f"{access.user} is in the group {access.group} by now: start the service again."
    return (
        f"It belongs to the group {access.group}: "
        f"`sudo usermod -aG {access.group} {access.user}`, then start the service again."
    )


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


# --- looking ------------------------------------------------------------------------------


def _look(cause: str, node: Path, find_holders: FindHolders | None) -> DiagnosisFacts:
    """Find out what matters for `cause`. Blocks, in a driver that hangs for ever."""
    facts = DiagnosisFacts(present=node.exists())
    if cause == t.BUSY.cause and find_holders is not None:
        with suppress(OSError):
            facts = attrs.evolve(facts, holders=find_holders(node))
    elif cause == t.NO_PERMISSION.cause:
        with suppress(OSError):
            facts = attrs.evolve(facts, access=look_at_access(node))
    return facts


def look_at_access(node: Path) -> AccessLike:
    """Find out who may open `node`. Asks the system's databases of users, which may block.

    Raises OSError when the node is gone.
    """
    status = node.stat()
    group, user = _group_name(status.st_gid), _user_name(os.geteuid())
    members: Sequence[str] = ()
    with suppress(KeyError):
        members = grp.getgrgid(status.st_gid).gr_mem
    both = stat.S_IRGRP | stat.S_IWGRP
    return AccessLike(
        group=group,
        group_may=status.st_mode & both == both,
        permitted=os.access(node, os.R_OK | os.W_OK, effective_ids=True),
        user=user,
        listed=user in members,
    )


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
