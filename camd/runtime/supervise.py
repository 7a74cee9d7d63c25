"""Restarts an actor that has a bug, more slowly each time, without hiding a shutdown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

log = structlog.get_logger("camd.supervise")

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
SETTLED_SECONDS = 60.0


async def supervise(
    name: str, life: Callable[[], Awaitable[None]], crashed: Callable[[], None]
) -> None:
    """Run `life` until it returns; when it raises, log it, call `crashed`, wait, run it again.

    The delay doubles from FIRST to LONGEST and starts over after a life of SETTLED_SECONDS. A
    crash that meets a cancellation ends with the cancellation: `except*` takes the one and
    leaves the other.
    """
    delay = FIRST_DELAY_SECONDS
    finished = False
    while not finished:
        born = trio.current_time()
        try:
            await life()
            finished = True
        except* Exception as crash:  # a bug: one of the two places that may take anything
            log.error("actor_crashed", actor=name, exc_info=crash)
            crashed()
        if not finished:
            delay = FIRST_DELAY_SECONDS if trio.current_time() - born > SETTLED_SECONDS else delay
            await trio.sleep(delay)
            delay = min(LONGEST_DELAY_SECONDS, delay * 2)
