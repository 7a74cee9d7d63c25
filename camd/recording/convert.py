"""Convert sealed MP4 segments to Matroska where that was asked for.

The MP4 is removed only when the MKV is complete, durable and holds the same packets, byte for
byte. A conversion that a crash interrupts is made again: see `camd.camera.unfinished`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import signal
import stat
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path

import attrs
import structlog
import trio

from camd.clock import Clock
from camd.errors import Refusal
from camd.ffmpeg.binary import FFmpegBinary
from camd.ffmpeg.text.args import hash_arguments, remux_arguments
from camd.model import RecordingEventKind, Segment
from camd.mp4.segment import HASHED_FROM
from camd.recording.reports import SessionReports
from camd.runtime.child_process import keep_last, open_child_process
from camd.runtime.file_presence import is_there
from camd.storage.recovery.file_recovery import part_path
from camd.storage.rules.naming import candidates, with_extension
from camd.storage.storage import Storage

log = structlog.get_logger("camd.remux")

TIMEOUT_SECONDS = 600.0
SLOWEST_BYTES_PER_SECOND = 1_000_000  # of a disk for which a large file waits longer
_MOST_OUTPUT = 64 * 1024  # bytes of a program's output that are kept
_HASH = re.compile(r"^\d+,[va],\w+=([0-9a-f]+)$", re.MULTILINE)


async def to_mkv(
    program: FFmpegBinary,
    storage: Storage,
    segment: Segment,
    *,
    clock: Clock,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Segment | None:
    """Convert a sealed segment; return what replaces it, None when the MP4 had to stay.

    Takes as long as copying the file does; runs FFmpeg twice more to compare the packets. Gives
    up after `timeout_seconds`, and more for a large file.
    """
    name = segment.filename
    if name in storage.converting:
        return None
    storage.converting.add(name)
    part = part_path(storage.folder, name)
    timeout = timeout_seconds + segment.size_bytes / SLOWEST_BYTES_PER_SECOND
    try:
        with storage.leased(name), trio.move_on_after(timeout):
            return await _replace(program, storage, segment, part, clock)
        log.error("mkv_failed", file=name, error=f"it took longer than {timeout:.0f} s")
    except (OSError, Refusal) as error:
        log.error("mkv_failed", file=with_extension(name, "mkv"), error=str(error))
    finally:
        storage.converting.discard(name)
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await trio.to_thread.run_sync(_forget, part, abandon_on_cancel=True)
    return None


async def _replace(
    program: FFmpegBinary, storage: Storage, segment: Segment, part: Path, clock: Clock
) -> Segment:
    """Make the MKV, or take a finished one; store it in place of the MP4, and remove that."""
    source = storage.folder / segment.filename
    made = await _made_before(program, storage, segment, source)
    if made is None:
        await storage.on_disk(lambda: part.unlink(missing_ok=True))  # left by a crash
        made = await _convert(program, storage, segment, source, part)
    made = attrs.evolve(made, modified=clock.now())
    await storage.note_replaced(segment.filename, made)
    await storage.on_disk(lambda: _remove(storage, source))
    return made


async def remove_superseded(program: FFmpegBinary, storage: Storage, name: str) -> bool:
    """Remove an MP4 whose MKV is noted already, if it holds the same packets. Raises OSError."""
    source, made = storage.folder / name, storage.folder / with_extension(name, "mkv")
    with storage.leased(name), storage.leased(made.name):
        packets = await _packets(program, source)
        if not packets or packets != await _packets(program, made):
            return False
        await storage.on_disk(lambda: _remove(storage, source))
    return True


def _forget(part: Path) -> None:
    with suppress(OSError):
        part.unlink(missing_ok=True)


async def _made_before(
    program: FFmpegBinary, storage: Storage, segment: Segment, source: Path
) -> Segment | None:
    """Take a complete MKV that was made before the daemon ended, and not noted."""
    name = with_extension(segment.filename, "mkv")
    path = storage.folder / name
    if not await storage.on_disk(partial(is_there, path)) or await storage.knows(name):
        return None
    packets = await _packets(program, source)
    try:
        same = packets and packets == await _packets(program, path)
    except OSError:
        return None  # it is not a media file, and not made by camd
    return await storage.on_disk(lambda: _described(segment, path)) if same else None


async def _convert(
    program: FFmpegBinary, storage: Storage, segment: Segment, source: Path, part: Path
) -> Segment:
    await _run(remux_arguments(str(program.path), source, part))
    packets = await _packets(program, source)
    if not packets or packets != await _packets(program, part):
        raise OSError(f"{part.name} does not hold the packets of {source.name}")
    names = chain(
        [with_extension(source.name, "mkv")],
        candidates(segment.camera_id, segment.start, "mkv"),
    )
    return await storage.on_disk(lambda: _publish(storage, segment, source, part, names))


def _remove(storage: Storage, source: Path) -> None:
    storage.disk.unlink(source)
    storage.disk.sync_directory(source.parent)


async def _packets(program: FFmpegBinary, path: Path) -> list[str]:
    """Hash each stream's packets, whatever the container."""
    output = await _run(hash_arguments(str(program.path), path))
    return _HASH.findall(output.decode("ascii", "replace"))


