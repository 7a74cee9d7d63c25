"""The event log: numbers events, keeps them, and lets a thread write them.

Who publishes never waits for the disk. What is not written in time is missing after the next
start, and is counted as missed then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import msgspec
import structlog
import trio

from camd.clock import Clock
from camd.events.event_files import FOLDER, EventFiles, StoredEvents
from camd.events.rules.history import EventHistory, KeptEvent
from camd.events.rules.numbering import EventNumbers, first_event_number
from camd.growing_delay import GrowingDelay
from camd.rpc.registry import Notification

LOAD_SECONDS = 3.0  # for the files, at the start; after that the log goes on without them
CLOSE_SECONDS = 2.0
BATCH_EVENTS = 500
RETRY_DELAY = GrowingDelay(1.0, 60.0)
log = structlog.get_logger("camd.events")
_encode = msgspec.json.Encoder().encode


@attrs.define(eq=False)
class EventLog:
    """The handle. `history` is what clients may still get."""

    clock: Clock
    history: EventHistory
    numbers: EventNumbers
    _published: trio.Event = attrs.field(factory=trio.Event, init=False)

    def publish(
        self,
        method: str,
        params: Mapping[str, object],
        *,
        coalesce_key: str | None = None,
        about: tuple[str, ...] = (),
        topics: tuple[str, ...] = (),
    ) -> Notification:
        """Number an event, keep it, and return the notification to send. Does not wait.

        `seq` and `time` are added to the parameters, which are encoded here, once.
        """
        moment, before = self.clock.now(), self.history.newest
        number = self.numbers.take(int(moment.timestamp() * 1000))
        encoded = msgspec.Raw(_encoded({**params, "seq": number, "time": moment}))
        notification = Notification(method, encoded, coalesce_key, about, number, topics)
        self.history.add(KeptEvent(notification, number, before, len(bytes(encoded))))
        self._published.set()
        return notification

    async def wait_published(self) -> None:
        """Wait for the next event, or return at once if one came since the last call."""
        await self._published.wait()
        self._published = trio.Event()


def _encoded(params: Mapping[str, object]) -> bytes:
    """Encode parameters; characters that UTF-8 cannot hold, as in odd file names, become `?`."""
    try:
        return _encode(params)
    except UnicodeError:
        return _encode(_printable(params))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_printable(name): _printable(each) for name, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, (list, tuple)) else value


@attrs.define(eq=False)
class _LogWriter:
    """Writes what the history has and the files have not, in a thread, one call at a time.

    The history is the queue: what it drops before it was written is never written.
    """

    events: EventLog
    files: EventFiles
    written: int  # the number up to which the files have everything
    load_seconds: float = LOAD_SECONDS
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _failing: bool = attrs.field(default=False, init=False)

    async def load(self) -> StoredEvents:
        """Read what earlier runs left; nothing after `load_seconds`, and when it cannot be read."""
        with trio.move_on_after(self.load_seconds):
            try:
                return await trio.to_thread.run_sync(
                    self.files.load, limiter=self._thread, abandon_on_cancel=True
                )
            except OSError as error:
                log.error("event_log_unreadable", error=str(error))
                return StoredEvents()
        log.error("event_log_unreadable", error="the disk hangs")
        return StoredEvents()

    async def reserve(self) -> None:
        """Reserve the first numbers before any is used; if that fails, the clock gives them."""
        if self._thread.borrowed_tokens:
            return  # the disk hangs
        with trio.move_on_after(self.load_seconds):
            await self._write_once()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write events as they come, until cancelled; after an error, with growing pauses."""
        task_status.started()
        failures = 0
        while True:
            if not failures and not self._behind:
                await self.events.wait_published()
            await trio.sleep(RETRY_DELAY.after(failures))
            failures = 0 if await self._write_once() else failures + 1

    async def close(self) -> None:
        """Write the rest, and which numbers were used; may be cancelled."""
        history = self.events.history

        def finish(events: Sequence[KeptEvent]) -> None:
            with suppress(OSError):
                self.files.append(events)
                self.files.reserve(history.newest + 1)

        rest = history.after(self.written, history.max_events)
        await trio.to_thread.run_sync(finish, rest, limiter=self._thread, abandon_on_cancel=True)

    @property
    def _behind(self) -> bool:
        return self.events.history.newest > self.written

    async def _write_once(self) -> bool:
        """Write a batch, and reserve numbers when few are left; False when the disk refused."""
        numbers, history = self.events.numbers, self.events.history
        batch, limit = history.after(self.written, BATCH_EVENTS), numbers.wanted_limit
        last = batch[-1].number if batch else history.newest

        def write() -> None:
            if limit is not None:
                self.files.reserve(limit)
            if batch:
                self.files.append(batch)

        try:
            await trio.to_thread.run_sync(write, limiter=self._thread, abandon_on_cancel=True)
        except OSError as error:
            if not self._failing:
                log.error("event_log_not_written", error=str(error))
            self._failing = True
            return False
        if self._failing:
            log.info("event_log_written_again")
        self._failing = False
        if limit is not None:
            numbers.reserved(limit)
        self.written = last
        return True


@asynccontextmanager
async def open_event_log(
    state_dir: Path, *, clock: Clock, load_seconds: float = LOAD_SECONDS
) -> AsyncIterator[EventLog]:
    """Keep events while the block runs, and read what earlier runs kept.

    Raises nothing for the disk's sake: a log that cannot be read or written is kept in memory only,
    which is logged.
    """
    files = EventFiles(state_dir / FOLDER)
    events = EventLog(clock, EventHistory(), EventNumbers())
    writer = _LogWriter(events, files, written=0, load_seconds=load_seconds)
    _restore(events, await writer.load())
    writer.written = events.history.newest
    await writer.reserve()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.serve)
            yield events
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
            await writer.close()


def _restore(events: EventLog, stored: StoredEvents) -> None:
    """Begin with the events of earlier runs, and behind their numbers."""
    unix_ms = int(events.clock.now().timestamp() * 1000)
    for event in stored.events:
        events.history.add(event)
    if stored.is_new:
        first = 1
    else:
        first = first_event_number(events.history.newest, stored.limit, unix_ms=unix_ms)
    events.history.newest = max(events.history.newest, first - 1)
    events.numbers.next = first
    events.numbers.limit = first
