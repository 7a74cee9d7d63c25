"""Read bytes of a recording while they are sent: in threads, in parts, under a lease."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from camd.errors import FILE_NOT_FOUND, STORAGE_UNRESPONSIVE, Refusal
from camd.playback.stored_pieces import OPEN_FLAGS
from camd.storage.disk import PosixFile
from camd.storage.file_identity import FileIdentity, identity_of

PART_BYTES = 512 * 1024
READ_SECONDS = 10.0  # for one part
THREADS = 8  # that read for those who play


@attrs.frozen
class StoredBytes:
    """The bytes from `begin` to before `end` of a file."""

    path: Path
    begin: int
    end: int
    sealed: bool
    lease: Callable[[], AbstractContextManager[None]]
    threads: trio.CapacityLimiter
    part_bytes: int = PART_BYTES

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[BytesReader]:
        """Read while the block runs, under a lease. Raises Refusal when the file is gone."""
        with self.lease():
            reader = BytesReader(self)
            await reader.begin()
            yield reader


@attrs.define(eq=False)
class BytesReader:
    """Reads one part after the other. No descriptor is open in between."""

    _bytes: StoredBytes
    _identity: FileIdentity | None = attrs.field(default=None, init=False)  # of the first part
    _at: int = attrs.field(init=False)
    _ahead: bytes = attrs.field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self._at = self._bytes.begin

    @property
    def left(self) -> int:
        """How many bytes have not been returned."""
        return self._bytes.end - self._at

    async def begin(self) -> None:
        """Read the first part ahead. Raises Refusal."""
        try:
            self._ahead = await self._read()
        except (FileNotFoundError, NotADirectoryError):
            raise Refusal(FILE_NOT_FOUND, filename=self._bytes.path.name) from None
        except OSError as error:
            raise Refusal(STORAGE_UNRESPONSIVE, "The file cannot be read") from error

    async def next(self) -> bytes:
        """Return the next part; empty at the end, and where the file cannot be read any more."""
        part, self._ahead = self._ahead, b""
        if not part and self.left:
            try:
                part = await self._read()
            except (OSError, Refusal):
                return b""
        self._at += len(part)
        return part

    async def _read(self) -> bytes:
        read = partial(
            _read_part, self._bytes.path, self._at, min(self._bytes.part_bytes, self.left)
        )
        with trio.move_on_after(READ_SECONDS):
            identity, part = await trio.to_thread.run_sync(
                read, limiter=self._bytes.threads, abandon_on_cancel=True
            )
            if self._identity not in (None, identity):  # another file has its name now
                return b""
            self._identity = identity
            return part
        raise Refusal(STORAGE_UNRESPONSIVE)


def _read_part(path: Path, at: int, size: int) -> tuple[FileIdentity, bytes]:
    """Return the identity of a file and some of its bytes. Blocks. Raises OSError."""
    descriptor = os.open(path, OPEN_FLAGS)
    try:
        return identity_of(descriptor), PosixFile(descriptor).read(at, size)
    finally:
        os.close(descriptor)
