"""Recovery of one file after a crash: the torn tail is truncated and the file sealed in place.

Nothing is deleted, and files of others are left alone (I5). Everything blocks on the disk.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import attrs

from camd.clock import from_unix_micros
from camd.model import CameraId, Segment, SegmentState, SessionId
from camd.mp4.boxes import DEFAULT_LIMITS, MediaError
from camd.mp4.inspect import HEAD_SIZE, SegmentSummary, sealed_moov_offset, summarise_segment
from camd.mp4.interrupted import InterruptedSegment, leading_frames_of, read_interrupted
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM
from camd.mp4.segment_metadata import SegmentMetadata
from camd.storage.disk import Disk, DiskFile
from camd.storage.index.recording_index import FOLDER, LOCK
from camd.storage.rules.naming import is_part, part_of

_PIECE = 1 << 20
MOOV_LIMIT = 64 * DEFAULT_LIMITS[b"moov"]  # enough for a day at the highest rates


@attrs.frozen
class RecoveredFile:
    """One file as it is now, and how much was truncated. `note` says what was done."""

    segment: Segment
    torn_bytes: int
    note: str
    was_sealed: bool = False  # was sealed already


def ensure_sealed(disk: Disk, path: Path, *, repair: bool = True) -> RecoveredFile | None:
    """Seal an interrupted segment in place, or describe one that is sealed already.

    None for a file that is not camd's or holds no frame: it was not touched. Without `repair`
    nothing is written, and the result says what would be done. Raises OSError; the file then plays
    as before, and recovery can be retried. The segment has no hash: see `hash_file`.
    """
    file = disk.open(path)
    try:
        head, modified = file.read(0, HEAD_SIZE), file.modified()
        try:
            moov_offset = sealed_moov_offset(head)
            if moov_offset is not None:
                return _describe_sealed(file, path.name, head, moov_offset, modified)
            found = read_interrupted(file.read, file.size())
        except MediaError:
            return None
        if found is None:
            return None
        size = _seal(file, found) if repair else found.whole_bytes
        note = "sealed in place" if repair else "would be sealed in place"
        return RecoveredFile(_described(path.name, found, size, modified), found.torn_bytes, note)
    finally:
        file.close()


def _seal(file: DiskFile, found: InterruptedSegment) -> int:
    """Truncate the torn tail and seal the file; returns the size afterwards."""
    file.truncate(found.whole_bytes)
    moov = found.index.final_moov()
    file.append([moov])
    file.sync()
    file.overwrite(FTYP_SIZE, found.index.seal_header(found.whole_bytes))
    file.sync()
    return found.whole_bytes + len(moov)


def _described(name: str, found: InterruptedSegment, size: int, modified: datetime) -> Segment:
    index, track = found.index, found.index.init.video
    contents = SegmentSummary(
        duration_seconds=index.duration_seconds,
        decoded_seconds=index.decoded_seconds,
        frames=index.frames,
        codec=track.codec,
        width=track.width,
        height=track.height,
        tracks=index.init.tracks,
        metadata=index.metadata,
    )
    segment = _segment(name, contents, index.metadata, size, modified)
    return attrs.evolve(segment, leading_frames=index.leading_frames)


def _describe_sealed(
    file: DiskFile, name: str, head: bytes, moov_offset: int, modified: datetime
) -> RecoveredFile | None:
    """Describe a sealed file. Raises MediaError."""
    size = file.size()
    if not moov_offset < size <= moov_offset + MOOV_LIMIT:
        return None
    contents = summarise_segment(head, file.read(moov_offset, size - moov_offset))
    if contents.metadata is None:
        return None
    segment = _segment(name, contents, contents.metadata, size, modified)
    leading = leading_frames_of(file.read, moov_offset)
    segment = attrs.evolve(segment, leading_frames=leading)
    return RecoveredFile(segment, 0, "adopted", was_sealed=True)


def _segment(
    name: str, contents: SegmentSummary, metadata: SegmentMetadata, size: int, modified: datetime
) -> Segment:
    start = from_unix_micros(metadata.start_micros)
    return Segment(
        filename=name,
        camera_id=CameraId(metadata.camera_id),
        session_id=SessionId(metadata.session_id),
        number=metadata.number,
        start=start,
        end=start + timedelta(seconds=contents.duration_seconds),
        duration_seconds=contents.duration_seconds,
        frames=contents.frames,
        size_bytes=size,
        sha256=None,
        state=SegmentState.SEALED,
        codec=contents.codec,
        width=contents.width,
        height=contents.height,
        modified=modified,
    )


def hash_file(disk: Disk, path: Path) -> str:
    """Compute a recording's SHA-256, from byte 48 on, by reading all of it. Raises OSError."""
    digest, at = hashlib.sha256(), HASHED_FROM
    file = disk.open(path)
    try:
        while piece := file.read(at, _PIECE):
            digest.update(piece)
            at += len(piece)
    finally:
        file.close()
    return digest.hexdigest()


# --- Partial Matroska files


def part_path(recordings: Path, filename: str) -> Path:
    """Return where the MKV of a segment is written while it is being made."""
    return recordings / FOLDER / part_of(filename)


def is_locked(recordings: Path) -> bool:
    """Return whether a service has the folder, so that its parts are in use (proc_locks(5)).

    Takes no lock, and so delays no process; False also where that cannot be determined.
    """
    try:
        facts = (recordings / FOLDER / LOCK).stat()
        locks = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    device = facts.st_dev
    return f" {os.major(device):02x}:{os.minor(device):02x}:{facts.st_ino} " in locks


def parts_in(recordings: Path) -> list[str]:
    """Name partial MKVs, relative to the folder; also where earlier versions put them."""
    found: list[str] = []
    for folder in (FOLDER, ""):
        with suppress(OSError):
            names = sorted(os.listdir(recordings / folder))
            found += (str(Path(folder, name)) for name in names if is_part(name))
    return found
