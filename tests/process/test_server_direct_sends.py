"""Frames that go to the kernel at once: whole, in order, between other sends, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.lowlevel
from memory_server import UPGRADE

from camd.server.websocket import (
    SocketClosedError,
    WebSocket,
    open_server_websocket,
    text_frame,
)

SMALL_BUFFER = 4096
LARGE = 400_000


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Make a frame of a client."""
    return bytes((0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


@attrs.define(eq=False)
class ReadingPeer:
    """The client's end: reads frames when it is asked to."""

    stream: trio.SocketStream
    received: bytearray = attrs.field(factory=bytearray)

    async def next_frame(self) -> tuple[int, bytes]:
        """Read one frame: its opcode and its payload."""
        opcode = (await self._take(1))[0] & 15
        size = (await self._take(1))[0]
        assert size < 128, "a server does not mask"
        if size >= 126:
            size = int.from_bytes(await self._take(2 if size == 126 else 8), "big")
        return opcode, await self._take(size)

    async def make_room(self) -> None:
        """Read some bytes, so that the kernel would take a small frame."""
        self.received += await self.stream.receive_some(65536)

    async def _take(self, count: int) -> bytes:
        while len(self.received) < count:
            data = await self.stream.receive_some(65536)
            assert data, "closed within a frame"
            self.received += data
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[WebSocket, ReadingPeer]]:
    """Connect a server's WebSocket that has a small kernel buffer; its peer does not read."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    server, client = (
        trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (ours, theirs)
    )
    with trio.fail_after(300):
        async with (
            client,
            server,
            open_server_websocket(
                server, head=UPGRADE + b"\r\n", rest=b"", max_message_bytes=2**20
            ) as websocket,
        ):
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += await client.receive_some(1)
            yield websocket, ReadingPeer(client)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
async def test_a_frame_of_any_size_arrives(size: int) -> None:
    """Its length is written in the shortest form; what the kernel does not take follows."""
    async with connected() as (server, peer):
        async with trio.open_nursery() as nursery:
            assert server.send_now(text_frame(b"x" * size))
            nursery.start_soon(server.finish)
            assert await peer.next_frame() == (1, b"x" * size)
        assert server.intact


async def test_nothing_is_sent_into_a_frame_that_is_not_finished() -> None:
    """A message, a pong and another direct frame wait until its rest is sent, or are refused."""
    async with connected() as (server, peer), trio.open_nursery() as nursery:
        assert server.send_now(text_frame(b"a" * LARGE))
        assert server.unfinished
        await peer.make_room()
        assert not server.send_now(text_frame(b"b"))
        await peer.stream.send_all(control_frame(9, b"ping"))
        nursery.start_soon(server.send, "c" * LARGE)
        nursery.start_soon(server.finish)
        nursery.start_soon(server.send, "d")
        found = [await peer.next_frame() for _ in range(4)]
        texts = [payload for opcode, payload in found if opcode == 1]
        assert texts[0] == b"a" * LARGE
        assert sorted(texts[1:]) == [b"c" * LARGE, b"d"]  # tasks start in any order
        assert (10, b"ping") in found
        while not server.send_now(text_frame(b"e")):  # the library's own send may be in progress
            await trio.lowlevel.checkpoint()
        assert await peer.next_frame() == (1, b"e")


async def test_the_next_message_brings_the_rest_of_a_frame() -> None:
    """`finish` has nothing to do then."""
    async with connected() as (server, peer), trio.open_nursery() as nursery:
        assert server.send_now(text_frame(b"a" * LARGE))
        nursery.start_soon(server.send, "b")
        assert await peer.next_frame() == (1, b"a" * LARGE)
        assert await peer.next_frame() == (1, b"b")
        assert not server.unfinished
        await server.finish()


async def test_a_full_buffer_refuses_a_frame() -> None:
    """So that it waits in the queue, which has a bound, instead of here."""
    async with connected() as (server, peer), trio.open_nursery() as nursery:
        sent = 0
        while server.send_now(text_frame(b"%05d" % sent)):
            sent += 1
            assert sent < LARGE
        assert not server.sending
        nursery.start_soon(server.finish)
        for number in range(sent):
            assert await peer.next_frame() == (1, b"%05d" % number)


async def test_after_a_close_frame_and_after_the_end_nothing_is_sent() -> None:
    """The peer may have closed, or gone: then the usual way finds out."""
    async with connected() as (server, peer):
        await peer.stream.send_all(control_frame(8, (1000).to_bytes(2, "big")))
        assert (await peer.next_frame())[0] == 8
        assert not server.send_now(text_frame(b"a"))
    async with connected() as (server, peer):
        await peer.stream.aclose()
        with pytest.raises(SocketClosedError):
            await server.receive()
        assert not server.send_now(text_frame(b"a"))
