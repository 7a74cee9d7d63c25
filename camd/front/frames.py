"""Measures WebSocket frames as they come in, before anything buffers them (RFC 6455, 5.2)."""

from __future__ import annotations

import attrs

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
