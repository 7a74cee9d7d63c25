"""Which events one client gets: its filter, what it has been sent, and where it is in the history.

A client is either live, and gets events as they are published, or behind, and gets them from the
history, page by page, until it has caught up. Both happen on one event loop, so that nothing lies
between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from camd.events.rules.history import EventHistory, HistoryPage
from camd.rpc.registry import Notification

MAX_RANGES = 32  # of numbers that were sent, under different filters; the oldest is forgotten
EventTest = Callable[[Notification], bool]


@attrs.frozen
class SentRange:
    """Of the numbers `above < seq <= up_to`, the client was sent what `wanted` accepts."""

    above: int
    up_to: int
    wanted: EventTest | None

    def includes(self, notification: Notification) -> bool:
        """Whether the client was sent this notification."""
        seq = notification.seq
        if seq is None or not self.above < seq <= self.up_to:
            return False
        return self.wanted is None or self.wanted(notification)


@attrs.define(eq=False)
class EventDelivery:
    """The events of one client. Decides; `server.connection` sends."""

    history: EventHistory
    wanted: EventTest | None = attrs.field(default=None, init=False)
    _since: int | None = attrs.field(default=None, init=False)  # where this range began
    _at: int = attrs.field(default=0, init=False)  # the newest number that was sent or left out
    _behind: bool = attrs.field(default=False, init=False)
    _newest_only: bool = attrs.field(default=False, init=False)
    _waits_for: int | None = attrs.field(default=None, init=False)  # a message to be answered
    _told: int = attrs.field(default=0, init=False)  # missing events that the client knows of
    _sent: deque[SentRange] = attrs.field(factory=lambda: deque(maxlen=MAX_RANGES), init=False)

    @property
    def can_catch_up(self) -> bool:
        """Whether there is something to send from the history now."""
        return self._behind and self._waits_for is None

    def subscribe(
        self, wanted: EventTest | None, since: int | None, message_number: int | None
    ) -> None:
        """Change the filter; with `since`, send what comes behind that number from the history.

        That begins when the message `message_number` is answered (None: at once). The answer says
        what is missing by now; it is not said again.
        """
        self._close_range()
        self.wanted = wanted
        if since is not None:
            self._at, self._told = since, self.history.missed(since)
            self._behind, self._newest_only, self._waits_for = True, False, message_number
        if self._behind:
            self._since = self._at

    def answered(self, message_number: int) -> None:
        """Note that a message has been answered."""
        if self._waits_for == message_number:
            self._waits_for = None

    def interrupt(self) -> None:
        """Note that an event is not sent because the client is not authenticated now."""
        self._close_range()
        self._behind = False

    def accepts(self, notification: Notification) -> bool:
        """Decide whether to send an event that is published now."""
        if notification.seq is not None:
            if self._behind:
                return False  # it comes from the history
            if self._since is None:
                self._since = notification.seq - 1
            self._at = notification.seq
        return self.wanted is None or self.wanted(notification)

    def fall_behind(self, notification: Notification) -> bool:
        """Note that an event did not fit into the send queue; False when it is not kept.

        The client gets it from the history, where states that are replaced by newer ones are left
        out.
        """
        if notification.seq is None:
            return False
        self._at, self._told = notification.seq - 1, 0
        self._behind = self._newest_only = True
        return True

    def next_page(self, limit: int) -> HistoryPage:
        """Take the next events from the history; with the last of them the client is live again.

        `missed` counts only what the client has not been told.
        """
        page = self.history.page(
            self._at, self._is_missing, limit=limit, newest_only=self._newest_only
        )
        self._at, self._behind = page.last, page.more
        known, self._told = min(page.missed, self._told), max(0, self._told - page.missed)
        return attrs.evolve(page, missed=page.missed - known)

    def _is_missing(self, notification: Notification) -> bool:
        if self.wanted is not None and not self.wanted(notification):
            return False
        return not any(each.includes(notification) for each in self._sent)

    def _close_range(self) -> None:
        if self._since is not None and self._at > self._since:
            self._sent.append(SentRange(self._since, self._at, self.wanted))
        self._since = None
