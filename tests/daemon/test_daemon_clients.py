"""Clients that behave well or badly: the others are served, and the footage is complete."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import trio
from running_daemon import SECRET, Daemon, NewDaemon, check_receipt, listening, small_camera
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

from camd.client import Client, NotAuthenticatedError, RemoteError

CLIENTS = 50


def ask(socket: ClientConnection, method: str, **params: object) -> dict[str, Any]:
    """Make a call with another WebSocket library; return the whole answer."""
    return tell(socket, json.dumps(request(method, **params)))


def tell(socket: ClientConnection, text: str | bytes) -> dict[str, Any]:
    """Send any text; return the answer."""
    socket.send(text)
    while True:
        answer: dict[str, Any] = json.loads(socket.recv(timeout=300))
        if "method" not in answer:
            return answer


def request(method: str, **params: object) -> dict[str, Any]:
    """Make a request."""
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def test_only_one_of_fifty_starts_at_the_same_instant_wins(
    new_daemon: NewDaemon,
) -> None:
    """One session begins; the other calls are refused with its id and owner."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    trio.run(daemon.start)
    together = threading.Barrier(CLIENTS)

    def race(number: int) -> dict[str, Any]:
        with connect(daemon.url) as socket:
            assert "result" in ask(socket, "authenticate", auth_token=daemon.key)
            together.wait(200)
            return ask(socket, "start_recording", device="camera0")

    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = list(threads.map(race, range(CLIENTS)))
    winners = [answer["result"] for answer in answers if "result" in answer]
    refusals = [answer["error"] for answer in answers if "error" in answer]
    assert [winner["status"] for winner in winners] == ["STARTED"]
    assert [refusal["code"] for refusal in refusals] == [-1006] * (CLIENTS - 1)
    for refusal in refusals:
        assert refusal["message"] == "Camera is currently recording"
        assert refusal["data"]["session_id"] == winners[0]["session_id"]
        assert refusal["data"]["owner"] == "admin"
        assert refusal["data"]["camera_id"] == "camera0"


async def test_both_dialects_accept_the_same_tokens(shared_daemon: Daemon) -> None:
    """`auth_token` fails with an error, `token` with a result, and then errors carry one, too."""

    def converse() -> None:
        with connect(shared_daemon.url) as socket:
            assert ask(socket, "ping")["error"]["code"] == -32001
            failed = ask(socket, "authenticate", auth_token="nobody")
            assert failed["error"]["code"] == -32001
            assert failed["error"]["data"]["reason"] == "unknown_key"
            assert "result" not in failed
            accepted = ask(socket, "authenticate", auth_token=shared_daemon.key)["result"]
            assert accepted["authenticated"]
            assert (accepted["role"], accepted["permissions"]) == (
                "admin",
                ["view", "control", "admin"],
            )
            assert ask(socket, "ping")["result"] == "pong"
        with connect(shared_daemon.url) as socket:
            failed = ask(socket, "authenticate", token="nobody", auth_type="api_key")
            assert failed["result"]["authenticated"] is False
            assert failed["result"]["error"]
            refused = ask(socket, "get_camera_list")
            assert refused["error"]["code"] == -32001
            assert refused["result"] is None
            accepted = ask(socket, "authenticate", token=shared_daemon.key, auth_type="api_key")[
                "result"
            ]
            assert accepted["role"] == "admin"
            assert ask(socket, "get_camera_list")["result"]["total"] == 2
        with connect(shared_daemon.url) as socket:
            assert ask(socket, "ping", auth_token=shared_daemon.key)["result"] == "pong"
            assert ask(socket, "ping")["result"] == "pong"

    with trio.fail_after(300):
        await trio.to_thread.run_sync(converse)


