"""One segment on its way to disk: created exclusively, appended, synced, sealed.

Invariants I1 (plays at any moment), I3 (nothing lost at a cut) and I5 (never overwrites) are
kept here. All of it is synchronous, for one thread at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from camd.media.fragments import Fragment
from camd.media.mp4 import FTYP_SIZE, HASHED_FROM, SegmentIndex
from camd.storage.disk import Disk, DiskFile


@attrs.define(eq=False)
class SegmentFile:
    """A growing segment. After an OSError from `append`, `seal` makes the best of what is there."""

    path: Path
    index: SegmentIndex
    _file: DiskFile
    _hash: hashlib._Hash = attrs.field(factory=hashlib.sha256, init=False)
    size_bytes: int = attrs.field(default=0, init=False)
    synced_bytes: int = attrs.field(default=0, init=False)
    sha256: str | None = attrs.field(default=None, init=False)
    doubtful: bool = attrs.field(default=False, init=False)  # a sync failed; see `_settle`
    _torn: bool = attrs.field(default=False, init=False)  # bytes behind `size_bytes` may be there
    _moov: bytes | None = attrs.field(default=None, init=False)  # once it is durable at the end

    @classmethod
    def create(
        cls,
        disk: Disk,
        directory: Path,
        names: Iterator[str],
        index: SegmentIndex,
        first: Fragment,
    ) -> SegmentFile:
        """Take the first free name, write the header and the first fragment, and make both durable.

        They come in one write, so that hardly a moment exists in which the file does not play (I1).
        Raises OSError; then nothing is left but, on a disk that refuses that too, an empty name.
        A name is never taken twice (I5): creation is exclusive, so two writers at the same second
        get two names.
        """
        for name in names:
            path = directory / name
            try:
                file = disk.create(path)
            except FileExistsError:
                continue
            segment = cls(path, index, file)
            try:
                segment._begin(first)
                disk.sync_directory(directory)
            except OSError:
                with suppress(OSError):
                    file.close()
                with suppress(OSError):
                    disk.unlink(path)  # ours, and never announced
                raise
            return segment
        raise AssertionError("names never end")

    def _begin(self, first: Fragment) -> None:
        self._write([self.index.header, *self.index.render(first)], first=True)
        self.index.record(first.runs, first.size_bytes)
        self.sync()

    def append(self, fragments: Sequence[Fragment]) -> None:
        """Append whole fragments, in order.

        Raises OSError; the fragments before the one that failed are in the file and counted
        by `index`, that one and those behind it are neither.
        """
        for fragment in fragments:
            self._write(self.index.render(fragment, self.synced_bytes))
            self.index.record(fragment.runs, fragment.size_bytes)

    def _write(self, pieces: Sequence[bytes | memoryview], *, first: bool = False) -> None:
        self._put(pieces)
        for number, piece in enumerate(pieces):
            fresh = memoryview(piece)[HASHED_FROM:] if first and number == 0 else piece
            self._hash.update(fresh)
            self.size_bytes += len(piece)

    def _put(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Put `pieces` behind what counts, and never behind what a failure has left there."""
        if self._torn:
            self._file.truncate(self.size_bytes)
            self._torn = False
        try:
            self._file.append(pieces)
        except OSError:
            self._cut()
            raise

    def _cut(self) -> None:
        """Cut off what does not count; if that fails too, it comes before the next write."""
        self._torn = True
        with suppress(OSError):
            self._file.truncate(self.size_bytes)
            self._torn = False

    def sync(self) -> None:
        """Return when everything appended so far survives a power cut. Raises OSError."""
        size = self.size_bytes
        if self.synced_bytes < size:
            self._settle()
            self.synced_bytes = size

    def _settle(self) -> None:
        """Sync the file, and remember for good when that fails.

        The kernel may mark pages clean that it could not write, so that a later sync succeeds
        although they are lost (fsync(2), EIO): from then on nobody may call the file durable.
        """
        try:
            self._file.sync()
        except OSError:
            self.doubtful = True
            raise

    def seal(self) -> None:
        """Turn the file into an ordinary MP4, durable when this returns; call `close` then.

        The final index goes behind the last fragment and is synced; then 16 bytes near the
        start change and are synced. Between the two the file is still a valid fragmented MP4.
        Raises OSError; the file then stays playable, and sealing may be tried again: it goes on
        from the last step that succeeded.
        """
        if self._moov is None:
            self._moov = self._put_moov()
        self._file.overwrite(FTYP_SIZE, self.index.seal_header(self.size_bytes))
        self._settle()
        self._hash.update(self._moov)
        self.size_bytes += len(self._moov)
        self.synced_bytes = self.size_bytes
        self.sha256 = self._hash.hexdigest()

    def _put_moov(self) -> bytes:
        moov = self.index.final_moov()
        self._put([moov])
        try:
            self._settle()
        except OSError:
            self._cut()
            raise
        return moov

    def close(self) -> None:
        """Close the file, sealed or not."""
        self._file.close()
