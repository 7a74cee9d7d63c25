"""One client on a WebSocket: its calls, its news, its heartbeat, and why it was sent away."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import attrs
import structlog
import trio

from camd import clock
from camd.auth.authenticator import Authenticator
from camd.auth.login_throttle import LOCAL
from camd.errors import INTERNAL_ERROR, RATE_LIMITED, SHUTTING_DOWN, Refusal
from camd.rpc import codec
from camd.rpc.codec import BadCall, Call
from camd.rpc.registry import Caller, Notification, PreparedCall, Registry
from camd.rpc.roles import Principal
from camd.runtime.actor import ActorGoneError
from camd.server.connection_auth import ConnectionAuth
from camd.server.error_boundary import guarded
from camd.server.rules.answers import (
    BatchAnswers,
    CallLink,
    DeferredAnswer,
    Done,
    HeldNotification,
    NotificationHold,
)
from camd.server.rules.rate_limit import TokenBucket
from camd.server.send_queue import SendQueue, SendQueueFullError
from camd.server.websocket import GOING_AWAY, POLICY, TRY_LATER, SocketClosedError, WebSocket

AUTHENTICATE = "authenticate"
PING_SECONDS = 30.0
PONG_SECONDS = 10.0
STALL_SECONDS = 20.0  # one message that takes longer to send ends the connection
GOODBYE_SECONDS = 1.0
BUSY_RETRY_MS = 100
STRANGER_BYTES = 64 * 1024  # of a message from a client that has not authenticated
MOST_WRONG_KEYS = 10  # of one connection
READ_AHEAD = 32  # messages that may wait for a client from whom calls are still taken
_log = structlog.get_logger("camd.server")


def unix_now() -> float:
    """Seconds since 1970, for checking when credentials expire."""
    return clock.now().timestamp()


@attrs.define(eq=False)
class CallStats:
    """Counters of one server, for metrics. Its connections write them; everybody may read them."""

    connections: int = 0
    refused_connections: int = 0
    requests: int = 0
    errors: int = 0  # answered with an error of any kind
    crashes: int = 0  # errors that were bugs
    busy_seconds: float = 0.0
    notifications: int = 0

    @property
    def average_response_ms(self) -> float:
        """Average duration of a call."""
        return self.busy_seconds / self.requests * 1000 if self.requests else 0.0

    @property
    def error_rate(self) -> float:
        """Share of calls that were answered with an error, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0


@attrs.frozen
class ConnectionShared:
    """What all connections of one server share."""

    registry: Registry
    authenticator: Authenticator
    traffic: CallStats = attrs.field(factory=CallStats)
    max_calls_in_flight: int = 32
    requests_per_minute: int = 600
    max_message_bytes: int = 1024 * 1024
    legacy_dialect: str = "auto"
    now: Callable[[], float] = unix_now
    authentication_seconds: float = 10.0


@attrs.frozen
class _Ending:
    code: int
    reason: str


