"""The only module that touches trio-websocket; it wraps that library's hazards.

A cancelled send leaves half a frame behind, `aclose` may wait for ever, sizes are counted in
characters, empty fragments not at all, and its reader task may die of a protocol error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import trio
import trio_websocket
from wsproto.utilities import ProtocolError

# --- Measures WebSocket frames as they come in, before anything buffers them (RFC 6455, 5.2).

MAX_FRAGMENTS = 1024


@attrs.define(eq=False)
class FrameMeter:
    """Counts the bytes and the fragments of each message; `feed` says when one is too big.

    The WebSocket library counts characters, and empty fragments not at all.
    """

    max_message_bytes: int
    max_fragments: int = MAX_FRAGMENTS
    _header: bytearray = attrs.field(factory=bytearray, init=False)
    _payload_left: int = attrs.field(default=0, init=False)
    _message_bytes: int = attrs.field(default=0, init=False)
    _fragments: int = attrs.field(default=0, init=False)

    def feed(self, data: bytes | bytearray) -> bool:
        """Take the next bytes of the stream; False when a message passes a limit."""
        size = len(data)
        if (
            6 <= size <= 131
            and data[0] & 0x8F == 0x81  # a whole text message in one short frame,
            and data[1] == size - 6 | 0x80  # masked, and nothing else
            and not self._payload_left
            and not self._header
            and not self._fragments
        ):
            return size - 6 <= self.max_message_bytes
        return self._walk(memoryview(data))

    def _walk(self, view: memoryview) -> bool:
        while view:
            if self._payload_left:
                step = min(self._payload_left, len(view))
                self._payload_left -= step
                view = view[step:]
                continue
            missing = self._header_size() - len(self._header)
            self._header += view[:missing]
            view = view[missing:]
            if len(self._header) == self._header_size() and not self._begin_frame():
                return False
        return True

    def _header_size(self) -> int:
        if len(self._header) < 2:
            return 2
        length = self._header[1] & 0x7F
        mask = 4 if self._header[1] & 0x80 else 0
        return 2 + {126: 2, 127: 8}.get(length, 0) + mask

    def _begin_frame(self) -> bool:
        head, self._header = self._header, bytearray()
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(head[2:4], "big")
        elif length == 127:
            length = int.from_bytes(head[2:10], "big")
        self._payload_left = length
        if head[0] & 0x08:  # a control frame, of at most 125 bytes
            return length <= 125
        self._message_bytes += length
        self._fragments += 1
        if self._message_bytes > self.max_message_bytes or self._fragments > self.max_fragments:
            return False
        if head[0] & 0x80:  # the last fragment
            self._message_bytes = self._fragments = 0
        return True


# --- The only module that touches trio-websocket; it wraps that library's hazards.

CLOSE_SECONDS = 2.0
HANDSHAKE_SECONDS = 10.0
_RECEIVE_BYTES = 16 * 1024
_LINGER_BYTES = 4 * 1024 * 1024

GOING_AWAY = 1001
ABNORMAL = 1006
POLICY = 1008
TOO_BIG = 1009
TRY_LATER = 1013


class SocketClosedError(Exception):
    """The WebSocket is closed; code and reason as in RFC 6455, 7.4."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class HandshakeRefusedError(Exception):
    """The server answered the upgrade with something else."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"HTTP status {status}" if status else "no WebSocket answer")
        self.status = status


@attrs.define(eq=False)
class _MeteredStream(trio.abc.Stream):
    """Replays bytes that were read already, then measures what the real stream brings."""

    stream: trio.abc.Stream
    meter: FrameMeter | None  # None: nothing is measured
    head: bytes = b""  # HTTP, not measured
    rest: bytes = b""  # came right behind it
    exceeded: bool = False
    accepted: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.head:
            data, self.head = self.head, b""
            return data
        if self.meter is not None and not self.accepted.is_set():
            await self.accepted.wait()  # the library loses frames that come before its answer
        if self.rest:
            data, self.rest = self.rest, b""
        else:
            data = bytes(await self.stream.receive_some(max_bytes))
        if self.meter is not None and not self.meter.feed(data):
            self.exceeded = True
            raise trio.BrokenResourceError("message too big")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


@attrs.define(eq=False)
class WebSocket:
    """One open WebSocket. One task may receive; sends queue up in the order in which they began."""

    _connection: trio_websocket.WebSocketConnection
    _stream: _MeteredStream
    _sending: int = attrs.field(default=0, init=False)
    _progress: float = attrs.field(default=0.0, init=False)

    def limit(self, max_message_bytes: int) -> None:
        """Take messages of another size from now on, up to what the socket was opened with."""
        if self._stream.meter is not None:
            self._stream.meter.max_message_bytes = max_message_bytes

    @property
    def intact(self) -> bool:
        """Whether nothing is being sent, nor was cancelled half-way."""
        return not self._sending and not self._stream.exceeded

    @property
    def sending(self) -> bool:
        """Whether something is being sent, or was cancelled half-way."""
        return self._sending > 0

    @property
    def stalled_seconds(self) -> float:
        """For how long the peer has taken nothing of what is being sent."""
        return trio.current_time() - self._progress if self._sending else 0.0

    async def receive(self) -> str | bytes:
        """Wait for the next message; raises SocketClosedError."""
        try:
            message: str | bytes = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from None
        return message

    async def send(self, text: str) -> None:
        """Send one text message; raises SocketClosedError. A cancelled send ends the socket."""
        if not self._sending:
            self._progress = trio.current_time()
        self._sending += 1
        try:
            await self._connection.send_message(text)
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from None
        except ProtocolError:
            raise SocketClosedError(ABNORMAL, "closing") from None
        self._sending -= 1
        if self._sending:
            self._progress = trio.current_time()

    async def ping(self) -> None:
        """Send a ping and wait for its pong; raises SocketClosedError."""
        try:
            await self._connection.ping()
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from None
        except ProtocolError:
            raise SocketClosedError(ABNORMAL, "closing") from None

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason, within two seconds whatever the peer does."""
        with trio.move_on_after(CLOSE_SECONDS):
            if self._stream.exceeded:
                await self._refuse_rest(code, reason)
            elif not self._sending:  # behind half a message no close frame can be read
                with suppress(ProtocolError):
                    await self._connection.aclose(code, reason)
        await trio.aclose_forcefully(self._stream.stream)

    async def _refuse_rest(self, code: int, reason: str) -> None:
        """Send a close frame past the library, which gave up, and read on so that it arrives."""
        payload = code.to_bytes(2, "big") + reason.encode()[:120]
        raw = self._stream.stream
        try:
            await raw.send_all(bytes((0x88, len(payload))) + payload)
            left = _LINGER_BYTES
            while left > 0 and (data := await raw.receive_some(_RECEIVE_BYTES)):
                left -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            pass

    def _closed(self, error: trio_websocket.ConnectionClosed) -> SocketClosedError:
        if self._stream.exceeded:
            return SocketClosedError(TOO_BIG, "message too big")
        if error.reason is None:
            return SocketClosedError(ABNORMAL, "")
        return SocketClosedError(int(error.reason.code), error.reason.reason or "")


