"""Clients without a key: they cost no footage, and no client with a key its connection."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio
from running_daemon import Daemon, NewDaemon, check_receipt, listening, small_camera
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CLIENTS = 400
SENT = (
    b"",
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
)
FILES = 256  # the daemon's limit in this test: fewer than there are such clients


def where(daemon: Daemon) -> tuple[str, int]:
    host, port = daemon.url.removeprefix("ws://").removesuffix("/ws").split(":")
    return host, int(port)


@contextmanager
def idle_clients(daemon: Daemon, count: int) -> Iterator[list[socket.socket]]:
    """Open connections that send nothing, half a request, or never read."""
    with ExitStack() as stack:
        made = []
        for number in range(count):
            sock = stack.enter_context(socket.create_connection(where(daemon), 300))
            with suppress(ConnectionError):  # closed already
                sock.sendall(SENT[number % len(SENT)])
            made.append(sock)
        yield made


def limited() -> None:
    """Run in the daemon's process before it starts."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


async def test_many_half_open_sockets_cost_no_frame(new_daemon: NewDaemon) -> None:
    """With more such clients than descriptors, rotation works and clients with a key connect."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(300):
        await daemon.start(preexec_fn=limited)
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="camera0")
            with await trio.to_thread.run_sync(lambda: enter_idle_clients(daemon)):
                await notified.recording("ROTATED", 2)
                shown = await daemon.camd("status")
                assert shown.returncode == 0, shown.stderr
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
        await check_receipt(daemon, receipt)
        assert receipt["frames_captured"] == receipt["frames_written"]
        assert receipt["gaps"] == []
        await daemon.stop()
    assert "Traceback" not in daemon.log


def enter_idle_clients(daemon: Daemon) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(idle_clients(daemon, CLIENTS))
    return stack


async def test_running_out_of_descriptors_is_logged_once_and_passes(daemon: Daemon) -> None:
    """New connections wait, the event loop does not spin, and the log has one line about it."""
    pid = daemon.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with trio.fail_after(300):
        async with daemon.client() as client:
            open_files = len(os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files, usual[1]))
            with idle_clients(daemon, 5):
                await daemon.wait_log("descriptors_exhausted")
                began = ticks(pid)
                await trio.sleep(1)  # long enough for several tries
                assert ticks(pid) - began < 0.5 * os.sysconf("SC_CLK_TCK")
                assert await client.call("ping") == "pong"
                resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
                assert await daemon.call("ping") == "pong"
    assert daemon.log.count("descriptors_exhausted") == 1
    assert "Traceback" not in daemon.log


def ticks(pid: int) -> int:
    """Processor time that a process has used, in clock ticks (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_wrong_keys_cannot_be_tried_fast(daemon: Daemon) -> None:
    """Over HTTP and WebSockets, on new connections: a few per second; good keys work."""

    def over_http(until: float) -> int:
        tried = 0
        request = b"GET /files/recordings/a.mp4 HTTP/1.1\r\nHost: localhost\r\nX-API-Key: x\r\n\r\n"
        while time.monotonic() < until:
            with socket.create_connection(where(daemon), 300) as sock:
                sock.settimeout(max(0.1, until - time.monotonic()))
                sock.sendall(request)
                with suppress(TimeoutError):
                    assert sock.recv(4096).startswith(b"HTTP/1.1 401")
            tried += 1
        return tried

    def over_websocket(until: float) -> int:
        tried = 0
        call = {"jsonrpc": "2.0", "id": 1, "method": "authenticate", "params": {"auth_token": "x"}}
        while time.monotonic() < until:
            with connect(daemon.url) as ws, suppress(ConnectionClosed, TimeoutError):
                ws.send(json.dumps(call))
                answer = ws.recv(timeout=max(0.1, until - time.monotonic()))
                assert json.loads(answer)["error"]["code"] == -32001
            tried += 1
        return tried

    tries: list[int] = []

    async def guess(way: Any, until: float) -> None:
        tries.append(await trio.to_thread.run_sync(way, until))

    with trio.fail_after(300):
        until = time.monotonic() + 3
        async with trio.open_nursery() as nursery:
            for way in (over_http, over_websocket) * 3:
                nursery.start_soon(guess, way, until)
            while "wrong_keys" not in daemon.log:  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.02)
            assert await daemon.call("ping") == "pong"
    assert sum(tries) < 40
    assert 1 <= daemon.log.count("wrong_keys") <= 3
    assert "Traceback" not in daemon.log
