"""The pieces of files, read from the disk in threads, and kept for the files asked for last."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from camd.errors import FILE_NOT_FOUND, STORAGE_UNRESPONSIVE, Refusal
from camd.model import ReadableRecording
from camd.model.timeline import TimelineSpan
from camd.mp4.boxes import MediaError
from camd.mp4.init import read_init
from camd.mp4.inspect import sealed_moov_offset
from camd.mp4.interrupted import read_head
from camd.mp4.moov import init_without_sound
from camd.mp4.movies.applied_edits import AppliedEdits
from camd.mp4.movies.codec_string import codec_strings, mime_type
from camd.mp4.movies.fragment_index import (
    PieceTable,
    first_composition_at,
    sealed_fragments,
    walked_fragments,
)
from camd.mp4.movies.playback_init import playback_init
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM
from camd.playback.rules.playable_files import FilePieces, MutedPieces
from camd.storage.disk import DiskFile, PosixFile
from camd.storage.storage import Storage

log = structlog.get_logger("camd.playback")

T = TypeVar("T")

KEPT_FILES = 64
KEPT_PIECES = 2_000_000  # of all these files together, 16 bytes each
AT_A_TIME = 2  # threads that read indexes
READ_SECONDS = 10.0
MOST_MOOV_BYTES = 64 * 1024 * 1024
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@attrs.frozen
class _Kept:
    sealed: bool
    size_bytes: int  # what was durable when it was read
    pieces: FilePieces | None


@attrs.define(eq=False)
class StoredPieces:
    """Pieces of recordings by filename. A file that grows is read on from where it was before."""

    _storage: Storage
    _kept: OrderedDict[str, _Kept] = attrs.field(factory=OrderedDict, init=False)
    _threads: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, AT_A_TIME), init=False
    )

    async def of_span(self, span: TimelineSpan) -> FilePieces | None:
        """Return the pieces of a span's file; None when it cannot be played. Raises Refusal."""
        if span.filename is None or not span.playable:
            return None
        return await self.of_file(span.filename)

    async def of_file(self, filename: str) -> FilePieces | None:
        """Return the pieces of a file; None when it cannot be played.

        Raises Refusal: no such file, or the disk hangs.
        """
        with self._storage.leased(filename):
            file = await self._storage.stored_file(filename)
            kept = self._kept.get(file.filename)
            if kept is None or not self._is_fresh(kept, file):
                earlier = kept.pieces if kept is not None and not file.sealed else None
                pieces = await self.in_thread(partial(read_pieces, file, earlier))
                kept = _Kept(file.sealed, file.size_bytes, pieces)
            self._keep(file.filename, kept)
        return kept.pieces

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Read in one of a few threads, for READ_SECONDS at most. Raises Refusal."""
        with trio.move_on_after(READ_SECONDS):
            try:
                return await trio.to_thread.run_sync(
                    work, limiter=self._threads, abandon_on_cancel=True
                )
            except (FileNotFoundError, NotADirectoryError):
                raise Refusal(FILE_NOT_FOUND) from None
            except OSError as error:
                raise Refusal(STORAGE_UNRESPONSIVE, "The file cannot be read") from error
        raise Refusal(STORAGE_UNRESPONSIVE)

    def _is_fresh(self, kept: _Kept, file: ReadableRecording) -> bool:
        return (kept.sealed, kept.size_bytes) == (file.sealed, file.size_bytes)

    def _keep(self, filename: str, kept: _Kept) -> None:
        """Keep a file's pieces; forget those asked for longest ago past the bounds."""
        self._kept[filename] = kept
        self._kept.move_to_end(filename)
        pieces = sum(len(each.pieces.table) for each in self._kept.values() if each.pieces)
        while len(self._kept) > 1 and (len(self._kept) > KEPT_FILES or pieces > KEPT_PIECES):
            _, gone = self._kept.popitem(last=False)
            pieces -= len(gone.pieces.table) if gone.pieces else 0


# --- reading; everything here may block


def open_recording(path: Path) -> PosixFile:
    """Open a file that may grow: its recorder's lock does not matter here. Raises OSError."""
    return PosixFile(os.open(path, OPEN_FLAGS))


def read_pieces(stored: ReadableRecording, earlier: FilePieces | None) -> FilePieces | None:
    """Read the pieces of a file, beyond those known `earlier`; None for one without fragments.

    Raises OSError.
    """
    file = open_recording(stored.path)
    try:
        if earlier is not None:
            return _read_on(file, stored.size_bytes, earlier)
        return _read(file, stored.size_bytes)
    except MediaError as error:
        log.info("recording_not_playable", filename=stored.filename, why=str(error))
        return None
    finally:
        file.close()


def _read(file: DiskFile, size: int) -> FilePieces | None:
    init, metadata, begin = read_head(file.read)
    moov_at = sealed_moov_offset(file.read(0, HASHED_FROM))
    if moov_at is None:
        table = PieceTable.of(init.video.timescale, walked_fragments(file.read, init, begin, size))
    else:
        table = _sealed(file, begin, moov_at)
        if table is None:  # the fragments are there all the same
            fragments = walked_fragments(file.read, init, begin, moov_at)
            table = PieceTable.of(init.video.timescale, fragments)
    if table is None:
        return None
    beginning = playback_init(init, metadata.start_micros)
    late = first_composition_at(file.read, init, table.media_begin, table.media_end)
    together = len({track.delay for track in init.tracks}) == 1
    edits = None if together and late <= 0 else AppliedEdits.of(init, late, metadata.start_micros)
    muted = None
    if init.audio is not None:
        muted = MutedPieces(
            mime_type(init_without_sound(init)),
            AppliedEdits.without_sound(init, late, metadata.start_micros),
        )
    return FilePieces(
        init=beginning.data,
        mime=mime_type(init),
        codecs=",".join(codec_strings(init)),
        width=init.video.width,
        height=init.video.height,
        offset=table.seconds(table.first_shown) + beginning.shift,
        table=table,
        edits=edits,
        muted=muted,
    )


def _sealed(file: DiskFile, begin: int, moov_at: int) -> PieceTable | None:
    """Read the final `moov`; None when it is damaged."""
    length = int.from_bytes(file.read(moov_at, 4), "big")
    if not 8 <= length <= MOST_MOOV_BYTES:
        return None
    try:
        init = read_init(file.read(0, FTYP_SIZE), file.read(moov_at, length))
        return PieceTable.of(init.video.timescale, sealed_fragments(init, begin, moov_at))
    except MediaError:
        return None


def _read_on(file: DiskFile, size: int, earlier: FilePieces) -> FilePieces:
    """Read what has come behind the pieces that are known."""
    init, _, _ = read_head(file.read)
    more = walked_fragments(file.read, init, earlier.table.media_end, size)
    return attrs.evolve(earlier, table=earlier.table.extended(more))
