"""Error boundary: a bug in one call or request is logged and ends nothing else."""

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
class CallOutcome(Generic[T]):
    """How the function ended: with a value, a refusal or an exception."""

    value: T | None = None
    refusal: Refusal | None = None
    crashed: bool = False
    exhausted: bool = False  # crashed for lack of file descriptors, which is not a bug


def _never() -> bool:
    return False


async def run_in_boundary(
    run: Callable[[], Awaitable[T]],
    event: str,
    *,
    expected: Callable[[], bool] = _never,
    **fields: object,
) -> CallOutcome[T]:
    """Await `run()` and return how it ended; log an exception as `event` with `fields`.

    Exception groups are taken apart, cancellation passes through. When `expected()` is true after
    an exception, it is not logged.
    """
    outcome = CallOutcome[T]()
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
