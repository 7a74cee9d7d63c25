"""Events as an iterator that survives reconnections: nothing twice, nothing missing unsaid."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import attrs
import trio

from camd.client.remote_errors import InvalidParamsError, RemoteError
from camd.client.results import UnreadableAnswerError, read_result
from camd.client.service_connection import (
    RECONNECT_DELAY,
    STABLE_SECONDS,
    CannotConnectError,
    ConnectionLostError,
    ServiceAddress,
    ServiceConnection,
    open_connection,
)
from camd.contract.camera_results import CameraInfo
from camd.contract.event_results import PastEvent
from camd.contract.recording_results import RecordingUpdate
from camd.contract.storage_results import StorageInfo
from camd.errors import sole_exception

WAITING_EVENTS = 100  # for a reader; then the service is not read


_SENT = attrs.field(default=None, kw_only=True, repr=False, eq=False)


@attrs.frozen
class CameraEvent:
    """A camera has changed. `sent` is the notification, as in all events."""

    seq: int
    time: datetime
    camera: CameraInfo
    sent: PastEvent | None = _SENT


@attrs.frozen
class RecordingEvent:
    """A recording has begun, goes on, or has ended."""

    seq: int
    time: datetime
    recording: RecordingUpdate
    sent: PastEvent | None = _SENT


@attrs.frozen
class StorageEvent:
    """The level of the recordings volume has changed."""

    seq: int
    time: datetime
    storage: StorageInfo
    sent: PastEvent | None = _SENT


@attrs.frozen
class OtherEvent:
    """An event of another kind: see `sent`."""

    seq: int
    time: datetime
    method: str
    sent: PastEvent | None = _SENT


@attrs.frozen
class EventsMissed:
    """Events that the service did not keep; `missed` is how many, at most.

    None: it cannot be known, because the numbers of the service began anew. `sent` is None where
    the answer to a call has said it.
    """

    missed: int | None
    oldest: int | None  # the lowest number that the service has
    seq: int  # the number from which on nothing is missing
    sent: PastEvent | None = _SENT


ServiceEvent = CameraEvent | RecordingEvent | StorageEvent | OtherEvent | EventsMissed


@attrs.frozen
class _Stamp:
    seq: int
    time: datetime


def read_event(method: str, params: dict[str, Any]) -> ServiceEvent:
    """Make an event of a notification. Raises UnreadableAnswerError."""
    stamp, sent = read_result(_Stamp, params), PastEvent(method=method, params=params)
    seq, time = stamp.seq, stamp.time
    match method:
        case "camera_status_update":
            return CameraEvent(seq, time, read_result(CameraInfo, params), sent=sent)
        case "recording_status_update":
            return RecordingEvent(seq, time, read_result(RecordingUpdate, params), sent=sent)
        case "storage_status_update":
            return StorageEvent(seq, time, read_result(StorageInfo, params), sent=sent)
        case "events_missed":
            return EventsMissed(params.get("missed"), params.get("oldest"), seq, sent=sent)
    return OtherEvent(seq, time, method, sent=sent)


@attrs.define(eq=False)
class EventStream:
    """Iterates over events, oldest first. When it is not read, the service keeps them.

    `position` is the number of the last event that was read: pass it as `since` to go on from there
    at another time. Raises at the end of a connection that is not made again ConnectionLostError,
    and when the service refuses a new one, the `RemoteError`.
    """

    position: int
    _events: trio.MemoryReceiveChannel[ServiceEvent]
    _problem: Exception | None = attrs.field(default=None, init=False)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> ServiceEvent:
        try:
            event = await self._events.receive()
        except trio.EndOfChannel:
            raise (self._problem or ConnectionLostError("the stream has ended")) from None
        self.position = event.seq
        return event

    def fail(self, problem: Exception) -> None:
        """Set what the reader gets behind the last event."""
        self._problem = problem


@attrs.define(eq=False)
class _Follower:
    """Connects, subscribes behind the last event, and hands events on, again and again."""

    address: ServiceAddress
    wanted: Mapping[str, object]
    since: int | None
    reconnect: bool
    sink: trio.MemorySendChannel[ServiceEvent]
    source: trio.MemoryReceiveChannel[ServiceEvent]
    _stream: EventStream | None = attrs.field(default=None, init=False)
    _failures: int = attrs.field(default=0, init=False)  # connections in a row that did not last

    async def serve(self, task_status: trio.TaskStatus[EventStream]) -> None:
        """Follow events; raises what is wrong with the first connection."""
        async with self.sink:
            while True:
                try:
                    async with open_connection(
                        self.address, authenticates=False, keeps_all=True
                    ) as connection:
                        await self._subscribe(connection)
                        if self._stream is None:
                            self._stream = EventStream(self.since or 0, self.source)
                            task_status.started(self._stream)
                        await self._hand_on(connection)
                except (
                    CannotConnectError,
                    ConnectionLostError,
                    RemoteError,
                    UnreadableAnswerError,
                ) as error:
                    if self._stream is None:
                        raise
                    if self._is_final(error):
                        self._stream.fail(error)
                        return
                self._failures += 1
                await trio.sleep(RECONNECT_DELAY.after(self._failures, random.random()))

    def _is_final(self, error: Exception) -> bool:
        if not self.reconnect or isinstance(error, UnreadableAnswerError):
            return True
        return isinstance(error, RemoteError) and not error.retryable

    async def _subscribe(self, connection: ServiceConnection) -> None:
        """Subscribe with the token in the same call: no new event comes before the past ones."""
        try:
            answer = await self._ask(connection, self.since)
        except InvalidParamsError as error:
            if self._stream is None or "newest" not in error.data:
                raise
            missed = EventsMissed(None, error.data.get("oldest"), 0)
            answer = await self._ask(connection, 0)
            await self._hand(missed)
        if answer["missed"]:
            oldest = answer["oldest"]
            seq = answer["newest"] if oldest is None else oldest - 1
            await self._hand(EventsMissed(answer["missed"], oldest, max(seq, self.since or 0)))
        if self.since is None:
            self.since = answer["newest"]

    async def _ask(self, connection: ServiceConnection, since: int | None) -> dict[str, Any]:
        given = {**self.wanted, "since": since, "auth_token": self.address.token}
        sent = {name: value for name, value in given.items() if value is not None}
        answer: dict[str, Any] = await connection.call_soon("subscribe_events", **sent)
        return answer

    async def _hand_on(self, connection: ServiceConnection) -> None:
        began = trio.current_time()
        try:
            async for method, params in connection.notifications():
                await self._hand(read_event(method, params))
        finally:
            if trio.current_time() - began >= STABLE_SECONDS:
                self._failures = 0

    async def _hand(self, event: ServiceEvent) -> None:
        await self.sink.send(event)
        self.since = event.seq


@asynccontextmanager
async def open_event_stream(
    address: ServiceAddress,
    wanted: Mapping[str, object],
    *,
    since: int | None = None,
    reconnect: bool = True,
) -> AsyncIterator[EventStream]:
    """Follow events while the block runs, over a connection of its own.

    Begins with new ones, or behind the number `since`. Raises CannotConnectError and RemoteError
    when the first connection fails, InvalidParamsError when `since` is above the newest number.
    """
    sink, source = trio.open_memory_channel[ServiceEvent](WAITING_EVENTS)
    follower = _Follower(address, wanted, since, reconnect, sink, source)
    try:
        async with trio.open_nursery() as nursery:
            yield await nursery.start(follower.serve)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error = sole_exception(group)
        raise error from error.__cause__
