"""Many clients: the time from an event to its frame at each of them, and connects and leaves.

    python bench/connections.py [--clients 100,1000] [--seconds 20] [--leaves 10000]

A camera records with a PROGRESS notification a second; every client has authenticated and gets each
one. What is measured is the time from the event, which the notification carries, to the moment when
this client has the frame; one process reads all connections with epoll. Aims: p99 below 20 ms with
100 clients, below 200 ms with 1000. Then clients connect, authenticate, ping and leave, one after
the other; descriptors and memory of the daemon should be those of before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import attrs
from running import Camd, cpu_seconds, running

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CLOSE = b"\x88\x82\0\0\0\0" + struct.pack(">H", 1000)
CAMERA = '[[camera]]\nsource = "test:?size=64x64&rate=2"\n'


@attrs.define(eq=False)
class RawClient:
    """A WebSocket of few instructions, so that reading a thousand of them costs little."""

    sock: socket.socket
    received: bytearray = attrs.field(factory=bytearray)

    def send(self, method: str, **params: object) -> None:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        payload = json.dumps(call).encode()
        assert len(payload) < 65536
        short = len(payload) < 126  # RFC 6455, 5.2: the shortest form
        length = (0x80 | len(payload),) if short else (0xFE, len(payload))
        head = struct.pack(">BB" if short else ">BBH", 0x81, *length)
        self.sock.sendall(head + b"\0\0\0\0" + payload)

    def frames(self) -> Iterator[bytes]:
        """Take the whole text frames that have been received."""
        data = self.received
        while len(data) >= 2:
            size, start = data[1] & 127, 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            if len(data) < start + size or (start == 4 and len(data) < 4):
                return
            opcode, payload = data[0] & 15, bytes(data[start : start + size])
            del data[: start + size]
            if opcode == 9:
                self.sock.sendall(bytes((0x8A, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
            elif opcode == 1:
                yield payload

    def answer(self) -> dict:
        """Wait for the answer to a call; skip notifications."""
        while True:
            for payload in self.frames():
                if b'"id":1}' in payload[-8:]:
                    return json.loads(payload)
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("the service closed the connection")
            self.received += more


def connected(port: int, key: str) -> RawClient:
    """Connect and authenticate."""
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.sendall(UPGRADE)
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(4096)
    client = RawClient(sock, bytearray(received.partition(b"\r\n\r\n")[2]))
    client.send("authenticate", auth_token=key)
    assert client.answer()["result"]["authenticated"]
    return client


def latencies(clients: Sequence[RawClient], seconds: float) -> list[float]:
    """Read all clients; return the seconds from event to frame of each notification."""
    by_number = {client.sock.fileno(): client for client in clients}
    found: list[float] = []
    times: dict[str, float] = {}
    with select.epoll() as poll:
        for client in clients:
            client.sock.setblocking(False)
            poll.register(client.sock, select.EPOLLIN)
        began, end = time.time(), time.monotonic() + seconds
        while time.monotonic() < end:
            for number, _ in poll.poll(0.1, 64):
                client = by_number[number]
                client.received += client.sock.recv(65536)
                arrived = time.time()
                for payload in client.frames():
                    moment = json.loads(payload)["params"]["time"]
                    if moment not in times:
                        times[moment] = datetime.fromisoformat(moment).timestamp()
                    if times[moment] >= began:  # older ones waited while clients connected
                        found.append(arrived - times[moment])
    return found


def spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
    return f"{p50:8.1f} {p99:8.1f} {ordered[-1] * 1000:8.1f}"


def descriptors(camd: Camd) -> int:
    return len(os.listdir(f"/proc/{camd.pid}/fd"))


def measure_notifications(camd: Camd, port: int, key: str, count: int, seconds: float) -> None:
    with ExitStack() as stack:
        clients = [connected(port, key) for _ in range(count)]
        for client in clients:
            stack.enter_context(client.sock)
        before = cpu_seconds(camd.pid)
        found = latencies(clients, seconds)
        share = (cpu_seconds(camd.pid) - before) / seconds
        each = len(found) / count / seconds
        print(f"{count:>8} {each:>13.2f} {spread(found)} {share:>9.0%}", flush=True)


def measure_leaves(camd: Camd, port: int, key: str, count: int) -> None:
    for _ in range(100):  # warm up
        leave(connected(port, key))
    time.sleep(1)
    before, memory = descriptors(camd), camd.memory_kib()
    seconds = []
    began = time.monotonic()
    for _ in range(count):
        start = time.monotonic()
        client = connected(port, key)
        client.send("ping")
        assert client.answer()["result"] == "pong"
        seconds.append(time.monotonic() - start)
        leave(client)
    total = time.monotonic() - began
    time.sleep(3)
    print(f"\n{count} connects and leaves in {total:.1f} s; milliseconds p50, p99, worst:", end="")
    print(spread(seconds))
    grown = (camd.memory_kib() - memory) / 1024
    print(f"descriptors {before} before, {descriptors(camd)} after; memory {grown:+.1f} MiB")


def leave(client: RawClient) -> None:
    client.sock.sendall(CLOSE)
    client.sock.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", default="100,1000")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--leaves", type=int, default=10_000)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with running(CAMERA, server__progress_interval="1s") as camd:
        port = int(camd.url.removesuffix("/ws").rpartition(":")[2])
        key = (Path(camd.folder) / "state" / "admin.key").read_text(encoding="ascii").strip()
        camd.call("start_recording", device="camera0")
        camd.socket.close()  # it would not be read while the others are measured
        print(
            f"{'clients':>8} {'each, per s':>13} {'p50 ms':>8} {'p99 ms':>8} {'worst':>8}", end=""
        )
        print(f" {'CPU':>9}")
        for count in map(int, options.clients.split(",")):
            measure_notifications(camd, port, key, count, options.seconds)
        with connected(port, key).sock as sock:
            RawClient(sock).send("stop_recording", device="camera0")
            sock.recv(4096)
        measure_leaves(camd, port, key, options.leaves)


if __name__ == "__main__":
    main()
