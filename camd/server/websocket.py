"""WebSockets; the only module that uses trio-websocket, and the workarounds for that library.

In the library, a cancelled send leaves half a frame on the stream, `aclose` may wait without limit,
message sizes are counted in characters, empty fragments are not counted, the reader task may end
with a protocol error, and who breaks the protocol is not told so. A send costs 80 µs, so messages
of the server bypass it where the kernel takes them at once (`WebSocket.send_now`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import h11
import trio
import trio_websocket
from wsproto.utilities import ProtocolError

# --- Limits of messages, enforced before the library buffers them (RFC 6455, 5.2).

MAX_FRAGMENTS = 1024


@attrs.define(eq=False)
class MessageMeter:
    """Counts the bytes and the fragments of each message; `count` tells when there are too many."""

    max_message_bytes: int
    max_fragments: int = MAX_FRAGMENTS
    _header: bytearray = attrs.field(factory=bytearray, init=False)
    _payload_left: int = attrs.field(default=0, init=False)
    _message_bytes: int = attrs.field(default=0, init=False)
    _fragments: int = attrs.field(default=0, init=False)

    def count(self, data: bytes | bytearray) -> bool:
        """Count the next bytes of the stream; False when a message exceeds a limit."""
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


def text_frame(payload: bytes) -> bytes:
    """Make the frame of a whole text message of a server, which is not masked (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


# --- The socket.

CLOSE_SECONDS = 2.0
HANDSHAKE_SECONDS = 10.0
_RECEIVE_BYTES = 16 * 1024
_LINGER_BYTES = 4 * 1024 * 1024
_CLOSE_BYTE = b"\x88"  # the first one of a close frame
_BROKEN = {1002: "", 1007: "invalid UTF-8"}  # what the library finds; "": in its words

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
    """The server did not accept the upgrade."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"HTTP status {status}" if status else "no WebSocket answer")
        self.status = status


@attrs.define(eq=False)
class _MeteredStream(trio.abc.Stream):
    """Replays bytes that were read before, then meters what is read from the real stream."""

    stream: trio.abc.Stream
    meter: MessageMeter | None  # None: no limits
    head: bytes = b""  # of HTTP, not metered
    rest: bytes = b""  # received after it
    exceeded: bool = False
    close_sent: bool = False  # a close frame
    accepted: trio.Event = attrs.field(factory=trio.Event, init=False)
    sends: int = attrs.field(default=0, init=False)  # that run, or were cancelled
    unsent: bytes = attrs.field(default=b"", init=False)  # the rest of a frame of `write_now`
    _finishing: trio.Event | None = attrs.field(default=None, init=False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.head:
            data, self.head = self.head, b""
            return data
        if self.meter is not None and not self.accepted.is_set():
            await self.accepted.wait()  # the library loses frames that arrive before its answer
        if self.rest:
            data, self.rest = self.rest, b""
        else:
            data = bytes(await self.stream.receive_some(max_bytes))
        if self.meter is not None and not self.meter.count(data):
            self.exceeded = True
            raise trio.BrokenResourceError("message too big")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.close_sent |= data[:1] == _CLOSE_BYTE
        self.sends += 1
        while self._finishing is not None:
            await self._finishing.wait()
        unsent, self.unsent = self.unsent, b""
        await self.stream.send_all(unsent + data if unsent else data)
        self.sends -= 1

    def write_now(self, data: bytes) -> bool:
        """Give the kernel what it takes at once; keep the rest in `unsent`. False: nothing."""
        if self.sends or self.unsent or self.close_sent:
            return False
        if not isinstance(self.stream, trio.SocketStream):
            return False
        try:
            sent = os.write(self.stream.socket.fileno(), data)  # it never blocks
        except OSError:  # full, closed or broken: the usual way finds out which
            return False
        self.unsent = data[sent:]
        return True

    async def finish(self) -> None:
        """Send what `write_now` has kept, unless another send has taken it."""
        if not self.unsent:
            return
        self.sends += 1
        self._finishing, unsent, self.unsent = trio.Event(), self.unsent, b""
        await self.stream.send_all(unsent)
        self.sends -= 1
        self._finishing.set()
        self._finishing = None

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        if self.meter is None or self.close_sent:
            await self.stream.aclose()
        # Else the library ends a broken connection; `WebSocket.close` says why, then closes.


@attrs.define(eq=False)
class WebSocket:
    """An open WebSocket. One task may receive; concurrent sends run in the order of their calls."""

    _connection: trio_websocket.WebSocketConnection
    _stream: _MeteredStream
    _sending: int = attrs.field(default=0, init=False)
    _progress: float = attrs.field(default=0.0, init=False)
    _broken: bool = attrs.field(default=False, init=False)  # by the peer, which knows not yet

    def limit(self, max_message_bytes: int) -> None:
        """Set the limit for incoming messages, at most that with which the socket was opened."""
        if self._stream.meter is not None:
            self._stream.meter.max_message_bytes = max_message_bytes

    @property
    def intact(self) -> bool:
        """Whether no send is running or was cancelled, and no message was too big."""
        return not self._sending and not self._stream.exceeded

    @property
    def sending(self) -> bool:
        """Whether a send is running or was cancelled."""
        return self._sending > 0

    @property
    def stalled_seconds(self) -> float:
        """For how long the running send has made no progress."""
        return trio.current_time() - self._progress if self._sending else 0.0

    async def receive(self) -> str | bytes:
        """Wait for the next message. Raises SocketClosedError."""
        try:
            message: str | bytes = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from None
        return message

    async def send(self, message: str | bytes) -> None:
        """Send one text or binary message. No send works after a cancelled one.

        Raises SocketClosedError.
        """
        if not self._sending:
            self._progress = trio.current_time()
        self._sending += 1
        try:
            await self._connection.send_message(message)
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from None
        except ProtocolError:
            raise SocketClosedError(ABNORMAL, "closing") from None
        self._sending -= 1
        if self._sending:
            self._progress = trio.current_time()

    def send_now(self, frame: bytes) -> bool:
        """Send a text frame without waiting; False: it has to be sent in the usual way.

        Where `unfinished` is true afterwards, the kernel has taken a part: call `finish`.
        """
        return not self._sending and self._stream.write_now(frame)

    @property
    def unfinished(self) -> bool:
        """Whether a part of a frame of `send_now` waits for `finish`, or for the next send."""
        return bool(self._stream.unsent)

    async def finish(self) -> None:
        """Send the rest of a frame. Raises SocketClosedError."""
        if not self._sending:
            self._progress = trio.current_time()
        self._sending += 1
        try:
            await self._stream.finish()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise SocketClosedError(ABNORMAL, "") from None
        self._sending -= 1

    async def ping(self) -> None:
        """Send a ping and wait for its pong. Raises SocketClosedError."""
        try:
            await self._connection.ping()
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from None
        except ProtocolError:
            raise SocketClosedError(ABNORMAL, "closing") from None

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason; takes at most two seconds."""
        with trio.move_on_after(CLOSE_SECONDS):
            if self._stream.exceeded or (self._broken and not self._sending):
                await self._refuse_further(code, reason)
            elif not self._sending:  # after half a message, the peer cannot read a close frame
                # With TLS, the reader may close the stream while its end is still being sent.
                with suppress(ProtocolError, trio.ClosedResourceError, trio.BrokenResourceError):
                    await self._connection.aclose(code, reason)
        await trio.aclose_forcefully(self._stream.stream)

    async def _refuse_further(self, code: int, reason: str) -> None:
        """Send a close frame without the library, which has failed; read on so that it arrives."""
        self._stream.close_sent = True
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
        code, why = int(error.reason.code), error.reason.reason or ""
        if code in _BROKEN and self._stream.meter is not None and not self._stream.close_sent:
            self._broken, why = True, _BROKEN[code] or why
        return SocketClosedError(code, why)


@asynccontextmanager
async def open_server_websocket(
    stream: trio.abc.Stream,
    *,
    head: bytes,
    rest: bytes,
    max_message_bytes: int,
    subprotocol: str = "",
) -> AsyncIterator[WebSocket]:
    """Accept an upgrade. Its `head` was read and validated before; `rest` was received after it.

    The client has offered the `subprotocol`, where one is given.

    Raises SocketClosedError when the client disconnects during the handshake, or does not read the
    answer in time.
    """
    metered = _MeteredStream(stream, MessageMeter(max_message_bytes), head, rest)
    connection: trio_websocket.WebSocketConnection | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(HANDSHAKE_SECONDS):
                request = await trio_websocket.wrap_server_stream(
                    nursery,
                    metered,
                    max_message_size=max_message_bytes,
                    receive_buffer_size=_RECEIVE_BYTES,
                )
                connection = await request.accept(subprotocol=subprotocol or None)
                metered.accepted.set()
            if connection is not None:
                yield WebSocket(connection, metered)
            nursery.cancel_scope.cancel()
    except* (ProtocolError, trio_websocket.ConnectionClosed):
        pass  # the reader task ended: the client disconnected or broke the protocol
    if connection is None:
        raise SocketClosedError(ABNORMAL, "closed in the handshake")


@asynccontextmanager
async def open_client_websocket(
    stream: trio.abc.Stream, *, host: str, path: str, max_message_bytes: int
) -> AsyncIterator[WebSocket]:
    """Request a WebSocket from the server. Raises HandshakeRefusedError in a group."""
    unmetered = _MeteredStream(stream, None)  # the library's limit is enough here
    connection: trio_websocket.WebSocketConnection | None = None
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(HANDSHAKE_SECONDS):
                connection = await trio_websocket.wrap_client_stream(
                    nursery,
                    unmetered,  # type: ignore[arg-type]  # any stream works
                    host,
                    path,
                    max_message_size=max_message_bytes,
                )
            if connection is not None:
                yield WebSocket(connection, unmetered)
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as group:
        raise HandshakeRefusedError(getattr(group.exceptions[0], "status_code", None)) from group
    except* (ProtocolError, h11.ProtocolError, trio_websocket.ConnectionClosed):
        pass
    if connection is None:
        raise HandshakeRefusedError(None)