@attrs.define(eq=False)
class Connection:
    """One client. `serve` runs it; the server delivers news to it and may end it."""

    service: ConnectionShared
    socket: WebSocket
    identity: Principal | None = None  # known from the socket itself, as on a Unix socket
    binding: Callable[[Principal], bool] = lambda identity: True  # False: there is no place
    demote: Callable[[], None] = lambda: None  # told when a wrong key was shown
    address: str = LOCAL  # as `group_of` names it
    id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    outbox: SendQueue = attrs.field(factory=SendQueue)
    _gate: ConnectionAuth = attrs.field(init=False)
    _bucket: TokenBucket = attrs.field(init=False)
    _wanted: Callable[[Notification], bool] | None = attrs.field(default=None, init=False)
    _running: dict[int, bytes | None] = attrs.field(factory=dict, init=False)  # ids of calls
    _number: int = attrs.field(default=0, init=False)
    _turn: int = attrs.field(default=0, init=False)  # of messages
    _hold: NotificationHold = attrs.field(factory=NotificationHold, init=False)
    _settled: bool = attrs.field(default=False, init=False)  # has shown a key
    _keyless: int = attrs.field(default=0, init=False)  # looks at it since a key last counted
    _wrong_keys: int = attrs.field(default=0, init=False)
    _told: set[str] = attrs.field(factory=set, init=False)  # methods with unknown parameters
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _ending: _Ending | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        service = self.service
        self._gate = ConnectionAuth(
            service.authenticator, self.id, service.legacy_dialect, service.now, self.identity
        )
        self._bucket = TokenBucket(service.requests_per_minute)

    # --- what the server and the handlers do with a connection

    async def serve(self) -> None:
        """Run until the client leaves or is sent away; then the socket is closed."""
        try:
            with self._scope:
                self.socket.limit(min(STRANGER_BYTES, self.service.max_message_bytes))
                with suppress(Refusal):  # then it is over already
                    self._settle()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch)
                    if not self._settled:
                        nursery.start_soon(self._await_key)
                    await self._read(nursery)
        except* SocketClosedError as group:
            closed = group.exceptions[0]
            if self._ending is None and isinstance(closed, SocketClosedError):
                self._ending = _Ending(closed.code, closed.reason)
        await self._leave()

    def deliver(self, notification: Notification, text: str) -> None:
        """Queue published news, if this client may and wants to have it."""
        if not self._gate.is_open or (self._wanted and not self._wanted(notification)):
            return
        self.service.traffic.notifications += 1
        if self._hold.idle:
            self._put(text, notification.coalesce_key)
        else:
            self._put_news(self._hold.pass_on(notification, text))

    def end(self, code: int = GOING_AWAY, reason: str = "the service is stopping") -> None:
        """Send the client away; when the service stops, what is queued still goes out first."""
        if self._ending is None:
            self._ending = _Ending(code, reason)
            self._scope.cancel()

    def filter(self, wanted: Callable[[Notification], bool] | None) -> None:
        """See `ClientLink`."""
        self._wanted = wanted

    def notify(self, notification: Notification) -> None:
        """Send news to this client alone."""
        if self._gate.is_open:
            text = str(codec.encode_notification(notification), "utf-8")
            self._put_news(self._hold.pass_on(notification, text))

    def hold(self, turn: int, subject: str) -> None:
        """Keep news about `subject` back until the message of this turn is answered."""
        self._hold.claim(turn, subject, trio.current_time())

    # --- the tasks

    async def _read(self, nursery: trio.Nursery) -> None:
        """Take calls for as long as the client takes answers: who does not read is not read."""
        while True:
            if len(self.outbox) >= READ_AHEAD:
                await self.outbox.wait_below(READ_AHEAD)
            incoming = codec.decode(await self.socket.receive())
            self._turn += 1
            send = partial(self._send, self._turn)
            if incoming.batch:
                batch = BatchAnswers(len(incoming.calls), send)
                for call in incoming.calls:
                    answer = await self._start(call, batch.finish, nursery)
                    if answer is not DeferredAnswer.LATER:
                        batch.finish(answer)
                continue
            answer = await self._start(incoming.calls[0], send, nursery)
            if answer is DeferredAnswer.LATER:
                continue
            if answer is None or self._ending or self.socket.sending or self.outbox:
                send(answer)  # a send that is cancelled would spoil the close frame
            else:  # nothing is before it: sent from here, without waking the writer
                await self.socket.send(str(answer, "utf-8"))
                self._put_news(self._hold.answered(self._turn))

    async def _write(self) -> None:
        while True:
            await self.socket.send(await self.outbox.take())

    async def _watch(self) -> None:
        """Send the client away when it does not answer pings or does not read."""
        while True:
            for _ in range(3):
                await trio.sleep(PING_SECONDS / 3)
                self._put_news(self._hold.overdue(trio.current_time()))
                self._check_key()
                if self.socket.stalled_seconds >= STALL_SECONDS:
                    self.end(POLICY, "the client does not read")
            with trio.move_on_after(PONG_SECONDS) as patience:
                await self.socket.ping()
            if patience.cancelled_caught:
                self.end(POLICY, "no answer to a ping")

    async def _await_key(self) -> None:
        """Send the client away when it shows no key in time."""
        await trio.sleep(self.service.authentication_seconds)
        if not self._settled:
            self.end(POLICY, "not authenticated in time")

    def _check_key(self) -> None:
        """Send the client away whose key counts no longer, and who had time to show another."""
        self._keyless = 0 if self._gate.is_open else self._keyless + 1
        if self._settled and self._keyless > 1:
            self.end(POLICY, "the key counts no longer")

    async def _leave(self) -> None:
        """Refuse the calls that still run, send what is queued, close; all within a bound."""
        ending = self._ending or _Ending(1000, "")
        if ending.code == GOING_AWAY and self.socket.intact:
            with trio.move_on_after(GOODBYE_SECONDS):
                with suppress(SocketClosedError):
                    await self._say_goodbye()
        await self.socket.close(ending.code, ending.reason)
        say = _log.debug if ending.code == 1000 else _log.info  # every command of the command line
        say("client_left", connection=self.id, code=ending.code, reason=ending.reason)

    async def _say_goodbye(self) -> None:
        for id_text in self._running.values():
            answer = self._refused(id_text, Refusal(SHUTTING_DOWN))
            if answer is not None:
                await self.socket.send(str(answer, "utf-8"))
        self._put_news(self._hold.everything())
        while self.outbox:
            await self.socket.send(self.outbox.take_nowait())

    # --- calls

    async def _start(
        self, call: Call | BadCall, done: Done, nursery: trio.Nursery
    ) -> bytes | DeferredAnswer | None:
        """Answer a call at once where that is possible; else a task of its own calls `done`."""
        self.service.traffic.requests += 1
        try:
            ready = self._admit(call)
            self._settle()
        except Refusal as refusal:
            await self._slow_down()
            return self._refused(call.id, refusal)
        if isinstance(ready, dict):
            await self._slow_down()
            return None if call.id is None else codec.encode_result(call.id, ready)
        if ready.method.immediate:
            return await self._run(call.id, ready)
        self._number += 1
        self._running[self._number] = call.id
        nursery.start_soon(self._run_apart, self._number, call.id, ready, done)
        return DeferredAnswer.LATER

    def _admit(self, call: Call | BadCall) -> PreparedCall | dict[str, object]:
        """Check everything that can be checked at once; `authenticate` gives its result."""
        if self._bucket.per_minute and (wait_ms := self._bucket.take(trio.current_time())):
            raise Refusal(RATE_LIMITED, retry_after_ms=wait_ms)
        if isinstance(call, BadCall):
            raise call.refusal
        if call.method == AUTHENTICATE:
            return self._gate.authenticate(call.params)
        service = self.service
        identity = self._gate.admit(call.params)
        turn = None if call.id is None else self._turn
        caller = Caller(identity, self.id, CallLink(self, turn))
        ready = service.registry.prepare(call.method, call.params, caller)
        if not ready.method.immediate and len(self._running) >= service.max_calls_in_flight:
            message = f"More than {service.max_calls_in_flight} calls are in flight"
            raise Refusal(RATE_LIMITED, message, retry_after_ms=BUSY_RETRY_MS)
        return ready

    def _settle(self) -> None:
        """Take a place among those who are known. Raises Refusal when there is none."""
        identity = self._gate.identity
        if identity is None:
            return
        if not self.binding(identity):
            self.end(TRY_LATER, "too many connections")
            raise Refusal(RATE_LIMITED, "Too many connections", retry_after_ms=BUSY_RETRY_MS)
        if not self._settled:
            self._settled = True
            self.socket.limit(self.service.max_message_bytes)

    async def _slow_down(self) -> None:
        """After a wrong key, wait; after too many of them the client must go."""
        reason, self._gate.refused = self._gate.refused, None
        if reason is None:
            return
        self._wrong_keys += 1
        self.demote()
        await self.service.authenticator.slow_down(self.address, reason)
        if self._wrong_keys >= MOST_WRONG_KEYS:
            self.end(POLICY, "too many wrong keys")

    async def _run_apart(
        self, number: int, id_text: bytes | None, ready: PreparedCall, done: Done
    ) -> None:
        answer = await self._run(id_text, ready)
        del self._running[number]  # a call that is cancelled stays, for the goodbye
        done(answer)

    async def _run(self, id_text: bytes | None, ready: PreparedCall) -> bytes | None:
        began = trio.current_time()
        self._note_unknown(ready)
        outcome = await guarded(
            partial(_result, id_text, ready),
            "call_crashed",
            method=ready.method.name,
            connection=self.id,
        )
        traffic = self.service.traffic
        traffic.busy_seconds += trio.current_time() - began
        if outcome.refusal is not None:
            return self._refused(id_text, outcome.refusal)
        if outcome.crashed:
            traffic.crashes += 1
            return self._refused(id_text, Refusal(INTERNAL_ERROR))
        return outcome.value

    def _refused(self, id_text: bytes | None, refusal: Refusal) -> bytes | None:
        self.service.traffic.errors += 1
        if id_text is None:  # a notification: refused in silence
            return None
        return codec.encode_refusal(id_text, refusal, null_result=self._gate.null_result)

    def _note_unknown(self, ready: PreparedCall) -> None:
        """Log parameters that a method does not have, once for each method."""
        name = ready.method.name
        if ready.unknown and name not in self._told:
            self._told.add(name)
            _log.info(
                "unknown_parameters", connection=self.id, method=name, names=list(ready.unknown)
            )

    def _send(self, turn: int, answer: bytes | None) -> None:
        """Queue an answer, then the news that waited for it."""
        if answer is not None:
            self._put(str(answer, "utf-8"))
        self._put_news(self._hold.answered(turn))

    def _put_news(self, items: Sequence[HeldNotification]) -> None:
        for item in items:
            if self._gate.is_open:
                self._put(item.text, item.notification.coalesce_key)

    def _put(self, text: str, key: str | None = None) -> None:
        try:
            self.outbox.put(text, key)
        except SendQueueFullError as error:
            self.end(POLICY, f"the client reads too slowly: {error}")


async def _result(id_text: bytes | None, ready: PreparedCall) -> bytes | None:
    """Make the call and encode what comes back; what JSON cannot hold is a bug of the method."""
    try:
        result = await ready.run()
    except ActorGoneError:
        raise Refusal(SHUTTING_DOWN) from None
    return None if id_text is None else codec.encode_result(id_text, result)
