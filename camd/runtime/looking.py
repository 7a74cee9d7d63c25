"""How the file system is asked without the event loop, and without waiting for a dead mount."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

T = TypeVar("T")

PATIENCE_SECONDS = 5.0


@attrs.define(eq=False)
class PathLookup:
    """Looks at the file system in threads: so many at a time, each waited for so long.

    A thread that hangs is waited for no more and keeps its place, so that their number is bounded.
    """

    places: int = 1
    patience_seconds: float = PATIENCE_SECONDS
    _limiter: trio.CapacityLimiter = attrs.field(
        default=attrs.Factory(lambda self: trio.CapacityLimiter(self.places), takes_self=True),
        init=False,
    )

    async def ask(self, look: Callable[[], T], otherwise: T) -> T:
        """Return what `look` finds, or `otherwise` when the disk does not answer in time.

        Raises what `look` raises.
        """
        with trio.move_on_after(self.patience_seconds):
            return await trio.to_thread.run_sync(
                look, limiter=self._limiter, abandon_on_cancel=True
            )
        return otherwise
