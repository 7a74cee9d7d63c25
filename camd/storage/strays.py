"""Recordings that the index does not know, or last knew as growing: a crash came in between.

They are read back from what they say about themselves, and not changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from camd.clock import from_unix_micros
from camd.media.boxes import MediaError
from camd.media.fragments import Fragment, FragmentReader
from camd.media.mp4 import FTYP_SIZE, HASHED_FROM
from camd.media.stored import HEAD_SIZE, read_segment_head, sealed_moov_offset
from camd.model import CameraId, Segment, SegmentState, SessionId

_CHUNK_BYTES = 1 << 20


def find_strays(folder: Path, known: Iterable[str]) -> list[str]:
    """Name the recordings in `folder` that are not among `known`. Raises OSError."""
    names = set(known)
    with os.scandir(folder) as entries:
        return [e.name for e in entries if e.name.endswith(".mp4") and e.name not in names]


def read_stray(path: Path) -> Segment | None:
    """Describe a file that was left while it grew, or just as it was sealed.

    None when it is none of ours, or holds no frame. Reads all of it. Raises OSError.
    """
    facts = path.stat()
    digest, reader = hashlib.sha256(), FragmentReader()
    fragments = _Fragments()
    with path.open("rb") as file:
        head = file.read(HEAD_SIZE)
        try:
            init, story = read_segment_head(head)
            sealed = sealed_moov_offset(head) is not None
            reader.feed(head[:FTYP_SIZE])
        except MediaError:
            return None
        file.seek(HASHED_FROM)  # behind the 16 bytes that differ between a file's two lives
        whole = True
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            whole = whole and fragments.take(reader, chunk)
    if not fragments.frames:
        return None
    start, video = from_unix_micros(story.start_micros), init.video
    return Segment(
        filename=path.name,
        camera_id=CameraId(story.camera_id),
        session_id=SessionId(story.session_id),
        number=story.number,
        start=start,
        end=start + timedelta(seconds=fragments.seconds),
        duration_seconds=fragments.seconds,
        frames=fragments.frames,
        size_bytes=facts.st_size,
        sha256=digest.hexdigest() if sealed else None,
        state=SegmentState.SEALED if sealed else SegmentState.INTERRUPTED,
        codec=video.codec,
        width=video.width,
        height=video.height,
        modified=from_unix_micros(facts.st_mtime_ns // 1000),
    )


class _Fragments:
    """Adds up what the fragments of one file hold."""

    def __init__(self) -> None:
        self.frames = 0
        self.seconds = 0.0

    def take(self, reader: FragmentReader, chunk: bytes) -> bool:
        """Count what `chunk` completes; False behind the last fragment."""
        try:
            events = reader.feed(chunk)
        except MediaError:  # the final index, or a torn tail
            return False
        for fragment in events:
            if isinstance(fragment, Fragment):
                self.frames += fragment.frames
                self.seconds = max(self.seconds, fragment.end_seconds)
        return True
