"""Fan-out: every subscriber gets all items, in order, while it is subscribed."""

from __future__ import annotations

import pytest

from camd.runtime.broadcast import Fanout


def test_everybody_gets_everything_in_order() -> None:
    """Items reach each sink in the order of publishing, sinks in the order of subscribing."""
    fanout: Fanout[int] = Fanout()
    got: list[tuple[str, int]] = []
    fanout.publish(0)
    with fanout.subscribed(lambda n: got.append(("a", n))):
        fanout.publish(1)
        with fanout.subscribed(lambda n: got.append(("b", n))):
            assert fanout.subscribers == 2
            fanout.publish(2)
        fanout.publish(3)
    fanout.publish(4)
    assert got == [("a", 1), ("a", 2), ("b", 2), ("a", 3)]
    assert fanout.subscribers == 0


def test_a_block_that_fails_is_unsubscribed() -> None:
    """An error in a subscriber's block ends its subscription and travels on."""
    fanout: Fanout[int] = Fanout()
    got: list[int] = []
    with pytest.raises(ZeroDivisionError), fanout.subscribed(got.append):
        raise ZeroDivisionError
    fanout.publish(1)
    assert got == []


def test_a_sink_that_fails_is_the_publishers_bug() -> None:
    """The exception of a sink is raised in the publisher."""
    fanout: Fanout[int] = Fanout()

    def broken(item: int) -> None:
        raise ZeroDivisionError(item)

    with fanout.subscribed(broken), pytest.raises(ZeroDivisionError):
        fanout.publish(1)


def test_subscribing_while_something_is_published_begins_with_the_next() -> None:
    """A sink that subscribes or leaves during a round changes the next round, not this one."""
    fanout: Fanout[int] = Fanout()
    got: list[int] = []
    later = fanout.subscribed(got.append)

    def first(item: int) -> None:
        if item == 1:
            later.__enter__()
        else:
            later.__exit__(None, None, None)

    with fanout.subscribed(first):
        fanout.publish(1)
        assert got == []
        fanout.publish(2)
        assert got == [2]
        assert fanout.subscribers == 1


def test_the_same_sink_twice_is_two_subscriptions() -> None:
    """Each subscription ends for itself."""
    fanout: Fanout[int] = Fanout()
    got: list[int] = []
    with fanout.subscribed(got.append):
        with fanout.subscribed(got.append):
            fanout.publish(1)
        fanout.publish(2)
    assert got == [1, 1, 2]
