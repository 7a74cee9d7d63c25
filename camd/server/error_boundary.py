"""Where a bug ends: in the log, with its traceback, and not in anybody else's connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
import structlog

from camd.errors import Refusal
from camd.runtime import fd_limits

T = TypeVar("T")
_log = structlog.get_logger("camd.server")


@attrs.define(eq=False)
class GuardedOutcome(Generic[T]):
    """How a guarded function ended: with a value, a refusal, a bug, or for want of descriptors."""

    value: T | None = None
    refusal: Refusal | None = None
    crashed: bool = False
    exhausted: bool = False  # no descriptors were left, which is no bug


def _never() -> bool:
    return False


async def guarded(
    run: Callable[[], Awaitable[T]],
    event: str,
    *,
    expected: Callable[[], bool] = _never,
    **fields: object,
) -> GuardedOutcome[T]:
    """Await `run()`; a bug is logged as `event` with `fields`. Cancellation passes through.

    Also takes apart what comes in groups, so that a bug that meets a shutdown is still only
    a line in the log. Where `expected()` is true, the exception only says what is known.
    """
    outcome = GuardedOutcome[T]()
    try:
        outcome.value = await run()
    except* Refusal as group:
        outcome.refusal = _first(group)
    except* Exception as group:
        outcome.crashed = True
        outcome.exhausted = fd_limits.exhausted(group)
        if outcome.exhausted:
            _log.warning("descriptors_exhausted", during=event, **fields)
        elif not expected():
            _log.exception(event, **fields)
    return outcome


def _first(group: BaseExceptionGroup[Refusal]) -> Refusal:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