async def test_roles_are_what_a_token_says(shared_daemon: Daemon) -> None:
    """A viewer cannot record; tokens of `camd token` and keys of `camd keys` are accepted."""
    with trio.fail_after(300):
        viewer = (await shared_daemon.camd("token", "eve", "--for", "1h")).stdout.strip()
        operator = (await shared_daemon.camd("token", "bob", "--role", "operator")).stdout.strip()
        async with shared_daemon.client(viewer) as client:
            assert (await client.call("get_camera_list"))["total"] == 2
            for method, params, required in (
                ("start_recording", {"device": "camera0"}, "operator"),
                ("stop_recording", {"device": "camera0"}, "operator"),
                ("get_storage_info", {}, "admin"),
                ("reload_config", {}, "admin"),
            ):
                with pytest.raises(RemoteError) as refused:
                    await client.call(method, **params)
                assert refused.value.code == -32003
                assert refused.value.data["required"] == required
                assert refused.value.data["role"] == "viewer"
        async with shared_daemon.client(operator) as client:
            await client.call("start_recording", device="camera0")
            status = await client.call("get_recording_status", device="camera0")
            assert status["owner"] == "bob"
            await client.call("stop_recording", device="camera0")
        foreign = await shared_daemon.camd("token", "eve", CAMERA_SERVICE_JWT_SECRET=SECRET[::-1])
        with pytest.raises(NotAuthenticatedError) as refused:
            async with shared_daemon.client(foreign.stdout.strip()):
                pass
        assert refused.value.data["reason"] == "invalid_signature"


CALLS: dict[str, tuple[str, dict[str, object], int, str]] = {
    "unknown method": ("make_coffee", {}, -32601, "Method not found"),
    "no camera named": ("start_recording", {}, -32602, "device"),
    "wrong type": ("start_recording", {"device": 7}, -32602, "device must be a string"),
    "boolean for a number": ("list_recordings", {"limit": True}, -32602, "limit"),
    "text for a number": ("list_recordings", {"limit": "7"}, -32602, "limit"),
    "fraction": ("start_recording", {"device": "camera1", "duration": 1.5}, -32602, "duration"),
    "too small": ("list_recordings", {"limit": 0}, -32602, "limit"),
    "too large": ("list_recordings", {"limit": 1001}, -32602, "limit"),
    "huge": ("list_recordings", {"offset": 10**30}, -32602, "offset"),
    "no duration": ("start_recording", {"device": "camera1", "duration": 0}, -32602, "duration"),
    "negative": ("start_recording", {"device": "camera1", "duration": -1}, -32602, "duration"),
    "over a day": ("start_recording", {"device": "camera1", "duration": 86401}, -32602, "duration"),
    "two durations": (
        "start_recording",
        {"device": "camera1", "duration": 5, "duration_minutes": 1},
        -32602,
        "only one duration",
    ),
    "extra beside a wrong one": (
        "start_recording",
        {"device": "camera1", "filename": "a.mp4", "duration": "5"},
        -32602,
        "duration",
    ),
    "no time": ("list_recordings", {"from": "yesterday"}, -32602, "from"),
    "unknown format": ("start_recording", {"device": "camera1", "format": "avi"}, -32008, "avi"),
    "unknown camera": ("start_recording", {"device": "camera9"}, -32004, "Camera not found"),
    "camera with a path": ("get_camera_status", {"device": "../camera0"}, -32004, "Camera"),
    "second start": ("start_recording", {"device": "camera0"}, -1006, "currently recording"),
    "stop without start": ("stop_recording", {"device": "camera1"}, -1020, "not recording"),
    "name with a path": ("get_recording_info", {"filename": "../camd.toml"}, -32602, "filename"),
    "absolute name": ("get_recording_info", {"filename": "/etc/passwd"}, -32602, "filename"),
    "name with NUL": ("get_recording_info", {"filename": "a\0.mp4"}, -32602, "filename"),
    "unknown name": ("get_recording_info", {"filename": "none.mp4"}, -1005, "File not found"),
}
TEXTS: dict[str, tuple[str | bytes, int]] = {
    "no JSON": ("hello", -32700),
    "half of it": ('{"jsonrpc": "2.0", "id": 1, ', -32700),
    "NaN": ('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": NaN}}', -32700),
    "deep arrays": ("[" * 100_000, -32700),
    "deep objects": ('{"a":' * 100_000, -32700),
    "binary": (b"\xff\xfe\x00", -32700),
    "no object": ("42", -32600),
    "empty batch": ("[]", -32600),
    "no version": ('{"id": 1, "method": "ping"}', -32600),
    "method is a number": ('{"jsonrpc": "2.0", "id": 1, "method": 7}', -32600),
    "id is an object": ('{"jsonrpc": "2.0", "id": {}, "method": "ping"}', -32600),
    "positional": ('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}', -32602),
}


