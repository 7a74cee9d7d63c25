"""Order of what one client receives: answers of a batch, and notifications behind the answer."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Sequence

import attrs

from camd.rpc import codec
from camd.rpc.registry import EVERYTHING, Notification

SendAnswer = Callable[[bytes | None], None]  # None: nothing is answered

HOLD_SECONDS = 30.0  # a call that takes longer no longer holds notifications back
MAX_BATCH_BYTES = 8 * 1024 * 1024  # of all answers to one batch
MAX_HELD = 64  # above it, all held notifications are released


class AnswerSentLater(enum.Enum):
    """In place of an answer: the task of the call will send it."""

    LATER = enum.auto()


@attrs.define(eq=False)
class BatchAnswers:
    """Collects the answers to one batch; `send` gets them as one array when all are there."""

    missing: int
    send: SendAnswer
    _answers: list[bytes] = attrs.field(factory=list, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def finish(self, answer: bytes | None) -> None:
        """Take the answer to one call of the batch; None: the call gets none.

        An answer beyond MAX_BATCH_BYTES is replaced by an error.
        """
        self.missing -= 1
        if answer is not None:
            if self._bytes + len(answer) > MAX_BATCH_BYTES:
                answer = codec.encode_too_large(answer)
            self._bytes += len(answer)
            self._answers.append(answer)
        if not self.missing:
            self.send(codec.encode_batch(self._answers) if self._answers else None)


@attrs.frozen
class HeldNotification:
    """A notification and its encoded text."""

    notification: Notification
    text: str = attrs.field(repr=False)


@attrs.define(eq=False)
class _HoldClaim:
    since: float
    subjects: set[str] = attrs.field(factory=set)


@attrs.define(eq=False)
class NotificationHold:
    """Notifications that wait until the calls that cause them are answered, for one connection.

    A message gets one answer, so a hold belongs to a message number. Bounded by number (a newer
    notification replaces an older one with the same key) and by time. Times are seconds of any
    monotonic clock.
    """

    _claims: dict[int, _HoldClaim] = attrs.field(factory=dict, init=False)
    _held: OrderedDict[str | int, HeldNotification] = attrs.field(factory=OrderedDict, init=False)
    _number: int = attrs.field(default=0, init=False)

    @property
    def idle(self) -> bool:
        """Whether no call holds anything back."""
        return not self._claims

    def claim(self, message_number: int, subject: str, now: float) -> None:
        """Hold back notifications about `subject` until this message is answered."""
        self._claims.setdefault(message_number, _HoldClaim(now)).subjects.add(subject)

    def offer(self, notification: Notification, text: str) -> Sequence[HeldNotification]:
        """Take a notification; give what to send now: this one, nothing, or all that are held."""
        item = HeldNotification(notification, text)
        if not self._claimed(notification):
            return (item,)
        self._number += 1
        coalesce_key = notification.coalesce_key
        if coalesce_key is not None:
            self._held.pop(coalesce_key, None)
        self._held[self._number if coalesce_key is None else coalesce_key] = item
        if len(self._held) <= MAX_HELD:
            return ()
        return self.release_all()

    def release_answered(self, message_number: int) -> Sequence[HeldNotification]:
        """End the hold of an answered message; give what is free by that, the oldest first."""
        if self._claims.pop(message_number, None) is None:
            return ()
        return self._release()

    def release_overdue(self, now: float) -> Sequence[HeldNotification]:
        """End holds that are older than HOLD_SECONDS; give what is free by that."""
        late = [each for each, claim in self._claims.items() if now - claim.since >= HOLD_SECONDS]
        for message_number in late:
            del self._claims[message_number]
        return self._release() if late else ()

    def release_all(self) -> Sequence[HeldNotification]:
        """End all holds; give all notifications that are held."""
        self._claims.clear()
        return self._release()

    def _claimed(self, notification: Notification) -> bool:
        about = {EVERYTHING, *notification.about}
        return any(not about.isdisjoint(claim.subjects) for claim in self._claims.values())

    def _release(self) -> Sequence[HeldNotification]:
        free = [each for each, item in self._held.items() if not self._claimed(item.notification)]
        return [self._held.pop(each) for each in free]
