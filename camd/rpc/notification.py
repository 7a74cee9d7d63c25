"""News that clients receive without having asked."""

from __future__ import annotations

import attrs

EVERYTHING = "*"  # in place of a subject: a call that may cause any news


@attrs.frozen
class Notification:
    """One JSON-RPC notification; `params` carries `seq` and `time`, added by its publisher.

    Notifications with the same `coalesce_key` replace each other while they wait for a slow
    client: only the latest state counts. `None` never coalesces. `about` names what it is about;
    it waits for the answer to a call about the same.
    """

    method: str
    params: object
    coalesce_key: str | None = None
    about: tuple[str, ...] = ()
