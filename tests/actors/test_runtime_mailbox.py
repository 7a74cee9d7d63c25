"""Asking an actor: every caller gets an answer, whatever happens to the actor."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from camd.runtime.actor import ActorGoneError, Mailbox, MailboxRequest


class NoError(Exception):
    """The actor refused."""


async def hear(mailbox: Mailbox[int], request: int, heard: list[object]) -> None:
    """Ask, and note the outcome."""
    try:
        heard.append(await mailbox.ask(request))
    except (NoError, ActorGoneError) as error:
        heard.append(type(error))


async def test_an_answer_and_a_refusal_reach_their_callers(autojump_clock) -> None:
    """Each caller gets the answer to its own request, in any order."""
    mailbox: Mailbox[int] = Mailbox()
    heard: list[object] = []
    with trio.fail_after(10), mailbox.opened():
        async with trio.open_nursery() as nursery:
            for request in (1, 2):
                nursery.start_soon(hear, mailbox, request, heard)
            asks = {ask.request: ask for ask in [await mailbox.receive(), await mailbox.receive()]}
            assert not asks[2].answered
            asks[2].refuse(NoError())
            assert asks[2].answered
            await wait_all_tasks_blocked()
            asks[1].answer("one")
    assert heard == [NoError, "one"]


async def test_only_the_first_answer_counts(autojump_clock) -> None:
    """Answering again, refusing afterwards, and closing afterwards change nothing."""
    mailbox: Mailbox[int] = Mailbox()
    heard: list[object] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, mailbox, 1, heard)
            ask = await mailbox.receive()
            ask.answer(None)
            ask.answer("two")
            ask.refuse(NoError())
            mailbox.close()
    assert heard == [None]


async def test_the_callers_error_tells_who_refused(autojump_clock) -> None:
    """The exception of the refusal is raised in the caller."""
    error = NoError("full")
    ask: MailboxRequest[int] = MailboxRequest(1)
    ask.refuse(error)
    with pytest.raises(NoError) as refused:
        await ask.wait()
    assert refused.value is error


async def test_asks_are_taken_in_order_and_a_full_mailbox_waits(autojump_clock) -> None:
    """Requests come out in the order in which they were sent; beyond the size, askers wait
    until there is room, and lose nothing."""
    mailbox: Mailbox[int] = Mailbox(size=2)
    heard: list[object] = []
    taken: list[int] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for request in range(5):
                nursery.start_soon(hear, mailbox, request, heard)
                await wait_all_tasks_blocked()
            assert mailbox._receive.statistics().current_buffer_used == 2
            for _ in range(5):
                ask = await mailbox.receive()
                taken.append(ask.request)
                ask.answer(ask.request * 10)
    assert taken == [0, 1, 2, 3, 4]
    assert sorted(heard) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("size", [0, 1, 8])
async def test_every_caller_is_refused_when_the_actor_has_ended(autojump_clock, size: int) -> None:
    """An actor that ends leaves nobody waiting: neither who was taken, nor who was buffered, nor
    who waited for room, nor who asks later."""
    mailbox: Mailbox[int] = Mailbox(size)
    heard: list[object] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for request in range(4):
                nursery.start_soon(hear, mailbox, request, heard)
            with contextlib.suppress(ZeroDivisionError), mailbox.opened():
                await mailbox.receive()
                await wait_all_tasks_blocked()
                raise ZeroDivisionError
        with pytest.raises(ActorGoneError):
            await mailbox.ask(5)
        await mailbox.tell(6)
    assert heard == [ActorGoneError] * 4


async def test_a_cancelled_asker_does_not_disturb_the_actor(autojump_clock) -> None:
    """A caller may stop waiting before or after the request was received."""
    mailbox: Mailbox[int] = Mailbox(size=1)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for request in range(3):
                nursery.start_soon(mailbox.ask, request)
            first = await mailbox.receive()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        first.answer("late")
        (await mailbox.receive()).answer("late")
        heard: list[object] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, mailbox, 9, heard)
            while not heard:
                ask = await mailbox.receive()
                ask.answer(ask.request)
                await wait_all_tasks_blocked()
    assert heard == [9]


async def test_a_message_needs_no_answer(autojump_clock) -> None:
    """Something told arrives among the asks, waits while the mailbox is full, and may be lost
    with the actor, without a word to the teller."""
    mailbox: Mailbox[int] = Mailbox(size=1)
    with trio.fail_after(10):
        await mailbox.tell(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.tell, 2)
            nursery.start_soon(mailbox.tell, 3)
            await wait_all_tasks_blocked()
            assert (await mailbox.receive()).request == 1
            mailbox.close()


moments = st.integers(0, 6)
replies = st.sampled_from(["answer", "refuse", "twice", "later", "never"])


@given(
    size=st.integers(0, 3),
    callers=st.lists(st.tuples(moments, st.none() | moments, replies, moments), max_size=10),
    ends=st.integers(0, 12),
    crashes=st.booleans(),
)
def test_every_caller_gets_an_answer(size, callers, ends, crashes) -> None:
    """Whenever they ask, give up or are answered, and whenever and however the actor ends:
    each caller ends exactly once, answered, refused, gone or cancelled, and nobody hangs."""
    ended: Counter[int] = Counter()

    async def caller(mailbox: Mailbox[int], number: int) -> None:
        asks_at, gives_up_after, reply, _ = callers[number]
        await trio.sleep(asks_at)
        with trio.CancelScope() as scope:
            if gives_up_after is not None:
                scope.deadline = trio.current_time() + gives_up_after
            try:
                assert await mailbox.ask(number) == number
                assert reply in ("answer", "twice", "later")
            except NoError:
                assert reply == "refuse"
            except ActorGoneError:
                assert trio.current_time() >= ends
        assert not scope.cancelled_caught or gives_up_after is not None
        ended[number] += 1

    async def reply_later(ask: MailboxRequest[int], delay: int) -> None:
        await trio.sleep(delay)
        ask.answer(ask.request)

    async def serve(mailbox: Mailbox[int], nursery: trio.Nursery) -> None:
        while True:
            ask = await mailbox.receive()
            _, _, reply, delay = callers[ask.request]
            await trio.sleep(delay % 2)
            if reply in ("answer", "twice"):
                ask.answer(ask.request)
            if reply in ("refuse", "twice"):
                ask.refuse(NoError(ask.request))
            if reply == "later":
                nursery.start_soon(reply_later, ask, delay)

    async def actor(mailbox: Mailbox[int]) -> None:
        try:
            with mailbox.opened(), trio.move_on_after(ends):
                async with trio.open_nursery() as nursery:
                    await serve(mailbox, nursery)
            if crashes:
                raise ZeroDivisionError
        except ZeroDivisionError:
            return

    async def main() -> None:
        mailbox: Mailbox[int] = Mailbox(size)
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(actor, mailbox)
                for number in range(len(callers)):
                    nursery.start_soon(caller, mailbox, number)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert ended == Counter(range(len(callers)))
