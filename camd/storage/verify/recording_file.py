"""Reads one file as a whole and returns what it holds, without comparing it with anything.

Everything blocks on the disk, and ends early only when the disk's `told` raises.
"""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import attrs

from camd.mp4.boxes import MediaError, children
from camd.mp4.inspect import (
    HEAD_SIZE,
    sealed_moov_offset,
    summarise_segment,
    validate_samples,
    why_undecodable,
)
from camd.mp4.interrupted import InterruptedSegment, read_interrupted
from camd.mp4.segment import HASHED_FROM
from camd.storage.disk import Disk, DiskFile
from camd.storage.recovery.file_recovery import MOOV_LIMIT
from camd.storage.rules.naming import is_recording
from camd.storage.verify.rules.findings import FileContents, FileKind

_PIECE = 1 << 20
_EBML = b"\x1a\x45\xdf\xa3"  # RFC 8794, 8.1: the start of a Matroska file
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


def inspect_recording(
    disk: Disk, path: Path, *, fast: bool = False, expected: str | None = None
) -> FileContents:
    """Inspect a file: its structure, and unless `fast` every byte of it.

    `expected` is the hash that it should have; if it has another one, the damage is located. Raises
    nothing that the file or the disk could cause.
    """
    seen = FileContents(path.name, FileKind.FOREIGN)
    try:
        file = disk.open(path)
    except BlockingIOError:
        return attrs.evolve(seen, shape=FileKind.BUSY)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return attrs.evolve(seen, shape=FileKind.GONE)
        return _unreadable(seen, error)
    try:
        seen = attrs.evolve(seen, size_bytes=file.size())
        return _whole(file, _structure(file, seen, fast), fast, expected)
    except OSError as error:
        return _unreadable(seen, error)
    finally:
        file.close()


def _unreadable(seen: FileContents, error: OSError) -> FileContents:
    return attrs.evolve(seen, shape=FileKind.UNREADABLE, broken=error.strerror or str(error))


def _structure(file: DiskFile, seen: FileContents, fast: bool) -> FileContents:
    """Determine the kind of file, and inspect its structure."""
    head = file.read(0, HEAD_SIZE)
    ours = is_recording(seen.filename)
    if not head:
        return attrs.evolve(seen, shape=FileKind.EMPTY if ours else FileKind.FOREIGN)
    if head.startswith(_EBML):
        return attrs.evolve(seen, shape=FileKind.MATROSKA)
    try:
        moov_offset = sealed_moov_offset(head)
    except MediaError:
        return attrs.evolve(seen, shape=FileKind.EMPTY if ours else FileKind.FOREIGN)
    if moov_offset is None:
        return _interrupted(file, seen, fast)
    return _sealed(file, attrs.evolve(seen, shape=FileKind.SEALED), head, moov_offset, fast)


def _interrupted(file: DiskFile, seen: FileContents, fast: bool) -> FileContents:
    """Follow the fragments of a segment that was never sealed."""
    try:
        found = read_interrupted(file.read, seen.size_bytes)
        intact = found if fast else read_interrupted(file.read, seen.size_bytes, every=True)
    except MediaError as error:
        return attrs.evolve(seen, shape=FileKind.EMPTY, broken=str(error))
    if found is None:
        return attrs.evolve(seen, shape=FileKind.EMPTY)
    whole = intact.whole_bytes if intact else 0
    broken = "" if whole == found.whole_bytes else f"is damaged from byte {whole} on"
    told = _described(seen, found)
    return attrs.evolve(told, shape=FileKind.INTERRUPTED, broken=broken)


def _described(seen: FileContents, found: InterruptedSegment) -> FileContents:
    return attrs.evolve(
        seen,
        identity=found.index.metadata,
        frames=found.index.frames,
        duration_seconds=found.index.duration_seconds,
        decoded_seconds=found.index.decoded_seconds,
        whole_bytes=found.whole_bytes,
    )


def _sealed(
    file: DiskFile, seen: FileContents, head: bytes, moov_offset: int, fast: bool
) -> FileContents:
    """Inspect a sealed file's index, and the fragments in its media data."""
    lacking = moov_offset + 8 - seen.size_bytes
    if lacking > 0:
        text = f"is cut short: {lacking} bytes and more are missing"
        return attrs.evolve(seen, broken=text)
    moov = file.read(moov_offset, min(seen.size_bytes - moov_offset, MOOV_LIMIT))
    try:
        if [box.kind for box in children(moov)] != [b"moov"]:
            raise MediaError("what follows its media data is no index")
        contents = summarise_segment(head, moov)
        validate_samples(moov, HASHED_FROM, moov_offset)
        found = read_interrupted(file.read, moov_offset)
    except MediaError as error:
        return attrs.evolve(seen, broken=f"is damaged: {error}")
    if found is None or found.whole_bytes != moov_offset:
        at = found.whole_bytes if found else HASHED_FROM
        return attrs.evolve(seen, broken=f"is damaged from byte {at} on")
    seen = _described(seen, found)
    if contents.frames != seen.frames:
        text = f"is damaged: its index has {contents.frames} frames, its fragments {seen.frames}"
        return attrs.evolve(seen, broken=text)
    return attrs.evolve(
        seen,
        duration_seconds=contents.duration_seconds,
        decoded_seconds=contents.decoded_seconds,
        why_undecodable=why_undecodable(file.read, moov, every=not fast),
    )


def _whole(file: DiskFile, seen: FileContents, fast: bool, expected: str | None) -> FileContents:
    """Read every byte: compare the hash if there is one, otherwise the checksums."""
    if fast or seen.broken or seen.shape not in (FileKind.SEALED, FileKind.MATROSKA):
        return seen
    if expected is not None:
        seen = attrs.evolve(seen, sha256=_hashed(file))
    if seen.shape is FileKind.MATROSKA or (expected is not None and expected == seen.sha256):
        return seen
    found = read_interrupted(file.read, seen.whole_bytes, every=True)
    whole = found.whole_bytes if found else HASHED_FROM
    if whole == seen.whole_bytes:
        return seen
    text = f"is damaged from byte {whole} on"
    return attrs.evolve(seen, damaged_at=whole, broken="" if expected else text)


def _hashed(file: DiskFile) -> str:
    digest, at = hashlib.sha256(), HASHED_FROM
    while piece := file.read(at, _PIECE):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()
