"""The server on real sockets, with clients that share no code with it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trustme
from memory_server import APP, REGISTRY, SECRET
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from camd import clock
from camd.auth.authenticator import Authenticator, open_authenticator
from camd.auth.key_file import KeyFile
from camd.auth.tokens import mint_token
from camd.client import (
    CannotConnectError,
    ConnectionLostError,
    NotAuthenticatedError,
    RemoteError,
)
from camd.client import connect as open_client
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import AuthConfig, ServerConfig
from camd.rpc.registry import Notification
from camd.rpc.roles import Role
from camd.runtime.broadcast import Fanout
from camd.server.accepting import open_server
from camd.server.listeners import AddressInUseError, ListenError
from camd.server.server import Server


@asynccontextmanager
async def running(
    *,
    notifications: Fanout[Notification] | None = None,
    inherited: tuple[socket.socket, ...] = (),
    **config: Any,
) -> AsyncIterator[Server]:
    """Run a server on free ports of the loopback interface."""
    settings = {"listen": ("127.0.0.1:0",), "health_listen": "", **config}
    with trio.fail_after(300):
        async with open_server(
            ServerConfig(**settings),
            registry=REGISTRY,
            authenticator=Authenticator(jwt_secret=SECRET),
            notifications=notifications or Fanout(),
            app=APP,
            inherited=inherited,
            clock=SYSTEM_CLOCK,
        ) as server:
            yield server


def url(server: Server, scheme: str = "ws") -> str:
    return f"{scheme}://{server.addresses[0]}/ws"


def token(role: Role = Role.OPERATOR) -> str:
    now = clock.now().timestamp()
    return mint_token(SECRET, user_id="ann", role=role, now=now, lifetime=3600)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    while not condition():  # noqa: ASYNC110 - it has no event to wait for
        await trio.sleep(0.02)


async def apart(work: Callable[[], Any]) -> Any:
    """Run a blocking client in a thread."""
    return await trio.to_thread.run_sync(work)


def call(client: ClientConnection, method: str, **params: object) -> Any:
    client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    return json.loads(client.recv(timeout=300))


def talk(client: ClientConnection) -> None:
    assert call(client, "ping")["error"]["code"] == -32001
    assert call(client, "authenticate", auth_token=token())["result"]["role"] == "operator"
    assert call(client, "ping")["result"] == "pong"
    assert call(client, "rule")["error"]["code"] == -32003


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_another_websocket_library_can_connect(listen: str) -> None:
    """A client of the websockets package, with its default offers, is served."""

    def client() -> None:
        with connect(url(server)) as ws:
            talk(ws)

    async with running(listen=(listen,)) as server:
        await apart(client)


async def test_the_end_of_a_large_notification_needs_no_further_one() -> None:
    """What the kernel does not take at once is sent when it can be, without another message."""
    notifications: Fanout[Notification] = Fanout()
    text = "x" * 12_000_000

    def client() -> int:
        with connect(url(server), max_size=None, ping_interval=None) as ws:
            assert call(ws, "authenticate", auth_token=token())["result"]["authenticated"]
            trio.from_thread.run_sync(notifications.publish, Notification("large", {"text": text}))
            return len(json.loads(ws.recv(timeout=300))["params"]["text"])

    async with running(notifications=notifications) as server:
        assert await apart(client) == len(text)


async def test_notifications_keep_their_order_while_a_client_reads_slowly() -> None:
    """Some go to the kernel at once, some wait; none is lost, cut or overtaken."""
    notifications: Fanout[Notification] = Fanout()
    count, text = 150, "x" * 50_000

    async def publish() -> None:
        for number in range(count):
            notifications.publish(Notification("numbered", {"number": number, "text": text}))
            await trio.lowlevel.checkpoint()

    def client() -> list[int]:
        with connect(url(server), max_size=None, max_queue=1) as ws:
            assert call(ws, "authenticate", auth_token=token())["result"]["authenticated"]
            trio.from_thread.run(publish)
            received = [json.loads(ws.recv(timeout=300)) for _ in range(count)]
            assert call(ws, "ping")["result"] == "pong"
            return [each["params"]["number"] for each in received]

    async with running(notifications=notifications) as server:
        assert await apart(client) == list(range(count))


async def test_tls_needs_only_certificate_and_key(tmp_path: Path) -> None:
    """WebSocket and HTTP both work over TLS; plain text on that port is not answered."""
    authority = trustme.CA()
    cert = authority.issue_cert("localhost", "127.0.0.1")
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def client() -> bytes:
        with connect(url(server, "wss"), ssl=context) as ws:
            talk(ws)
        host, port = server.addresses[0].split(":")
        with socket.create_connection((host, int(port))) as plain:
            plain.sendall(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"hello" not in plain.recv(1000)
        with (
            socket.create_connection((host, int(port))) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as tls,
        ):
            return http(tls, b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")

    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    async with running(**files) as server:
        assert len(await apart(client)) > 3_000_000
        async with open_client(url(server, "wss"), token(), tls=context) as ours:
            assert await ours.call("ping") == "pong"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        bytes(range(256)) * 300,
        b"\x16\x03\x01",  # half a record
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",  # an empty ClientHello
        b"\x15\x03\x03\x00\x02\x02\x28",  # an alert
    ],
)
async def test_other_bytes_than_tls_are_not_a_bug(tmp_path: Path, sent: bytes) -> None:
    """A client that breaks the handshake, or disconnects in it, causes no traceback."""
    authority = trustme.CA()
    cert = authority.issue_cert("127.0.0.1")
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}

    def client() -> None:
        for half in (False, True):
            with socket.create_connection((host, int(port)), 300) as raw, suppress(ConnectionError):
                raw.sendall(sent)
                if half:
                    raw.shutdown(socket.SHUT_WR)
                    raw.recv(4096)

    with structlog.testing.capture_logs() as logs:
        async with running(**files) as server:
            host, port = server.addresses[0].split(":")
            await apart(client)
            await until(lambda: not server._streams)
    assert not [line for line in logs if "exc_info" in line]


def http(sock: socket.socket, data: bytes) -> bytes:
    sock.sendall(data)
    answer = bytearray()
    while part := sock.recv(65536):
        answer += part
    return bytes(answer)


async def test_a_unix_socket_knows_its_peer(tmp_path: Path) -> None:
    """The same user needs no token; the socket is private, and is removed afterwards."""
    path = tmp_path / "camd.sock"

    def client() -> None:
        with unix_connect(str(path), "ws://localhost/ws") as ws:
            assert call(ws, "rule")["result"] == "pong"

    async with running(listen=(f"unix:{path}",)) as server:
        assert server.addresses == (f"unix:{path}",)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        await apart(client)
        with pytest.raises(AddressInUseError, match=r"camd\.sock"):
            async with running(listen=(f"unix:{path}",)):
                pass
    assert os.listdir(tmp_path) == []


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    """The socket of a killed process is replaced; a file that is not a socket is not touched."""
    path = tmp_path / "camd.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with running(listen=(f"unix:{path}",)), open_client(f"unix:{path}") as client:
        assert await client.call("rule") == "pong"
    path.write_text("precious")
    with pytest.raises(ListenError, match="no socket"):
        async with running(listen=(f"unix:{path}",)):
            pass
    assert path.read_text() == "precious"


async def test_an_address_in_use_is_named() -> None:
    """The error names the address, and no other listener stays open."""
    async with running() as server:
        (address,) = server.addresses
        with pytest.raises(AddressInUseError, match=address):
            async with running(listen=("127.0.0.1:0", address)):
                pass


@pytest.mark.parametrize("address", ["8002", "::1:8002", "127.0.0.1:x", "127.0.0.1:99999"])
async def test_an_invalid_address_is_named(address: str) -> None:
    """A wrong address is shown as it was written."""
    with pytest.raises(ListenError) as caught:
        async with running(listen=(address,)):
            pass
    assert caught.value.address == address


async def test_sockets_from_systemd_are_used_instead() -> None:
    """The server accepts on a socket that it has inherited."""
    given = socket.create_server(("127.0.0.1", 0))
    port = given.getsockname()[1]
    async with running(inherited=(given,)) as server:
        assert server.addresses == (f"127.0.0.1:{port}",)
        async with open_client(f"127.0.0.1:{port}", token()) as client:
            assert await client.call("ping") == "pong"


async def test_the_second_listener_serves_http_alone() -> None:
    """It answers HTTP requests, and refuses WebSockets."""

    def client() -> bytes:
        host, port = server.health_addresses[0].split(":")
        with pytest.raises(InvalidStatus):
            connect(f"ws://{server.health_addresses[0]}/ws")
        with socket.create_connection((host, int(port))) as sock:
            return http(
                sock, b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            )

    async with running(health_listen="127.0.0.1:0") as server:
        assert (await apart(client)).endswith(b"hello")


async def test_a_connection_above_the_limit_is_closed_with_1013() -> None:
    """The others stay served, and after one has disconnected another can connect."""

    def clients() -> None:
        with connect(url(server)) as first, connect(url(server)) as second:
            talk(first)
            talk(second)
            with connect(url(server)) as third, pytest.raises(ConnectionClosed) as closed:
                call(third, "authenticate", auth_token=token())
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
            with connect(url(server)) as fourth:  # places are kept for administrators
                assert call(fourth, "rule", auth_token=token(Role.ADMIN))["result"] == "pong"
            assert call(first, "ping")["result"] == "pong"

    async with running(max_connections=2) as server:
        await apart(clients)


async def test_notifications_reach_all_clients() -> None:
    """Every client receives a published notification."""
    notifications: Fanout[Notification] = Fanout()
    async with (
        running(notifications=notifications) as server,
        open_client(url(server), token()) as one,
        open_client(url(server), token()) as two,
    ):
        notifications.publish(Notification("update", {"seq": 1}))
        for client in (one, two):
            assert await anext(client.notifications()) == ("update", {"seq": 1})
    assert notifications.subscribers == 0


async def test_stopping_closes_connections_and_waits_for_nobody() -> None:
    """Clients get an answer and 1001; the server does not wait for clients that do not react."""
    with ExitStack() as stack:
        async with running() as server:
            host, port = server.addresses[0].split(":")
            deaf = await apart(lambda: stack.enter_context(socket.create_connection((host, port))))
            deaf.sendall(b"GET /hello HTTP/1.1\r\nHost")  # half a request
            ws = await apart(lambda: stack.enter_context(connect(url(server))))
            await apart(lambda: talk(ws))
            ws.send('{"jsonrpc":"2.0","id":9,"method":"hang"}')
            assert (await apart(lambda: call(ws, "ping")))["result"] == "pong"
        answer = json.loads(await apart(ws.recv))
        assert (answer["id"], answer["error"]["code"]) == (9, -1021)
        with pytest.raises(ConnectionClosed) as closed:
            await apart(ws.recv)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


TORTURE = [
    (b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100, 100, b"hello"),
    (b"HEAD /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3, 3, b"content-length: 3000000"),
    (b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3, 3, b"\r\n\r\nxxx"),
    (
        b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\na\r\n2;ext=1\r\nbc\r\n0\r\nTrailer: x\r\n\r\n",
        1,
        b"\r\n\r\nabc",
    ),
]


@pytest.mark.parametrize(("requests", "count", "expected"), TORTURE)
@pytest.mark.parametrize("piece", [1 << 20, 7])
async def test_raw_http_in_any_pieces(
    requests: bytes, count: int, expected: bytes, piece: int
) -> None:
    """Pipelined, chunked and without body, whole or in pieces: all are answered."""
    last = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

    def client() -> bytes:
        host, port = server.addresses[0].split(":")
        data = requests + last
        with socket.create_connection((host, int(port))) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(data), piece):
                sock.sendall(data[start : start + piece])
            return http(sock, b"")

    async with running() as server:
        answer = await apart(client)
    assert answer.count(b"HTTP/1.1 200 ") == count + 1
    assert answer.count(expected) == count + (expected == b"hello")


async def test_the_client_says_what_is_wrong(tmp_path: Path) -> None:
    """No service, another service, a wrong token, a refusal, a stopped service: each has a type."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    for address in (nobody, f"unix:{tmp_path}/none.sock", "ftp://localhost/"):
        with pytest.raises(CannotConnectError):
            async with open_client(address):
                pass
    async with running() as server:
        with pytest.raises(CannotConnectError, match="404"):
            async with open_client(f"ws://{server.addresses[0]}/elsewhere"):
                pass
        with pytest.raises(NotAuthenticatedError, match="unknown key"):
            async with open_client(url(server), "camd_wrong"):
                pass
        with pytest.raises(RemoteError, match="permissions") as refused:
            async with open_client(url(server), token()) as client:
                await client.call("rule")
        assert (refused.value.code, refused.value.data["required"]) == (-32003, "admin")
        async with open_client(url(server), token()) as client:
            server.stop()
            with pytest.raises(ConnectionLostError):
                await client.call("hang")


async def test_a_key_is_added_and_revoked_while_the_service_runs(tmp_path: Path) -> None:
    """The first start leaves an admin key; a key that is added or revoked needs no restart."""
    file = KeyFile(tmp_path / "keys.toml")
    with trio.fail_after(300):
        async with open_authenticator(AuthConfig(), tmp_path, clock=SYSTEM_CLOCK) as authenticator:
            secret = (tmp_path / "admin.key").read_text().strip()
            now = clock.now().timestamp()
            assert authenticator.identify(secret, now).role is Role.ADMIN
            added = file.add("entrance", Role.VIEWER, created=clock.now(), expires=None)
            await until(lambda: len(authenticator.api_keys) == 2)
            identity = authenticator.identify(added, now)
            file.revoke("entrance")
            await until(lambda: authenticator.revoked(identity))
    assert file.path.stat().st_mode & 0o777 == 0o600
