"""Numbers of events: none comes twice, whatever becomes of the disk."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from camd.events.rules.numbering import BLOCK, EventNumbers, first_event_number

NOW_MS = 1_800_000_000_000


def test_numbers_follow_each_other_while_they_are_reserved() -> None:
    """A block is reserved ahead, and again when half of it is used."""
    numbers = EventNumbers()
    assert numbers.wanted_limit == 1 + BLOCK
    numbers.reserved(1 + BLOCK)
    assert numbers.wanted_limit is None
    assert [numbers.take(NOW_MS) for _ in range(BLOCK // 2 + 1)] == list(range(1, BLOCK // 2 + 2))
    assert numbers.wanted_limit == numbers.next + BLOCK


def test_without_a_reservation_a_clock_gives_the_number_once() -> None:
    """Who publishes does not wait: numbers jump once, and then go on by one."""
    numbers = EventNumbers()
    assert [numbers.take(NOW_MS), numbers.take(NOW_MS + 500)] == [NOW_MS, NOW_MS + 1]
    limit = numbers.wanted_limit
    assert limit == NOW_MS + 2 + BLOCK
    numbers.reserved(limit)
    assert numbers.take(NOW_MS + 9000) == NOW_MS + 2


def test_a_reservation_that_comes_too_late_is_of_no_use() -> None:
    """The disk has reserved numbers that a clock has overtaken meanwhile."""
    numbers = EventNumbers()
    late = numbers.wanted_limit
    numbers.take(NOW_MS)
    numbers.reserved(late)
    assert numbers.wanted_limit == NOW_MS + 1 + BLOCK
    assert numbers.take(NOW_MS + 9000) == NOW_MS + 1  # no second jump


def test_the_first_number_of_a_run() -> None:
    """It is behind the files and behind what was reserved; unknown, it is a clock's."""
    assert first_event_number(0, 1, unix_ms=NOW_MS) == 1
    assert first_event_number(50, 51, unix_ms=NOW_MS) == 51
    assert first_event_number(50, 1074, unix_ms=NOW_MS) == 1074
    assert first_event_number(90, 51, unix_ms=NOW_MS) == NOW_MS
    assert first_event_number(NOW_MS, 51, unix_ms=NOW_MS) == NOW_MS + BLOCK
    assert first_event_number(50, None, unix_ms=NOW_MS) == NOW_MS
    assert first_event_number(0, None, unix_ms=NOW_MS) == NOW_MS


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1500),  # events of a run
            st.booleans(),  # it ends in order
            st.integers(0, 40),  # events that its end takes
            st.floats(0, 1),  # of them, where the disk reserves in between
        ),
        max_size=8,
    )
)
@example([(1026, False, 1, 1.0), (1, False, 0, 0.0)])  # the last number of a clock is lost
def test_no_number_comes_twice_over_many_ends(runs: list[tuple[int, bool, int, float]]) -> None:
    """Runs end in order or not, the newest events are lost: numbers only grow."""
    used: list[int] = []
    durable_limit, on_disk, now = 1, 0, NOW_MS
    for count, orderly, lost, share in runs:
        now += 1000
        first = first_event_number(on_disk, durable_limit, unix_ms=now)
        numbers = EventNumbers(next=first, limit=first)
        durable_limit = numbers.wanted_limit or durable_limit
        numbers.reserved(durable_limit)
        mine = []
        for index in range(count):
            mine.append(numbers.take(now))
            if index >= count * share and (limit := numbers.wanted_limit):
                durable_limit = limit
                numbers.reserved(limit)
        if max(used, default=0) < NOW_MS:  # a clock's numbers are above all that can be reserved
            assert [*used[-1:], *mine] == sorted({*used[-1:], *mine})
        used += mine
        if mine:
            on_disk = max(on_disk, mine[-1] if orderly else mine[max(0, len(mine) - 1 - lost)])
        if orderly:
            durable_limit = numbers.next
    assert len(used) == len(set(used))