@asynccontextmanager
async def open_server_websocket(
    stream: trio.abc.Stream, *, head: bytes, rest: bytes, max_message_bytes: int
) -> AsyncIterator[WebSocket]:
    """Accept the upgrade whose request `head` was read and checked; `rest` came behind it.

    Raises SocketClosedError when the client is gone before the handshake is done.
    """
    metered = _MeteredStream(stream, FrameMeter(max_message_bytes), head, rest)
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(HANDSHAKE_SECONDS) as scope:
                request = await trio_websocket.wrap_server_stream(
                    nursery,
                    metered,
                    max_message_size=max_message_bytes,
                    receive_buffer_size=_RECEIVE_BYTES,
                )
                connection = await request.accept()
                metered.accepted.set()
            if scope.cancelled_caught:
                raise SocketClosedError(ABNORMAL, "handshake timed out")
            yield WebSocket(connection, metered)
            nursery.cancel_scope.cancel()
    except* (ProtocolError, trio_websocket.ConnectionClosed):
        pass  # its reader met a client that breaks off or breaks the protocol


@asynccontextmanager
async def open_client_websocket(
    stream: trio.abc.Stream, *, host: str, path: str, max_message_bytes: int
) -> AsyncIterator[WebSocket]:
    """Ask the server behind `stream` for a WebSocket; raises HandshakeRefusedError, in a group."""
    whole = _MeteredStream(stream, None)  # one server is not a crowd: the library's limit will do
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(HANDSHAKE_SECONDS) as scope:
                connection = await trio_websocket.wrap_client_stream(
                    nursery,
                    whole,  # type: ignore[arg-type]  # any stream will do
                    host,
                    path,
                    max_message_size=max_message_bytes,
                )
            if scope.cancelled_caught:
                raise HandshakeRefusedError(None)
            yield WebSocket(connection, whole)
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as group:
        raise HandshakeRefusedError(getattr(group.exceptions[0], "status_code", None)) from group
    except* (ProtocolError, trio_websocket.ConnectionClosed):
        pass
