"""RTSP from FFmpeg to the server, with the credentials put in on the way (RFC 2326).

FFmpeg takes credentials in the URL only, which is an argument that other users of the machine can
read. So it gets a URL without them, of a relay in camd; the relay adds them to each request.
"""

from __future__ import annotations

import base64
import re

import attrs

MOST_HEAD_BYTES = 16 * 1024
MOST_BODY_BYTES = 64 * 1024  # the SDP of ANNOUNCE
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,7})[ \t]*\r\n", re.IGNORECASE)
_REQUEST = re.compile(rb"([A-Z_]{1,32}) (\S+) RTSP/1\.0\r\n")


class RelayError(ValueError):
    """Bytes that are no RTSP request, or a request that is too large."""


def basic_authorization(username: str, password: str) -> bytes:
    """Return the value of the header (RFC 7617)."""
    return b"Basic " + base64.b64encode(f"{username}:{password}".encode())


@attrs.define(eq=False)
class RequestRewriter:
    """Rewrites the requests of one connection, up to RECORD; what follows passes unchanged.

    `local` and `remote` are the beginnings of the URLs, without a slash at the end. Behind RECORD
    come RTP packets and at last a TEARDOWN, which needs no credentials.
    """

    _local: bytes
    _remote: bytes
    _authorization: bytes = attrs.field(repr=False)
    _buffer: bytes = attrs.field(default=b"", init=False, repr=False)
    _recording: bool = attrs.field(default=False, init=False)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return what goes to the server now. Raises RelayError."""
        if self._recording:
            return chunk
        self._buffer += chunk
        passed = []
        while not self._recording and (request := self._next_request()):
            passed.append(request)
        if self._recording:
            rest, self._buffer = self._buffer, b""
            passed.append(rest)
        return b"".join(passed)

    def _next_request(self) -> bytes:
        """Take one whole request out of the buffer and rewrite it; empty while it is not whole."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if len(head) > MOST_HEAD_BYTES:
            raise RelayError("the head of a request is too long")
        if not end:
            return b""
        length = _LENGTH.search(head + b"\r\n")
        body_bytes = int(length[1]) if length else 0
        if body_bytes > MOST_BODY_BYTES:
            raise RelayError("the body of a request is too long")
        if len(rest) < body_bytes:
            return b""
        body, self._buffer = rest[:body_bytes], rest[body_bytes:]
        return self._rewritten(head + end) + body

    def _rewritten(self, head: bytes) -> bytes:
        line = _REQUEST.match(head)
        if line is None:
            raise RelayError("is no RTSP request")
        method, url = line[1], line[2]
        if url.startswith(self._local):
            url = self._remote + url[len(self._local) :]
        self._recording = method == b"RECORD"
        added = b"Authorization: " + self._authorization + b"\r\n" if self._authorization else b""
        return method + b" " + url + b" RTSP/1.0\r\n" + added + head[line.end() :]
