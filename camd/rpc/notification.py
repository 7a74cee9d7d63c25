"""News that clients receive without having asked."""

from __future__ import annotations

import attrs


@attrs.frozen
class Notification:
    """One JSON-RPC notification; `params` carries `seq` and `time`, added by its publisher.

    Notifications with the same `coalesce_key` replace each other while they wait for a slow
    client: only the latest state counts. `None` never coalesces.
    """

    method: str
    params: object
    coalesce_key: str | None = None
