"""The consumer of one viewer: newest group of pictures, then every frame as it arrives."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from camd.capture.consumer import HubItem
from camd.live.rules.viewer_backlog import ViewerBacklog

GRACE_SECONDS = 10.0  # the capture goes on for a viewer who comes back


@attrs.define(eq=False)
class ViewerQueue:
    """Puts what the hub delivers into a backlog, and calls `changed`, which must not wait."""

    backlog: ViewerBacklog
    changed: Callable[[], None]
    grace_seconds: float = GRACE_SECONDS
    each_frame: bool = True

    def put(self, item: HubItem) -> None:
        """Keep an item, or drop it by the policy of the backlog."""
        self.backlog.put(item)
        self.changed()
