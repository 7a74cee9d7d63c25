"""One segment on its way to disk: created exclusively, appended, synced, sealed.

Invariants I1 (plays at any moment), I3 (nothing lost at a cut) and I5 (never overwrites) are
kept here. All of it is synchronous, for one thread at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
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

    @classmethod
    def create(
        cls, disk: Disk, directory: Path, names: Iterator[str], index: SegmentIndex
    ) -> SegmentFile:
        """Take the first free name, write the header, and sync the file's directory entry.

        Raises OSError. A name is never taken twice (I5): creation is exclusive, so two writers
        at the same second get two names.
        """
        for name in names:
            path = directory / name
            try:
                file = disk.create(path)
            except FileExistsError:
                continue
            segment = cls(path, index, file)
            try:
                segment._write([index.header], first=True)
                disk.sync_directory(directory)
            except OSError:
                file.close()
                disk.unlink(path)  # ours, empty, and never announced
                raise
            return segment
        raise AssertionError("names never end")

    def append(self, fragments: Sequence[Fragment]) -> None:
        """Append whole fragments, in order.

        Raises OSError; the fragments before the one that failed are in the file and counted
        by `index`, that one and those behind it are neither.
        """
        for fragment in fragments:
            try:
                self._write(self.index.render(fragment))
            except OSError:
                self._file.truncate(self.size_bytes)
                raise
            self.index.record(fragment)

    def _write(self, pieces: Sequence[bytes | memoryview], *, first: bool = False) -> None:
        self._file.append(pieces)
        for number, piece in enumerate(pieces):
            fresh = memoryview(piece)[HASHED_FROM:] if first and number == 0 else piece
            self._hash.update(fresh)
            self.size_bytes += len(piece)

    def sync(self) -> None:
        """Return when everything appended so far survives a power cut. Raises OSError."""
        size = self.size_bytes
        if self.synced_bytes < size:
            self._file.sync()
            self.synced_bytes = size

    def seal(self) -> None:
        """Turn the file into an ordinary MP4, durable when this returns; call `close` then.

        The final index goes behind the last fragment and is synced; then 16 bytes near the
        start change and are synced. Between the two the file is still a valid fragmented MP4.
        Raises OSError; the file then stays playable, and sealing may be tried again.
        """
        moov = self.index.final_moov()
        try:
            self._file.append([moov])
            self._file.sync()
        except OSError:
            self._file.truncate(self.size_bytes)
            raise
        self._file.overwrite(FTYP_SIZE, self.index.seal_header(self.size_bytes))
        self._file.sync()
        self._hash.update(moov)
        self.size_bytes += len(moov)
        self.synced_bytes = self.size_bytes
        self.sha256 = self._hash.hexdigest()

    def close(self) -> None:
        """Close the file, sealed or not."""
        self._file.close()
