"""Asking the file system in threads, without waiting for a mount that hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

T = TypeVar("T")

TIMEOUT_SECONDS = 5.0


@attrs.define(eq=False)
class BoundedFileCalls:
    """Runs file system calls in at most `threads` threads; waits at most `timeout_seconds`.

    A thread that hangs is abandoned and stays counted, so that their number is bounded.
    """

    threads: int = 1
    timeout_seconds: float = TIMEOUT_SECONDS
    _limiter: trio.CapacityLimiter = attrs.field(
        default=attrs.Factory(lambda self: trio.CapacityLimiter(self.threads), takes_self=True),
        init=False,
    )

    async def ask(self, look: Callable[[], T], otherwise: T) -> T:
        """Return what `look` returns, or `otherwise` after the timeout. Raises what it raises."""
        with trio.move_on_after(self.timeout_seconds):
            return await trio.to_thread.run_sync(
                look, limiter=self._limiter, abandon_on_cancel=True
            )
        return otherwise
