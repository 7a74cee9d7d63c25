"""What belongs to one message with calls: where its answers go, and what its calls may say."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

import attrs

from camd.rpc import codec
from camd.rpc.notification import Notification

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

    def narrow(self, wanted: Callable[[Notification], bool] | None) -> None:
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

    def narrow(self, wanted: Callable[[Notification], bool] | None) -> None:
        """See `ClientLink`."""
        self.line.narrow(wanted)

    def notify(self, notification: Notification) -> None:
        """See `ClientLink`."""
        own = f"call {self.turn}"
        self.hold(own)
        self.line.notify(attrs.evolve(notification, about=(*notification.about, own)))

    def hold(self, subject: str) -> None:
        """See `ClientLink`."""
        if self.turn is not None:
            self.line.hold(self.turn, subject)
