"""A double of MediaMTX: its control API v3 as documented, and an RTSP server that takes streams.

It does what servers do on bad days, by its attributes: not there, silent, slow, garbage without
end, foreign paths, other credentials, a stream that it no longer reads.
"""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import h11
import trio

from camd.config.schema import MediaMtxConfig

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)
MARKER = 0x80  # in an RTP packet's second byte: the last packet of a picture
OTHERS = {"type": "rtspSource", "id": "other"}


@attrs.define(eq=False)
class FakePath:
    """A path: who publishes there, and what came."""

    source: dict[str, str] | None = None
    ready: bool = False
    readers: int = 0
    bytes_received: int = 0
    pictures: int = 0
    publishers: int = 0  # that ever were accepted


@attrs.define(eq=False)
class FakeMediaMtx:
    """The server. Faults may be changed at any time."""

    username: str = ""
    password: str = ""
    all_others: bool = False  # any path may be published
    api_fault: str = ""  # silent, garbage, endless, deep, error
    rtsp_fault: str = ""  # silent (no answer), deaf (reads no packets)
    hls: bool = True
    webrtc: bool = True
    rtsp_methods: tuple[str, ...] = ("basic",)
    rtsp_transports: tuple[str, ...] = ("udp", "tcp")
    proxy: str = ""  # what stands before the API demands this authentication: "Digest"
    paths: dict[str, FakePath] = attrs.field(factory=dict)
    configured: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    api_port: int = attrs.field(default=0, init=False)
    rtsp_port: int = attrs.field(default=0, init=False)
    requests: list[str] = attrs.field(factory=list, init=False)  # of the API
    refused: int = attrs.field(default=0, init=False)  # publishers
    runs: int = attrs.field(default=0, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    def config(self, **keys: Any) -> MediaMtxConfig:
        """Return a configuration for camd that fits."""
        fits: dict[str, Any] = {
            "api": f"http://127.0.0.1:{self.api_port}",
            "rtsp": f"rtsp://127.0.0.1:{self.rtsp_port}",
            "username": self.username,
            "password": self.password,
        }
        return MediaMtxConfig(**(fits | keys))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that requests or packets change."""
        while not holds():
            await self._changed.wait()

    def recover(self) -> None:
        """Have no fault any more."""
        self.api_fault = self.rtsp_fault = ""
        self._change()

    def _change(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeMediaMtx]:
        """Run the server while the block runs; it comes back on the same ports, and empty."""
        api = (await trio.open_tcp_listeners(self.api_port, host="127.0.0.1"))[0]
        rtsp = (await trio.open_tcp_listeners(self.rtsp_port, host="127.0.0.1"))[0]
        rtsp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)  # full soon when deaf
        self.api_port = api.socket.getsockname()[1]
        self.rtsp_port = rtsp.socket.getsockname()[1]
        self.runs += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, self._serve_api, [api]))
            nursery.start_soon(partial(trio.serve_listeners, self._serve_rtsp, [rtsp]))
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()
        self.paths = {name: path for name, path in self.paths.items() if path.source is OTHERS}
        self.configured = {}
        self._change()

    # --- the control API

    async def _serve_api(self, stream: trio.SocketStream) -> None:
        with suppress(*GONE):
            async with stream:
                await self._answer_api(stream)

    async def _answer_api(self, stream: trio.SocketStream) -> None:
        connection, body, request = h11.Connection(h11.SERVER), b"", None
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.ConnectionClosed):
                return
        assert request is not None
        self.requests.append(f"{request.method.decode()} {request.target.decode()}")
        self._change()
        if self.api_fault:
            await self._misbehave(stream)
            return
        status, content = self._api(request, body)
        data = json.dumps(content).encode()
        headers = [("Content-Length", str(len(data))), ("Connection", "close")]
        if status == 401:
            headers.append(("WWW-Authenticate", f'{self.proxy or "Basic"} realm="mediamtx"'))
        answer = connection.send(h11.Response(status_code=status, headers=headers)) or b""
        answer += connection.send(h11.Data(data=data)) or b""
        await stream.send_all(answer)

    async def _misbehave(self, stream: trio.SocketStream) -> None:
        ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        match self.api_fault:
            case "silent":
                await trio.sleep_forever()
            case "garbage":
                await stream.send_all(b"\x00\xffSSH-2.0-OpenSSH_9\r\n" * 10)
            case "deep":
                body = b"[" * 200_000
                await stream.send_all(ok + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            case "endless":
                await stream.send_all(ok + b"\r\n")
                while True:
                    await stream.send_all(b" " * 65536)
            case "error":
                await stream.send_all(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")

    def _api(self, request: h11.Request, body: bytes) -> tuple[int, Any]:
        if self.proxy or not self._may(dict(request.headers).get(b"authorization", b"")):
            return 401, {"status": "error", "error": "authentication error"}
        target = urlsplit(request.target.decode())
        what, name = target.path.removeprefix("/v3/"), ""
        if found := re.fullmatch(r"((?:config/)?paths/(?:get|add|delete))/(.+)", what):
            what, name = found[1], unquote(found[2])
        missing = 404, {"status": "error", "error": "path not found"}
        match request.method.decode(), what:
            case "GET", "info":
                return 200, {"version": "v1.20.0\n", "started": f"run {self.runs}"}
            case "GET", "config/global/get":
                return 200, self._settings()
            case "GET", "paths/list":
                return 200, self._page(target.query)
            case "GET", "paths/get":
                path = self.paths.get(name)
                return (200, _shown(name, path)) if path is not None else missing
            case "GET", "config/paths/get":
                found_path = self.configured.get(name)
                return (200, {"name": name} | found_path) if found_path is not None else missing
            case "POST", "config/paths/add":
                if name in self.configured:
                    return 400, {"status": "error", "error": "path already exists"}
                self.configured[name] = json.loads(body)
            case "DELETE", "config/paths/delete":
                if self.configured.pop(name, None) is None:
                    return missing
                self.paths.pop(name, None)
            case _:
                return 404, {"status": "error", "error": "not found"}
        self._change()
        return 200, {"status": "ok"}

    def _settings(self) -> dict[str, Any]:
        return {
            "rtsp": True,
            "rtspAddress": f"127.0.0.1:{self.rtsp_port}",
            "rtspAuthMethods": self.rtsp_methods,
            "rtspTransports": self.rtsp_transports,
            "hls": self.hls,
            "hlsAddress": ":8888",
            "webrtc": self.webrtc,
            "webrtcAddress": ":8889",
        }

    def _page(self, query: str) -> dict[str, Any]:
        numbers = dict(part.split("=") for part in query.split("&") if part)
        size, number = int(numbers["itemsPerPage"]), int(numbers["page"])
        items = [_shown(name, path) for name, path in sorted(self.paths.items())]
        pages = max(1, -(-len(items) // size))
        shown = items[number * size : (number + 1) * size]
        return {"itemCount": len(items), "pageCount": pages, "items": shown}

    def _may(self, authorization: bytes) -> bool:
        word = base64.b64encode(f"{self.username}:{self.password}".encode())
        return not self.username or authorization == b"Basic " + word

    # --- RTSP

    async def _serve_rtsp(self, stream: trio.SocketStream) -> None:
        name = ""
        try:
            async with stream:
                name = await self._take_stream(stream)
        except GONE:
            pass
        finally:
            path = self.paths.get(name)
            if path is not None and path.source is not OTHERS:
                path.source, path.ready = None, False
            self._change()

    async def _take_stream(self, stream: trio.SocketStream) -> str:
        """Answer requests up to RECORD, then take packets; return the path's name."""
        buffer, name = b"", ""
        while True:
            while b"\r\n\r\n" not in buffer:
                if not (chunk := await stream.receive_some(65536)):
                    return name
                buffer += bytes(chunk)
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            length = int((re.search(rb"Content-Length: (\d+)", head) or [b"", b"0"])[1])
            while len(buffer) < length:
                if not (chunk := await stream.receive_some(65536)):
                    return name
                buffer += bytes(chunk)
            buffer = buffer[length:]
            if self.rtsp_fault == "silent":
                await trio.sleep_forever()
            method, url, *_ = head.decode().split(" ")
            if method == "ANNOUNCE" and (refusal := self._refusal(head, url)):
                self.refused += 1
                self._change()
                await stream.send_all(_reply(head, refusal))
                return ""
            if method == "ANNOUNCE":
                name = urlsplit(url).path.strip("/")
                path = self.paths.setdefault(name, FakePath())
                path.source = {"type": "rtspSession", "id": str(path.publishers)}
                path.publishers += 1
            await stream.send_all(_reply(head, "200 OK"))
            if method == "RECORD":
                await self._take_packets(stream, buffer, self.paths[name])
                return name

    def _refusal(self, head: bytes, url: str) -> str:
        found = re.search(rb"Authorization: (.*)", head)
        if not self._may(found[1].strip() if found else b""):
            return "400 Bad Request" if found else "401 Unauthorized"  # as the real one
        name = urlsplit(url).path.strip("/")
        if name not in self.configured and not self.all_others:
            return "400 Bad Request"
        path = self.paths.get(name)
        return "400 Bad Request" if path is not None and path.source is not None else ""

    async def _take_packets(self, stream: trio.SocketStream, buffer: bytes, path: FakePath) -> None:
        path.ready = True
        self._change()
        while True:
            while len(buffer) >= 4 and buffer[0] == 0x24:
                size = int.from_bytes(buffer[2:4])
                if len(buffer) < 4 + size:
                    break
                path.pictures += buffer[1] == 0 and bool(buffer[5] & MARKER)
                buffer = buffer[4 + size :]
            await self.until(lambda: self.rtsp_fault != "deaf")
            if buffer.startswith(b"TEARDOWN") or not (chunk := await stream.receive_some(65536)):
                return
            path.bytes_received += len(chunk)
            buffer += bytes(chunk)
            self._change()


def _reply(head: bytes, status: str) -> bytes:
    number = re.search(rb"CSeq: (\d+)", head)
    transport = re.search(rb"Transport: ([^\r]*)", head)
    lines = [b"RTSP/1.0 " + status.encode(), b"CSeq: " + (number[1] if number else b"0")]
    lines += [b"Session: 1"] + ([b"Transport: " + transport[1]] if transport else [])
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _shown(name: str, path: FakePath) -> dict[str, Any]:
    return {
        "name": name,
        "confName": name,
        "source": path.source,
        "ready": path.ready,
        "online": path.ready,
        "readers": [{"type": "rtspSession", "id": str(n)} for n in range(path.readers)],
        "bytesReceived": path.bytes_received,
        "outboundBytes": path.readers * path.bytes_received,
    }
