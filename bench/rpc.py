"""What a call costs: CPU of camd's `ping` against a bare trio-websocket echo, in one run.

    python bench/rpc.py [requests]

Each server runs in a process of its own; the client (the websockets package) sends one request
after the other on each of its connections. What is compared is the servers' CPU time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import trio
import trio_websocket
from websockets.asyncio.client import connect

from camd.access.authenticator import Authenticator
from camd.config.schema import ServerConfig
from camd.front.server import open_front
from camd.rpc.registry import Caller, Method, Nothing, Registry
from camd.rpc.roles import Role
from camd.runtime.fanout import Fanout

Serve = Callable[[Connection], Awaitable[None]]
REQUEST = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}'


async def ping(caller: Caller, params: Nothing) -> object:
    return "pong"


async def no_pages(scope: object, receive: object, send: object) -> None:
    """An application without pages."""


async def serve_camd(report: Connection) -> None:
    """Serve `ping` as camd does, without authentication and rate limit."""
    registry = Registry([Method("ping", Role.VIEWER, Nothing, ping, "", immediate=True)])
    config = ServerConfig(listen=("127.0.0.1:0",), health_listen="", requests_per_minute=0)
    async with open_front(
        config,
        registry=registry,
        authenticator=Authenticator(enabled=False),
        notifications=Fanout(),
        app=no_pages,
    ) as front:
        report.send(f"ws://{front.addresses[0]}/ws")
        await trio.sleep_forever()


async def serve_echo(report: Connection) -> None:
    """Send every message back, with nothing but the library."""

    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        ws = await request.accept()
        try:
            while True:
                await ws.send_message(await ws.get_message())
        except trio_websocket.ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, None)
        report.send(f"ws://127.0.0.1:{server.port}/")


def run_server(serve: Serve, report: Connection) -> None:
    """Run in the server's process; its log goes nowhere."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere
        trio.run(serve, report)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(url: str, connections: int, requests: int) -> None:
    """Send `requests` requests in all, one at a time per connection."""

    async def one() -> None:
        async with connect(url, compression=None) as ws:
            for _ in range(requests // connections):
                await ws.send(REQUEST)
                await ws.recv()

    await asyncio.gather(*(one() for _ in range(connections)))


def measure(serve: Serve, connections: int, requests: int) -> float:
    """Give the server's CPU per request, in microseconds."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=run_server, args=(serve, theirs), daemon=True)
    server.start()
    try:
        url = ours.recv()
        assert server.pid is not None
        asyncio.run(load(url, connections, max(connections, requests // 10)))  # warm up
        before = cpu_seconds(server.pid)
        asyncio.run(load(url, connections, requests))
        return (cpu_seconds(server.pid) - before) / requests * 1e6
    finally:
        server.kill()
        server.join()


def main() -> None:
    """Measure both servers in turn, three times, and print the best of each."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{'connections':>11} {'echo µs':>8} {'ping µs':>8} {'ratio':>6}")
    for connections in (1, 50):
        runs = [
            (measure(serve_echo, connections, requests), measure(serve_camd, connections, requests))
            for _ in range(3)
        ]
        echo, pong = (min(column) for column in zip(*runs, strict=True))
        print(f"{connections:>11} {echo:>8.1f} {pong:>8.1f} {pong / echo:>6.2f}")


if __name__ == "__main__":
    main()
