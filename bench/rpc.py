"""The CPU time of camd for `ping` and `get_camera_list`, compared with a bare echo.

    python bench/rpc.py [--requests 10000] [--connections 1,50,500]

The echo is trio-websocket and nothing else, in a process of its own; camd is the whole daemon with
16 cameras that record. The client (the websockets package) sends one request after the other on
each connection, first to the one, then to the other, five times in turn; what is compared is the
servers' CPU time for each request. A list should cost at most 2 times the echo, a ping 1.3 times.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import trio
import trio_websocket
from running import Camd, cpu_seconds, running
from websockets.asyncio.client import connect

CAMERAS = 16
PING = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}'
LIST = '{"jsonrpc":"2.0","id":1,"method":"get_camera_list","params":{}}'


async def serve_echo(report: Connection) -> None:
    """Send every message back, with the library alone."""

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


def run_echo(report: Connection) -> None:
    """Run in the echo's process; its log goes nowhere."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere
        trio.run(serve_echo, report)


async def load(url: str, key: str, request: str, connections: int, requests: int) -> None:
    """Send `requests` requests in all, one at a time per connection."""
    ready = asyncio.Barrier(connections)

    async def one() -> None:
        async with connect(url, compression=None, max_size=None, open_timeout=60) as ws:
            if key:
                login = {"jsonrpc": "2.0", "id": 0, "method": "authenticate"}
                await ws.send(json.dumps(login | {"params": {"auth_token": key}}))
                await ws.recv()
            await ready.wait()
            for _ in range(requests // connections):
                await ws.send(request)
                while key and '"method"' in str(await ws.recv())[:60]:
                    pass  # a notification
                if not key:
                    await ws.recv()

    await asyncio.gather(*(one() for _ in range(connections)))


def micros(pid: int, url: str, key: str, request: str, connections: int, requests: int) -> float:
    """The server's CPU for each request, in microseconds.

    What connecting costs, and what the server does anyway (it records), is measured before and
    taken off.
    """
    asyncio.run(load(url, key, request, connections, connections))  # warm up
    began, start = time.perf_counter(), cpu_seconds(pid)
    time.sleep(2)
    anyway = (cpu_seconds(pid) - start) / (time.perf_counter() - began)

    def cost(count: int) -> float:
        began, start = time.perf_counter(), cpu_seconds(pid)
        asyncio.run(load(url, key, request, connections, count))
        return cpu_seconds(pid) - start - anyway * (time.perf_counter() - began)

    return (cost(requests + connections) - cost(connections)) / requests * 1e6


def measure(camd: Camd, echo_pid: int, echo_url: str, connections: int, requests: int) -> None:
    """Print one row: each server's best of five turns."""
    key = (camd.folder / "state" / "admin.key").read_text(encoding="ascii").strip()
    rows = [
        (
            micros(echo_pid, echo_url, "", PING, connections, requests),
            micros(camd.pid, camd.url, key, PING, connections, requests),
            micros(camd.pid, camd.url, key, LIST, connections, requests),
        )
        for _ in range(5)
    ]
    echo, ping, cameras = (min(column) for column in zip(*rows, strict=True))
    ratios = f"{ping / echo:>11.2f} {cameras / echo:>11.2f}"
    print(f"{connections:>11} {echo:>8.0f} {ping:>8.0f} {cameras:>8.0f} {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", default="1,50,500")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    echo = multiprocessing.Process(target=run_echo, args=(theirs,), daemon=True)
    echo.start()
    url = ours.recv()
    cameras = '[[camera]]\nsource = "test:?size=64x64&rate=2"\n' * CAMERAS
    with running(cameras, server__progress_interval="1h") as camd:
        for number in range(CAMERAS):
            camd.call("start_recording", device=f"camera{number}")
        print(f"{'connections':>11} {'echo µs':>8} {'ping µs':>8} {'list µs':>8}", end=" ")
        print(f"{'ping/echo':>11} {'list/echo':>11}")
        for connections in map(int, options.connections.split(",")):
            assert echo.pid is not None
            measure(camd, echo.pid, url, connections, options.requests)
    print(f"{'aims':>11} {'':>26} {'<= 1.3':>11} {'<= 2':>11}")
    echo.kill()


if __name__ == "__main__":
    main()
