"""One WebSocket client: its calls, notifications, heartbeat, and why its connection ended."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import attrs
import structlog
import trio

from camd.auth.authenticator import Authenticator
from camd.auth.login_throttle import LOCAL
from camd.clock import Clock
from camd.errors import INTERNAL_ERROR, RATE_LIMITED, SHUTTING_DOWN, Refusal
from camd.events.rules.history import EventHistory, HistoryPage
from camd.rpc import codec
from camd.rpc.codec import BadCall, Call
from camd.rpc.registry import Caller, Notification, PreparedCall, Registry
from camd.rpc.roles import Principal
from camd.rpc.server_counters import ServerCounters
from camd.runtime.actor import ActorGoneError
from camd.server.connection_auth import ConnectionAuth
from camd.server.error_boundary import run_in_boundary
from camd.server.rules.answers import (
    AnswerSentLater,
    BatchAnswers,
    HeldNotification,
    NotificationHold,
    SendAnswer,
)
from camd.server.rules.connection_limits import TokenBucket
from camd.server.rules.event_delivery import EventDelivery
from camd.server.send_queue import SendBudget, SendQueue, SendQueueFullError
from camd.server.websocket import (
    GOING_AWAY,
    POLICY,
    TRY_LATER,
    SocketClosedError,
    WebSocket,
    text_frame,
)

AUTHENTICATE = "authenticate"
PING_SECONDS = 30.0
PONG_SECONDS = 10.0
STALL_SECONDS = 20.0  # sending one message for longer ends the connection
FLUSH_SECONDS = 1.0
BUSY_RETRY_MS = 100
UNAUTHENTICATED_BYTES = 64 * 1024  # of a message from a client that has not authenticated
MAX_WRONG_KEYS = 10  # on one connection
READ_AHEAD = 32  # messages in the send queue up to which calls are read
CATCH_UP_BELOW = READ_AHEAD // 2  # up to which events are taken from the history
MAX_LIVE = 192  # up to which events are queued as they come; what is held back still fits then
EVENTS_MISSED = "events_missed"
_log = structlog.get_logger("camd.server")


@attrs.frozen
class ConnectionShared:
    """What all connections of one server share."""

    registry: Registry
    authenticator: Authenticator
    clock: Clock = attrs.field(kw_only=True)
    call_stats: ServerCounters = attrs.field(factory=ServerCounters)
    max_calls_in_flight: int = 32
    requests_per_minute: int = 600
    max_message_bytes: int = 1024 * 1024
    legacy_dialect: str = "auto"
    history: EventHistory = attrs.field(factory=EventHistory)
    authentication_seconds: float = 10.0
    send_budget: SendBudget = attrs.field(factory=SendBudget)


@attrs.frozen
class _WebSocketClose:
    code: int
    text: str


@attrs.define(eq=False)
class Connection:
    """One client. `serve` runs the connection; the server delivers notifications and may end it."""

    shared: ConnectionShared
    socket: WebSocket
    identity: Principal | None = None  # known from the socket itself, as on a Unix socket
    on_authenticated: Callable[[Principal], bool] = lambda identity: True  # False: too many
    on_wrong_key: Callable[[], None] = lambda: None
    address: str = LOCAL  # as `group_of` names it
    id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    send_queue: SendQueue = attrs.field(
        default=attrs.Factory(lambda self: SendQueue(budget=self.shared.send_budget), True)
    )
    delivery: EventDelivery = attrs.field(init=False)
    held: NotificationHold = attrs.field(factory=NotificationHold, init=False)
    _auth: ConnectionAuth = attrs.field(init=False)
    _bucket: TokenBucket = attrs.field(init=False)
    _may_catch_up: trio.Event = attrs.field(factory=trio.Event, init=False)
    _running: dict[int, bytes | None] = attrs.field(factory=dict, init=False)  # ids of calls
    _call_number: int = attrs.field(default=0, init=False)
    _message_number: int = attrs.field(default=0, init=False)
    _authenticated: bool = attrs.field(default=False, init=False)  # at some time
    _invalid_times: int = attrs.field(default=0, init=False)  # of the credentials, in a row
    _wrong_keys: int = attrs.field(default=0, init=False)
    _logged_methods: set[str] = attrs.field(factory=set, init=False)  # with unknown parameters
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _close_reason: _WebSocketClose | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._auth = ConnectionAuth(
            authenticator=self.shared.authenticator,
            connection_id=self.id,
            dialect=self.shared.legacy_dialect,
            clock=self.shared.clock,
            identity=self.identity,
        )
        self._bucket = TokenBucket(self.shared.requests_per_minute)
        self.delivery = EventDelivery(self.shared.history)

    # --- For the server and for handlers.

    async def serve(self) -> None:
        """Run until the client disconnects or `end` is called; then close the socket."""
        try:
            with self._scope:
                self.socket.limit(min(UNAUTHENTICATED_BYTES, self.shared.max_message_bytes))
                with suppress(Refusal):  # the connection has been ended
                    self._require_identity()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._catch_up)
                    nursery.start_soon(self._watch_liveness)
                    if not self._authenticated:
                        nursery.start_soon(self._limit_authentication_time)
                    await self._read(nursery)
        except* SocketClosedError as group:
            closed = group.exceptions[0]
            if self._close_reason is None and isinstance(closed, SocketClosedError):
                self._close_reason = _WebSocketClose(closed.code, closed.reason)
        await self._close()

    def deliver(self, notification: Notification, text: str, frame: bytes) -> None:
        """Send or queue a published notification, if the client has authenticated and wants it.

        `frame` is that of `text`.
        """
        if not self._auth.is_authenticated:
            self.delivery.interrupt()
        elif self.delivery.accepts(notification):
            if len(self.send_queue) >= MAX_LIVE and self.delivery.fall_behind(notification):
                self._may_catch_up.set()
                return
            self.shared.call_stats.notifications += 1
            if self.held.idle:
                if not self._send_now(frame):
                    self._put(text, notification.coalesce_key)
            else:
                self._queue_notifications(self.held.offer(notification, text))

    def end(self, code: int = GOING_AWAY, reason: str = "the service is stopping") -> None:
        """End the connection; with GOING_AWAY, what is queued is sent first."""
        if self._close_reason is None:
            self._close_reason = _WebSocketClose(code, reason)
            self._scope.cancel()

    def subscribe(
        self,
        wanted: Callable[[Notification], bool] | None,
        since: int | None,
        message_number: int | None,
    ) -> None:
        """See `ClientLink.filter`; kept events are sent after the answer to this message."""
        self.delivery.subscribe(wanted, since, message_number)
        self._may_catch_up.set()

    def notify(self, notification: Notification) -> None:
        """Send a notification to this client alone."""
        if self._auth.is_authenticated:
            text = str(codec.encode_notification(notification), "utf-8")
            self._queue_notifications(self.held.offer(notification, text))

    # --- Tasks.

    async def _read(self, nursery: trio.Nursery) -> None:
        """Read calls; stop reading while the client does not read its answers."""
        while True:
            if len(self.send_queue) >= READ_AHEAD:
                await self.send_queue.wait_below(READ_AHEAD)
            incoming = codec.decode_message(await self.socket.receive())
            self._message_number += 1
            send = partial(self._send, self._message_number)
            if incoming.batch:
                batch = BatchAnswers(len(incoming.calls), send)
                for call in incoming.calls:
                    answer = await self._start(call, batch.finish, nursery)
                    if answer is not AnswerSentLater.LATER:
                        batch.finish(answer)
                continue
            answer = await self._start(incoming.calls[0], send, nursery)
            if answer is AnswerSentLater.LATER:
                continue
            if answer is None or self._close_reason or self.socket.sending or self.send_queue:
                send(answer)  # queued: a cancelled send would make a close frame unreadable
            else:  # nothing is queued: sent from here, without waking the writer
                if not self._send_now(text_frame(answer)):
                    await self.socket.send(str(answer, "utf-8"))
                self._mark_answered(self._message_number)

    async def _write(self) -> None:
        while True:
            text = await self.send_queue.take()
            await (self.socket.finish() if text is None else self.socket.send(text))

    async def _catch_up(self) -> None:
        """Send events from the history to a client that is behind, as fast as it reads."""
        while True:
            while not self.delivery.can_catch_up:
                await self._may_catch_up.wait()
                self._may_catch_up = trio.Event()
            await self.send_queue.wait_below(CATCH_UP_BELOW)
            if not self._auth.is_authenticated:
                self.delivery.interrupt()
            elif self.delivery.can_catch_up:
                self._send_page(self.delivery.next_page(CATCH_UP_BELOW))
            await trio.lowlevel.checkpoint()

    def _send_page(self, page: HistoryPage) -> None:
        # Without a key: a state of the past is not replaced by a newer one.
        sent = [attrs.evolve(each, coalesce_key=None) for each in page.events]
        if page.missed:
            sent.insert(0, self._missed_notification(page))
        for each in sent:
            self.shared.call_stats.notifications += 1
            text = str(codec.encode_notification(each), "utf-8")
            self._queue_notifications(self.held.offer(each, text))

    def _missed_notification(self, page: HistoryPage) -> Notification:
        """Tell how many events are not kept any more; `seq` is the last number before what is."""
        first = page.events[0].seq if page.events else None
        seq = page.last if first is None else first - 1
        params = {"missed": page.missed, "oldest": self.shared.history.oldest}
        return Notification(EVENTS_MISSED, params | {"seq": seq, "time": self.shared.clock.now()})

    async def _watch_liveness(self) -> None:
        """End the connection when the client does not answer pings or does not read."""
        while True:
            for _ in range(3):
                await trio.sleep(PING_SECONDS / 3)
                self._queue_notifications(self.held.release_overdue(trio.current_time()))
                self._watch_credentials()
                if self.socket.stalled_seconds >= STALL_SECONDS:
                    self.end(POLICY, "the client does not read")
            with trio.move_on_after(PONG_SECONDS) as timeout:
                await self.socket.ping()
            if timeout.cancelled_caught:
                self.end(POLICY, "no answer to a ping")

    async def _limit_authentication_time(self) -> None:
        await trio.sleep(self.shared.authentication_seconds)
        if not self._authenticated:
            self.end(POLICY, "not authenticated in time")

    def _watch_credentials(self) -> None:
        """End the connection when its credentials were invalid twice in a row."""
        self._auth.keep_session()
        self._invalid_times = 0 if self._auth.is_authenticated else self._invalid_times + 1
        if self._authenticated and self._invalid_times > 1:
            self.end(POLICY, "the key is no longer valid")

    async def _close(self) -> None:
        reason = self._close_reason or _WebSocketClose(1000, "")
        if reason.code == GOING_AWAY and self.socket.intact:
            with trio.move_on_after(FLUSH_SECONDS), suppress(SocketClosedError):
                await self._flush()
        await self.socket.close(reason.code, reason.text)
        log = _log.debug if reason.code == 1000 else _log.info  # 1000: every use of the CLI
        log("client_left", connection=self.id, code=reason.code, reason=reason.text)

    async def _flush(self) -> None:
        """Refuse the calls that still run, then send all that is queued or held back."""
        for id_text in self._running.values():
            answer = self._refused(id_text, Refusal(SHUTTING_DOWN))
            if answer is not None:
                await self.socket.send(str(answer, "utf-8"))
        self._queue_notifications(self.held.release_all())
        while self.send_queue:
            await self.socket.send(self.send_queue.take_nowait())

    # --- Calls.

    async def _start(
        self, call: Call | BadCall, send: SendAnswer, nursery: trio.Nursery
    ) -> bytes | AnswerSentLater | None:
        """Answer a call at once where that is possible; else start a task that calls `send`."""
        self.shared.call_stats.requests += 1
        try:
            prepared = self._prepare(call)
            self._require_identity()
        except Refusal as refusal:
            await self._delay_refusal()
            return self._refused(call.id, refusal)
        if isinstance(prepared, dict):
            await self._delay_refusal()
            return None if call.id is None else codec.encode_result(call.id, prepared)
        if prepared.method.immediate:
            return await self._run(call.id, prepared)
        self._call_number += 1
        self._running[self._call_number] = call.id
        nursery.start_soon(self._run_apart, self._call_number, call.id, prepared, send)
        return AnswerSentLater.LATER

    def _prepare(self, call: Call | BadCall) -> PreparedCall | dict[str, object]:
        """Validate a call; of `authenticate`, give the result. Raises Refusal."""
        if self._bucket.per_minute and (wait_ms := self._bucket.take(trio.current_time())):
            raise Refusal(RATE_LIMITED, retry_after_ms=wait_ms)
        if isinstance(call, BadCall):
            raise call.refusal
        if call.method == AUTHENTICATE:
            return self._auth.authenticate(call.params)
        shared = self.shared
        identity = self._auth.identify(call.params)
        link = CallLink(self, None if call.id is None else self._message_number)
        caller = Caller(identity, self.id, link)
        prepared = shared.registry.prepare(call.method, call.params, caller)
        if not prepared.method.immediate and len(self._running) >= shared.max_calls_in_flight:
            message = f"More than {shared.max_calls_in_flight} calls are in flight"
            raise Refusal(RATE_LIMITED, message, retry_after_ms=BUSY_RETRY_MS)
        return prepared

    def _require_identity(self) -> None:
        """Count an authenticated connection as such. Raises Refusal when there are too many."""
        identity = self._auth.identity
        if identity is None:
            return
        if not self.on_authenticated(identity):
            self.end(TRY_LATER, "too many connections")
            raise Refusal(RATE_LIMITED, "Too many connections", retry_after_ms=BUSY_RETRY_MS)
        if not self._authenticated:
            self._authenticated = True
            self.socket.limit(self.shared.max_message_bytes)

    async def _delay_refusal(self) -> None:
        """After a wrong key, wait; after too many of them, end the connection."""
        reason, self._auth.last_failure = self._auth.last_failure, None
        if reason is None:
            return
        self._wrong_keys += 1
        self.on_wrong_key()
        await self.shared.authenticator.delay_refusal(self.address, reason)
        if self._wrong_keys >= MAX_WRONG_KEYS:
            self.end(POLICY, "too many wrong keys")

    async def _run_apart(
        self, number: int, id_text: bytes | None, prepared: PreparedCall, send: SendAnswer
    ) -> None:
        answer = await self._run(id_text, prepared)
        del self._running[number]  # a cancelled call stays: `_flush` refuses it
        send(answer)

    async def _run(self, id_text: bytes | None, prepared: PreparedCall) -> bytes | None:
        began = trio.current_time()
        self._log_unknown_parameters(prepared)
        outcome = await run_in_boundary(
            partial(_encoded_result, id_text, prepared),
            "call_crashed",
            method=prepared.method.name,
            connection=self.id,
        )
        stats = self.shared.call_stats
        stats.busy_seconds += trio.current_time() - began
        if outcome.refusal is not None:
            return self._refused(id_text, outcome.refusal)
        if outcome.crashed:
            return self._refused(id_text, Refusal(INTERNAL_ERROR))
        return outcome.value

    def _refused(self, id_text: bytes | None, refusal: Refusal) -> bytes | None:
        self.shared.call_stats.errors += 1
        if id_text is None:  # a notification gets no answer
            return None
        return codec.encode_refusal(id_text, refusal, null_result=self._auth.null_result)

    def _log_unknown_parameters(self, prepared: PreparedCall) -> None:
        """Log ignored parameters, once for each method."""
        name = prepared.method.name
        if prepared.unknown and name not in self._logged_methods:
            self._logged_methods.add(name)
            names = list(prepared.unknown)
            _log.info("unknown_parameters", connection=self.id, method=name, names=names)

    def _send(self, message_number: int, answer: bytes | None) -> None:
        """Queue the answer to a message, then the notifications that it held back."""
        if answer is not None:
            self._put(str(answer, "utf-8"))
        self._mark_answered(message_number)

    def _mark_answered(self, message_number: int) -> None:
        self._queue_notifications(self.held.release_answered(message_number))
        self.delivery.answered(message_number)
        if self.delivery.can_catch_up:
            self._may_catch_up.set()

    def _queue_notifications(self, items: Sequence[HeldNotification]) -> None:
        for item in items:
            if self._auth.is_authenticated:
                self._put(item.text, item.notification.coalesce_key)

    def _send_now(self, frame: bytes) -> bool:
        """Send a frame without waking the writer; False: it has to be queued."""
        if self.send_queue or not self.socket.send_now(frame):
            return False
        if self.socket.unfinished:
            self.send_queue.wake()
        return True

    def _put(self, text: str, coalesce_key: str | None = None) -> None:
        try:
            self.send_queue.put(text, coalesce_key)
        except SendQueueFullError as error:
            self.end(POLICY, f"the client reads too slowly: {error}")


@attrs.frozen
class CallLink:
    """The `ClientLink` of one call."""

    connection: Connection
    message_number: int | None  # None: the call gets no answer, so that nothing waits for it

    @property
    def wanted(self) -> Callable[[Notification], bool] | None:
        """See `ClientLink`."""
        return self.connection.delivery.wanted

    def filter(
        self, wanted: Callable[[Notification], bool] | None, since: int | None = None
    ) -> None:
        """See `ClientLink`."""
        self.connection.subscribe(wanted, since, self.message_number)

    def notify(self, notification: Notification) -> None:
        """See `ClientLink`."""
        this_call = f"call {self.message_number}"
        self.hold(this_call)
        about = (*notification.about, this_call)
        self.connection.notify(attrs.evolve(notification, about=about))

    def hold(self, subject: str) -> None:
        """See `ClientLink`."""
        if self.message_number is not None:
            self.connection.held.claim(self.message_number, subject, trio.current_time())


async def _encoded_result(id_text: bytes | None, prepared: PreparedCall) -> bytes | None:
    try:
        result = await prepared.run()
    except ActorGoneError:
        raise Refusal(SHUTTING_DOWN) from None
    return None if id_text is None else codec.encode_result(id_text, result)
