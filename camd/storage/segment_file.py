"""One segment on its way to disk: created exclusively, appended, synced, sealed.

Invariants I1 (plays at any moment), I3 (nothing lost at a cut) and I5 (never overwrites) are
kept here. All of it is synchronous, for one thread at a time.
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
from camd.mp4.recover import read_fragments, read_interrupted
from camd.mp4.segment import CHECK_SIZE, FTYP_SIZE, HASHED_FROM, SegmentIndex
from camd.storage.disk import Disk, DiskFile

_MARKS = 64  # places where the file could be cut, the newest ones
_SLACK = 1024  # bytes between what fits and the limit
_GROUP_INDEX = 16 * 1024  # what a group of pictures adds to the final index, and more


class FileTooLargeError(OSError):
    """A fragment would make the file larger than the file system lets it be, or its index would."""

    def __init__(self) -> None:
        super().__init__(errno.EFBIG, "The file may not become larger")


class FileHarm(enum.Enum):
    """What others do to a file while it is recorded, in words for the ledger."""

    REMOVED = "was removed or replaced"
    MOVED = "was renamed or moved"
    CUT = "was cut short"


class FileHarmedError(Exception):
    """Another program has removed, moved or cut the file; nothing was written."""

    def __init__(self, harm: FileHarm) -> None:
        super().__init__(harm.value)
        self.harm = harm


@attrs.frozen
class GopMark:
    """Where a group of pictures begins in a growing file, and the hash of what is before it."""

    size_bytes: int
    digest: hashlib._Hash


@attrs.define(eq=False)
class SegmentFile:
    """A growing segment. After an OSError from `append`, `seal` makes the best of what is there."""

    path: Path
    index: SegmentIndex
    _file: DiskFile
    _disk: Disk
    _hash: hashlib._Hash = attrs.field(factory=hashlib.sha256, init=False)
    size_bytes: int = attrs.field(default=0, init=False)
    synced_bytes: int = attrs.field(default=0, init=False)
    sha256: str | None = attrs.field(default=None, init=False)
    doubtful: bool = attrs.field(default=False, init=False)  # a sync failed; see `_settle`
    _torn: bool = attrs.field(default=False, init=False)  # bytes behind `size_bytes` may be there
    _moov: bytes | None = attrs.field(default=None, init=False)  # once it is durable at the end
    frames_moved: int = attrs.field(default=0, init=False)  # into another file, uncut here
    harm: FileHarm | None = attrs.field(default=None, init=False)  # that was noticed
    _hash_known: bool = attrs.field(default=True, init=False)
    _device: int = attrs.field(default=0, init=False)  # that it was created on
    _named: bool = attrs.field(default=False, init=False)  # its name led to it in the beginning
    limit_bytes: int | None = attrs.field(default=None, init=False)  # of the file; None: unknown
    _marks: deque[GopMark] = attrs.field(factory=lambda: deque(maxlen=_MARKS), init=False)
    _group_at: int = attrs.field(default=0, init=False)  # where the newest group begins
    _largest_group: int = attrs.field(default=0, init=False)

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
            segment = cls(path, index, file, disk)
            try:
                segment.limit_bytes = disk.largest_file(directory)
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
        raise AssertionError("names never end")

    def _begin(self, first: Fragment) -> None:
        self._write([self.index.header, *self.index.render(first)], first=True)
        self.index.record(first.runs, first.size_bytes)
        self.sync()

    def append(self, fragments: Sequence[Fragment]) -> None:
        """Append whole fragments, in order.

        Raises OSError; the fragments before the one that failed are in the file and counted
        by `index`, that one and those behind it are neither. With EFBIG the next file must begin.
        """
        for fragment in fragments:
            self._check_room(fragment)
            if fragment.starts_with_sync:
                self._begin_group()
            self._write(self.index.render(fragment, self.synced_bytes))
            self.index.record(fragment.runs, fragment.size_bytes)

    # --- what others do to it ---

    def look(self) -> None:
        """Raise HarmedError, once, when the file is not where and as it was left.

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
            self.harm = FileHarm.CUT
        if self.harm is not None:
            raise FileHarmedError(self.harm)

    def _confirm_volume(self) -> None:
        """Raise FileNotFoundError when another file system is where this one was."""
        if self._disk.locate(self.path.parent).device != self._device:
            raise FileNotFoundError(errno.ENOENT, "The recordings volume is not there")

    @property
    def newest_mark(self) -> GopMark | None:
        """Where the newest group of pictures begins; None: with the file."""
        return self._marks[-1] if self._marks else None

    def give_up_torn(self) -> int:
        """Count on no more than what a file that was cut short still holds; return frames lost.

        Its hash is not known then. Raises OSError: nothing whole is left.
        """
        frames = self.index.frames
        try:
            found = read_interrupted(self._file.read, self._file.size())
        except MediaError as error:
            raise OSError(errno.EIO, "Nothing whole is left of it") from error
        if found is None:
            raise OSError(errno.EIO, "Nothing whole is left of it")
        self._shrink(found.index, found.whole_bytes)
        self._torn, self._hash_known = True, False
        return frames - self.index.frames

    # --- how large it may become ---

    def ends_before(self, fragment: Fragment) -> bool:
        """Whether to cut before the group of pictures that begins with `fragment`.

        Another group of the largest one's size, and the final index, may have no room behind it.
        """
        if self.limit_bytes is None:
            return False
        largest = max(self._largest_group, self.size_bytes - self._group_at)
        group = max(largest * 5 // 4, fragment.size_bytes + CHECK_SIZE)
        moov = self.index.most_moov_bytes + _GROUP_INDEX
        return self.size_bytes + group + moov + _SLACK > self.limit_bytes

    def _check_room(self, fragment: Fragment) -> None:
        """Raise FileTooLargeError when this would leave no room for the final index."""
        if self.limit_bytes is None:
            return
        after = self.size_bytes + fragment.size_bytes + CHECK_SIZE
        samples = sum(run.count for run in fragment.runs)
        moov = self.index.most_moov_bytes + 24 * samples + 32 * len(fragment.runs)
        if after + moov + _SLACK > self.limit_bytes:
            raise FileTooLargeError

    def _begin_group(self) -> None:
        self._largest_group = max(self._largest_group, self.size_bytes - self._group_at)
        self._group_at = self.size_bytes
        self._marks.append(GopMark(self.size_bytes, self._hash.copy()))

    def cut_for_limit(self) -> GopMark | None:
        """Say where the file could be cut so that it can be sealed; None: nowhere."""
        limit = self.size_bytes if self.limit_bytes is None else self.limit_bytes
        room = limit - self.index.most_moov_bytes - _SLACK
        return next((mark for mark in reversed(self._marks) if mark.size_bytes <= room), None)

    def fragments_behind(self, mark: GopMark | None) -> list[Fragment]:
        """Read back what came since a mark, or all of it. Raises OSError, MediaError."""
        start = len(self.index.header) if mark is None else mark.size_bytes
        return read_fragments(self._file.read, start, self.size_bytes, self.index)

    def index_before(self, mark: GopMark) -> SegmentIndex:
        """Read the index back that the file had at a mark. Raises OSError, MediaError."""
        return self._index_of(mark.size_bytes)

    def cut(self, mark: GopMark, index: SegmentIndex) -> None:
        """Take everything off behind a mark; `index` is the one before it. Raises OSError."""
        self._file.truncate(mark.size_bytes)
        self._shrink(index, mark.size_bytes)
        self._hash = mark.digest

    def _index_of(self, size: int) -> SegmentIndex:
        found = read_interrupted(self._file.read, size)
        if found is None or found.whole_bytes != size:
            raise OSError(errno.EIO, "What was written cannot be read back")
        return found.index

    def _shrink(self, index: SegmentIndex, size: int) -> None:
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
        """Put `pieces` behind what counts, and never behind what a failure has left there."""
        if self._torn:
            self._file.truncate(self.size_bytes)
            self._torn = False
        try:
            self._file.append(pieces)
        except OSError as error:
            if error.errno == errno.EFBIG:
                self._meet_limit()
            self._cut()
            raise

    def _meet_limit(self) -> None:
        """Learn how large a file may be: what could be written of the last piece is in it."""
        with suppress(OSError):
            met = max(self.size_bytes, self._file.size())
            self.limit_bytes = met if self.limit_bytes is None else min(met, self.limit_bytes)

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
        self.sha256 = self._hash.hexdigest() if self._hash_known else None

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
