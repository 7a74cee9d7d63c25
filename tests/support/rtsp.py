"""A small RTSP server (RFC 2326) that relays what an FFmpeg sends it by RTP, over TCP."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio


@attrs.define(eq=False)
class RtspServer:
    """Serves one film at `url`; every client sees it from where it is now."""

    port: int
    credentials: str = ""  # "user:password" asked for by Basic authentication
    sdp: str = ""
    clients: list[trio.SocketStream] = attrs.field(factory=list)
    _turns: dict[trio.SocketStream, trio.Lock] = attrs.field(factory=dict)

    @property
    def url(self) -> str:
        """Where to connect, credentials included."""
        user = f"{self.credentials}@" if self.credentials else ""
        return f"rtsp://{user}127.0.0.1:{self.port}/film"

    async def serve_client(self, stream: trio.SocketStream) -> None:
        """Answer requests; after PLAY, the relay writes between the answers."""
        head = b""
        self._turns[stream] = trio.Lock()
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while chunk := await stream.receive_some(65536):
                head += chunk
                while b"\r\n\r\n" in head:
                    request, _, head = head.partition(b"\r\n\r\n")
                    await self._answer(stream, request.lstrip(b"$").decode("latin-1"))
        if stream in self.clients:
            self.clients.remove(stream)

    async def _answer(self, stream: trio.SocketStream, request: str) -> None:
        lines = request.split("\r\n")
        method = next((line.split()[0] for line in lines if "RTSP/1.0" in line), "")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        reply = [f"CSeq: {headers.get('CSeq', '0')}", "Session: 1"]
        wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and headers.get("Authorization") != wanted:
            head = ["RTSP/1.0 401 Unauthorized", *reply, 'WWW-Authenticate: Basic realm="film"']
            await self._send(stream, ("\r\n".join(head) + "\r\n\r\n").encode())
            return
        body = ""
        match method:
            case "OPTIONS":
                reply.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            case "DESCRIBE":
                body = self.sdp
                reply += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            case "SETUP":
                reply.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        text = "\r\n".join(["RTSP/1.0 200 OK", *reply]) + "\r\n\r\n" + body
        await self._send(stream, text.encode())
        if method == "PLAY":
            self.clients.append(stream)

    async def _send(self, stream: trio.SocketStream, data: bytes) -> None:
        async with self._turns[stream]:
            await stream.send_all(data)

    async def relay(self, rtp: trio.socket.SocketType) -> None:
        """Pass RTP packets on, framed for channel 0 (RFC 2326, 10.12)."""
        while True:
            packet = await rtp.recv(65536)
            for client in tuple(self.clients):
                try:
                    await self._send(client, b"$\0" + len(packet).to_bytes(2, "big") + packet)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    with contextlib.suppress(ValueError):
                        self.clients.remove(client)

    def hang_up(self) -> None:
        """Drop every client's connection, as a camera that loses power does."""
        for client in tuple(self.clients):
            client.socket.shutdown(socket.SHUT_RDWR)
        self.clients.clear()


@asynccontextmanager
async def open_rtsp_server(
    ffmpeg: str, film: Path, *, credentials: str = ""
) -> AsyncIterator[RtspServer]:
    """Play `film` over and over in real time while the block runs."""
    rtp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    await rtp.bind(("127.0.0.1", 0))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = RtspServer(listeners[0].socket.getsockname()[1], credentials)
    sdp = film.with_suffix(".sdp")
    command = f"{ffmpeg} -v error -nostdin -re -stream_loop -1 -i {film} -an -c:v copy"
    target = f"-f rtp -sdp_file {sdp} rtp://127.0.0.1:{rtp.getsockname()[1]}"
    player = await trio.lowlevel.open_process([*command.split(), *target.split()])
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(20):
                # Another program writes it, so there is nothing to wait for but the file.
                while not (sdp.exists() and "m=video" in sdp.read_text()):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            lines = [line for line in sdp.read_text().splitlines() if not line.startswith("SDP:")]
            server.sdp = "\r\n".join([*lines, "a=control:track1"]) + "\r\n"
            nursery.start_soon(server.relay, rtp)
            nursery.start_soon(trio.serve_listeners, server.serve_client, listeners)
            yield server
            nursery.cancel_scope.cancel()
    finally:
        player.kill()
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await player.wait()
        rtp.close()
