"""The history of events: bounds, pages, and what it says is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.events.rules.event_filter import EventFilter
from camd.events.rules.history import SCAN_EVENTS, EventHistory, KeptEvent
from camd.rpc.registry import Notification


def kept(
    number: int,
    *,
    before: int | None = None,
    size: int = 10,
    key: str | None = None,
    topics: tuple[str, ...] = (),
    about: tuple[str, ...] = (),
) -> KeptEvent:
    """Make an event that follows the number before it."""
    notification = Notification("update", {}, key, about, number, topics)
    return KeptEvent(notification, number, number - 1 if before is None else before, size)


def history_of(*events: KeptEvent, **bounds: int) -> EventHistory:
    """Keep some events."""
    history = EventHistory(**bounds)
    for event in events:
        history.add(event)
    return history


def numbers(page: object) -> list[int | None]:
    """List the numbers on a page."""
    return [each.seq for each in page.events]


def test_ten_thousand_events_are_kept_and_the_rest_is_said_to_be_missed() -> None:
    """A client that missed 10,000 gets all of them; of 10,001, it is told that one is missing."""
    history = history_of(*map(kept, range(1, 10_002)))
    assert (len(history), history.oldest, history.newest) == (10_000, 2, 10_001)
    for since, missed in ((1, 0), (0, 1)):
        found, after, said = [], since, 0
        while True:
            page = history.page(after, limit=10_000)
            found += numbers(page)
            after, said = page.last, said + page.missed
            if not page.more:
                break
        assert found == list(range(2, 10_002))
        assert said == missed == history.missed(since)


def test_the_bound_of_bytes_leaves_the_newest() -> None:
    """Old events give way for large ones; a single one is kept however large it is."""
    history = history_of(kept(1, size=60), kept(2, size=60), max_bytes=100)
    assert history.oldest == 2
    history.add(kept(3, size=1000))
    assert (history.oldest, len(history)) == (3, 1)


def test_a_number_that_does_not_grow_is_a_bug() -> None:
    """No number comes twice."""
    history = history_of(kept(5))
    with pytest.raises(ValueError, match="not above"):
        history.add(kept(5))


def test_a_hole_is_counted_where_it_is() -> None:
    """Numbers that were given out and are not there are missed; numbers nobody had are not."""
    history = history_of(kept(1), kept(5, before=4), kept(1000, before=5))
    assert history.page(0, limit=9).missed == 3
    assert history.page(1, limit=1).missed == 3
    assert history.page(3, limit=9).missed == 1
    assert history.page(5, limit=9).missed == 0


def test_an_empty_history_of_a_later_run_says_how_many_there_were() -> None:
    """Where nothing of earlier runs is there, all their numbers are missed."""
    history = EventHistory()
    history.newest = 70
    page = history.page(20, limit=9)
    assert (page.events, page.missed, page.last, page.more) == ((), 50, 70, False)
    assert history.oldest is None


def test_a_page_looks_at_a_bounded_number_of_events() -> None:
    """A filter that accepts few does not hold up the event loop; the next page goes on."""
    count = 3 * SCAN_EVENTS
    wanted = EventFilter(frozenset({"rare"}))
    history = history_of(
        *(kept(n, topics=("rare",) if n == count else ("often",)) for n in range(1, count + 1))
    )
    pages, after = [], 0
    while True:
        page = history.page(after, wanted, limit=10)
        pages.append(numbers(page))
        after = page.last
        if not page.more:
            break
    assert pages == [[], [], [count]]


def test_a_page_is_bounded_in_events_and_bytes() -> None:
    """Whichever bound comes first ends the page, and what follows is on the next one."""
    history = history_of(*(kept(n, size=10) for n in range(1, 8)))
    page = history.page(0, limit=3)
    assert (numbers(page), page.last, page.more) == ([1, 2, 3], 3, True)
    page = history.page(3, limit=9, max_bytes=25)
    assert (numbers(page), page.last, page.more, page.size) == ([4, 5], 5, True, 20)
    page = history.page(5, limit=2)
    assert (numbers(page), page.more) == ([6, 7], False)


def test_replaced_states_are_left_out_where_that_is_asked_for() -> None:
    """Only the newest state of each kind is listed, as in the queue of a slow client."""
    history = history_of(kept(1, key="a"), kept(2), kept(3, key="b"), kept(4, key="a"))
    assert numbers(history.page(0, limit=9)) == [1, 2, 3, 4]
    page = history.page(0, limit=9, newest_only=True)
    assert (numbers(page), page.missed) == ([2, 3, 4], 0)


def test_the_newest_events_are_found_behind_a_filter() -> None:
    """`latest` counts those that are wanted."""
    history = history_of(*(kept(n, topics=("even",) if n % 2 == 0 else ()) for n in range(1, 11)))
    even = EventFilter(frozenset({"even"}))
    after = history.latest(even, 2)
    assert numbers(history.page(after, even, limit=9)) == [8, 10]
    assert history.latest(None, 99) == 0


def test_a_filter_is_by_topic_and_by_subject() -> None:
    """Both must fit, and what is unsubscribed is never sent."""
    event = kept(1, topics=("recording", "recording.started"), about=("camera a",)).notification
    assert EventFilter()(event)
    assert EventFilter(frozenset({"recording.started", "x"}), "camera a")(event)
    assert not EventFilter(frozenset({"storage"}))(event)
    assert not EventFilter(subject="camera b")(event)
    assert not EventFilter(without=frozenset({"recording"}))(event)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 60)), max_size=80),
    st.integers(0, 90),
    st.integers(1, 20),
)
def test_pages_and_what_is_missed_add_up(
    steps: list[tuple[int, int]], since: int, most: int
) -> None:
    """From any number on: what is listed and what is missed are all numbers that were given out."""
    history, number = EventHistory(max_events=30, max_bytes=600), 0
    for step, size in steps:
        before, number = number + step - 1, number + step
        history.add(kept(number, before=before, size=size))
    listed, after, missed = 0, since, 0
    while True:
        page = history.page(after, limit=most)
        assert numbers(page) == sorted(set(numbers(page)))
        assert len(page.events) <= most
        listed, missed, after = listed + len(page.events), missed + page.missed, page.last
        if not page.more:
            break
    assert missed == history.missed(since)
    assert listed + missed == max(0, history.newest - since)
    assert after == max(since, history.newest)
