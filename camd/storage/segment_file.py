"""One segment file while it is recorded: created exclusively, appended, synced, sealed.

Keeps I1 (plays at any moment), I3 (nothing lost between files) and I5 (never overwrites).
Everything is synchronous, for one thread at a time.
"""

from __future__ import annotations

import enum
import errno
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment
from camd.mp4.interrupted import read_fragments, read_interrupted
from camd.mp4.segment import CHECKSUM_BOX_SIZE, FTYP_SIZE, HASHED_FROM, SegmentLayout
from camd.storage.disk import Disk, DiskFile

_MARKS = 64  # newest positions where the file can be split
_SLACK = 1024  # bytes kept free below the limit
_GROUP_INDEX = 16 * 1024  # more than a group of pictures adds to the final index


class FileTooLargeError(OSError):
    """A fragment, or the index with it, would exceed the largest file size."""

    def __init__(self) -> None:
        super().__init__(errno.EFBIG, "The file may not become larger")


class FileHarm(enum.Enum):
    """What other programs do to a file while it is recorded, as worded in the ledger."""

    REMOVED = "was removed or replaced"
    MOVED = "was renamed or moved"
    TRUNCATED = "was cut short"


class FileHarmedError(Exception):
    """Another program has removed, moved or truncated the file; nothing was written."""

    def __init__(self, harm: FileHarm) -> None:
        super().__init__(harm.value)
        self.harm = harm


@attrs.frozen
class GopHashMark:
    """Where a group of pictures begins in a growing file, and the hash of all before it."""

    size_bytes: int
    digest: hashlib._Hash


