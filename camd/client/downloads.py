"""Download a part of an export into a file, through a partial file that a later call continues.

The partial file has the version of the export (its ETag) in its name, so that bytes of another one
are never appended. Files are read and written in threads.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path

import attrs
import h11
import trio

from camd.client.http_fetch import refused_reply
from camd.client.service_connection import (
    ConnectionLostError,
    ServiceAddress,
    open_service_stream,
)
from camd.contract.export_results import ExportPartInfo
from camd.storage.filesystem import move_exclusively

SILENT_SECONDS = 60.0  # without a byte; then the connection is given up
_RECEIVE_BYTES = 256 * 1024
_MOST_ERROR_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024

Progress = Callable[[int], None]  # bytes that are there


class ExportChangedError(Exception):
    """The export is not what was described: recordings were removed, or more was recorded."""


@attrs.frozen(kw_only=True)
class DownloadedExport:
    """A part of an export as a file here; `sha256` is of all its bytes, as they were received.

    `resumed_at`: how many bytes an earlier download had left.
    """

    path: Path
    size: int
    sha256: str
    resumed_at: int = 0


def partial_path(path: Path, etag: str) -> Path:
    """Return the name of the partial file of a version of an export."""
    digest = hashlib.sha256(etag.encode()).hexdigest()[:12]
    return path.with_name(f"{path.name}.{digest}.part")


async def download_part(
    address: ServiceAddress, part: ExportPartInfo, path: Path, progress: Progress
) -> DownloadedExport:
    """Download a part into a new file; see `Client.download_export`."""
    await trio.to_thread.run_sync(_refuse_existing, path)
    rest = partial_path(path, part.etag)
    target = await trio.to_thread.run_sync(_PartialFile.open, rest)
    try:
        found = min(target.size, part.size)
        progress(found)
        if target.size > part.size:
            raise ExportChangedError(f"{rest} is longer than the export; remove it")
        if target.size < part.size:
            await _receive(address, part, target, progress)
        if target.size != part.size:
            raise ConnectionLostError(
                f"the download ended after {target.size} of {part.size} bytes"
            )
        await trio.to_thread.run_sync(target.sync)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(target.close)
    await trio.to_thread.run_sync(partial(move_exclusively, rest, path))
    return DownloadedExport(path=path, size=part.size, sha256=target.sha256, resumed_at=found)


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already")


@attrs.define(eq=False)
class _PartialFile:
    """A file that is appended to, and the hash of everything in it."""

    _fd: int
    size: int
    _hash: hashlib._Hash = attrs.field(factory=hashlib.sha256)

    @classmethod
    def open(cls, path: Path) -> _PartialFile:
        """Open or create a file, lock it, and hash what is in it. Blocks. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        made = cls(os.open(path, flags, 0o640), 0)
        try:
            fcntl.flock(made._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            made.close()
            raise BlockingIOError(errno.EAGAIN, f"another download writes {path}") from None
        except OSError:
            pass  # not every file system has locks
        while data := os.read(made._fd, _READ_BYTES):
            made._hash.update(data)
            made.size += len(data)
        return made

    @property
    def sha256(self) -> str:
        """The hash of the whole file."""
        return self._hash.hexdigest()

    def append(self, data: bytes) -> None:
        """Append bytes. Blocks. Raises OSError."""
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._hash.update(view[:written])
            self.size += written
            view = view[written:]

    def sync(self) -> None:
        """Return when the file is on stable storage. Blocks."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


async def _receive(
    address: ServiceAddress, part: ExportPartInfo, target: _PartialFile, progress: Progress
) -> None:
    stream, host, _ = await open_service_stream(address)
    headers = [("Host", host), ("Connection", "close")]
    if address.token is not None:
        headers.append(("Authorization", f"Bearer {address.token}"))
    if target.size:
        headers += [("Range", f"bytes={target.size}-"), ("If-Range", part.etag)]
    request = h11.Request(method="GET", target=part.url, headers=headers)

    async def keep(data: bytes) -> None:
        if target.size + len(data) > part.size:
            raise ExportChangedError("the service sends more than it said")
        await trio.to_thread.run_sync(target.append, data)
        progress(target.size)

    connection = h11.Connection(h11.CLIENT)
    try:
        await stream.send_all(connection.send(request) + connection.send(h11.EndOfMessage()))
        await _read_answer(stream, connection, part.etag, target.size, keep)
    except (h11.ProtocolError, trio.BrokenResourceError) as error:
        raise ConnectionLostError(
            f"the download ended after {target.size} of {part.size} bytes: {error}"
        ) from error
    finally:
        await trio.aclose_forcefully(stream)


async def _read_answer(
    stream: trio.abc.ReceiveStream,
    connection: h11.Connection,
    etag: str,
    begin: int,
    keep: Callable[[bytes], Awaitable[None]],
) -> None:
    refused, body = 0, bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await _next_bytes(stream))
            case h11.Response() as answer:
                refused = _refused_status(answer, etag, begin)
            case h11.Data(data) if not refused:
                await keep(bytes(data))
            case h11.Data(data):
                body += data[: _MOST_ERROR_BYTES - len(body)]
            case h11.EndOfMessage() | h11.ConnectionClosed():
                if refused:
                    raise refused_reply(refused, bytes(body))
                return


async def _next_bytes(stream: trio.abc.ReceiveStream) -> bytes:
    with trio.move_on_after(SILENT_SECONDS):
        return bytes(await stream.receive_some(_RECEIVE_BYTES))
    raise ConnectionLostError(f"nothing has come for {SILENT_SECONDS:g} s")


def _refused_status(answer: h11.Response, etag: str, begin: int) -> int:
    """Return 0 when the bytes that were asked for follow; raises ExportChangedError."""
    wanted = HTTPStatus.PARTIAL_CONTENT if begin else HTTPStatus.OK
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return answer.status_code
    sent = next((value for name, value in answer.headers if name == b"etag"), b"")
    if sent.decode("latin-1") != etag or answer.status_code != wanted:
        raise ExportChangedError(
            "the recordings of that range have changed since the download began"
        )
    return 0
