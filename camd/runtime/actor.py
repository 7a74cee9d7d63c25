"""Actors: a bounded mailbox whose callers always get an answer, and restarts after a crash.

A memory channel for replies can lose a caller: the reply is never sent, or dropped while it is
buffered. So every request travels in a `MailboxRequest` that holds its answer, and a mailbox that
closes refuses all callers that still wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Generic, TypeVar

import attrs
import outcome
import structlog
import trio

from camd.growing_delay import GrowingDelay

Req = TypeVar("Req")


class ActorGoneError(Exception):
    """The actor ended before it answered."""


@attrs.define(eq=False)
class MailboxRequest(Generic[Req]):
    """One request, and its answer when there is one."""

    request: Req
    _done: trio.Event = attrs.field(factory=trio.Event, init=False)
    _outcome: outcome.Outcome[Any] | None = attrs.field(default=None, init=False)

    def answer(self, value: object) -> None:
        """Answer with a value; only the first answer counts."""
        self._answer_once(outcome.Value(value))

    def refuse(self, error: BaseException) -> None:
        """Answer by raising `error` in the caller; only the first answer counts."""
        self._answer_once(outcome.Error(error))

    @property
    def answered(self) -> bool:
        """Whether the caller has been answered."""
        return self._outcome is not None

    def _answer_once(self, result: outcome.Outcome[Any]) -> None:
        if self._outcome is None:
            self._outcome = result
            self._done.set()

    async def wait(self) -> Any:
        """Wait for the answer: return the value or raise the error."""
        await self._done.wait()
        assert self._outcome is not None
        return self._outcome.unwrap()


@attrs.define(eq=False)
class Mailbox(Generic[Req]):
    """A bounded queue of asks; while it is full, callers wait and may be cancelled."""

    size: int = 64
    _pending: set[MailboxRequest[Req]] = attrs.field(factory=set, init=False)
    _send: trio.MemorySendChannel[MailboxRequest[Req]] = attrs.field(init=False)
    _receive: trio.MemoryReceiveChannel[MailboxRequest[Req]] = attrs.field(init=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(self.size)

    async def ask(self, request: Req) -> Any:
        """Send `request` and wait for the answer. Raises ActorGoneError, or the refusal."""
        if self._closed:
            raise ActorGoneError
        ask = MailboxRequest(request)
        self._pending.add(ask)
        try:
            try:
                await self._send.send(ask)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ActorGoneError from None
            return await ask.wait()
        finally:
            self._pending.discard(ask)

    async def tell(self, message: Req) -> None:
        """Send a message that needs no answer; does nothing when the actor is gone."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._send.send(MailboxRequest(message))

    async def receive(self) -> MailboxRequest[Req]:
        """Wait for the next ask. For the actor's loop only."""
        return await self._receive.receive()

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Accept asks while the block runs; afterwards refuse all that still wait.

        The actor's loop ends inside the block: one that waits when this closes gets EndOfChannel.
        """
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Refuse all asks that wait, and all later ones."""
        self._closed = True
        self._send.close()
        self._receive.close()
        for ask in tuple(self._pending):
            ask.refuse(ActorGoneError())


# --- restarts -----------------------------------------------------------------------------

log = structlog.get_logger("camd.supervise")

RESTART_DELAY = GrowingDelay(1.0, 60.0)
STEADY_SECONDS = 60.0


async def supervise(
    name: str, run: Callable[[], Awaitable[None]], crashed: Callable[[], None]
) -> None:
    """Run an actor until `run` returns; when it raises, log it, call `crashed`, wait, run it again.

    The delay is RESTART_DELAY, and starts over after a run of STEADY_SECONDS. When a
    crash and a cancellation come together, the cancellation counts: `except*` handles only the
    crash.
    """
    failures = 0
    finished = False
    while not finished:
        began = trio.current_time()
        try:
            await run()
            finished = True
        except* Exception as crash:  # a bug; one of two places that catch every Exception
            log.error("actor_crashed", actor=name, exc_info=crash)
            crashed()
        if not finished:
            failures = 1 if trio.current_time() - began > STEADY_SECONDS else failures + 1
            await trio.sleep(RESTART_DELAY.after(failures))