@attrs.define(eq=False)
class SegmentFile:
    """A growing segment. After an OSError from `append`, `seal` keeps what was written."""

    path: Path
    index: SegmentLayout
    _file: DiskFile
    _disk: Disk
    _hash: hashlib._Hash = attrs.field(factory=hashlib.sha256, init=False)
    size_bytes: int = attrs.field(default=0, init=False)
    synced_bytes: int = attrs.field(default=0, init=False)
    sha256: str | None = attrs.field(default=None, init=False)
    doubtful: bool = attrs.field(default=False, init=False)  # a sync failed; see `_sync_or_doubt`
    _torn: bool = attrs.field(default=False, init=False)  # there may be bytes behind `size_bytes`
    _moov: bytes | None = attrs.field(default=None, init=False)  # once it is durable
    frames_moved: int = attrs.field(default=0, init=False)  # to another file, still in this one
    harm: FileHarm | None = attrs.field(default=None, init=False)
    _hash_known: bool = attrs.field(default=True, init=False)
    _device: int = attrs.field(default=0, init=False)  # st_dev at creation
    _named: bool = attrs.field(default=False, init=False)  # its name led to it at creation
    limit_bytes: int | None = attrs.field(default=None, init=False)  # of the file; None: unknown
    _marks: deque[GopHashMark] = attrs.field(factory=lambda: deque(maxlen=_MARKS), init=False)
    _group_at: int = attrs.field(default=0, init=False)  # where the newest group begins
    _largest_group: int = attrs.field(default=0, init=False)

    @classmethod
    def create(
        cls,
        disk: Disk,
        directory: Path,
        names: Iterator[str],
        index: SegmentLayout,
        first: Fragment,
    ) -> SegmentFile:
        """Create the first free name, and write header and first fragment durably.

        They are one write, so that there is hardly a moment in which the file does not play (I1).
        Creation is exclusive, so two writers in the same second get two names (I5). Raises OSError;
        nothing is left then or, on a disk that refuses removal too, an empty file.
        """
        for name in names:
            path = directory / name
            try:
                file = disk.create(path)
            except FileExistsError:
                continue
            segment = cls(path, index, file, disk)
            try:
                segment.limit_bytes = disk.file_size_limit(directory)
                segment._begin(first)
                disk.sync_directory(directory)
                segment._device = disk.locate(directory).device
                segment._named = file.open_stat(path).here
            except OSError:
                with suppress(OSError):
                    file.close()
                with suppress(OSError):
                    disk.unlink(path)  # ours, and never announced
                raise
            return segment
        raise AssertionError("the iterator of names is infinite")

    def _begin(self, first: Fragment) -> None:
        self._write([self.index.header, *self.index.render(first)], first=True)
        self.index.record(first.runs, first.size_bytes)
        self.sync()

    def append(self, fragments: Sequence[Fragment]) -> None:
        """Append whole fragments, in order.

        Raises OSError; the fragments before the failed one are in the file and counted by `index`,
        the others are neither. With EFBIG the next file must begin.
        """
        for fragment in fragments:
            self._require_room(fragment)
            if fragment.starts_with_sync:
                self._begin_group()
            self._write(self.index.render(fragment, self.synced_bytes))
            self.index.record(fragment.runs, fragment.size_bytes)

    # --- changes by other programs ---

    def look(self) -> None:
        """Raise FileHarmedError, once, when another program has changed the file.

        Raises OSError too: FileNotFoundError when the volume is not there any more.
        """
        if self.harm is not None:
            return
        open_stat = self._file.open_stat(self.path)
        if not open_stat.linked:
            self.harm = FileHarm.REMOVED
        elif self._named and not open_stat.here:  # some file systems number files anew
            self._confirm_volume()
            self.harm = FileHarm.MOVED
        elif open_stat.size_bytes < self.size_bytes:
            self.harm = FileHarm.TRUNCATED
        if self.harm is not None:
            raise FileHarmedError(self.harm)

    def _confirm_volume(self) -> None:
        """Raise FileNotFoundError when another file system is where this one was."""
        if self._disk.locate(self.path.parent).device != self._device:
            raise FileNotFoundError(errno.ENOENT, "The recordings volume is not there")

    @property
    def newest_mark(self) -> GopHashMark | None:
        """Where the newest group of pictures begins; None: at the start of the file."""
        return self._marks[-1] if self._marks else None

    def give_up_torn(self) -> None:
        """Reduce the file to what a truncation by others has left; its hash is unknown then.

        Raises OSError: nothing whole is left.
        """
        try:
            found = read_interrupted(self._file.read, self._file.size())
        except MediaError as error:
            raise OSError(errno.EIO, "Nothing whole is left of it") from error
        if found is None:
            raise OSError(errno.EIO, "Nothing whole is left of it")
        self._shrink(found.index, found.whole_bytes)
        self._torn, self._hash_known = True, False

    # --- the largest file size ---

    def ends_before(self, fragment: Fragment) -> bool:
        """Return whether the next file should begin before the group starting with `fragment`.

        Another group as large as the largest one, and the final index, might not fit behind it.
        """
        if self.limit_bytes is None:
            return False
        largest = max(self._largest_group, self.size_bytes - self._group_at)
        group = max(largest * 5 // 4, fragment.size_bytes + CHECKSUM_BOX_SIZE)
        moov = self.index.most_moov_bytes + _GROUP_INDEX
        return self.size_bytes + group + moov + _SLACK > self.limit_bytes

    def _require_room(self, fragment: Fragment) -> None:
        """Raise FileTooLargeError when no room would be left for the final index."""
        if self.limit_bytes is None:
            return
        after = self.size_bytes + fragment.size_bytes + CHECKSUM_BOX_SIZE
        samples = sum(run.count for run in fragment.runs)
        moov = self.index.most_moov_bytes + 24 * samples + 32 * len(fragment.runs)
        if after + moov + _SLACK > self.limit_bytes:
            raise FileTooLargeError

    def _begin_group(self) -> None:
        self._largest_group = max(self._largest_group, self.size_bytes - self._group_at)
        self._group_at = self.size_bytes
        self._marks.append(GopHashMark(self.size_bytes, self._hash.copy()))

    def split_for_limit(self) -> GopHashMark | None:
        """Return where the file can be split so that it can be sealed; None: nowhere."""
        limit = self.size_bytes if self.limit_bytes is None else self.limit_bytes
        room = limit - self.index.most_moov_bytes - _SLACK
        return next((mark for mark in reversed(self._marks) if mark.size_bytes <= room), None)

    def fragments_behind(self, mark: GopHashMark | None) -> list[Fragment]:
        """Read back the fragments behind a mark, or all. Raises OSError, MediaError."""
        start = len(self.index.header) if mark is None else mark.size_bytes
        return read_fragments(self._file.read, start, self.size_bytes, self.index)

    def index_before(self, mark: GopHashMark) -> SegmentLayout:
        """Read back the index of the file up to a mark. Raises OSError, MediaError."""
        found = read_interrupted(self._file.read, mark.size_bytes)
        if found is None or found.whole_bytes != mark.size_bytes:
            raise OSError(errno.EIO, "What was written cannot be read back")
        return found.index

    def split_at(self, mark: GopHashMark, index: SegmentLayout) -> None:
        """Remove everything behind a mark; `index` is the one before it. Raises OSError."""
        self._file.truncate(mark.size_bytes)
        self._shrink(index, mark.size_bytes)
        self._hash = mark.digest

    def _shrink(self, index: SegmentLayout, size: int) -> None:
        self.index, self.size_bytes, self._torn = index, size, False
        self.synced_bytes = min(self.synced_bytes, size)
        self._marks = deque((mark for mark in self._marks if mark.size_bytes < size), _MARKS)

    def _write(self, pieces: Sequence[bytes | memoryview], *, first: bool = False) -> None:
        self._put(pieces)
        for number, piece in enumerate(pieces):
            fresh = memoryview(piece)[HASHED_FROM:] if first and number == 0 else piece
            self._hash.update(fresh)
            self.size_bytes += len(piece)

    def _put(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write `pieces` behind `size_bytes`, after truncating what a failure left there."""
        if self._torn:
            self._file.truncate(self.size_bytes)
            self._torn = False
        try:
            self._file.append(pieces)
        except OSError as error:
            if error.errno == errno.EFBIG:
                self._meet_limit()
            self._truncate()
            raise

    def _meet_limit(self) -> None:
        """Learn the largest file size from a write that failed with EFBIG."""
        with suppress(OSError):
            met = max(self.size_bytes, self._file.size())
            self.limit_bytes = met if self.limit_bytes is None else min(met, self.limit_bytes)

    def _truncate(self) -> None:
        """Truncate what does not count; if that fails, the next write does it."""
        self._torn = True
        with suppress(OSError):
            self._file.truncate(self.size_bytes)
            self._torn = False

    def sync(self) -> None:
        """Return when everything appended so far is durable. Raises OSError."""
        size = self.size_bytes
        if self.synced_bytes < size:
            self._sync_or_doubt()
            self.synced_bytes = size

    def _sync_or_doubt(self) -> None:
        """Sync the file; after a failure it is `doubtful` for good.

        The kernel may mark memory clean that it could not write, so that a later sync succeeds
        although they are lost (fsync(2), EIO): the file must not be called durable any more.
        """
        try:
            self._file.sync()
        except OSError:
            self.doubtful = True
            raise

    def seal(self) -> None:
        """Turn the file into an ordinary MP4, durably; call `close` afterwards.

        The final index is appended behind the last fragment and synced; then 16 bytes near the
        start are changed and synced. Between the two the file is still a valid fragmented MP4.
        Raises OSError; the file stays playable, and sealing can be retried from the last step that
        succeeded.
        """
        if self._moov is None:
            self._moov = self._put_moov()
        self._file.overwrite(FTYP_SIZE, self.index.seal_header(self.size_bytes))
        self._sync_or_doubt()
        self._hash.update(self._moov)
        self.size_bytes += len(self._moov)
        self.synced_bytes = self.size_bytes
        self.sha256 = self._hash.hexdigest() if self._hash_known else None

    def _put_moov(self) -> bytes:
        moov = self.index.final_moov()
        self._put([moov])
        try:
            self._sync_or_doubt()
        except OSError:
            self._truncate()
            raise
        return moov

    def close(self) -> None:
        """Close the file, sealed or not."""
        self._file.close()
