"""Open listening sockets from configured addresses; load TLS; ask who is at a Unix socket."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else the first look-up imports it, on the event loop
import errno
import os
import secrets
import socket
import ssl
import stat
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio

from camd.auth.peer_roles import PeerCredentials
from camd.runtime.file_presence import mode_of
from camd.runtime.small_files import read_small_file
from camd.server.rules.request_validation import machine_names

UNIX_PREFIX = "unix:"
_BACKLOG = 512
_REMOVE_SECONDS = 1.0
_UCRED = struct.Struct("iII")  # pid, uid, gid: unix(7), SO_PEERCRED
_SO_PEERGROUPS = 59  # asm-generic/socket.h; Linux 4.13
_GID = struct.Struct("I")
_GROUPS_BYTES = 1024  # the most that `getsockopt` of Python takes
PRIVATE_MODE = 0o660
PUBLIC_MODE = 0o666  # anybody may connect, and needs a role or a key


class ListenError(Exception):
    """An address cannot be listened on; the text names it and says why."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"{address}: {why}")
        self.address = address


class AddressInUseError(ListenError):
    """Another program listens on this address."""

    def __init__(self, address: str) -> None:
        super().__init__(address, "the address is in use by another program")


@attrs.frozen
class ListenAddress:
    """A parsed address: the path of a Unix socket, or host (None: all) and port."""

    text: str
    path: Path | None = None
    host: str | None = None
    port: int = 0


def parse_address(text: str) -> ListenAddress:
    """Parse `127.0.0.1:8002`, `[::1]:8002`, `:8002` or `unix:/path`; raises ListenError."""
    if text.startswith(UNIX_PREFIX):
        return ListenAddress(text, path=Path(text.removeprefix(UNIX_PREFIX)))
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ListenError(text, "must be host:port or unix:/path")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ListenError(text, "an IPv6 address stands in brackets, as in [::1]:8002")
    return ListenAddress(text, host=None if host in ("", "*") else host, port=int(port))


@attrs.frozen
class Listener:
    """A listening socket and its address in the form that `parse_address` reads."""

    address: str
    socket: trio.SocketListener

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return self.address.startswith(UNIX_PREFIX)


@asynccontextmanager
async def open_listeners(
    addresses: Sequence[str],
    inherited: Sequence[socket.socket] = (),
    *,
    unix_mode: int = PRIVATE_MODE,
) -> AsyncIterator[list[Listener]]:
    """Listen on all addresses while the block runs. Raises ListenError when one cannot be used.

    `inherited` are sockets that the service manager has opened (sd_listen_fds(3)). `unix_mode`:
    permissions of Unix sockets that are made here.
    """
    async with AsyncExitStack() as stack:
        listeners = [_inherit(sock) for sock in inherited]
        for address in map(parse_address, addresses):
            try:
                listeners.extend(await _listen(address, stack, unix_mode))
            except OSError as error:
                raise _translated(address, error) from error
        yield listeners


async def _listen(address: ListenAddress, stack: AsyncExitStack, unix_mode: int) -> list[Listener]:
    if address.path is not None:
        listener = await _listen_unix(address, address.path, unix_mode)
        inode = await trio.to_thread.run_sync(_inode, address.path)
        stack.push_async_callback(_remove, address.path, inode)
        await stack.enter_async_context(listener)
        return [Listener(address.text, listener)]
    listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=_BACKLOG)
    for listener in listeners:
        await stack.enter_async_context(listener)
    return [Listener(_address_of(listener.socket), listener) for listener in listeners]


def _inherit(sock: socket.socket) -> Listener:
    sock.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    return Listener(_address_of(listener.socket), listener)


def _address_of(sock: trio.socket.SocketType) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UNIX_PREFIX + os.fsdecode(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _translated(address: ListenAddress, error: OSError) -> ListenError:
    if error.errno == errno.EADDRINUSE or "in use" in str(error):
        return AddressInUseError(address.text)
    return ListenError(address.text, error.strerror or str(error))


async def _listen_unix(address: ListenAddress, path: Path, mode: int) -> trio.SocketListener:
    if await trio.to_thread.run_sync(_is_socket, address, path) and await _answers(path):
        raise AddressInUseError(address.text)
    sock = await trio.to_thread.run_sync(_bind, path, mode)
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _is_socket(address: ListenAddress, path: Path) -> bool:
    mode = mode_of(path)
    if mode is not None and not stat.S_ISSOCK(mode):
        raise ListenError(address.text, "there is a file that is no socket")
    return mode is not None


def _bind(path: Path, mode: int) -> socket.socket:
    """Bind under a temporary name and rename, so that the mode is right from the beginning."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(temporary))
        temporary.chmod(mode)
        sock.listen(_BACKLOG)
        temporary.replace(path)
    except BaseException:
        sock.close()
        temporary.unlink(missing_ok=True)
        raise
    return sock


async def _answers(path: Path) -> bool:
    with trio.move_on_after(1.0):
        try:
            stream = await trio.open_unix_socket(str(path))
        except OSError:
            return False
        await stream.aclose()
    return True


def _inode(path: Path) -> int:
    return path.stat().st_ino


async def _remove(path: Path, inode: int) -> None:
    """Remove our socket. On a disk that hangs it stays; the next start replaces it."""

    def remove() -> None:
        with suppress(OSError):
            if path.stat().st_ino == inode:  # else another process replaced it
                path.unlink()

    with trio.CancelScope(shield=True), trio.move_on_after(_REMOVE_SECONDS):
        await trio.to_thread.run_sync(remove, abandon_on_cancel=True)


_NAME_SECONDS = 2.0
_NAME_BYTES = 256 * 1024
_HOSTS, _RESOLVER = Path("/etc/hosts"), Path("/etc/resolv.conf")


async def read_machine_names() -> tuple[str, ...]:
    """Read the names of this machine, without DNS; takes at most two seconds."""
    node, texts = socket.gethostname(), ["", ""]

    def read() -> None:
        for number, path in enumerate((_HOSTS, _RESOLVER)):
            with suppress(OSError):
                texts[number] = read_small_file(path, _NAME_BYTES).decode("utf-8", "replace")

    with trio.move_on_after(_NAME_SECONDS):
        await trio.to_thread.run_sync(read, abandon_on_cancel=True)
    return machine_names(node, *texts)


def tls_context(cert: Path, tls_key: Path | None) -> ssl.SSLContext:
    """Load certificate and key; raises ListenError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(str(cert), f"certificate or key cannot be used: {error}") from error
    return context


def peer_credentials(sock: trio.socket.SocketType) -> PeerCredentials | None:
    """Ask the kernel who connected to a Unix socket; None: it is another socket, or unknown."""
    if sock.family != socket.AF_UNIX:
        return None
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    _, uid, gid = _UCRED.unpack(raw)
    return PeerCredentials(uid, frozenset((gid, *_peer_groups(sock))))


def _peer_groups(sock: trio.socket.SocketType) -> tuple[int, ...]:
    """Return the supplementary groups; none where the kernel cannot tell, or has more than 256."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return ()
    return tuple(number for (number,) in _GID.iter_unpack(raw))
