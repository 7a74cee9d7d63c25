"""Makes a Matroska file out of a sealed segment, and trusts it only after comparing packets.

The MP4 goes only when the MKV is complete, durable and holds the same packets, byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import attrs
import structlog
import trio

from camd.camera.program import Program
from camd.clock import now
from camd.media.command import hash_arguments, remux_arguments
from camd.media.mp4 import HASHED_FROM
from camd.model import Segment
from camd.storage.actor import Storage
from camd.storage.naming import candidates, with_extension

log = structlog.get_logger("camd.remux")

PATIENCE_SECONDS = 600.0
_HASH = re.compile(r"^\d+,[va],\w+=([0-9a-f]+)$", re.MULTILINE)


async def to_mkv(program: Program, storage: Storage, segment: Segment) -> Segment | None:
    """Convert a sealed segment; return what replaces it, None when the MP4 had to stay.

    Takes as long as copying the file does; runs FFmpeg twice to compare the packets.
    """
    source = storage.folder / segment.filename
    name = with_extension(segment.filename, "mkv")
    part = storage.folder / f".{name}.part"
    try:
        with storage.leased(segment.filename), trio.move_on_after(PATIENCE_SECONDS):
            await trio.to_thread.run_sync(lambda: part.unlink(missing_ok=True))  # of a crash
            return await _convert(program, storage, segment, source, part)
    except (OSError, subprocess.CalledProcessError) as error:
        log.error("mkv_failed", file=name, error=str(error))
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await trio.to_thread.run_sync(
                lambda: part.unlink(missing_ok=True), abandon_on_cancel=True
            )
    return None


async def _convert(
    program: Program, storage: Storage, segment: Segment, source: Path, part: Path
) -> Segment:
    await trio.run_process(
        remux_arguments(str(program.path), source, part),
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
    )
    packets = await _packets(program, source)
    if not packets or packets != await _packets(program, part):
        raise OSError(f"{part.name} does not hold the packets of {source.name}")
    names = chain(
        [with_extension(source.name, "mkv")],
        candidates(segment.camera_id, segment.start, "mkv"),
    )
    name, size, digest = await storage.on_disk(lambda: _publish(storage, part, names))
    made = attrs.evolve(segment, filename=name, size_bytes=size, sha256=digest, modified=now())
    await storage.note_replaced(segment.filename, made)
    await storage.on_disk(lambda: _remove(storage, source))
    return made


def _remove(storage: Storage, source: Path) -> None:
    storage.disk.unlink(source)
    storage.disk.sync_directory(source.parent)


async def _packets(program: Program, path: Path) -> list[str]:
    """Hash each stream's packets, whatever the container."""
    result = await trio.run_process(
        hash_arguments(str(program.path), path),
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
    )
    return _HASH.findall(result.stdout.decode("ascii", "replace"))


def _publish(storage: Storage, part: Path, names: Iterator[str]) -> tuple[str, int, str]:
    """Make the file durable, hash it, and give it the first name that is free (I5).

    The name of the MP4 need not be: a segment of the same second may have had it before, and
    have become Matroska since.
    """
    digest = hashlib.sha256()
    with part.open("rb") as file:
        os.fsync(file.fileno())
        size = file.seek(0, os.SEEK_END)
        file.seek(HASHED_FROM)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    name = _link(part, names)
    part.unlink()
    storage.disk.sync_directory(part.parent)
    return name, size, digest.hexdigest()


def _link(part: Path, names: Iterator[str]) -> str:
    for name in names:
        with suppress(FileExistsError):
            os.link(part, part.with_name(name))
            return name
    raise AssertionError("names never end")
