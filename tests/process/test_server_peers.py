"""Peers of a Unix socket: the kernel's word, and the roles that users and groups have by it."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio
from memory_server import APP, REGISTRY, SECRET
from test_server_sockets import apart, call, token
from websockets.sync.client import connect

from camd.auth.authenticator import Authenticator
from camd.auth.peer_roles import PeerRoles, resolve_peers
from camd.cli.service_access import local_socket
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import ServerConfig
from camd.config.values import PeerRules
from camd.rpc.roles import Role
from camd.runtime.broadcast import Fanout
from camd.server.listeners import peer_credentials
from camd.server.server import open_server

OTHER, GROUP, SUPPLEMENTARY = 64001, 64002, 64003  # numbers without an account
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def path() -> Iterator[Path]:
    """A place for a socket that other users can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder / "camd.sock"
    shutil.rmtree(folder)


@asynccontextmanager
async def serving_peers(
    path: Path, *, enabled: bool = True, **roles: object
) -> AsyncIterator[None]:
    authenticator = Authenticator(
        enabled=enabled,
        jwt_secret=SECRET,
        peers=PeerRoles(**roles),  # type: ignore[arg-type]
    )
    with trio.fail_after(100):
        async with open_server(
            ServerConfig(listen=(f"unix:{path}",), health_listen=""),
            registry=REGISTRY,
            authenticator=authenticator,
            notifications=Fanout(),
            app=APP,
            clock=SYSTEM_CLOCK,
        ):
            yield


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def connect_as(path: Path, user: int, group: int, groups: Sequence[int] = ()) -> socket.socket:
    """Connect as another user, in a process that hands its socket over and ends."""
    ours, theirs = socket.socketpair()

    def become_and_connect() -> None:
        os.setgroups(list(groups))
        os.setgid(group)
        os.setuid(user)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        socket.send_fds(theirs, [b"x"], [sock.fileno()])

    with ours, theirs:
        subprocess.run(["true"], preexec_fn=become_and_connect, cwd="/", check=False)
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=descriptor)


async def test_the_kernel_tells_user_and_all_groups(path: Path) -> None:
    """User, primary group and supplementary groups are those of the process that connected."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen()
        client.connect(str(path))
        accepted, _ = listener.accept()
        with trio.socket.from_stdlib_socket(accepted) as sock:
            peer = peer_credentials(sock)
    assert peer is not None
    assert peer.uid == os.geteuid()
    assert peer.groups == {os.getegid(), *os.getgroups()}


@needs_root
@pytest.mark.parametrize(
    ("group", "groups", "role"),
    [
        (GROUP, (), "viewer"),
        (64009, (64010, SUPPLEMENTARY), "operator"),
        (GROUP, (SUPPLEMENTARY,), "operator"),
    ],
)
async def test_a_group_has_a_role(
    path: Path, group: int, groups: tuple[int, ...], role: str
) -> None:
    """The highest role of a peer's groups is its role, and no token is needed."""
    roles = {GROUP: Role.VIEWER, SUPPLEMENTARY: Role.OPERATOR}

    def client() -> None:
        with connect("ws://localhost/ws", sock=connect_as(path, OTHER, group, groups)) as ws:
            assert call(ws, "ping")["result"] == "pong"
            refused = call(ws, "rule")["error"]
            assert (refused["code"], refused["data"]["role"]) == (-32003, role)

    async with serving_peers(path, groups=roles):
        assert mode(path) == 0o666
        await apart(client)


@needs_root
async def test_a_users_own_entry_decides(path: Path) -> None:
    """It is stronger than the roles of groups; a token gives the connection another identity."""

    def client() -> None:
        with connect("ws://localhost/ws", sock=connect_as(path, OTHER, GROUP)) as ws:
            assert call(ws, "rule")["error"]["data"]["role"] == "viewer"
            assert call(ws, "authenticate", auth_token=token(Role.ADMIN))["result"]["role"]
            assert call(ws, "rule")["result"] == "pong"

    async with serving_peers(path, users={OTHER: Role.VIEWER}, groups={GROUP: Role.ADMIN}):
        await apart(client)


@needs_root
async def test_other_users_need_a_key(path: Path) -> None:
    """A user without a role is answered like any client without a key."""

    def client() -> None:
        with connect("ws://localhost/ws", sock=connect_as(path, OTHER, OTHER)) as ws:
            assert call(ws, "ping")["error"]["code"] == -32001
            assert call(ws, "authenticate", auth_token=token())["result"]["role"] == "operator"
            assert call(ws, "ping")["result"] == "pong"

    async with serving_peers(path, users={GROUP: Role.ADMIN}):
        await apart(client)


@pytest.mark.parametrize(("enabled", "users"), [(True, {}), (False, {OTHER: Role.VIEWER})])
async def test_without_roles_or_keys_the_socket_is_private(
    path: Path, enabled: bool, users: dict[int, Role]
) -> None:
    """Everybody may connect only where roles are given, and never without authentication."""
    async with serving_peers(path, enabled=enabled, users=users):
        assert mode(path) == 0o660


def test_names_are_looked_up_and_unknown_ones_are_logged() -> None:
    """Names and numbers of accounts work; an unknown name grants nothing and stops nothing."""
    user, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    rules = PeerRules(
        users=((user, "viewer"), ("1234", "admin"), ("no-such-user", "admin")),
        groups=((group, "operator"), ("no-such-group", "admin")),
    )
    with structlog.testing.capture_logs() as logs:
        roles = resolve_peers(rules)
    assert roles.users == {0: Role.VIEWER, 1234: Role.ADMIN}
    assert roles.groups == {0: Role.OPERATOR}
    assert [(entry["event"], entry["name"]) for entry in logs] == [
        ("peer_name_unknown", "no-such-user"),
        ("peer_name_unknown", "no-such-group"),
    ]


def test_a_unix_socket_that_exists_is_used_first(tmp_path: Path) -> None:
    """Wherever it is in the list; a file that is no socket, or none, is passed over."""
    path = tmp_path / "camd.sock"
    config = ServerConfig(listen=("127.0.0.1:80", f"unix:{tmp_path}/none", f"unix:{path}"))
    assert local_socket(config) is None
    path.touch()
    assert local_socket(config) is None
    path.unlink()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        assert local_socket(config) == f"unix:{path}"
        assert local_socket(ServerConfig()) is None