def make_wrong_calls(daemon: Daemon) -> None:
    """Each call gets its own error, and the connection stays open."""
    with connect(daemon.url) as socket:
        ask(socket, "authenticate", auth_token=daemon.key)
        for name, (method, params, code, words) in CALLS.items():
            error = ask(socket, method, **params)["error"]
            assert error["code"] == code, (name, error)
            assert words in error["message"], (name, error)
            assert isinstance(error["data"]["retryable"], bool), name
            assert error["data"]["suggestion"], name
            assert str(daemon.folder) not in json.dumps(error), name
        for name, (text, code) in TEXTS.items():
            assert tell(socket, text)["error"]["code"] == code, name
        assert ask(socket, "ping")["result"] == "pong"


def send_too_much(daemon: Daemon) -> None:
    """A message above the limit ends its connection, with a reason."""
    with connect(daemon.url) as socket:
        ask(socket, "authenticate", auth_token=daemon.key)
        with pytest.raises(ConnectionClosed) as closed:
            ask(socket, "ping", padding="x" * 2 * 1024 * 1024)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def send_garbage(daemon: Daemon) -> None:
    """Bytes that are neither HTTP nor a handshake are refused or the connection is closed."""
    host, port = daemon.url.removeprefix("ws://").removesuffix("/ws").split(":")
    for sent, wanted in (
        (bytes(range(256)) * 16, b"HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, b"HTTP/1.1 400"),
        (b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 426"),
        (
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n",
            b"HTTP/1.1 400",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
            b"HTTP/1.1 431",
        ),
        (b"DELETE /files/recordings/a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"HTTP/1.1 405"),
    ):
        with socket.create_connection((host, int(port)), 300) as raw:
            with suppress(ConnectionError):
                raw.sendall(sent)
            assert raw.recv(4096).startswith(wanted), sent[:40]


def break_off(daemon: Daemon) -> None:
    """Clients leave in the middle of a handshake or a message."""
    host, port = daemon.url.removeprefix("ws://").removesuffix("/ws").split(":")
    for part in (b"GET /ws HT", b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: webso", b""):
        with socket.create_connection((host, int(port)), 300) as raw:
            raw.sendall(part)
    with connect(daemon.url) as client:
        client.socket.sendall(b"\x81\xfe\xff\xff" + b"half a frame")
        client.socket.shutdown(socket.SHUT_RDWR)


def use_wrong_tokens(daemon: Daemon) -> None:
    """Wrong tokens and foreign web pages are refused."""
    with connect(daemon.url) as client:
        for token in ("", "x" * 10_000, "a.b.c", "\0"):
            failed = ask(client, "authenticate", auth_token=token)
            assert failed["error"]["code"] == -32001
            assert failed["error"]["data"]["reason"]
        assert ask(client, "get_camera_list")["error"]["code"] == -32001
    with pytest.raises((InvalidStatus, InvalidMessage)):
        connect(daemon.url, origin="https://elsewhere.example").close()  # type: ignore[arg-type]


def read_nothing(daemon: Daemon) -> None:
    """A client that never reads is slowed down; another one is not."""
    wire = ClientProtocol(parse_uri(daemon.url))
    wire.send_request(wire.connect())
    host, port = daemon.url.removeprefix("ws://").removesuffix("/ws").split(":")
    with (
        socket.create_connection((host, int(port)), 300) as raw,
        connect(daemon.url) as other,
    ):
        raw.sendall(b"".join(wire.data_to_send()))
        assert raw.recv(4096).startswith(b"HTTP/1.1 101")
        raw.settimeout(0.5)
        flood = text_frame(request("authenticate", auth_token=daemon.key))
        with suppress(TimeoutError):
            while True:
                raw.sendall(flood)
                flood = text_frame(request("get_camera_list")) * 100
        ask(other, "authenticate", auth_token=daemon.key)
        assert ask(other, "ping")["result"] == "pong"


def text_frame(message: dict[str, Any]) -> bytes:
    """Encode a WebSocket text frame."""
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True)


async def test_a_bad_client_does_not_harm_others(daemon: Daemon) -> None:
    """Each gets the right error; afterwards ping answers and the recording is complete."""
    with trio.fail_after(300):
        async with daemon.client() as client, listening(client) as notified:
            await client.call("start_recording", device="camera0")
            for misbehave in (
                *(make_wrong_calls, send_too_much, send_garbage, break_off),
                *(use_wrong_tokens, read_nothing),
            ):
                await trio.to_thread.run_sync(misbehave, daemon)
                assert await client.call("ping") == "pong"
            await notified.recording("ROTATED", 2)
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
        await check_receipt(daemon, receipt)
        assert receipt["frames_captured"] == receipt["frames_written"]
        assert receipt["gaps"] == []
        await daemon.stop()
    assert "Traceback" not in daemon.log


async def test_a_client_above_its_rate_is_told_when_to_retry(new_daemon: NewDaemon) -> None:
    """Above its rate a client is refused with the time to wait; others are not."""
    daemon = new_daemon()
    daemon.configure({"server": {"requests_per_minute": 20}}, [small_camera()])
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as greedy, daemon.client() as modest:
            for _ in range(19):  # one was for `authenticate`
                assert await greedy.call("ping") == "pong"
            with pytest.raises(RemoteError) as refused:
                await ask_again(greedy)
            assert refused.value.code == -32002
            assert 0 < refused.value.data["retry_after_ms"] <= 3000
            assert refused.value.data["retryable"]
            assert await modest.call("ping") == "pong"


async def ask_again(client: Client) -> None:
    """Make calls until one is refused; one more is allowed every three seconds."""
    while True:
        await client.call("ping")


async def test_the_same_key_joins_the_session(daemon: Daemon) -> None:
    """A start that is repeated with its key gives the same session and starts nothing twice."""
    with trio.fail_after(300):
        async with daemon.client() as client:
            first = await client.call("start_recording", device="camera0", key="shift-1")
            again = await client.call("start_recording", device="camera0", key="shift-1")
            assert again["session_id"] == first["session_id"]
            with pytest.raises(RemoteError) as refused:
                await client.call("start_recording", device="camera0", key="shift-2")
            assert refused.value.code == -1006
            assert len(daemon.processes()) == 1


async def test_an_answer_comes_before_the_notifications_that_its_call_causes(
    daemon: Daemon,
) -> None:
    """Simple clients take the first frame for the answer; what they send too much is ignored."""

    def converse() -> None:
        with connect(daemon.url) as socket:
            assert "result" in ask(socket, "authenticate", auth_token=daemon.key)
            socket.send(json.dumps(request("start_recording", device="camera0", filename="my.mp4")))
            started = json.loads(socket.recv(timeout=300))
            assert started["result"]["status"] == "STARTED"
            assert any("filename" in warning for warning in started["result"]["warnings"])
            wait_recording(socket, "STARTED")
            socket.send(json.dumps(request("stop_recording", device="camera0")))
            stopped: dict[str, Any] = {}
            while "result" not in stopped:  # progress may have been under way
                stopped = json.loads(socket.recv(timeout=300))
                assert stopped.get("params", {}).get("status") != "STOPPED"
            wait_recording(socket, "STOPPED")
            assert ask(socket, "ping", anything={"at": "all"})["result"] == "pong"

    with trio.fail_after(300):
        await trio.to_thread.run_sync(converse)


def wait_recording(socket: ClientConnection, status: str) -> None:
    """Read notifications up to one about a recording."""
    while json.loads(socket.recv(timeout=300))["params"].get("status") != status:
        pass


async def test_a_key_that_was_added_before_the_first_start_is_accepted(
    new_daemon: NewDaemon,
) -> None:
    """`camd keys add` before the first start: that key works, and so does the admin key."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(300):
        added = await daemon.camd("keys", "add", "gate", "--role", "viewer")
        assert added.returncode == 0, added.stderr
        await daemon.start()
        shown = await daemon.camd("status")
        assert shown.returncode == 0, shown.stderr
        async with daemon.client(added.stdout.strip()) as viewer:
            assert await viewer.call("ping") == "pong"
