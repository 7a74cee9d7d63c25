"""What one client gets of the events, over all orders in which things can happen."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camd.events.rules.event_filter import EventFilter
from camd.events.rules.history import EventHistory, KeptEvent
from camd.rpc.registry import Notification
from camd.server.rules.event_delivery import EventDelivery

TOPICS = ("a", "b", "c")
ROOM = 4  # messages that fit into the client's queue
filters = st.none() | st.frozensets(st.sampled_from(TOPICS), min_size=1).map(EventFilter)


def event(number: int, topic: str = "a", *, before: int | None = None) -> KeptEvent:
    """Make an event of a topic."""
    notification = Notification("update", {}, seq=number, topics=(topic,))
    return KeptEvent(notification, number, number - 1 if before is None else before, 10)


class DeliveryMachine(RuleBasedStateMachine):
    """Publishes, reads, subscribes, loses its authentication; and remembers what it was sent.

    As `Connection` does, it queues live events while there is room, and falls behind else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history = EventHistory(max_events=12)
        self.delivery = EventDelivery(self.history)
        self.topics: dict[int, str] = {}
        self.queue: list[int] = []
        self.got: list[int] = []
        self.missed = 0  # as it was told, since `owed_from`
        self.wanted: EventFilter | None = None
        self.owed_from: int | None = None  # behind it nothing may be missing
        self.owed_missed = 0  # numbers that were gone when it subscribed
        self.messages = 0

    # --- what happens

    @rule(topic=st.sampled_from(TOPICS), skipped=st.integers(0, 2))
    def publish(self, topic: str, skipped: int) -> None:
        """Publish an event; numbers that a clock skips are nobody's."""
        before = self.history.newest
        kept = event(before + 1 + skipped, topic, before=before)
        self.topics[kept.number] = topic
        self.history.add(kept)
        if self.delivery.accepts(kept.notification):
            if len(self.queue) >= ROOM:
                assert self.delivery.fall_behind(kept.notification)
            else:
                self.queue.append(kept.number)

    @precondition(lambda self: self.queue)
    @rule()
    def read(self) -> None:
        """Read one message."""
        self.got.append(self.queue.pop(0))

    @precondition(lambda self: self.delivery.can_catch_up)
    @rule(limit=st.integers(1, 3))
    def catch_up(self, limit: int) -> None:
        """Send a page from the history."""
        if len(self.queue) < ROOM:
            page = self.delivery.next_page(limit)
            self.missed += page.missed
            self.queue += [each.seq for each in page.events if each.seq is not None]

    @rule(wanted=filters, back=st.integers(0, 20))
    def subscribe(self, wanted: EventFilter | None, back: int) -> None:
        """Subscribe behind a number, and get the answer."""
        since = max(0, self.history.newest - back)
        self.messages += 1
        self.delivery.subscribe(wanted, since, self.messages)
        assert not self.delivery.can_catch_up
        self.delivery.answered(self.messages)
        self.wanted, self.owed_from, self.missed = wanted, since, 0
        self.owed_missed = self.history.missed(since)

    @rule(wanted=filters)
    def change_filter(self, wanted: EventFilter | None) -> None:
        """Change the filter alone: from now on, these."""
        self.delivery.subscribe(wanted, None, None)
        self.wanted, self.owed_from = wanted, None

    @rule()
    def interrupt(self) -> None:
        """Credentials expire: an event is not sent."""
        before = self.history.newest
        kept = event(before + 1)
        self.topics[kept.number] = "a"
        self.history.add(kept)
        self.delivery.interrupt()
        self.owed_from = None

    # --- what must hold

    @invariant()
    def no_number_comes_twice(self) -> None:
        """However the client subscribes, an event is sent once."""
        sent = self.got + self.queue
        assert len(sent) == len(set(sent)), sent

    @invariant()
    def nothing_is_missing_unsaid(self) -> None:
        """Once it has caught up, everything wanted was sent, or is counted as missed."""
        if self.owed_from is None or self.delivery.can_catch_up:
            return
        sent = set(self.got + self.queue)
        lacking = [
            number
            for number, topic in self.topics.items()
            if number > self.owed_from
            and number not in sent
            and (self.wanted is None or topic in (self.wanted.topics or ()))
        ]
        assert len(lacking) <= self.missed + self.owed_missed, lacking


DeliveryMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=60)
TestDelivery = DeliveryMachine.TestCase


def drain(delivery: EventDelivery) -> tuple[list[int | None], int]:
    """Catch up; give the numbers, and how many were said to be missed."""
    sent: list[int | None] = []
    missed = 0
    while delivery.can_catch_up:
        page = delivery.next_page(5)
        sent += [each.seq for each in page.events]
        missed += page.missed
    return sent, missed


def test_a_replay_waits_for_the_answer() -> None:
    """What the call asks for comes behind its answer, and live events in their place."""
    history = EventHistory()
    delivery = EventDelivery(history)
    for number in range(1, 4):
        history.add(event(number))
    delivery.subscribe(None, 1, 7)
    delivery.answered(6)
    assert not delivery.can_catch_up
    history.add(event(4))
    assert not delivery.accepts(event(4).notification)
    delivery.answered(7)
    assert drain(delivery) == ([2, 3, 4], 0)
    history.add(event(5))
    assert delivery.accepts(event(5).notification)


def test_what_was_sent_before_the_subscription_is_not_replayed() -> None:
    """A client gets everything when it connects; what it then asks for again it has already."""
    history = EventHistory()
    delivery = EventDelivery(history)
    for number in range(1, 5):
        history.add(event(number))
    for number in (5, 6):
        history.add(event(number))
        assert delivery.accepts(event(number).notification)
    delivery.subscribe(None, 2, None)
    assert drain(delivery) == ([3, 4], 0)


def test_what_is_given_up_during_a_replay_is_told_once() -> None:
    """The answer says what was gone at the call, the replay what went since."""
    history = EventHistory(max_events=5)
    delivery = EventDelivery(history)
    for number in range(1, 8):
        history.add(event(number))
    delivery.subscribe(None, 0, None)
    assert history.missed(0) == 2
    for number in range(8, 11):
        history.add(event(number))
    assert drain(delivery) == ([6, 7, 8, 9, 10], 3)


def test_a_client_that_falls_behind_gets_the_newest_states() -> None:
    """States that were replaced meanwhile are left out; other events are all there."""
    history = EventHistory()
    delivery = EventDelivery(history)

    def add(number: int, key: str | None) -> Notification:
        notification = Notification("update", {}, key, seq=number)
        history.add(KeptEvent(notification, number, number - 1, 1))
        return notification

    assert delivery.accepts(add(1, None))
    assert delivery.fall_behind(add(2, "camera:a"))
    for number, key in ((3, None), (4, "camera:a"), (5, "camera:b"), (6, None)):
        assert not delivery.accepts(add(number, key))
    assert drain(delivery) == ([3, 4, 5, 6], 0)
    assert delivery.accepts(add(7, "camera:a"))
    assert not delivery.fall_behind(Notification("unnumbered", {}))