async def _run(arguments: Sequence[str]) -> bytes:
    """Run a process that cannot outlive the daemon; return the end of what it wrote to stdout.

    Raises OSError with its last message when it fails.
    """
    output, messages = bytearray(), bytearray()
    async with open_child_process(arguments) as process:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_last, process.read_output, output, _MOST_OUTPUT)
            nursery.start_soon(keep_last, process.read_errors, messages, _MOST_OUTPUT)
        status = await process.wait()
    if status == -signal.SIGXFSZ:
        raise OSError(errno.EFBIG, "the Matroska file would be larger than a file may be here")
    if status != 0:
        lines = messages.decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it wrote no message")
        raise OSError(f"{Path(arguments[0]).name} ended with {status}: {last.strip()}")
    return bytes(output)


def _publish(
    storage: Storage, segment: Segment, source: Path, part: Path, names: Iterator[str]
) -> Segment:
    """Make the file durable, hash it, and give it the first name that is free (I5).

    The name of the MP4 may be taken: another segment of the same second may have had it, and may
    have been converted since.
    """
    with part.open("rb") as file:
        with suppress(OSError):  # not every file system has modes
            os.fchmod(file.fileno(), stat.S_IMODE(source.stat().st_mode))
        os.fsync(file.fileno())
    made = _described(segment, part)  # before it has its name: then it is stored at once
    for name in names:
        with suppress(FileExistsError):
            storage.disk.move(part, storage.folder / name)
            storage.disk.sync_directory(storage.folder)
            return attrs.evolve(made, filename=name)
    raise AssertionError("names never end")


def _described(segment: Segment, path: Path) -> Segment:
    """Describe the MKV that was made of a segment; reads all of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(HASHED_FROM)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return attrs.evolve(segment, filename=path.name, size_bytes=size, sha256=digest.hexdigest())


# --- the conversions of a running session

SHUTDOWN_SECONDS = 5.0  # for conversions at the end of the service: they are made again


@attrs.define(eq=False, kw_only=True)
class MkvConversions:
    """Converts a session's sealed segments while it records. `convert` None: they stay MP4."""

    reports: SessionReports
    convert: Callable[[Segment], Awaitable[Segment | None]] | None
    shutdown_seconds: float = SHUTDOWN_SECONDS
    _sealed: deque[Segment] = attrs.field(factory=deque, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _closed: bool = attrs.field(default=False, init=False)
    _timeout: float = attrs.field(default=float("inf"), init=False)  # seconds
    _running: list[trio.CancelScope] = attrs.field(factory=list, init=False)

    def add(self, segment: Segment) -> None:
        """Convert a sealed segment soon."""
        if self.convert is not None:
            self._sealed.append(segment)
            self._changed.set()

    def hurry(self) -> None:
        """The service ends: conversions that take long are left for the next start."""
        self._timeout = self.shutdown_seconds
        for scope in self._running:
            scope.deadline = min(scope.deadline, trio.current_time() + self.shutdown_seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Convert what is added, all segments at the same time, while the block runs.

        Waits at its end until everything that was added is converted.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            yield
            self._closed = True
            self._changed.set()

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            while self._sealed or not self._closed:
                while self._sealed:
                    nursery.start_soon(self._convert_one, self._sealed.popleft())
                if not self._closed:
                    self._changed = trio.Event()
                    await self._changed.wait()

    async def _convert_one(self, segment: Segment) -> None:
        assert self.convert is not None
        converted = None
        with trio.move_on_after(self._timeout) as scope:
            self._running.append(scope)
            converted = await self.convert(segment)
        self._running.remove(scope)
        if converted is not None:
            self.reports.ledger.replace(converted)
        elif not scope.cancelled_caught:
            self.reports.tell(
                RecordingEventKind.ERROR, segment.filename, "conversion failed; the MP4 stays"
            )
