"""Add to a problem who holds the node, who may open it, and which cameras share its bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from camd.devices.holders import DeviceUsers, Holder
from camd.devices.node_reader import read_access
from camd.devices.v4l2.node_errors import NodeAccess, remedy
from camd.model import Problem, ProblemKind
from camd.model.problems import LOST
from camd.runtime.file_presence import is_there

log = structlog.get_logger("camd.camera")

TIMEOUT_SECONDS = 2.0
_looking = trio.CapacityLimiter(4)  # threads that hang do not use up those of other tasks
_ABOUT_NODES = frozenset(
    (
        ProblemKind.LOST,
        ProblemKind.VANISHED,
        ProblemKind.NOT_FOUND,
        ProblemKind.IO_ERROR,
        ProblemKind.DRIVER_ERROR,
        ProblemKind.NO_BUFFERS,
        ProblemKind.BUSY,
        ProblemKind.NO_PERMISSION,
        ProblemKind.NO_BANDWIDTH,
        ProblemKind.UNSUPPORTED_FORMAT,
    )
)

FindHolders = Callable[[Path], DeviceUsers]


@attrs.frozen
class DiagnosisFacts:
    """Findings about a node. None: not looked for, or not found in time."""

    present: bool | None = None
    holders: DeviceUsers | None = None
    access: NodeAccess | None = None
    neighbours: tuple[str, ...] = ()  # cameras that stream over the same bus


async def diagnose(
    problem: Problem,
    node: Path | None,
    *,
    find_holders: FindHolders | None = None,
    neighbours: Callable[[], Sequence[str]] = tuple,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Problem:
    """Return the problem with what this machine knows about its cause, or unchanged.

    `find_holders` may block and is called in a thread. Waits for at most `timeout_seconds`, and
    may be cancelled at any time.
    """
    if node is None or problem.kind not in _ABOUT_NODES:
        return problem
    crowded = problem.kind == ProblemKind.NO_BANDWIDTH
    facts = DiagnosisFacts(neighbours=tuple(neighbours()) if crowded else ())
    look = partial(_look, problem.kind, node, find_holders)
    with trio.move_on_after(timeout_seconds):
        seen = await trio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=_looking)
        return with_facts(problem, attrs.evolve(seen, neighbours=facts.neighbours), node)
    log.warning("diagnosis_timed_out", cause=problem.kind)
    return with_facts(problem, facts, node)


def with_facts(problem: Problem, facts: DiagnosisFacts, node: Path) -> Problem:
    """Put the facts into the message and suggestion of `problem`. Pure."""
    if facts.present is False:
        known = problem.kind in (ProblemKind.VANISHED, ProblemKind.NOT_FOUND)
        return problem if known else LOST
    match problem.kind:
        case ProblemKind.BUSY if facts.holders is not None:
            return _held(problem, facts.holders, node)
        case ProblemKind.NO_PERMISSION if facts.access is not None:
            return attrs.evolve(problem, suggestion=remedy(str(node), facts.access))
        case ProblemKind.NO_BANDWIDTH if facts.neighbours:
            message = f"{problem.message} beside {_listed(facts.neighbours)}"
            return attrs.evolve(problem, message=message)
    return problem


def _held(problem: Problem, found: DeviceUsers, node: Path) -> Problem:
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
            suggestion="camd tries again.",
        )
    return attrs.evolve(
        problem,
        message="Another user's program uses the camera",
        suggestion=f"`sudo fuser -v {node}` says which one; end it, or give camd another camera.",
    )


def _described(holder: Holder) -> str:
    owner = f", user {holder.user}" if holder.user else ""
    return f"{holder.program} (process {holder.pid}{owner})"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


# --- looking ------------------------------------------------------------------------------


def _look(cause: str, node: Path, find_holders: FindHolders | None) -> DiagnosisFacts:
    """Look for what matters for `cause`. Blocks, without end when a driver hangs."""
    facts = DiagnosisFacts(present=False)
    with suppress(OSError):
        facts = DiagnosisFacts(present=is_there(node))
    if cause == ProblemKind.BUSY and find_holders is not None:
        with suppress(OSError):
            facts = attrs.evolve(facts, holders=find_holders(node))
    elif cause == ProblemKind.NO_PERMISSION and facts.present:
        facts = attrs.evolve(facts, access=read_access(node))
    return facts
