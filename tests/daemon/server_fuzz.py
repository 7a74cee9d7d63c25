"""Hostile clients of a real daemon, and a client that has to be answered meanwhile.

Each hostile client is a coroutine that opens connections, sends something wrong for a second or
two, and leaves. Which ones run, and what they send, comes from a seeded generator. Most come from
other loopback addresses than the client that is measured.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import struct
import sys
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import counted_daemon
import trio
from running_daemon import Daemon

AT_ONCE = 12  # hostile clients
PING_SECONDS = 0.05
ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 8))
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
LIST = b'{"jsonrpc":"2.0","id":1,"method":"get_camera_list"}'


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, masked: bool = True) -> bytes:
    """Make one frame of a client (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        length = bytes((size,))
    else:
        short = size < 65536
        length = struct.pack(">BH" if short else ">BQ", 126 if short else 127, size)
    first = (0x80 if fin else 0) | opcode
    mask = b"\0\0\0\0" if masked else b""
    return bytes((first, length[0] | (0x80 if masked else 0))) + length[1:] + mask + payload


@attrs.define(eq=False)
class HostileClients:
    """What hostile clients send; `key` is a valid key, with which some of them authenticate."""

    port: int
    key: str
    rng: random.Random
    done: Counter[str] = attrs.field(factory=Counter, init=False)
    _next: list[Kind] = attrs.field(factory=list, init=False)

    async def run_one(self) -> None:
        """Run one kind for at most three seconds; all have their turn, in any order."""
        self._next = self._next or self.rng.sample(KINDS, len(KINDS))
        kind = self._next.pop()
        with trio.move_on_after(3), suppress(OSError, trio.BrokenResourceError):
            await kind(self)
        self.done[kind.__name__] += 1

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[trio.SocketStream]:
        """Connect; leave politely, or with a reset."""
        stream = await trio.open_tcp_stream(
            "127.0.0.1", self.port, local_address=self.rng.choice(ADDRESSES)
        )
        async with stream:
            yield stream
            if self.rng.random() < 0.3:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    @asynccontextmanager
    async def upgraded(self, *, login: bool = False) -> AsyncIterator[trio.SocketStream]:
        """Connect and become a WebSocket; with `login`, authenticate."""
        async with self.connected() as stream:
            await stream.send_all(UPGRADE)
            await stream.receive_some(4096)
            if login:
                params = {"auth_token": self.key}
                call = {"jsonrpc": "2.0", "id": 0, "method": "authenticate", "params": params}
                await stream.send_all(frame(json.dumps(call).encode()))
                await stream.receive_some(4096)
            yield stream

    async def random_bytes(self) -> None:
        async with self.connected() as stream:
            await stream.send_all(self.rng.randbytes(self.rng.randrange(1, 60_000)))
            await read_on(stream)

    async def half_head(self) -> None:
        async with self.connected() as stream:
            await stream.send_all(UPGRADE[: self.rng.randrange(len(UPGRADE))])
            await trio.sleep(self.rng.uniform(0, 2))

    async def dripped_head(self) -> None:
        async with self.connected() as stream:
            for byte in UPGRADE:
                await stream.send_all(bytes((byte,)))
                await trio.sleep(0.02)

    async def endless_head(self) -> None:
        async with self.connected() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            while True:
                await stream.send_all(b"X-Header: " + self.rng.randbytes(500).hex().encode())
                await stream.send_all(b"\r\n")

    async def endless_body(self) -> None:
        async with self.connected() as stream:
            await stream.send_all(
                b"POST /health/live HTTP/1.1\r\nHost: localhost\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            while True:
                await stream.send_all(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")

    async def odd_requests(self) -> None:
        targets = (b"/health/ready", b"/files/recordings/%2e%2e%2fx", b"/ws", b"*", b"/ws?token=x")
        hosts = (b"localhost", b"evil.example", b"[::1", b"\xff", b"")
        async with self.connected() as stream:
            for _ in range(self.rng.randrange(1, 20)):
                method = self.rng.choice((b"GET", b"HEAD", b"PUT", b"A" * 200))
                target, host = self.rng.choice(targets), self.rng.choice(hosts)
                await stream.send_all(
                    b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, target, host)
                )
            await read_on(stream)

    async def smuggled_requests(self) -> None:
        lengths = (
            b"Content-Length: 4\r\nTransfer-Encoding: chunked",
            b"Content-Length: 4\r\nContent-Length: 40",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding : chunked",
            b"Content-Length: " + b"9" * 4000,
        )
        async with self.connected() as stream:
            await stream.send_all(
                b"POST /health/live HTTP/1.1\r\nHost: localhost\r\n"
                + self.rng.choice(lengths)
                + b"\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            await read_on(stream)

    async def compressed_frames(self) -> None:
        bomb = zlib.compress(b"\0" * 10_000_000)
        for _ in range(10):
            async with self.upgraded(login=self.rng.random() < 0.5) as stream:
                data = frame(bomb[: self.rng.choice((10, len(bomb)))])
                await stream.send_all(bytes((data[0] | 0x40,)) + data[1:])
                await read_on(stream)

    async def broken_frames(self) -> None:
        async with self.upgraded(login=self.rng.random() < 0.5) as stream:
            for _ in range(20):
                opcode, fin = self.rng.randrange(16), self.rng.random() < 0.7
                payload = self.rng.randbytes(self.rng.choice((0, 1, 2, 125, 126, 3000)))
                masked = self.rng.random() < 0.9
                await stream.send_all(frame(payload, opcode, fin=fin, masked=masked))
            await read_on(stream)

    async def huge_frame(self) -> None:
        async with self.upgraded(login=self.rng.random() < 0.5) as stream:
            await stream.send_all(b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"\0\0\0\0")
            while True:
                await stream.send_all(b"x" * 65536)

    async def endless_fragments(self) -> None:
        size = self.rng.choice((0, 1, 1000))
        async with self.upgraded(login=self.rng.random() < 0.5) as stream:
            await stream.send_all(frame(b"[", fin=False))
            while True:
                await stream.send_all(frame(b"x" * size, 0, fin=False) * 100)

    async def deep_json(self) -> None:
        depth = self.rng.choice((100, 10_000, 500_000))
        text = self.rng.choice((b"[", b'{"a":', b'{"params":[')) * (depth // 10 + 1)
        async with self.upgraded(login=self.rng.random() < 0.7) as stream:
            for _ in range(5):
                await stream.send_all(frame(text[:1_000_000]))
            await read_on(stream)

    async def wide_json(self) -> None:
        calls = b",".join([LIST] * self.rng.choice((10, 50, 51, 5000)))
        async with self.upgraded(login=True) as stream:
            for _ in range(5):
                await stream.send_all(frame(b"[" + calls + b"]"))
            await read_on(stream)

    async def slow_reader(self) -> None:
        async with self.upgraded(login=True) as stream:
            while True:
                await stream.send_all(frame(LIST) * 50)

    async def flood_of_pings(self) -> None:
        async with self.upgraded(login=self.rng.random() < 0.5) as stream:
            for _ in range(200):
                await stream.send_all(frame(b"x" * 125, 9) * 20)

    async def wrong_keys(self) -> None:
        async with self.upgraded() as stream:
            for number in range(3):
                params = {"auth_token": self.rng.randbytes(20).hex()}
                call = {"jsonrpc": "2.0", "id": number, "method": "ping", "params": params}
                await stream.send_all(frame(json.dumps(call).encode()))
            await read_on(stream)

    async def many_connections(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(self._idle)

    async def _idle(self) -> None:
        with suppress(OSError, trio.BrokenResourceError):
            async with self.connected() as stream:
                await stream.send_all(self.rng.choice((b"", b"G", UPGRADE)))
                await trio.sleep(1)


Kind = Callable[[HostileClients], Awaitable[None]]
KINDS: tuple[Kind, ...] = (
    HostileClients.random_bytes,
    HostileClients.half_head,
    HostileClients.dripped_head,
    HostileClients.endless_head,
    HostileClients.endless_body,
    HostileClients.odd_requests,
    HostileClients.smuggled_requests,
    HostileClients.compressed_frames,
    HostileClients.broken_frames,
    HostileClients.huge_frame,
    HostileClients.endless_fragments,
    HostileClients.deep_json,
    HostileClients.wide_json,
    HostileClients.slow_reader,
    HostileClients.flood_of_pings,
    HostileClients.wrong_keys,
    HostileClients.many_connections,
)


async def read_on(stream: trio.SocketStream) -> None:
    """Read until the other side has closed."""
    while await stream.receive_some(65536):
        pass


@attrs.frozen
class Usage:
    """What the daemon's process holds."""

    descriptors: int
    tasks: int
    memory_kib: int  # private, resident


@attrs.define(eq=False)
class FuzzedDaemon:
    """One daemon, its hostile clients, and how quickly a good client was answered."""

    daemon: Daemon
    seed: int
    pings: list[float] = attrs.field(factory=list, init=False)  # seconds, in their order
    logins: list[float] = attrs.field(factory=list, init=False)  # connect, authenticate, leave
    kinds: Counter[str] = attrs.field(factory=Counter, init=False)

    async def start(self) -> None:
        """Start the daemon with its tasks counted."""
        command = [sys.executable, counted_daemon.__file__, str(self._report)]
        await self.daemon.start([*command, *self.daemon.run_command[3:]])

    @property
    def _report(self) -> Path:
        return self.daemon.folder / "tasks"

    async def fuzz(self, seconds: float) -> None:
        """Run hostile clients, and a good one on one connection, for so many seconds."""
        async with self._fuzzing():
            await trio.sleep(seconds)

    async def fuzz_with_all(self, pings: int) -> None:
        """Run hostile clients until all kinds had their turn and good ones were answered.

        One that stays connected gets so many answers, and others can connect.
        """
        self.pings.clear()
        self.logins.clear()
        async with self._fuzzing() as hostile:
            while len(hostile.done) < len(KINDS) or len(self.pings) < pings or not self.logins:  # noqa: ASYNC110 - of three tasks
                await trio.sleep(0.1)

    @asynccontextmanager
    async def _fuzzing(self) -> AsyncIterator[HostileClients]:
        rng = random.Random(self.seed)
        port = int(self.daemon.url.removesuffix("/ws").rpartition(":")[2])
        hostile = HostileClients(port, self.daemon.key, rng)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ping)
            nursery.start_soon(self._log_in)
            for _ in range(AT_ONCE):
                nursery.start_soon(_repeat, hostile.run_one)
            yield hostile
            nursery.cancel_scope.cancel()
        self.kinds += hostile.done

    async def _ping(self) -> None:
        async with self.daemon.client() as client:
            while True:
                began = trio.current_time()
                assert await client.call("ping") == "pong"
                self.pings.append(trio.current_time() - began)
                await trio.sleep(PING_SECONDS)

    async def _log_in(self) -> None:
        while True:
            began = trio.current_time()
            async with self.daemon.client() as client:
                await client.call("ping")
            self.logins.append(trio.current_time() - began)
            await trio.sleep(1)

    async def usage(self) -> Usage:
        """Measure what the daemon holds now."""
        self._report.unlink(missing_ok=True)
        os.kill(self.daemon.pid, signal.SIGUSR2)
        while not self._report.exists():  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.02)
        process = Path(f"/proc/{self.daemon.pid}")
        lines = (process / "smaps_rollup").read_text(encoding="ascii").splitlines()
        return Usage(
            descriptors=len(os.listdir(process / "fd")),
            tasks=int(self._report.read_text(encoding="ascii")),
            memory_kib=sum(int(line.split()[1]) for line in lines if line.startswith("Private_")),
        )

    async def settled(self, before: Usage, seconds: float = 100) -> Usage:
        """Wait until descriptors and tasks are those of `before`, or the time is over."""
        deadline = trio.current_time() + seconds
        while True:
            now = await self.usage()
            back = now.descriptors <= before.descriptors and now.tasks <= before.tasks
            if back or trio.current_time() > deadline:
                return now
            await trio.sleep(0.1)


async def _repeat(run: Callable[[], Awaitable[None]]) -> None:
    while True:
        await run()
