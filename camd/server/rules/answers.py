"""What belongs to one message with calls: where its answers go, and what its calls may say."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from camd.rpc import codec
from camd.rpc.registry import EVERYTHING, Notification

Done = Callable[[bytes | None], None]


class DeferredAnswer(enum.Enum):
    """In place of an answer: it will come from the call's own task."""

    LATER = enum.auto()


@attrs.define(eq=False)
class BatchAnswers:
    """Collects the answers to one batch; `send` gets them in one array when all are there."""

    missing: int
    send: Done
    _answers: list[bytes] = attrs.field(factory=list, init=False)

    def finish(self, answer: bytes | None) -> None:
        """Take the answer to one call; None: it gets none."""
        self.missing -= 1
        if answer is not None:
            self._answers.append(answer)
        if not self.missing:
            self.send(codec.encode_batch(self._answers) if self._answers else None)


class AnswerSink(Protocol):
    """What a call's link needs of its connection."""

    def filter(self, wanted: Callable[[Notification], bool] | None) -> None:
        """See `ClientLink`."""

    def notify(self, notification: Notification) -> None:
        """Send news to this client alone."""

    def hold(self, turn: int, subject: str) -> None:
        """Keep news about `subject` back until the message of this turn is answered."""


@attrs.frozen
class CallLink:
    """The way back to a client for one call; see `ClientLink`."""

    line: AnswerSink
    turn: int | None  # of the message; None: nothing is answered, so nothing has to wait

    def filter(self, wanted: Callable[[Notification], bool] | None) -> None:
        """See `ClientLink`."""
        self.line.filter(wanted)

    def notify(self, notification: Notification) -> None:
        """See `ClientLink`."""
        own = f"call {self.turn}"
        self.hold(own)
        self.line.notify(attrs.evolve(notification, about=(*notification.about, own)))

    def hold(self, subject: str) -> None:
        """See `ClientLink`."""
        if self.turn is not None:
            self.line.hold(self.turn, subject)


# --- Which news wait for the answer to the call that causes them, and for how long.

HOLD_SECONDS = 30.0  # a call that takes longer keeps nothing back any more
MOST_HELD = 64  # past it, everything goes out at once


@attrs.frozen
class HeldNotification:
    """One notification, as it is sent."""

    notification: Notification
    text: str = attrs.field(repr=False)


@attrs.define(eq=False)
class _HoldClaim:
    since: float
    subjects: set[str] = attrs.field(factory=set)


@attrs.define(eq=False)
class NotificationHold:
    """The news that one connection's calls keep back; `turn` numbers what gets one answer.

    Bounded by number (newer states replace older ones under the same key) and by time. Times are
    seconds of any clock that does not step.
    """

    _claims: dict[int, _HoldClaim] = attrs.field(factory=dict, init=False)
    _held: OrderedDict[str | int, HeldNotification] = attrs.field(factory=OrderedDict, init=False)
    _number: int = attrs.field(default=0, init=False)

    @property
    def idle(self) -> bool:
        """Whether nothing is kept back at present."""
        return not self._claims

    def claim(self, turn: int, subject: str, now: float) -> None:
        """Keep news about `subject` back until this turn is answered."""
        self._claims.setdefault(turn, _HoldClaim(now)).subjects.add(subject)

    def pass_on(self, notification: Notification, text: str) -> Sequence[HeldNotification]:
        """Take one in; give what is to be sent now: this one, nothing, or everything."""
        item = HeldNotification(notification, text)
        if not self._claimed(notification):
            return (item,)
        self._number += 1
        key = notification.coalesce_key
        if key is not None:
            self._held.pop(key, None)
        self._held[self._number if key is None else key] = item
        if len(self._held) <= MOST_HELD:
            return ()
        self._claims.clear()
        return self._free()

    def answered(self, turn: int) -> Sequence[HeldNotification]:
        """End what a turn keeps back; give what no other turn does, the oldest first."""
        if self._claims.pop(turn, None) is None:
            return ()
        return self._free()

    def overdue(self, now: float) -> Sequence[HeldNotification]:
        """End what was kept back for too long; give what is free by that."""
        late = [turn for turn, claim in self._claims.items() if now - claim.since >= HOLD_SECONDS]
        for turn in late:
            del self._claims[turn]
        return self._free() if late else ()

    def everything(self) -> Sequence[HeldNotification]:
        """End all of it."""
        self._claims.clear()
        return self._free()

    def _claimed(self, notification: Notification) -> bool:
        about = {EVERYTHING, *notification.about}
        return any(not about.isdisjoint(claim.subjects) for claim in self._claims.values())

    def _free(self) -> Sequence[HeldNotification]:
        free = [key for key, item in self._held.items() if not self._claimed(item.notification)]
        return [self._held.pop(key) for key in free]
