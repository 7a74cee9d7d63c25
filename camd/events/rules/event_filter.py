"""Which events a client wants: by topic and by camera."""

from __future__ import annotations

import attrs

from camd.rpc.registry import Notification


@attrs.frozen
class EventFilter:
    """Accepts notifications of some topics, about one subject; None: of all, about all.

    `without` names topics that are not accepted in any case.
    """

    topics: frozenset[str] | None = None
    subject: str | None = None
    without: frozenset[str] = frozenset()

    def __call__(self, notification: Notification) -> bool:
        """Whether the client wants a notification."""
        if self.topics is not None and self.topics.isdisjoint(notification.topics):
            return False
        if self.subject is not None and self.subject not in notification.about:
            return False
        return self.without.isdisjoint(notification.topics)
